"""One conversation after the other: what two sides may do, and everything that they may not."""

from collections.abc import Callable

import pytest

from peer.buffers import BufferPool
from peer.errors import (
    ByeCode,
    ConnectionLost,
    LocalProtocolError,
    RejectCode,
    RemoteProtocolError,
    WrongVersionError,
)
from peer.ids import PieceIndex, RequestId
from peer.limits import FRAME_READ_BYTES, PIECE_BYTES_MAX, PINGS_OPEN_MAX, WINDOW_MAX
from peer.wire.codec import encode
from peer.wire.messages import (
    Announce,
    Announced,
    Bitfield,
    Bye,
    Cancel,
    Choke,
    Data,
    Have,
    Hello,
    Interested,
    Message,
    Peers,
    Ping,
    Pong,
    Reject,
    Request,
    RequestManifest,
)
from peer.wire.session import (
    Answered,
    BitfieldReceived,
    ByeReceived,
    CancelReceived,
    ChokeReceived,
    DataProgress,
    HaveReceived,
    HelloReceived,
    InterestedReceived,
    PeersReceived,
    PingReceived,
    PongReceived,
    Rejected,
    RequestReceived,
    Session,
    State,
)
from tests.pure.wire_helpers import (
    EXAMPLES,
    SPLITS,
    Splits,
    feed,
    frame,
    make_hello,
    one_of,
    open_pair,
    payload_of,
)

PIECE = PieceIndex(3)
BY_KIND = {type(message): message for message in EXAMPLES}


def wire(message: Message) -> bytes:
    """A message as anybody could send it, legal or not."""
    return encode(message) + payload_of(message)


# --- a good conversation


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_a_piece_goes_from_one_to_the_other(split: Splits) -> None:
    pool = BufferPool()
    dialler, acceptor = open_pair(pool=pool)
    assert feed(dialler, acceptor.bitfield(b"\xe0"), split) == [BitfieldReceived(b"\xe0")]
    request, asked = dialler.request(PIECE, 10_000)
    assert feed(acceptor, asked, split) == [RequestReceived(request, PIECE)]
    piece = bytes(range(250)) * 40
    first = feed(dialler, acceptor.data_header(request, 0, 10_000, 6_000) + piece[:6_000], split)
    assert {type(event) for event in first} == {DataProgress}
    second = feed(dialler, acceptor.data_header(request, 6_000, 10_000, 4_000) + piece[6_000:], split)
    answered = second[-1]
    assert isinstance(answered, Answered)
    assert answered == Answered(request, PIECE, answered.buffer)
    assert answered.buffer == piece
    assert sum(e.received for e in first + second if isinstance(e, DataProgress)) == 10_000
    assert dialler.requests_open == 0
    pool.release(answered.buffer)
    assert pool.statistics().lent_bytes == 0


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_everything_small_is_heard(split: Splits) -> None:
    a, b = open_pair()
    stream = b"".join(
        (
            a.bitfield(b"\x80\x00"),
            a.send(Have((PieceIndex(1), PieceIndex(2)))),
            a.send(Interested(True)),
            a.send(Choke(False)),
            a.request_manifest()[1],
            a.request(PIECE, 5)[1],
            a.cancel(RequestId(1)),
            a.send(Ping(77)),
            a.send(BY_KIND[Peers]),
            a.send(Bye(ByeCode.FULL, "enough")),
        )
    )
    assert feed(b, stream, split) == [
        BitfieldReceived(b"\x80\x00"),
        HaveReceived((PieceIndex(1), PieceIndex(2))),
        InterestedReceived(True),
        ChokeReceived(False),
        RequestReceived(RequestId(0), None),
        RequestReceived(RequestId(1), PIECE),
        CancelReceived(RequestId(1)),
        PingReceived(77),
        PeersReceived(BY_KIND[Peers].peers),  # type: ignore[union-attr]
        ByeReceived(ByeCode.FULL, "enough"),
    ]
    # What was asked before the goodbye may still be answered, though nobody need listen.
    assert (
        one_of(feed(a, b.send(Pong(77)) + b.reject(RequestId(0), RejectCode.BUSY)), PongReceived).number == 77
    )


