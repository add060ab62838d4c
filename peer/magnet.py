"""The link that people pass around: `magnet:?xt=urn:blake3:<64 hex>&dn=<name>&xl=<bytes>&tr=...&x.pe=...`.

Only the hash is believed; the name, the size and the addresses are hints from a stranger, checked like any
other input. `tr` (trackers) and `x.pe` (peers, optionally `<node id>@`) may appear several times. Parameters
that we do not know are ignored, as magnet links have always been extended that way.
"""

import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, quote

from peer.errors import LinkError
from peer.ids import ID_BYTES, PORT_MAX, Address, KnownPeer, NodeId, ShareId
from peer.limits import (
    HOST_BYTES_MAX,
    LINK_CHARS_MAX,
    LINK_FIELDS_MAX,
    LINK_PEERS_MAX,
    LINK_TRACKERS_MAX,
    SHARE_BYTES_MAX,
)
from peer.paths import check_component, shortened

_HEX_ID = re.compile(rf"[0-9a-fA-F]{{{2 * ID_BYTES}}}")
_SCHEME = "magnet:?"
_URN = "urn:blake3:"


@dataclass(frozen=True, slots=True)
class MagnetLink:
    """A share, and hints where to find it. ``str()`` gives the link; `parse` reads it back.

    What a link cannot carry is left out of it: an address with a zone of this machine, what is too many. A
    host in another alphabet travels in its ASCII form (IDNA).
    """

    share: ShareId
    name: str | None = None
    total_bytes: int | None = None
    trackers: tuple[Address, ...] = ()
    peers: tuple[KnownPeer, ...] = ()

    def __str__(self) -> str:
        fields = [f"xt={_URN}{self.share.hex()}"]
        if self.name is not None:
            fields.append(f"dn={quote(self.name, safe='')}")
        if self.total_bytes is not None:
            fields.append(f"xl={self.total_bytes}")
        trackers = [known for address in self.trackers if (known := _portable(address))]
        peers = [KnownPeer(known, peer.node) for peer in self.peers if (known := _portable(peer.address))]
        fields += [f"tr={quote(str(tracker), safe=':')}" for tracker in trackers[:LINK_TRACKERS_MAX]]
        fields += [f"x.pe={quote(str(peer), safe=':@')}" for peer in peers[:LINK_PEERS_MAX]]
        return _SCHEME + "&".join(fields)


def parse(text: str) -> MagnetLink:
    """Read a link. Raises LinkError, and nothing else, with one line that says what is wrong."""
    text = text.strip()
    if len(text) > LINK_CHARS_MAX:
        _refuse(f"it has {len(text)} characters, more than {LINK_CHARS_MAX}")
    if text[: len(_SCHEME)].lower() != _SCHEME:
        _refuse(f"{shortened(text, 40)!r} does not begin with {_SCHEME}")
    fields = _fields(text[len(_SCHEME) :])
    return MagnetLink(
        share=_share(fields.get("xt", [])),
        name=_name(fields.get("dn", [])),
        total_bytes=_total_bytes(fields.get("xl", [])),
        trackers=_trackers(fields.get("tr", [])),
        peers=_peers(fields.get("x.pe", [])),
    )


def _fields(query: str) -> dict[str, list[str]]:
    if query.count("&") >= LINK_FIELDS_MAX:
        _refuse(f"it has more than {LINK_FIELDS_MAX} fields")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        _refuse("it contains bytes that are not UTF-8")
    fields: dict[str, list[str]] = {}
    for key, value in pairs:
        fields.setdefault(key.lower(), []).append(value)
    return fields


def _share(topics: list[str]) -> ShareId:
    if not topics:
        _refuse("it names no content: xt=urn:blake3:... is missing; was it copied whole?")
    ours = {topic[len(_URN) :].lower() for topic in topics if topic[: len(_URN)].lower() == _URN}
    if not ours:
        kind = shortened(":".join(topics[0].split(":")[:2]), 30)
        hint = " (a BitTorrent link)" if "btih" in kind.lower() or "btmh" in kind.lower() else ""
        _refuse(f"its content is named by {kind!r}{hint}; links of this program have urn:blake3")
    if len(ours) > 1:
        _refuse("it names more than one content")
    (digits,) = ours
    if len(digits) != 2 * ID_BYTES:
        _refuse(f"its hash has {len(digits)} digits instead of {2 * ID_BYTES}; was it copied whole?")
    if not _HEX_ID.fullmatch(digits):
        _refuse("its hash contains characters that are not hexadecimal digits")
    return ShareId(bytes.fromhex(digits))


def _name(names: list[str]) -> str | None:
    if not names:
        return None
    if len(names) > 1:
        _refuse("it has more than one name (dn)")
    try:
        check_component(names[0])
    except ValueError as error:
        _refuse(f"{error}, so it cannot be a file's name")
    return names[0]


def _total_bytes(sizes: list[str]) -> int | None:
    if not sizes:
        return None
    size = sizes[0]
    if len(sizes) > 1 or not (size.isascii() and size.isdigit()) or len(size) > 16:
        _refuse(f"its size (xl) is not a number of bytes: {shortened(size, 30)!r}")
    if int(size) > SHARE_BYTES_MAX:
        _refuse(f"its size (xl) is {int(size)} bytes, more than a share may have")
    return int(size)


def _trackers(texts: list[str]) -> tuple[Address, ...]:
    if len(texts) > LINK_TRACKERS_MAX:
        _refuse(f"it names {len(texts)} trackers, more than {LINK_TRACKERS_MAX}")
    return tuple(dict.fromkeys(_address(text, "tracker (tr)") for text in texts))


def _peers(texts: list[str]) -> tuple[KnownPeer, ...]:
    if len(texts) > LINK_PEERS_MAX:
        _refuse(f"it names {len(texts)} peers, more than {LINK_PEERS_MAX}")
    return tuple(dict.fromkeys(_peer(text) for text in texts))


def _peer(text: str) -> KnownPeer:
    node, at, address = text.rpartition("@")
    if at and not _HEX_ID.fullmatch(node):
        _refuse(f"the node id of a peer (x.pe) is not {2 * ID_BYTES} hexadecimal digits")
    return KnownPeer(_address(address, "peer (x.pe)"), NodeId(bytes.fromhex(node)) if at else None)


def _address(text: str, what: str) -> Address:
    try:
        address = Address.parse(text)
    except ValueError:
        _refuse(f"a {what} is not HOST:PORT with a port of 1 to {PORT_MAX}: {shortened(text, 50)!r}")
    if not _is_host(address.host):
        _refuse(f"the host of a {what} is malformed: {shortened(text, 50)!r}")
    return address


def _is_host(host: str) -> bool:
    return host.isascii() and host.isprintable() and len(host) <= HOST_BYTES_MAX and "%" not in host


def _portable(address: Address) -> Address | None:
    """The address as a link has it; None where it cannot have it."""
    host = address.host
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    return Address(host, address.port) if _is_host(host) else None


def _refuse(reason: str) -> NoReturn:
    raise LinkError(f"the link cannot be used: {reason}")
