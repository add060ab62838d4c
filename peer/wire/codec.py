"""Messages to frame headers and back: the one table from kind to class, and every check of type and range.

A header is one msgpack map with text keys, of which ``kind`` names the message. Reading is strict about what
is known (exact types, ranges, lengths; a bool is no integer) and indifferent to what is not: an unknown field
is ignored, a header of unknown kind is `Unknown`, so that its payload can be skipped. Writing passes the same
checks, so everything that `encode` returns, `decode` accepts.

Decoding hostile msgpack is safe within limits only: see the measurements at HAVES_PER_MESSAGE_MAX, and note
that msgpack raises TypeError, UnicodeDecodeError and RecursionError besides its own errors.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack  # type: ignore[import-untyped]

from peer.errors import ByeCode, LocalProtocolError, RejectCode, RemoteProtocolError, WrongVersionError
from peer.ids import ID_BYTES, PORT_MAX, Address, NodeId, ShareId
from peer.limits import (
    CATALOGUE_ENTRIES_PER_MESSAGE_MAX,
    FRAME_PREFIX_BYTES,
    HAVES_PER_MESSAGE_MAX,
    HEADER_BYTES_MAX,
    HEADER_FIELDS_MAX,
    HEADER_TEXT_BYTES_MAX,
    HOST_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    NAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    PEERS_PER_MESSAGE_MAX,
    PIECES_MAX,
    PROTOCOL_VERSION,
    REASON_BYTES_MAX,
    REQUEST_ID_MAX,
    SEARCH_WORDS_MAX,
    SERIAL_MAX,
    SHARE_BYTES_MAX,
    WINDOW_ANNOUNCED_MAX,
)
from peer.published import KEY_BYTES, SIGNATURE_BYTES, PublishedShare
from peer.wire.messages import (
    Announce,
    Announced,
    AnnounceEvent,
    Bitfield,
    Bye,
    Cancel,
    Choke,
    Data,
    Found,
    Have,
    Hello,
    Interested,
    KnownPeer,
    Listing,
    Message,
    Peers,
    Ping,
    Pong,
    Publish,
    PublishCode,
    Published,
    Reject,
    Request,
    RequestManifest,
    Search,
)

UINT16_MAX: Final = 2**16 - 1
UINT32_MAX: Final = 2**32 - 1
INT63_MAX: Final = 2**63 - 1
"""The largest integer that every language holds exactly."""

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
"""A DNS name or a literal address, perhaps with a zone. Other alphabets travel in their ASCII form (IDNA)."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a later version, or of an extension: skipped together with its payload."""

    kind: str
    payload: int


# --- one check a type: from what msgpack gives to what the message holds; ValueError says what it is not

_Load: TypeAlias = Callable[[Any], Any]
_Dump: TypeAlias = Callable[[Any], Any]


def _integer(low: int, high: int) -> _Load:
    def load(value: object) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError(f"an integer from {low} to {high}")

    return load


def _boolean(value: object) -> bool:
    if type(value) is bool:
        return value
    raise ValueError("true or false")


def _bytes(length: int) -> _Load:
    def load(value: object) -> bytes:
        if type(value) is bytes and len(value) == length:
            return value
        raise ValueError(f"{length} bytes")

    return load


def _text(bytes_max: int) -> _Load:
    def load(value: object) -> str:
        if type(value) is str and len(value) <= bytes_max and len(value.encode()) <= bytes_max:
            return value
        raise ValueError(f"text of at most {bytes_max} bytes")

    return load


def _version(value: object) -> int:
    if type(value) is not int or not 0 <= value <= UINT16_MAX:
        raise ValueError(f"an integer from 0 to {UINT16_MAX}")
    if value != PROTOCOL_VERSION:
        raise WrongVersionError(f"protocol version {value} is not ours, {PROTOCOL_VERSION}")
    return value


def _bye_code(value: object) -> ByeCode:
    code = _CODE(value)
    return ByeCode(code) if code in _BYE_CODES else ByeCode.GOODBYE


def _reject_code(value: object) -> RejectCode:
    code = _CODE(value)
    return RejectCode(code) if code in _REJECT_CODES else RejectCode.UNREADABLE