def test_the_acceptor_reads_the_hello_before_it_says_who_it_is() -> None:
    dialler, acceptor = Session(buffers=BufferPool()), Session(buffers=BufferPool())
    assert feed(acceptor, dialler.greet(make_hello(window=9))) == [HelloReceived(make_hello(window=9))]
    assert acceptor.remote == make_hello(window=9)
    assert acceptor.local is None
    assert acceptor.state is State.SILENT
    assert dialler.state is State.GREETED
    assert feed(dialler, acceptor.greet(make_hello(window=2))) == [HelloReceived(make_hello(window=2))]
    assert (dialler.state, acceptor.state) == (State.OPEN, State.OPEN)
    assert (dialler.window_left, acceptor.window_left) == (2, 9)


def test_an_acceptor_may_say_goodbye_instead_of_hello() -> None:
    dialler, acceptor = Session(buffers=BufferPool()), Session(buffers=BufferPool())
    feed(acceptor, dialler.greet(make_hello()))
    goodbye = acceptor.send(Bye(ByeCode.UNKNOWN_SHARE, "never heard of it"))
    assert feed(dialler, goodbye) == [ByeReceived(ByeCode.UNKNOWN_SHARE, "never heard of it")]
    with pytest.raises(LocalProtocolError):
        acceptor.greet(make_hello())


def test_another_version_is_refused_with_a_reason() -> None:
    dialler, acceptor = Session(buffers=BufferPool()), Session(buffers=BufferPool())
    with pytest.raises(WrongVersionError, match="version 2") as caught:
        feed(acceptor, dialler.greet(make_hello(version=2)))
    assert acceptor.remote is None
    goodbye = acceptor.send(Bye(caught.value.bye_code, str(caught.value)))
    assert one_of(feed(dialler, goodbye), ByeReceived).code is ByeCode.WRONG_VERSION


def test_the_reason_of_a_goodbye_is_cut_to_fit() -> None:
    a, b = open_pair()
    assert one_of(feed(b, a.send(Bye(ByeCode.PROTOCOL, "é" * 1000))), ByeReceived).reason == "é" * 100


def test_a_share_without_pieces_has_an_empty_bitfield() -> None:
    a, b = open_pair()
    assert feed(b, a.bitfield(b"") + a.send(Ping(1))) == [BitfieldReceived(b""), PingReceived(1)]


def test_unknown_kinds_change_nothing() -> None:
    a, b = open_pair()
    noise = frame({"kind": "hologram", "payload": 9000}, bytes(9000))
    request, asked = a.request(PIECE, 4)
    assert feed(b, noise + asked + noise) == [RequestReceived(request, PIECE)]
    data = b.data_header(request, 0, 4, 2) + b"ab" + noise + b.data_header(request, 2, 4, 2) + b"cd"
    assert one_of(feed(a, data), Answered).buffer == b"abcd"
    assert b.statistics().frames_unknown == 2


def test_a_manifest_is_as_long_as_the_first_data_says() -> None:
    a, b = open_pair()
    request, asked = a.request_manifest()
    feed(b, asked)
    data = b.data_header(request, 0, 5000, 3000) + bytes(3000) + b.data_header(request, 3000, 5000, 2000)
    assert one_of(feed(a, data + bytes(2000)), Answered) == Answered(request, None, memoryview(bytes(5000)))


def test_answers_may_come_in_any_order() -> None:
    a, b = open_pair()
    asked = [a.request(PieceIndex(i), 2) for i in range(3)]
    for _, bytes_ in asked:
        feed(b, bytes_)
    for request, _ in reversed(asked):
        answered = one_of(feed(a, b.data_header(request, 0, 2, 2) + b"ok"), Answered)
        assert answered.id == request


