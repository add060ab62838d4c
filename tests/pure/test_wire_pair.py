"""Two honest sessions over a link that delays and cuts: whatever their owners try, nobody is ever blamed.

The owners do anything at any time, in any order. What their session refuses (LocalProtocolError) has no
effect; what it lets them send, the other session must accept, however the two directions cross: that the
rules can be kept without knowing what is on its way is the point of the protocol. Answers carry bytes that
tell which request they belong to, so bytes in a wrong place would be seen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.buffers import BufferPool
from peer.errors import ByeCode, LocalProtocolError, RejectCode
from peer.ids import PieceIndex, RequestId
from peer.wire.messages import Bye, Choke, Have, Interested, Ping, Pong
from peer.wire.session import (
    Answered,
    ByeReceived,
    DataProgress,
    Event,
    PingReceived,
    Rejected,
    RequestReceived,
    Session,
    State,
)
from tests.pure.wire_helpers import make_hello

MANIFEST_BYTES = 9_000


def body(request: RequestId, offset: int, count: int) -> bytes:
    """Bytes of an answer: every place of every answer is different from its neighbours."""
    return bytes((place * 7 + request * 31) % 251 for place in range(offset, offset + count))


@dataclass
class End:
    """One side: its session, what it knows, and what is on its way to it."""

    name: str
    session: Session
    incoming: bytearray = field(default_factory=bytearray)
    held: memoryview | None = None  # where the stream would be receiving at this moment
    asked: dict[RequestId, int] = field(default_factory=dict)
    received: dict[RequestId, int] = field(default_factory=dict)
    cancelled: set[RequestId] = field(default_factory=set)
    owed: dict[RequestId, list[int]] = field(default_factory=dict)  # total, done
    pings: list[int] = field(default_factory=list)
    left: bool = False  # heard a goodbye


sides = st.sampled_from((0, 1))


class Pair(RuleBasedStateMachine):
    @initialize(windows=st.tuples(st.integers(1, 4), st.integers(1, 4)), opened=st.sampled_from((1, 1, 1, 0)))
    def connect(self, windows: tuple[int, int], opened: int) -> None:
        self.pool = BufferPool(kept_bytes_max=100_000)
        self.windows = windows
        self.ends = [End(name, Session(buffers=self.pool)) for name in ("dialler", "acceptor")]
        self.ends[1].incoming += self.ends[0].session.greet(make_hello(windows[0]))
        if opened:
            self.deliver(1, 1000)
            self.answer_the_greeting()
            self.deliver(0, 1000)

    @contextmanager
    def saying(self, side: int) -> Iterator[Callable[[bytes], None]]:
        """Try to send something; a refusal must leave no trace."""
        before = self.ends[side].session.statistics()
        try:
            yield self.ends[1 - side].incoming.extend
        except LocalProtocolError:
            assert self.ends[side].session.statistics() == before

    # --- what owners do

    @rule()
    def answer_the_greeting(self) -> None:
        if self.ends[1].session.remote is not None:
            with self.saying(1) as send:
                send(self.ends[1].session.greet(make_hello(self.windows[1])))

    @rule(side=sides, number=st.integers(0, 3), on=st.booleans())
    def chatter(self, side: int, number: int, on: bool) -> None:
        session = self.ends[side].session
        for message in (Interested(on), Choke(on), Have((PieceIndex(number),)), Ping(number)):
            with self.saying(side) as send:
                send(session.send(message))

    @rule(side=sides, size=st.integers(0, 5000))
    def tell_pieces(self, side: int, size: int) -> None:
        with self.saying(side) as send:
            send(self.ends[side].session.bitfield(bytes(size)))

    @rule(side=sides)
    def pong(self, side: int) -> None:
        end = self.ends[side]
        if end.pings:
            with self.saying(side) as send:
                send(end.session.send(Pong(end.pings[0])))
                end.pings.pop(0)

    @rule(side=sides, size=st.integers(1, 300) | st.integers(1, 20_000))
    def ask(self, side: int, size: int) -> None:
        end = self.ends[side]
        for _ in range(2):
            with self.saying(side) as send:
                request, frame = end.session.request(PieceIndex(size), size)
                end.asked[request] = size
                send(frame)

    @rule(side=sides)
    def ask_for_the_manifest(self, side: int) -> None:
        end = self.ends[side]
        with self.saying(side) as send:
            request, frame = end.session.request_manifest()
            end.asked[request] = MANIFEST_BYTES
            send(frame)

    @rule(side=sides, back=st.integers(0, 4))
    def cancel(self, side: int, back: int) -> None:
        end = self.ends[side]
        request = RequestId(max(end.asked, default=0) - back)
        with self.saying(side) as send:
            send(end.session.cancel(request))
            if request in end.asked:
                end.cancelled.add(request)

    @rule(side=sides, which=st.integers(0, 3), share=st.sampled_from((0.0, 0.3, 0.9, 1.0)))
    def answer_some(self, side: int, which: int, share: float) -> None:
        end = self.ends[side]
        if not end.owed:
            return
        request = list(end.owed)[which % len(end.owed)]
        total, done = end.owed[request]
        count = max(1, round((total - done) * share))
        with self.saying(side) as send:
            send(end.session.data_header(request, done, total, count) + body(request, done, count))
            end.owed[request][1] += count
            if done + count == total:
                del end.owed[request]

    @rule(side=sides)
    def answer_all(self, side: int) -> None:
        for _ in range(len(self.ends[side].owed)):
            self.answer_some(side, 0, 1.0)
        self.deliver(1 - side, 10**6)

    @rule(side=sides, which=st.integers(0, 3), code=st.sampled_from(RejectCode))
    def reject(self, side: int, which: int, code: RejectCode) -> None:
        end = self.ends[side]
        if end.owed:
            request = list(end.owed)[which % len(end.owed)]
            with self.saying(side) as send:
                send(end.session.reject(request, code))
                del end.owed[request]

    @precondition(lambda self: self.ends[0].session.statistics().frames_sent > 25)
    @rule(side=sides)
    def leave(self, side: int) -> None:
        with self.saying(side) as send:
            send(self.ends[side].session.send(Bye(ByeCode.GOODBYE)))

    # --- what the network does

    @rule(side=sides, limit=st.sampled_from((1, 3, 40, 1000, 10**6)))
    def deliver(self, side: int, limit: int) -> None:
        end = self.ends[side]
        if end.left:
            end.incoming.clear()
            return
        buffer = end.session.get_buffer() if end.held is None else end.held
        count = min(limit, len(end.incoming), len(buffer))
        if count:
            buffer[:count] = end.incoming[:count]
            del end.incoming[:count]
            for event in end.session.buffer_updated(count):
                self.heard(end, event)
        end.held = end.session.get_buffer()
        assert len(end.held) > 0

    @rule()
    def deliver_everything(self) -> None:
        for side in (0, 1):
            while self.ends[side].incoming:
                self.deliver(side, 10**6)

    def heard(self, end: End, event: Event) -> None:
        other = self.ends[1 - self.ends.index(end)]
        match event:
            case RequestReceived(request, _):
                end.owed[request] = [other.asked[request], 0]
            case DataProgress(request, _, received, cancelled):
                assert cancelled == (request in end.cancelled)
                end.received[request] = end.received.get(request, 0) + received
            case Answered(request, _, buffer, cancelled):
                size = end.asked.pop(request)
                assert end.received[request] == size
                assert cancelled == (request in end.cancelled)
                assert buffer == (b"" if cancelled else body(request, 0, size))
                self.pool.release(buffer)
            case Rejected(request, _, _, cancelled):
                assert cancelled == (request in end.cancelled)
                del end.asked[request]
            case PingReceived(number):
                end.pings.append(number)
            case ByeReceived():
                end.left = True
            case _:
                pass

    @invariant()
    def books_balance(self) -> None:
        for end in getattr(self, "ends", ()):
            end.session.check_invariants()
            assert end.session.requests_open == len(end.asked)
            if end.held is not None:
                # Lent out a second time it would be filled by two streams.
                assert not self.pool._is_kept(end.held.obj)
        if hasattr(self, "pool"):
            self.pool.check_invariants()
            assert self.pool.statistics().lent_bytes <= 2 * 32_768, (
                "more than one answer's memory a connection"
            )

    def teardown(self) -> None:
        """Everything asked is answered in the end, and all memory comes home."""
        if not hasattr(self, "ends"):
            return
        for _ in range(3):
            for side in (0, 1):
                while self.ends[side].incoming:
                    self.deliver(side, 10**6)
                for request in list(self.ends[side].owed):
                    if self.ends[side].session.state is State.OPEN:
                        self.ends[1 - side].incoming += self.ends[side].session.reject(
                            request, RejectCode.BUSY
                        )
                        del self.ends[side].owed[request]
        if all(end.session.state is State.OPEN for end in self.ends):
            assert not any(end.asked for end in self.ends)
        for end in self.ends:
            end.session.close()
        assert self.pool.statistics().lent_bytes == 0


Pair.TestCase.settings = settings(stateful_step_count=60)
TestPair = Pair.TestCase
