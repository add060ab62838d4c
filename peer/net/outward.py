"""The addresses under which this machine is reached from elsewhere, as far as it can know by itself."""

import socket
from contextlib import suppress
from typing import NamedTuple

from peer.ids import Address


class OutwardAddress(NamedTuple):
    """Where others reach this machine, as the user says; port: None for the one that it listens on."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else str(Address(self.host, self.port))

    @classmethod
    def parse(cls, text: str) -> "OutwardAddress":
        """Read ``HOST`` or ``HOST:PORT``. Raises ValueError with a sentence for the user."""
        bare = Address.parse(text, 1)
        return cls(*bare) if bare == Address.parse(text, 2) else cls(bare.host)

    def at(self, port: int) -> Address:
        """The address to dial while this machine listens on ``port``."""
        return Address(self.host, port if self.port is None else self.port)


OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849): nobody is there, and nothing is sent."""


def outward_hosts() -> list[str]:
    """The source address that the kernel would use for each family. "Connecting" a datagram socket only looks
    at the routing table; no packet leaves. Empty without any route."""
    hosts = []
    for family, address in OUTSIDE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))
            host = sock.getsockname()[0]
            if not host.startswith("fe80"):
                hosts.append(str(host))
    return hosts


def reachable(announce: OutwardAddress | None, host: str | None, port: int) -> list[Address]:
    """The addresses for a link: the one that the user names, else the one listened on, else all outward. None
    for a link-local one: its zone (``%eth0``) is this machine's own word for its network."""
    if announce is not None:
        return [announce.at(port)]
    if host is not None and "%" in host:
        return []
    hosts = [host] if host is not None else outward_hosts() or ["127.0.0.1"]
    return [Address(name, port) for name in hosts]