# --- who may say what in which state, written out once more here


SILENT, GREETED, OPEN, CLOSED = State.SILENT, State.GREETED, State.OPEN, State.CLOSED
TABLE: dict[type[Message], set[State]] = {
    Hello: {SILENT},
    Bye: {SILENT, GREETED, OPEN},
    Bitfield: {OPEN},
    Have: {OPEN},
    Interested: {OPEN},
    Choke: {OPEN},
    Request: {OPEN},
    RequestManifest: {OPEN},
    Data: {OPEN},
    Reject: {OPEN},
    Cancel: {OPEN},
    Ping: {OPEN},
    Pong: {OPEN},
    Peers: {OPEN},
    Announce: set(),
    Announced: set(),
}
PAIRS = [(state, kind) for state in State for kind in TABLE]


def hear(state: State) -> Session:
    """A session whose other side is in that state, and everything else ready for any message."""
    us = Session(buffers=BufferPool())
    if state is OPEN:
        us.greet(make_hello())
    if state in (GREETED, OPEN, CLOSED):
        feed(us, wire(make_hello()))
    if state is OPEN:
        us.request(PIECE, 8)
        us.send(Ping(1))
    if state is CLOSED:
        feed(us, wire(BY_KIND[Bye]))
    return us


@pytest.mark.parametrize(
    ("state", "kind"), PAIRS, ids=lambda x: x.value if isinstance(x, State) else x.__name__
)
def test_what_they_may_say_when(state: State, kind: type[Message]) -> None:
    us = hear(state)
    prelude = b""
    if state is OPEN and kind is Have:
        prelude = wire(BY_KIND[Bitfield])
    if state is OPEN and kind is Cancel:
        prelude = wire(BY_KIND[Request])
    feed(us, prelude)
    if state in TABLE[kind]:
        feed(us, wire(BY_KIND[kind]))
    else:
        with pytest.raises(
            RemoteProtocolError, match=f"{kind.__name__.lower()} is not allowed while {state.value}"
        ):
            feed(us, wire(BY_KIND[kind]))


def speak(session: Session, kind: type[Message]) -> object:
    """Say it, by whatever method is for it."""
    special: dict[type[Message], Callable[[], object]] = {
        Hello: lambda: session.greet(make_hello()),
        Bitfield: lambda: session.bitfield(b"\0"),
        Request: lambda: session.request(PIECE, 5),
        RequestManifest: session.request_manifest,
        Data: lambda: session.data_header(RequestId(0), 0, 8, 4),
        Reject: lambda: session.reject(RequestId(0), RejectCode.BUSY),
        Cancel: lambda: session.cancel(RequestId(0)),
    }
    return special.get(kind, lambda: session.send(BY_KIND[kind]))()


@pytest.mark.parametrize(
    ("state", "kind"), PAIRS, ids=lambda x: x.value if isinstance(x, State) else x.__name__
)
def test_what_we_may_say_when(state: State, kind: type[Message]) -> None:
    us = Session(buffers=BufferPool())
    if state is not SILENT:
        us.greet(make_hello())
    if state is OPEN:
        feed(us, wire(make_hello()))
        if kind is Have:
            us.bitfield(b"")
        if kind is Cancel:
            us.request(PIECE, 5)
        feed(us, wire(Ping(1)) + wire(BY_KIND[Request]))
    if state is CLOSED:
        us.send(BY_KIND[Bye])
    assert us.state is state
    if state in TABLE[kind]:
        speak(us, kind)
    else:
        before = us.statistics()
        with pytest.raises(LocalProtocolError):
            speak(us, kind)
        assert us.statistics() == before
    us.check_invariants()


@pytest.mark.parametrize(
    "kind", [Hello, Bitfield, Request, RequestManifest, Data, Reject, Cancel, Announce, Announced]
)
def test_what_needs_bookkeeping_does_not_go_through_send(kind: type[Message]) -> None:
    a, _ = open_pair()
    with pytest.raises(LocalProtocolError):
        a.send(BY_KIND[kind])


