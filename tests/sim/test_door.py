"""Strangers at a node's door, in virtual time: silent, slow, half spoken. Rows 10 and 17 of RELIABILITY."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from peer.buffers import BufferPool
from peer.greeting import Greeted, greet
from peer.ids import Address, NodeId, ShareId
from peer.limits import (
    FRAME_S,
    GREETINGS_MAX,
    IDLE_S,
    LINK_TICK_S,
    OPENING_S,
    PROBE_AFTER_S,
    PROBE_S,
    PROTOCOL_VERSION,
    WINDOW_DEFAULT,
)
from peer.member import Member
from peer.net.transport import Stream
from peer.sim.network import mbit
from peer.sim.world import PORT, SimPeer, World, open_world
from peer.wire.codec import encode
from peer.wire.messages import Hello, Pong
from peer.wire.session import PingReceived, Session
from tests.sim.hostile import claim_everything, dribble, live, visit

KIB = 1024
PIECE = 16 * KIB
PIECES = 64
DATA = Random(1).randbytes(PIECE * PIECES)
PATIENCE_S = 900


async def silent_crowd(world: World, target: Address, size: int, networks: int) -> list[Stream]:
    """Connections that never say a word, from so many networks."""
    hosts = [world.network.add_host(f"crowd{n}") for n in range(networks)]
    return [await hosts[n % networks].transport().dial(target) for n in range(size)]


async def one_by_one(stream: Stream, data: bytes) -> None:
    """A byte a second."""
    for value in data:
        await stream.send_all(bytes([value]))
        await trio.sleep(1)


async def closed(stream: Stream) -> bool:
    """Whether the other side has closed it, without waiting."""
    with trio.move_on_after(0.001):
        try:
            return await stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True
    return False


@pytest.mark.parametrize("networks", [1, 3, 200, 800])
async def test_honest_peers_get_in_through_a_silent_crowd(networks: int, autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        await silent_crowd(world, origin.address, 800, networks)
        begun = trio.current_time()
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert trio.current_time() - begun < 6
        assert fetch.read() == DATA
        statistics = origin.node.door.statistics()
        assert statistics.greeting <= GREETINGS_MAX
        origin.node.door.check_invariants()


@pytest.mark.makes_a_bug
async def test_a_bug_of_ours_ends_one_greeting_only(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads a stranger's certificate raised what nobody had thought of, and the node ended."""
    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        accept = origin.node.services.transport.accept
        strangers = iter([ZeroDivisionError])

        async def broken(stream: Stream) -> Stream:
            for error in strangers:
                raise error
            return await accept(stream)

        monkeypatch.setattr(origin.node.services.transport, "accept", broken)
        (stranger,) = await silent_crowd(world, origin.address, 1, 1)
        assert await closed(stranger)
        assert "10.0.0.2" in caplog.text
        assert "ZeroDivisionError" in caplog.text
        getter = await world.add_peer("getter")
        with trio.fail_after(PATIENCE_S):
            await getter.fetch(link, peers={origin.address: None}).wait()