def _event(value: object) -> AnnounceEvent:
    if type(value) is str and value in _EVENTS:
        return AnnounceEvent(value)
    raise ValueError("one of " + ", ".join(sorted(_EVENTS)))


def _pieces(value: object) -> tuple[int, ...]:
    if type(value) is tuple and 1 <= len(value) <= HAVES_PER_MESSAGE_MAX:
        for piece in value:  # one loop costs less than `map`, `min` and `max`, even over the longest
            if type(piece) is not int or not 0 <= piece < PIECES_MAX:
                break
        else:
            return value
    raise ValueError(f"a list of 1 to {HAVES_PER_MESSAGE_MAX} integers from 0 to {PIECES_MAX - 1}")


def _known_peers(value: object) -> tuple[KnownPeer, ...]:
    try:
        if type(value) is tuple and len(value) <= PEERS_PER_MESSAGE_MAX:
            return tuple(map(_known_peer, value))
    except ValueError:
        pass
    raise ValueError(
        f"a list of at most {PEERS_PER_MESSAGE_MAX} peers, each with a host of 1 to {HOST_BYTES_MAX} letters,"
        " digits and . _ : % -, a port, and a node id or nil"
    )


def can_travel(host: str) -> bool:
    """Whether a message may carry this host. A user or a link may name others, and a resolver take them."""
    return len(host) <= HOST_BYTES_MAX and _HOST.fullmatch(host) is not None


def _known_peer(value: object) -> KnownPeer:
    if type(value) is not tuple:
        raise ValueError
    host, port, node = value
    if type(host) is not str or not can_travel(host):
        raise ValueError
    return KnownPeer(Address(host, _PORT(port)), None if node is None else NodeId(_id(node)))