# --- what the other side must not do while open


def asked_session() -> tuple[Session, RequestId]:
    """A session with one open request for a piece of 8 bytes and a manifest of at most 100."""
    us = Session(buffers=BufferPool(), manifest_bytes_max=100)
    us.greet(make_hello(window=2))
    feed(us, wire(make_hello()))
    return us, us.request(PIECE, 8)[0]


def data(offset: int, total: int, payload: bytes, request: int = 0) -> bytes:
    return encode(Data(RequestId(request), offset, total, len(payload))) + payload


R0, R1 = RequestId(0), RequestId(1)
VIOLATIONS: dict[str, tuple[bytes, str]] = {
    "data that nobody asked for": (data(0, 8, b"x", request=1), "request 1 is not open"),
    "data after its answer is complete": (
        data(0, 8, bytes(8)) + data(0, 8, bytes(8)),
        "request 0 is not open",
    ),
    "data after a reject": (
        wire(Reject(R0, RejectCode.BUSY)) + data(0, 8, bytes(8)),
        "request 0 is not open",
    ),
    "a total that is not the piece's length": (data(0, 9, b"x"), "9 bytes in total where 8"),
    "a total that changes": (data(0, 8, b"x") + data(1, 7, b"x"), "7 bytes in total where 8"),
    "data from the middle": (data(4, 8, b"x"), "offset 4 where 0"),
    "data with a gap": (data(0, 8, b"xx") + data(3, 8, b"x"), "offset 3 where 2"),
    "data twice": (data(0, 8, b"xx") + data(0, 8, b"xx"), "offset 0 where 2"),
    "data beyond the end": (data(0, 8, bytes(5)) + data(5, 8, bytes(4)), "offset 9 of 8"),
    "data without bytes": (
        frame({"kind": "data", "id": 0, "offset": 0, "total": 8, "payload": 0}),
        "data.payload is not an integer from 1",
    ),
    "a reject of nothing": (wire(Reject(R1, RejectCode.BUSY)), "request 1 is not open"),
    "a reject twice": (wire(Reject(R0, RejectCode.BUSY)) * 2, "request 0 is not open"),
    "more requests than our window": (
        b"".join(wire(Request(RequestId(i), PIECE)) for i in range(3)),
        "2 requests are open, which is the whole window",
    ),
    "a manifest request beyond the window": (
        b"".join(wire(RequestManifest(RequestId(i))) for i in range(3)),
        "2 requests are open, which is the whole window",
    ),
    "a cancel does not free a slot": (
        wire(Request(R0, PIECE))
        + wire(Request(R1, PIECE))
        + wire(Cancel(R0))
        + wire(Request(RequestId(2), PIECE)),
        "2 requests are open, which is the whole window",
    ),
    "a request id twice": (wire(Request(R0, PIECE)) * 2, "request id 0 is not above"),
    "a request id that goes back": (
        wire(Request(R1, PIECE)) + wire(RequestManifest(R0)),
        "request id 0 is not above",
    ),
    "a cancel of nothing": (wire(Cancel(R0)), "request 0 was never made"),
    "a cancel twice": (wire(Request(R0, PIECE)) + wire(Cancel(R0)) * 2, "request 0 is cancelled twice"),
    "a bitfield twice": (wire(Bitfield(2)) * 2, "a second bitfield"),
    "an empty bitfield twice": (wire(Bitfield(0)) * 2, "a second bitfield"),
    "a have before the bitfield": (wire(BY_KIND[Have]), "a have before the bitfield"),
    "a pong to no ping": (wire(Pong(1)), "a pong that does not answer"),
    "a flood of pings": (
        b"".join(wire(Ping(i)) for i in range(PINGS_OPEN_MAX + 1)),
        f"{PINGS_OPEN_MAX} pings are open already",
    ),
    "a second hello": (wire(make_hello()), "hello is not allowed while open"),
    "something after goodbye": (wire(BY_KIND[Bye]) + wire(Ping(1)), "ping is not allowed while closed"),
    "an unknown message after goodbye is still nonsense": (
        wire(BY_KIND[Bye]) + b"\0\0\0\1\xc0",
        "a header is not a map",
    ),
    "no frame": (b"GET / HTTP/1.1\r\n\r\n", "a header of 1195725856 bytes"),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str, split: Splits) -> None:
    us, _ = asked_session()
    stream, text = VIOLATIONS[name]
    with pytest.raises(RemoteProtocolError, match=text):
        feed(us, stream, split)
    us.check_invariants()
    # It stays broken, but a goodbye can be said.
    with pytest.raises(RemoteProtocolError, match=text):
        us.get_buffer()
    with pytest.raises(RemoteProtocolError, match=text):
        us.eof()
    us.send(Bye(ByeCode.PROTOCOL, text))


