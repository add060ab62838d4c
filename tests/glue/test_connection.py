"""When a connection is given up, and when not: keep-alive on links that are slow one way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer.buffers import BufferPool
from peer.connection import Connection, Ending, Outgoing
from peer.errors import ByeCode
from peer.ids import Address, RequestId
from peer.limits import (
    CHUNK_BYTES_MAX,
    FRAME_S,
    GOODBYE_GRACE_S,
    IDLE_S,
    KEEPALIVE_S,
    LINK_TICK_S,
    OPENING_S,
    OUTBOX_BYTES_MAX,
    PINGS_OPEN_MAX,
    PROBE_AFTER_S,
    TAKING_BYTES_PER_S,
)
from peer.net.transport import Stream
from peer.sim.network import open_network
from peer.wire.events import Answered, DataProgress, Event, PingReceived, RequestReceived
from peer.wire.messages import Interested, Pong
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
    room_at: float = 0.0

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
        return None if trio.current_time() >= self.room_at else 0

    async def wait_room(self) -> int | None:
        assert trio.current_time() < self.room_at, "there is room"
        await trio.sleep_until(self.room_at)
        return None

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


@asynccontextmanager
async def facing() -> AsyncIterator[tuple[End, Stream, Session]]:
    """A running connection, and the other side's bare stream and session. Both have greeted."""
    end = End()
    async with open_network() as network, trio.open_nursery() as nursery:
        near, far = network.add_host("near"), network.add_host("far")
        (listener,) = await near.transport().listen(None, PORT)
        stream = await far.transport().dial(Address(near.address, PORT))
        ours, theirs = Session(buffers=BufferPool()), Session(buffers=BufferPool())
        hellos = ours.greet(make_hello()), theirs.greet(make_hello())
        for session, hello in ((ours, hellos[1]), (theirs, hellos[0])):
            session.get_buffer()[: len(hello)] = hello
            session.buffer_updated(len(hello))
        end.connection = Connection(await listener.accept(), ours)
        nursery.start_soon(tick, end)
        nursery.start_soon(end.run)
        await wait_all_tasks_blocked()
        yield end, stream, theirs
        nursery.cancel_scope.cancel()


async def ended(end: End, within_s: float) -> Ending:
    with trio.fail_after(within_s):
        while end.ending is None:  # noqa: ASYNC110
            await trio.sleep(0.1)
    return end.ending


@pytest.mark.parametrize("room_after", [0.0, FRAME_S / 2])
async def test_half_a_message_is_not_waited_for(room_after: float, autojump_clock: MockClock) -> None:
    """A header that never ends costs no bytes, so it is not idle for long enough to be noticed otherwise.
    What we had no room for ourselves does not count."""
    async with facing() as (end, stream, session):
        frame = session.send(Interested(True))
        await stream.send_all(frame[:-2])
        await trio.sleep(1)
        begun = trio.current_time()
        end.room_at = begun + room_after
        await stream.send_all(frame[-2:-1])
        ending = await ended(end, FRAME_S + room_after + 4 * LINK_TICK_S)
        assert trio.current_time() - begun > FRAME_S + room_after - 2
        assert ending.code is ByeCode.TOO_SLOW
        assert ending.reason.startswith("half a message")
        assert not ending.fault


@pytest.mark.parametrize("pause", [0.0, 1.0])
async def test_each_message_has_its_own_time(pause: float, autojump_clock: MockClock) -> None:
    """Where each read brought the end of one message and the beginning of the next, all of them together had
    the time of one: who tells of its pieces now and then was sent away after half a minute."""
    async with facing() as (end, stream, session):
        frames = [session.send(Interested(number % 2 == 0)) for number in range(4)]
        await stream.send_all(frames[0][:-1])
        for before, after in pairwise(frames):
            await trio.sleep(FRAME_S / 2)
            if pause:
                await stream.send_all(before[-1:])
                await trio.sleep(pause)
                await stream.send_all(after[:-1])
            else:
                await stream.send_all(before[-1:] + after[:-1])
        await trio.sleep(FRAME_S / 2)
        await stream.send_all(frames[-1][-1:])
        await trio.sleep(FRAME_S + 2 * LINK_TICK_S)
        assert end.ending is None


async def test_who_waits_for_our_room_is_not_silent(autojump_clock: MockClock) -> None:
    async with facing() as (end, stream, session):
        end.room_at = trio.current_time() + 2 * IDLE_S
        await stream.send_all(session.send(Interested(True)))
        await trio.sleep(1)  # read, and then there is no room
        begun = trio.current_time()
        await stream.send_all(session.send(Interested(False)))
        await trio.sleep_until(end.room_at + IDLE_S - 2 * LINK_TICK_S)
        assert end.ending is None
        ending = await ended(end, 5 * LINK_TICK_S)
        assert ending.code is ByeCode.IDLE
        assert trio.current_time() > begun + 3 * IDLE_S - 3 * LINK_TICK_S


async def test_who_waits_for_our_room_hears_of_us_while_pings_last(autojump_clock: MockClock) -> None:
    """Nobody reads the pong to a probe then, and a few probes used up the pings that were to tell the other
    side that we are there: it took us for gone two minutes sooner."""
    async with facing() as (end, stream, session):
        begun = trio.current_time()
        end.room_at = begun + 10 * IDLE_S
        await stream.send_all(session.send(Interested(True)))
        await trio.sleep(1)
        for _ in range(PINGS_OPEN_MAX):
            end.connection.probe()
            assert end.connection.is_heard_since(trio.current_time())
            await trio.sleep(PROBE_AFTER_S)
        heard_at = begun
        with trio.move_on_after(IDLE_S) as patience:
            while count := await stream.receive_into(session.get_buffer()):
                assert any(isinstance(event, PingReceived) for event in session.buffer_updated(count))
                heard_at, patience.deadline = trio.current_time(), trio.current_time() + IDLE_S
        assert heard_at >= begun + PINGS_OPEN_MAX * KEEPALIVE_S


async def test_who_does_not_read_what_we_send_is_left(autojump_clock: MockClock) -> None:
    async with facing() as (end, _, _):
        frame = end.connection.session.send(Interested(True))
        end.connection.queue(bytes(OUTBOX_BYTES_MAX - len(frame)))
        end.connection.queue(frame)
        assert not end.connection.is_closing
        end.connection.queue(b"x")
        ending = await ended(end, 1)
        assert ending.code is ByeCode.TOO_SLOW
        assert not ending.fault


async def test_a_goodbye_is_the_last_word_and_waits_for_nobody_long(autojump_clock: MockClock) -> None:
    async with facing() as (end, _, _):
        end.connection.queue(bytes(OUTBOX_BYTES_MAX))  # more than the way holds
        end.connection.close(ByeCode.GOODBYE, "leaving")
        end.connection.close(ByeCode.PROTOCOL, "too late")
        waiting = list(end.connection._outbox)
        end.connection.send(Interested(True))
        end.connection.queue(b"x")
        assert list(end.connection._outbox) == waiting
        ending = await ended(end, 2 * GOODBYE_GRACE_S)
        assert (ending.code, ending.reason) == (ByeCode.GOODBYE, "leaving")
