"""What the tests of the wire share: example messages, a strategy for all messages, and ways to feed bytes."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, TypeAlias

import msgpack  # type: ignore[import-untyped]
from hypothesis import strategies as st

from peer.buffers import BufferPool
from peer.errors import ByeCode, RejectCode
from peer.ids import Address, NodeId, PieceIndex, RequestId, ShareId
from peer.published import PublishedShare
from peer.wire.codec import decode, encode
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
from peer.wire.session import Event, Session

SHARE = ShareId(bytes(range(32)))
NODE = NodeId(bytes(range(100, 132)))
PIECE = PieceIndex(3)


def make_hello(window: int = 4, version: int = 1, agent: str = "test") -> Hello:
    return Hello(version, SHARE, NODE, window, 7701, agent)


EXAMPLES: tuple[Message, ...] = (
    make_hello(),
    Bitfield(2),
    Have((PieceIndex(0), PieceIndex(7))),
    Interested(True),
    Choke(False),
    Request(RequestId(0), PieceIndex(3)),
    RequestManifest(RequestId(0)),
    Data(RequestId(0), 0, 8, 4),
    Reject(RequestId(0), RejectCode.NOT_HELD),
    Cancel(RequestId(0)),
    Ping(1),
    Pong(1),
    Peers((KnownPeer(Address("10.0.0.1", 7701), NODE), KnownPeer(Address("::1", 1)))),
    Bye(ByeCode.GOODBYE, "done"),
    Announce(1, SHARE, NODE, 7701, AnnounceEvent.STARTED, 5, 50),
    Announced(60, 1, 2, (KnownPeer(Address("example.org", 65535)),)),
    Publish(1, "name", SHARE, 5, 1, bytes(32), bytes(64)),
    Published(PublishCode.NAME_TAKEN, 60, NODE, 3),
    Search(1, ("some", "words"), "", NODE, 0, 100),
    Found(7, 12, False, 1, (Listing(PublishedShare("name", SHARE, 5, 1, bytes(32), bytes(64)), 1, 2),)),
)
"""One message of each kind."""

BY_KIND = {type(message): message for message in EXAMPLES}


def payload_of(message: Message) -> bytes:
    """Some payload of the length that the message names; different at every place."""
    return Random(0).randbytes(message.payload) if isinstance(message, Data | Bitfield) else b""


def wire(message: Message) -> bytes:
    """A message as anybody could send it, legal or not."""
    return encode(message) + payload_of(message)


# --- every legal message

_ids = st.binary(min_size=32, max_size=32)
_request_ids = st.integers(0, 2**32 - 1).map(RequestId)
_pieces = st.integers(0, 499_999).map(PieceIndex)
_texts = st.text(st.characters(codec="utf-8"), max_size=50)
_ports = st.integers(1, 65535)
_hosts = st.from_regex(r"[A-Za-z0-9._:%-]{1,253}", fullmatch=True)
_known = st.builds(KnownPeer, st.builds(Address, _hosts, _ports), st.none() | _ids.map(NodeId))
_peer_lists = st.lists(_known, max_size=3).map(tuple) | st.lists(_known, max_size=50).map(tuple)
_names = st.text(st.characters(codec="utf-8"), max_size=60)
_sizes = st.integers(0, 2**43)
_serials = st.integers(1, 2**63 - 1)
_signatures = st.binary(min_size=64, max_size=64)
_u32 = st.integers(0, 2**32 - 1)
_i63 = st.integers(0, 2**63 - 1)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello, st.just(1), _ids, _ids, st.integers(1, 65535), st.integers(0, 65535), _texts
    ),  # of another version nothing else is read
    st.builds(Bitfield, st.integers(0, 62_500)),
    st.builds(Have, st.lists(_pieces, min_size=1, max_size=20).map(tuple)),
    st.builds(Interested, st.booleans()),
    st.builds(Choke, st.booleans()),
    st.builds(Request, _request_ids, _pieces),
    st.builds(RequestManifest, _request_ids),
    st.builds(Data, _request_ids, st.integers(0, 2**25 - 1), st.integers(1, 2**25), st.integers(1, 2**24)),
    st.builds(Reject, _request_ids, st.sampled_from(RejectCode)),
    st.builds(Cancel, _request_ids),
    st.builds(Ping, _i63),
    st.builds(Pong, _i63),
    st.builds(Peers, _peer_lists),
    st.builds(Bye, st.sampled_from(ByeCode), _texts),
    st.builds(
        Announce,
        st.just(1),
        _ids,
        _ids,
        st.integers(0, 65535),
        st.sampled_from(AnnounceEvent),
        _i63,
        st.integers(0, 65535),
    ),
    st.builds(Announced, st.integers(1, 2**32 - 1), _u32, _u32, _peer_lists),
    st.builds(Publish, st.just(1), _names, _ids, _sizes, _serials, _ids, _signatures),
    st.builds(
        Published,
        st.sampled_from(PublishCode),
        st.integers(1, 2**32 - 1),
        _ids.map(NodeId),
        st.integers(0, 2**63 - 1),
    ),
    st.builds(
        Search,
        st.just(1),
        st.lists(_names, max_size=8).map(tuple),
        _names,
        _ids.map(NodeId),
        _i63,
        st.integers(0, 65535),
    ),
    st.builds(
        Found,
        _i63,
        _i63,
        st.booleans(),
        _u32,
        st.lists(
            st.builds(
                Listing,
                st.builds(PublishedShare, _names, _ids.map(ShareId), _sizes, _serials, _ids, _signatures),
                _u32,
                _u32,
            ),
            max_size=5,
        ).map(tuple),
    ),
)


# --- headers by hand, legal or not


def pack(fields: object) -> bytes:
    """A header from anything."""
    header: bytes = msgpack.packb(fields)
    return header


def frame(fields: object, payload: bytes = b"") -> bytes:
    """A whole frame from anything."""
    header = pack(fields)
    return len(header).to_bytes(4, "big") + header + payload


def fields_of(message: Message) -> dict[str, Any]:
    """A legal message's header as a map, to be spoilt."""
    fields: dict[str, Any] = msgpack.unpackb(encode(message)[4:])
    return fields