def test_answers_do_not_interleave() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 8)
    stream = data(0, 8, b"x", first) + data(0, 8, b"x", second)
    with pytest.raises(RemoteProtocolError, match="request 1 in the middle of the answer to 0"):
        feed(us, stream)


def test_another_answer_may_begin_after_a_reject_in_the_middle() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 2)
    stream = data(0, 8, b"x", first) + wire(Reject(first, RejectCode.UNREADABLE)) + data(0, 2, b"ok", second)
    events = feed(us, stream)
    assert one_of(events, Rejected) == Rejected(first, PIECE, RejectCode.UNREADABLE)
    assert one_of(events, Answered).buffer == b"ok"


def test_other_requests_may_be_rejected_in_the_middle_of_an_answer() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 8)
    reject = wire(Reject(second, RejectCode.CHOKED))
    stream = data(0, 8, b"12", first) + reject + data(2, 8, b"345678", first)
    events = feed(us, stream)
    assert one_of(events, Rejected).id == second
    assert one_of(events, Answered).buffer == b"12345678"


@pytest.mark.parametrize("total", [101, 2**25])
def test_a_manifest_may_not_be_endless(total: int) -> None:
    us, _ = asked_session()
    us.request_manifest()
    with pytest.raises(RemoteProtocolError, match=f"a manifest of {total} bytes is too long"):
        feed(us, data(0, total, b"x", request=1))


def test_events_before_a_violation_are_not_lost() -> None:
    us, _ = asked_session()
    stream = wire(Ping(1)) + data(0, 8, b"12345678") + wire(Pong(9)) + wire(Ping(2))
    buffer = us.get_buffer()
    buffer[: len(stream)] = stream
    events = us.buffer_updated(len(stream))
    assert [type(event) for event in events] == [PingReceived, DataProgress, Answered]
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="pong"):
            us.get_buffer()
    with pytest.raises(RemoteProtocolError, match="pong"):
        us.buffer_updated(0)


def test_pongs_come_in_order() -> None:
    a, b = open_pair()
    feed(b, a.send(Ping(5)) + a.send(Ping(6)))
    with pytest.raises(LocalProtocolError):
        b.send(Pong(6))
    assert feed(a, b.send(Pong(5)) + b.send(Pong(6))) == [PongReceived(5), PongReceived(6)]


# --- windows and cancels


def test_the_window_counts_what_is_open_and_what_is_cancelled() -> None:
    a, b = open_pair(window=2)
    first, asked = a.request(PIECE, 5)
    feed(b, asked)
    assert (a.window_left, a.requests_open) == (1, 1)
    second, asked = a.request_manifest()
    feed(b, asked + a.cancel(first))
    assert a.window_left == 0, "a cancelled request keeps its slot"
    with pytest.raises(LocalProtocolError, match="whole window"):
        a.request(PIECE, 5)
    assert feed(a, b.reject(first, RejectCode.CANCELLED)) == [
        Rejected(first, PIECE, RejectCode.CANCELLED, cancelled=True)
    ]
    assert a.window_left == 1
    feed(a, b.data_header(second, 0, 1, 1) + b"m")
    assert a.window_left == 2


