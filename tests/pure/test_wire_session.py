"""Two sessions and a link between them."""

from peer.buffers import BufferPool
from peer.errors import ByeCode
from peer.ids import NodeId, PieceIndex, ShareId
from peer.wire.messages import Bye, Hello
from peer.wire.session import (
    Answered,
    BitfieldReceived,
    ByeReceived,
    DataProgress,
    Event,
    HelloReceived,
    RequestReceived,
    Session,
)


def hello(name: str, window: int = 4) -> Hello:
    return Hello(1, ShareId(bytes(32)), NodeId(name.encode().ljust(32)), window, 7701, name)


def feed(session: Session, data: bytes) -> list[Event]:
    events: list[Event] = []
    while data:
        buffer = session.get_buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        events += session.buffer_updated(count)
        session.check_invariants()
    return events


def test_a_piece_goes_from_one_to_the_other() -> None:
    pool = BufferPool()
    dialler, acceptor = Session(buffers=pool), Session(buffers=pool)
    assert feed(acceptor, dialler.greet(hello("a"))) == [HelloReceived(hello("a"))]
    assert feed(dialler, acceptor.greet(hello("b"))) == [HelloReceived(hello("b"))]
    assert feed(dialler, acceptor.bitfield(b"\xe0")) == [BitfieldReceived(b"\xe0")]
    request, frame = dialler.request(PieceIndex(2), 10_000)
    assert feed(acceptor, frame) == [RequestReceived(request, PieceIndex(2))]
    piece = bytes(range(250)) * 40
    first = feed(dialler, acceptor.data_header(request, 0, 10_000, 6_000) + piece[:6_000])
    assert all(isinstance(event, DataProgress) for event in first)
    *_, answered = feed(dialler, acceptor.data_header(request, 6_000, 10_000, 4_000) + piece[6_000:])
    assert isinstance(answered, Answered)
    assert answered.buffer == piece
    pool.release(answered.buffer)
    goodbye = dialler.bitfield(b"\0") + dialler.send(Bye(ByeCode.GOODBYE, "x" * 1000))
    assert feed(acceptor, goodbye) == [BitfieldReceived(b"\0"), ByeReceived(ByeCode.GOODBYE, "x" * 200)]
    assert pool.statistics().lent_bytes == 0