async def test_a_silent_stranger_is_gone_when_its_time_is_over(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        origin = await world.add_peer("origin")
        strangers = await silent_crowd(world, origin.address, 10, 1)
        await trio.sleep(OPENING_S - 1)
        assert origin.node.door.statistics().greeting == 10
        await trio.sleep(1.1)
        assert origin.node.door.statistics().greeting == 0
        for stranger in strangers:
            assert await closed(stranger)


async def test_a_byte_now_and_then_buys_no_time(autojump_clock: MockClock) -> None:
    """Slowloris: the deadline is for the whole greeting."""
    async with open_world(3) as world:
        origin = await world.add_peer("origin")
        (stranger,) = await silent_crowd(world, origin.address, 1, 1)
        hello = encode(Hello(PROTOCOL_VERSION, ShareId(bytes(32)), NodeId(b"s" * 32), 1, 1))
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await one_by_one(stranger, hello)
        assert trio.current_time() - begun < OPENING_S + 2


async def greeted_stranger(world: World, origin: SimPeer, share: ShareId) -> Stream:
    """A peer that got in, and says no more than that."""
    host = world.network.add_host("stranger")
    node = NodeId(b"stranger".ljust(32))
    stream = await host.transport(node).dial(origin.address)
    hello = Hello(PROTOCOL_VERSION, share, node, WINDOW_DEFAULT, PORT)
    await greet(stream, Session(buffers=BufferPool()), hello, None)
    return stream


async def test_half_a_message_ends_sooner_than_silence(autojump_clock: MockClock) -> None:
    async with open_world(4) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        stream = await greeted_stranger(world, origin, link.share)
        member = origin.node.members[link.share]
        assert len(member.links) == 1
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await one_by_one(stream, b"\x00\x00\x10\x00" + bytes(1000))
        assert trio.current_time() - begun < FRAME_S + 3
        assert not member.links


async def test_a_half_open_connection_is_noticed(autojump_clock: MockClock) -> None:
    """Row 9: the other side is gone without a word, and the kernel does not know."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(2):
            await fetch.wait()
        (connection,) = world.network.connections(origin.host, getter.host)
        connection.vanish()
        begun = trio.current_time()
        member = origin.node.members[link.share]
        (old,) = member.links
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert trio.current_time() - begun < IDLE_S + 30
        await trio.sleep(IDLE_S + 2 * LINK_TICK_S)
        assert old not in member.links
        assert fetch.read() == DATA


async def test_the_last_pieces_do_not_wait_for_a_machine_that_was_switched_off(
    autojump_clock: MockClock,
) -> None:
    """Row 9, for who waits. Its requests were given up after 20 s, though a ping tells sooner."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        second = await world.add_peer("second", up=mbit(1))
        await second.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address, second.address])
        with trio.move_on_after(1):
            await fetch.wait()
        assert len(fetch.member.links) == 2
        (connection,) = world.network.connections(origin.host, getter.host)
        connection.vanish()
        begun, rest = trio.current_time(), len(DATA) / mbit(1)
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert trio.current_time() - begun < max(rest, PROBE_AFTER_S + PROBE_S) + 3
        assert fetch.read() == DATA


@pytest.mark.parametrize("answers", [True, False])
async def test_who_is_slow_but_there_is_not_taken_for_gone(autojump_clock: MockClock, answers: bool) -> None:
    """A disk that is asleep, say: no byte of a piece for long, but a pong."""

    async def asleep(greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream
        await claim_everything(greeted, PIECES)
        while count := await stream.receive_into(session.get_buffer()):
            for event in session.buffer_updated(count):
                if isinstance(event, PingReceived) and answers:
                    await stream.send_all(session.send(Pong(event.number)))

    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(0.25))
        link = await origin.share("file", {(): DATA})
        host = await live(world, "asleep", link, asleep)
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        with trio.move_on_after(PROBE_AFTER_S + PROBE_S + 2):
            await fetch.wait()
        assert fetch.member.intake is not None
        said = fetch.member.intake.statistics().download
        assert not said.finished
        assert said.links_silent == (0 if answers else 1)


async def test_two_hundred_slow_peers_cost_little(autojump_clock: MockClock) -> None:
    """Row 10: eight good sources, and two hundred that send a byte a second."""
    alone = await time_to_fetch(slow=0)
    crowded = await time_to_fetch(slow=200)
    assert crowded <= 1.3 * alone


async def time_to_fetch(slow: int) -> float:
    async with open_world(6) as world:
        fast = [await world.add_peer(f"fast{n}", up=mbit(0.1)) for n in range(8)]
        links = [await peer.share("file", {(): DATA}) for peer in fast]
        getter = await world.add_peer("getter")
        begun = trio.current_time()
        fetch = getter.fetch(links[0], peers=[peer.address for peer in fast])
        await trio.sleep(0.1)
        for number in range(slow):
            await visit(world, f"slow{number}", links[0], getter.address, dribble(PIECES, PIECE))
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == DATA
        if slow:
            assert len(fetch.member.links) > slow / 2, "they were there"
        return trio.current_time() - begun


class Ending(trio.abc.Instrument):
    """Looks after every step whether a greeting that ended now would bring its link to a closed nursery."""

    def __init__(self, peer: SimPeer, member: Member) -> None:
        self.looks = 0
        self.closed = 0
        self._members = peer.node.members
        self._member = member

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._members.get(self._member.share) is self._member:
            self.looks += 1
            nursery = self._member._nursery
            self.closed += nursery is not None and nursery._closed


async def test_who_is_greeted_while_a_fetch_ends_ends_nothing_else(autojump_clock: MockClock) -> None:
    """Between the end of its last task and its own a member that was still fetching took links, for a nursery
    that took none: the whole node ended."""
    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(2)
        ending = Ending(getter, fetch.member)
        trio.lowlevel.add_instrument(ending)
        fetch.cancel()
        await fetch.ended.wait()
        trio.lowlevel.remove_instrument(ending)
        assert ending.looks
        assert not ending.closed