def test_we_use_no_more_than_our_own_maximum_of_a_large_window() -> None:
    us = Session(buffers=BufferPool())
    us.greet(make_hello(window=WINDOW_MAX))
    feed(us, wire(make_hello(window=60_000)))
    assert us.window_left == WINDOW_MAX
    with pytest.raises(LocalProtocolError):
        Session(buffers=BufferPool()).greet(make_hello(window=WINDOW_MAX + 1))


def test_a_cancel_that_crosses_the_answer_is_nothing() -> None:
    a, b = open_pair()
    request, asked = a.request(PIECE, 2)
    feed(b, asked)
    answer = b.data_header(request, 0, 2, 2) + b"ok"
    cancel = a.cancel(request)
    assert one_of(feed(a, answer), Answered) == Answered(request, PIECE, memoryview(b""), cancelled=True)
    assert feed(b, cancel) == []
    assert a.cancel(request) == b"", "and a cancel of what has come is no message at all"


def test_cancelling_what_was_never_asked_or_twice_is_our_bug() -> None:
    a, _ = open_pair()
    with pytest.raises(LocalProtocolError, match="never made"):
        a.cancel(RequestId(0))
    request, _ = a.request(PIECE, 2)
    a.cancel(request)
    with pytest.raises(LocalProtocolError, match="twice"):
        a.cancel(request)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_data_of_a_cancelled_request_is_dropped_and_counted(split: Splits) -> None:
    pool = BufferPool()
    a, b = open_pair(pool=pool)
    request, asked = a.request(PIECE, 9000)
    feed(b, asked)
    feed(a, b.data_header(request, 0, 9000, 10) + bytes(10))
    assert pool.statistics().lent_bytes > 0
    a.cancel(request)
    assert pool.statistics().lent_bytes == 0, "nothing holds memory for it any more"
    events = feed(a, b.data_header(request, 10, 9000, 8990) + bytes(8990), split)
    assert events[-1] == Answered(request, PIECE, memoryview(b""), cancelled=True)
    progress = [event for event in events if isinstance(event, DataProgress)]
    assert all(event.cancelled for event in progress)
    assert sum(event.received for event in progress) == 8990
    assert a.statistics().data_dropped == 8990
    assert a.statistics().data_received == 9000


def test_cancelling_while_its_bytes_arrive_leaves_the_memory_alone() -> None:
    """The stream may be receiving into it right now: lent to another link, it would get this peer's bytes."""
    pool = BufferPool()
    a, b = open_pair(pool=pool)
    request, asked = a.request(PIECE, 9000)
    feed(b, asked)
    feed(a, b.data_header(request, 0, 9000, 8000) + bytes(5000))
    held = a.get_buffer()
    a.cancel(request)
    other = pool.acquire(9000)
    assert other.obj is not held.obj
    held[:] = b"\xff" * len(held)
    assert set(other) == {0}
    assert a.buffer_updated(len(held)) == [DataProgress(request, PIECE, 3000, cancelled=True)]
    pool.release(other)
    assert pool.statistics().lent_bytes == 0


def test_rejecting_in_the_middle_gives_the_memory_back() -> None:
    pool = BufferPool()
    a, b = open_pair(pool=pool)
    request, asked = a.request(PIECE, 9000)
    feed(b, asked)
    feed(a, b.data_header(request, 0, 9000, 10) + bytes(10) + b.reject(request, RejectCode.UNREADABLE))
    assert pool.statistics().lent_bytes == 0
    assert a.requests_open == 0


# --- what we must not do ourselves