def same_after_decoding(message: Message) -> bool:
    return decode(encode(message)[4:]) == message


# --- bytes that arrive in pieces

Splits: TypeAlias = Callable[[int], Iterator[int]]
"""From a number of bytes to the sizes in which they arrive."""


def whole(count: int) -> Iterator[int]:
    yield count


def byte_by_byte(count: int) -> Iterator[int]:
    yield from (1 for _ in range(count))


def randomly(seed: int) -> Splits:
    def split(count: int) -> Iterator[int]:
        rng = Random(seed)
        while count:
            size = min(count, rng.choice((1, 2, 3, 5, 50, 500, 5000, 50_000)))
            yield size
            count -= size

    return split


SPLITS: dict[str, Splits] = {
    "whole": whole,
    "byte_by_byte": byte_by_byte,
    "randomly_1": randomly(1),
    "randomly_2": randomly(2),
}


def feed(session: Session, data: bytes, split: Splits = whole) -> list[Event]:
    """Give the session what arrives, as a stream would: never more than its buffer takes."""
    events: list[Event] = []
    position = 0
    for size in split(len(data)):
        arrived = position + size
        while position < arrived:
            buffer = session.get_buffer()
            count = min(len(buffer), arrived - position)
            buffer[:count] = data[position : position + count]
            position += count
            events += session.buffer_updated(count)
            session.check_invariants()
    session.get_buffer()  # the next read: raises what was wrong after the last events
    return events


def open_pair(window: int = 4, pool: BufferPool | None = None) -> tuple[Session, Session]:
    """Two sessions that have said hello to each other."""
    pool = pool or BufferPool()
    dialler, acceptor = Session(buffers=pool), Session(buffers=pool)
    feed(acceptor, dialler.greet(make_hello(window)))
    feed(dialler, acceptor.greet(make_hello(window)))
    return dialler, acceptor


def one_of(events: Sequence[Event], kind: type[Any]) -> Any:
    """The one event of that kind."""
    [event] = [event for event in events if isinstance(event, kind)]
    return event