def _dump_peers(peers: tuple[KnownPeer, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple((peer.address.host, peer.address.port, peer.node) for peer in peers)


def _publish_code(value: object) -> PublishCode:
    code = _CODE(value)
    return PublishCode(code) if code in _PUBLISH_CODES else PublishCode.REFUSED


def _words(value: object) -> tuple[str, ...]:
    if type(value) is tuple and len(value) <= SEARCH_WORDS_MAX:
        return tuple(map(_NAME, value))
    raise ValueError(f"a list of at most {SEARCH_WORDS_MAX} texts")


def _listings(value: object) -> tuple[Listing, ...]:
    try:
        if type(value) is tuple and len(value) <= CATALOGUE_ENTRIES_PER_MESSAGE_MAX:
            return tuple(map(_listing, value))
    except ValueError:
        pass
    raise ValueError(
        f"a list of at most {CATALOGUE_ENTRIES_PER_MESSAGE_MAX} lists of a name, a share id, a size, a"
        " serial, a key, a signature, seeders and leechers"
    )


def _listing(value: object) -> Listing:
    if type(value) is not tuple:
        raise ValueError
    name, share, size, serial, key, signature, seeders, leechers = value
    entry = PublishedShare(
        _NAME(name), ShareId(_id(share)), _SIZE(size), _SERIAL(serial), _KEY(key), _SIGNATURE(signature)
    )
    return Listing(entry, _COUNT(seeders), _COUNT(leechers))


def _dump_listings(listings: tuple[Listing, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        (e.name, e.share, e.size, e.serial, e.key, e.signature, listing.seeders, listing.leechers)
        for listing in listings
        for e in (listing.entry,)
    )


_id = _bytes(ID_BYTES)
_NAME = _text(NAME_BYTES_MAX)
_SIZE = _integer(0, SHARE_BYTES_MAX)
_SERIAL = _integer(1, SERIAL_MAX)
_KEY = _bytes(KEY_BYTES)
_SIGNATURE = _bytes(SIGNATURE_BYTES)
_COUNT = _integer(0, UINT32_MAX)
_PUBLISH_CODES = frozenset(map(int, PublishCode))
_PORT = _integer(1, PORT_MAX)
_CODE = _integer(0, 255)
_BYE_CODES = frozenset(map(int, ByeCode))
_REJECT_CODES = frozenset(map(int, RejectCode))
_EVENTS = frozenset(map(str, AnnounceEvent))

# --- the table


class _Field(NamedTuple):
    name: str
    load: _Load
    dump: _Dump | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    message: type[Any]
    fields: tuple[_Field, ...]
    payload: bool
    rows: tuple[tuple[str, _Load, _Dump | None, bool], ...]
    """The fields again: a named tuple is slow to unpack."""


_REQUEST_ID = _Field("id", _integer(0, REQUEST_ID_MAX))
_ON = _Field("on", _boolean)
_NUMBER = _Field("number", _integer(0, INT63_MAX))
_SHARE = _Field("share", _id)
_NODE = _Field("node", _id)
_INTERVAL = _Field("interval", _integer(1, UINT32_MAX))
_KNOWN_PEERS = _Field("peers", _known_peers, _dump_peers)


def _kind(name: str, message: type[Any], *fields: _Field) -> _Kind:
    assert not any(field.optional for field in fields[:-1]), "only the last may be missing"
    rows = tuple((field.name, field.load, field.dump, field.optional) for field in fields)
    return _Kind(name, message, fields, any(field.name == "payload" for field in fields), rows)


KINDS: Final = (
    _kind(
        "hello",
        Hello,
        _Field("version", _version),  # first: what else a hello of another version holds is not ours to judge
        _SHARE,
        _NODE,
        _Field("window", _integer(1, WINDOW_ANNOUNCED_MAX)),
        _Field("port", _integer(0, PORT_MAX)),
        _Field("agent", _text(REASON_BYTES_MAX), optional=True),
    ),
    _kind("bitfield", Bitfield, _Field("payload", _integer(0, (PIECES_MAX + 7) // 8))),
    _kind("have", Have, _Field("pieces", _pieces)),
    _kind("interested", Interested, _ON),
    _kind("choke", Choke, _ON),
    _kind("request", Request, _REQUEST_ID, _Field("piece", _integer(0, PIECES_MAX - 1))),
    _kind("request_manifest", RequestManifest, _REQUEST_ID),
    _kind(
        "data",
        Data,
        _REQUEST_ID,
        _Field("offset", _integer(0, MANIFEST_BYTES_MAX - 1)),
        _Field("total", _integer(1, MANIFEST_BYTES_MAX)),
        _Field("payload", _integer(1, PAYLOAD_BYTES_MAX)),
    ),
    _kind("reject", Reject, _REQUEST_ID, _Field("code", _reject_code, int)),
    _kind("cancel", Cancel, _REQUEST_ID),
    _kind("ping", Ping, _NUMBER),
    _kind("pong", Pong, _NUMBER),
    _kind("peers", Peers, _KNOWN_PEERS),
    _kind(
        "bye", Bye, _Field("code", _bye_code, int), _Field("reason", _text(REASON_BYTES_MAX), optional=True)
    ),
    _kind(
        "announce",
        Announce,
        _Field("version", _version),
        _SHARE,
        _NODE,
        _Field("port", _integer(0, PORT_MAX)),
        _Field("event", _event, str),
        _Field("left", _integer(0, INT63_MAX)),
        _Field("want", _integer(0, UINT16_MAX)),
    ),
    _kind(
        "announced",
        Announced,
        _INTERVAL,
        _Field("seeders", _COUNT),
        _Field("leechers", _COUNT),
        _KNOWN_PEERS,
    ),
    _kind(
        "publish",
        Publish,
        _Field("version", _version),
        _Field("name", _NAME),
        _SHARE,
        _Field("size", _SIZE),
        _Field("serial", _SERIAL),
        _Field("key", _KEY),
        _Field("signature", _SIGNATURE),
    ),
    _kind(
        "published",
        Published,
        _Field("code", _publish_code, int),
        _INTERVAL,
        _Field("holder", _id),
        _Field("serial", _integer(0, SERIAL_MAX)),
    ),
    _kind(
        "search",
        Search,
        _Field("version", _version),
        _Field("words", _words),
        _Field("name", _NAME),
        _NODE,
        _Field("after", _integer(0, INT63_MAX)),
        _Field("want", _integer(0, UINT16_MAX)),
    ),
    _kind(
        "found",
        Found,
        _Field("epoch", _integer(0, INT63_MAX)),
        _Field("next", _integer(0, INT63_MAX)),
        _Field("more", _boolean),
        _Field("names", _COUNT),
        _Field("listings", _listings, _dump_listings),
    ),
)

_pack: Final = msgpack.Packer().pack
"""One for all messages: `msgpack.packb` makes a packer with a large buffer for each. (It starts anew after an
error; the interpreter lock is held while it packs.)"""

_BY_NAME: Final = {kind.name: kind for kind in KINDS}
_BY_CLASS: Final = {kind.message: kind for kind in KINDS}


def decode(header: bytes | bytearray | memoryview) -> Message | Unknown:
    """Read one header (without its length prefix).

    Raises RemoteProtocolError for everything that is not a legal header, and its subclass WrongVersionError
    for a hello or a tracker's request of another version.
    """
    fields = _unpack(header)
    name = fields.get("kind")
    if type(name) is not str:
        raise RemoteProtocolError("a header has no kind")
    kind = _BY_NAME.get(name)
    if kind is None:
        return Unknown(name, _payload_of_unknown(fields))
    values = []  # in the order of the class: by name costs more
    for field, load, _, optional in kind.rows:
        try:
            values.append(load(fields[field]))
        except KeyError:
            if not optional:
                raise RemoteProtocolError(f"{name} has no {field}") from None
        except ValueError as error:
            raise RemoteProtocolError(f"{name}.{field} is not {error}") from None
    if not kind.payload and "payload" in fields and fields["payload"] != 0:
        raise RemoteProtocolError(f"{name} has a payload, which this kind never has")
    message: Message = kind.message(*values)
    return message


def encode(message: Message) -> bytes:
    """The frame of a message up to its payload: length prefix and header.

    Raises LocalProtocolError for a value that no receiver would accept.
    """
    kind = _BY_CLASS[type(message)]
    fields: dict[str, object] = {"kind": kind.name}
    for field, load, dump, _ in kind.rows:
        value = getattr(message, field)
        if dump is not None:
            value = dump(value)
        try:
            load(value)
        except WrongVersionError:
            pass  # a test may well speak another version
        except ValueError as error:
            raise LocalProtocolError(f"{kind.name}.{field} is not {error}") from None
        fields[field] = value
    header: bytes = _pack(fields)
    return len(header).to_bytes(FRAME_PREFIX_BYTES, "big") + header


def clip_text(text: str, bytes_max: int = REASON_BYTES_MAX) -> str:
    """The longest beginning of a text that a field of ``bytes_max`` bytes may carry."""
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


def _unpack(header: bytes | bytearray | memoryview) -> dict[object, object]:
    if not 0 < len(header) <= HEADER_BYTES_MAX:
        raise RemoteProtocolError(f"a header of {len(header)} bytes: 1 to {HEADER_BYTES_MAX} are allowed")
    try:
        fields = msgpack.unpackb(
            header,
            raw=False,
            strict_map_key=True,
            use_list=False,
            max_array_len=HAVES_PER_MESSAGE_MAX,
            max_map_len=HEADER_FIELDS_MAX,
            max_str_len=HEADER_TEXT_BYTES_MAX,
            max_bin_len=HEADER_TEXT_BYTES_MAX,
            max_ext_len=0,
        )
    except Exception as error:
        # Only the name: its text may hold the input, and repr() of deep nesting recurses.
        raise RemoteProtocolError(f"a header is not msgpack ({type(error).__name__})") from None
    if type(fields) is not dict:
        raise RemoteProtocolError("a header is not a map")
    return fields


def _payload_of_unknown(fields: dict[object, object]) -> int:
    payload = fields.get("payload", 0)
    if type(payload) is not int or not 0 <= payload <= PAYLOAD_BYTES_MAX:
        raise RemoteProtocolError(f"a payload's length is not an integer from 0 to {PAYLOAD_BYTES_MAX}")
    return payload