def answerable() -> tuple[Session, RequestId, RequestId]:
    a, b = open_pair()
    first, asked = a.request(PIECE, 100)
    second, also_asked = a.request(PieceIndex(4), 100)
    feed(b, asked + also_asked)
    return b, first, second


@pytest.mark.parametrize(
    ("offset", "total", "payload"),
    [(1, 100, 5), (0, 100, 0), (0, 100, 101), (0, 100, -1), (-1, 100, 5), (0, 0, 5)],
)
def test_we_answer_in_order_and_within_bounds(offset: int, total: int, payload: int) -> None:
    b, first, _ = answerable()
    before = b.statistics()
    with pytest.raises(LocalProtocolError):
        b.data_header(first, offset, total, payload)
    assert b.statistics() == before
    b.data_header(first, 0, 100, 100)


def test_we_finish_one_answer_before_the_next() -> None:
    b, first, second = answerable()
    b.data_header(first, 0, 100, 50)
    with pytest.raises(LocalProtocolError, match="in the middle"):
        b.data_header(second, 0, 100, 50)
    b.reject(first, RejectCode.UNREADABLE)
    b.data_header(second, 0, 100, 100)
    for request in (first, second):
        with pytest.raises(LocalProtocolError, match="not open"):
            b.data_header(request, 0, 100, 50)
        with pytest.raises(LocalProtocolError, match="not open"):
            b.reject(request, RejectCode.BUSY)


@pytest.mark.parametrize("length", [0, -1, PIECE_BYTES_MAX + 1])
def test_we_ask_for_no_impossible_piece(length: int) -> None:
    a, _ = open_pair()
    with pytest.raises(LocalProtocolError):
        a.request(PIECE, length)


def test_we_do_not_flood_with_pings() -> None:
    a, _ = open_pair()
    for number in range(PINGS_OPEN_MAX):
        a.send(Ping(number))
    with pytest.raises(LocalProtocolError):
        a.send(Ping(99))


# --- the end


def test_an_end_between_frames_is_clean_and_inside_one_is_not() -> None:
    a, b = open_pair()
    b.eof()
    _, other = open_pair()
    feed(other, a.send(Ping(1))[:-1])
    with pytest.raises(ConnectionLost):
        other.eof()


def test_closing_gives_all_memory_back() -> None:
    pool = BufferPool()
    a, b = open_pair(pool=pool)
    request, asked = a.request(PIECE, 9000)
    feed(b, asked)
    feed(a, b.data_header(request, 0, 9000, 9000) + bytes(100))
    assert pool.statistics().lent_bytes > 0
    a.close()
    a.close()
    a.check_invariants()
    assert pool.statistics().lent_bytes == 0
    for use in (lambda: a.send(Ping(1)), a.get_buffer, lambda: a.buffer_updated(1), a.eof):
        with pytest.raises(LocalProtocolError):
            use()


def test_statistics_add_up() -> None:
    a, b = open_pair()
    request, asked = a.request(PIECE, 20_000)
    feed(b, asked)
    feed(a, b.data_header(request, 0, 20_000, 20_000) + bytes(20_000))
    ours, theirs = a.statistics(), b.statistics()
    assert ours.bytes_sent == theirs.bytes_received
    assert theirs.bytes_sent == ours.bytes_received
    assert ours.frames_sent == theirs.frames_received == 2
    assert theirs.data_sent == ours.data_received == 20_000
    assert ours.data_dropped == 0


def test_little_payload_is_read_early() -> None:
    """Bulk must arrive in its own memory: what is slurped with the header is at most one small read."""
    a, b = open_pair()
    request, asked = a.request(PIECE, 2**20)
    feed(b, asked)
    header = b.data_header(request, 0, 2**20, 2**20)
    buffer = a.get_buffer()
    assert len(buffer) <= FRAME_READ_BYTES
    buffer[: len(header)] = header
    assert a.buffer_updated(len(header)) == []
    assert len(a.get_buffer()) == 2**20
