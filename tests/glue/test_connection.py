"""When a connection is given up, and when not: keep-alive on links that are slow one way."""

from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from peer.buffers import BufferPool
from peer.connection import Connection, Ending, Outgoing
from peer.errors import ByeCode
from peer.ids import Address, RequestId
from peer.limits import CHUNK_BYTES_MAX, IDLE_S, KEEPALIVE_S, LINK_TICK_S, OPENING_S, TAKING_BYTES_PER_S
from peer.sim.network import open_network
from peer.wire.events import Answered, DataProgress, Event, PingReceived, RequestReceived
from peer.wire.messages import Pong
from peer.wire.session import Session
from tests.pure.wire_helpers import make_hello

PORT = 7701


@dataclass
class End:
    """A connection's handler that answers pings, and a request for a manifest with so many bytes at once."""

    manifest_bytes: int = 0
    connection: Connection = field(init=False)
    outgoing: Outgoing | None = None
    answered_at: float | None = None
    ending: Ending | None = None

    def handle(self, event: Event) -> None:
        match event:
            case PingReceived():
                self.connection.send(Pong(event.number))
            case RequestReceived():
                body = memoryview(bytes(self.manifest_bytes))
                self.outgoing = Outgoing(event.id, None, 0, len(body), len(body), body)
                self.connection.wake()
            case Answered():
                self.answered_at = trio.current_time()
            case _:
                assert not isinstance(event, DataProgress) or event.received

    def gather(self) -> None:
        pass

    def next_outgoing(self) -> Outgoing | None:
        outgoing, self.outgoing = self.outgoing, None
        return outgoing

    def sent(self, outgoing: Outgoing) -> None:
        assert outgoing.request == RequestId(0)

    def unreadable(self, outgoing: Outgoing, error: OSError | EOFError) -> None:
        raise AssertionError(error)

    def room(self, received: int) -> int | None:
        return None

    async def wait_room(self) -> int | None:
        raise AssertionError("there is room")

    async def run(self) -> None:
        self.ending = await self.connection.run(self)


async def tick(*ends: End) -> None:
    while True:
        await trio.sleep(LINK_TICK_S)
        for end in ends:
            end.connection.tick(trio.current_time())


async def deliver(count: int, rate: float, *, reads: bool = True) -> tuple[End, End]:
    """Ask for so many bytes, which go as one chunk to whom the network takes so many bytes a second."""
    giver, taker = End(count), End()
    async with open_network() as network, trio.open_nursery() as nursery:
        near, far = network.add_host("giver"), network.add_host("taker")
        (listener,) = await near.transport().listen(None, PORT)
        dialled = await far.transport().dial(Address(near.address, PORT))
        accepted = await listener.accept()
        sessions = Session(buffers=BufferPool()), Session(buffers=BufferPool())
        hellos = [session.greet(make_hello()) for session in sessions]
        for session, hello in zip(sessions, reversed(hellos), strict=True):
            session.get_buffer()[: len(hello)] = hello
            session.buffer_updated(len(hello))
        giver.connection = Connection(accepted, sessions[0])
        taker.connection = Connection(dialled, sessions[1])
        far.shape(up=None, down=rate, latency=0.01)
        nursery.start_soon(tick, giver, taker)
        nursery.start_soon(giver.run)
        taker.connection.queue(taker.connection.session.request_manifest()[1])
        if reads:
            nursery.start_soon(taker.run)
        else:
            await dialled.send_all(taker.connection._take_outbox(taker))
        with trio.move_on_after(count / rate + 2 * IDLE_S + count / TAKING_BYTES_PER_S):
            while taker.answered_at is None and giver.ending is None:  # noqa: ASYNC110
                await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return giver, taker


async def test_who_receives_for_longer_than_the_others_patience_says_that_it_is_there(
    autojump_clock: MockClock,
) -> None:
    """It pinged only where it heard nothing. A piece that took two minutes cost the link, each time."""
    giver, taker = await deliver(16 * 1024 * 10, 1000)
    assert taker.answered_at is not None
    assert taker.answered_at > IDLE_S
    assert giver.ending is None
    assert taker.connection._pings >= IDLE_S // KEEPALIVE_S


async def test_a_link_that_turns_slow_within_one_chunk_is_not_taken_for_gone(
    autojump_clock: MockClock,
) -> None:
    """The chunk was chosen for a fast link; it counted as taking nothing after two minutes."""
    giver, taker = await deliver(CHUNK_BYTES_MAX, 4000)
    assert taker.answered_at is not None
    assert taker.answered_at > 2 * IDLE_S
    assert giver.ending is None


async def test_who_is_silent_and_takes_nothing_is_gone(autojump_clock: MockClock) -> None:
    giver, _ = await deliver(CHUNK_BYTES_MAX, 1000, reads=False)
    assert giver.ending is not None
    assert giver.ending.code is ByeCode.IDLE
    assert trio.current_time() < IDLE_S + OPENING_S
