"""The names of things: small types that keep one kind of number from being taken for another."""

from string import hexdigits
from typing import NamedTuple, NewType

ShareId = NewType("ShareId", bytes)
"""BLAKE3-256 of the manifest bytes: 32 bytes."""

NodeId = NewType("NodeId", bytes)
"""SHA-256 of the node's Ed25519 public key in SubjectPublicKeyInfo form: 32 bytes."""

PieceIndex = NewType("PieceIndex", int)
"""Position of a piece in its share, from 0. An index from the network passes `Layout.checked_index` first."""

FileIndex = NewType("FileIndex", int)
"""Position of a file in its manifest, from 0."""

RequestId = NewType("RequestId", int)
"""Counter of one side of one connection; never reused there."""

LinkId = NewType("LinkId", int)
"""Counter of one swarm's connections on this node: the policy floor knows a connected peer by it."""

ID_BYTES = 32
"""Length of a share id and of a node id."""

PORT_MAX = 65535


class Address(NamedTuple):
    """Where a peer or a tracker can be dialled: a host name or literal address, and a TCP port.

    A tuple, because its hash costs a fraction of a data class's: every link hears of every peer.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> "Address":
        """Read ``HOST:PORT``, ``[V6]:PORT`` or, where a default port is given, a bare ``HOST``.

        Raises ValueError with a sentence for the user.
        """
        host, port_text = _split_host_port(text)
        if not host or any(c.isspace() or ord(c) < 32 or c in "/@?#[]" for c in host) or len(host) > 253:
            raise ValueError(f"{text!r} is not HOST:PORT: the host is missing or malformed")
        if not port_text:
            if default_port is None:
                raise ValueError(f"{text!r} has no port: write HOST:PORT")
            return cls(host, default_port)
        digits = port_text.lstrip("0") if port_text.isascii() and port_text.isdigit() else ""
        if not 1 <= len(digits) <= len(str(PORT_MAX)) or int(digits) > PORT_MAX:
            raise ValueError(f"{text!r} has no valid port: a port is 1 to {PORT_MAX}")
        return cls(host, int(digits))


class KnownPeer(NamedTuple):
    """Somebody to dial, as a tracker or a peer tells it; ``node`` is what it is expected to be, if known."""

    address: Address
    node: NodeId | None = None

    def __str__(self) -> str:
        return f"{self.node.hex()}@{self.address}" if self.node is not None else str(self.address)

    @classmethod
    def parse(cls, text: str) -> "KnownPeer":
        """Read ``HOST:PORT`` or ``NODEID@HOST:PORT``. Raises ValueError with a sentence for the user."""
        digits, at, address = text.rpartition("@")
        if at and not (len(digits) == 2 * ID_BYTES and all(digit in hexdigits for digit in digits)):
            raise ValueError(f"{text!r} is not NODEID@HOST:PORT: an id has {2 * ID_BYTES} hexadecimal digits")
        return cls(Address.parse(address), NodeId(bytes.fromhex(digits)) if at else None)


def _split_host_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [IPV6]:PORT")
        return host, rest[1:]
    if text.count(":") > 1:  # a bare IPv6 literal cannot carry a port
        return text, ""
    host, _, port = text.partition(":")
    return host, port
