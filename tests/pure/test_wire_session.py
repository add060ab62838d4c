"""One conversation after the other: what two sides may do, and what we must not do ourselves."""

import pytest

from peer.buffers import BufferPool
from peer.errors import ByeCode, ConnectionLost, LocalProtocolError, RejectCode, WrongVersionError
from peer.ids import PieceIndex, RequestId
from peer.limits import FRAME_READ_BYTES, PIECE_BYTES_MAX, PINGS_OPEN_MAX, WINDOW_MAX
from peer.wire.messages import Bye, Choke, Have, Interested, Peers, Ping, Pong
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
    BY_KIND,
    PIECE,
    SPLITS,
    Splits,
    feed,
    frame,
    make_hello,
    one_of,
    open_pair,
    wire,
)

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
