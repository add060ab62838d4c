"""Discovery without a tracker: peers tell each other whom they know, and nobody can abuse it."""

from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peer.greeting import Greeted
from peer.ids import Address, KnownPeer
from peer.limits import EXCHANGE_EARLY_MAX, EXCHANGE_INTERVAL_S, IDLE_S
from peer.sim.network import mbit
from peer.sim.world import PORT, SimFetch, open_world
from peer.swarm.known import Source
from peer.swarm.peerbook import Noted
from peer.wire.messages import Peers
from tests.sim import hostile

DATA = Random(1).randbytes(1 << 20)
PIECES = 64
PATIENCE_S = 900


async def test_a_swarm_finds_itself_from_one_address(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(0.2))
        getters = [await world.add_peer(f"getter{n}", up=mbit(0.2)) for n in range(8)]
        link = await origin.share("file.bin", {(): DATA})
        fetches = [getter.fetch(link, peers=[origin.address]) for getter in getters]
        await trio.sleep(15)
        counts = [len(fetch.member.links) for fetch in fetches]
        assert min(counts) >= 6, f"everybody knew the origin only, and is connected to {counts} now"
        with trio.fail_after(PATIENCE_S):
            for fetch in fetches:
                await fetch.wait()


def everything_is_out(fetches: list[SimFetch]) -> bool:
    """Whether every piece is on some getter."""
    held = [fetch.member.holding.have for fetch in fetches if fetch.member.holding is not None]
    return all(any(piece in have for have in held) for piece in range(PIECES))


async def test_a_swarm_whose_origin_was_the_only_address_outlives_it(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getters = [await world.add_peer(f"getter{n}", up=mbit(1)) for n in range(4)]
        link = await origin.share("file.bin", {(): DATA})
        fetches = [getter.fetch(link, peers=[origin.address]) for getter in getters]
        with trio.fail_after(PATIENCE_S):
            while not everything_is_out(fetches):  # noqa: ASYNC110 - virtual time, and no event for this
                await trio.sleep(0.1)
            await origin.crash()
            for fetch in fetches:
                await fetch.wait()
        assert all(fetch.read() == DATA for fetch in fetches)


def gossip(count: int, times: int, every: float = 0.2) -> hostile.Behaviour:
    """Tells ``count`` addresses where nobody answers, several times."""

    async def behave(greeted: Greeted) -> None:
        for number in range(times):
            peers = tuple(
                KnownPeer(Address(f"10.{200 + number % 50}.{n // 250}.{n % 250 + 1}", 7701))
                for n in range(count)
            )
            await greeted.stream.send_all(greeted.session.send(Peers(peers)))
            await trio.sleep(every)
        await trio.sleep(1000)

    return behave


async def time_with(gossips: int) -> tuple[float, int]:
    """Seconds of a transfer beside some gossips, and the peers known at its end."""
    async with open_world(3) as world:
        origin = await world.add_peer("origin", up=mbit(2))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        hosts = [await hostile.live(world, f"gossip{n}", link, gossip(50, 100)) for n in range(gossips)]
        begun = trio.current_time()
        fetch = getter.fetch(link, peers=[origin.address, *(Address(host.address, PORT) for host in hosts)])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        return trio.current_time() - begun, fetch.member.book.statistics().known


async def test_thousands_of_dead_addresses_delay_nobody(autojump_clock: MockClock) -> None:
    quiet, _ = await time_with(0)
    noisy, known = await time_with(3)
    assert noisy <= 1.1 * quiet
    assert known <= 3 * 50 * 3, "what is told too often is not listened to"


async def test_who_tells_too_often_is_closed(autojump_clock: MockClock) -> None:
    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=mbit(0.2))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        host = await hostile.live(world, "gossip", link, gossip(5, 100))
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        await trio.sleep(0.5)
        assert len(fetch.member.links) == 2
        await trio.sleep(0.2 * EXCHANGE_EARLY_MAX + 3)
        assert len(fetch.member.links) == 1


@pytest.mark.parametrize("first", [0.05, 45.0])
async def test_whose_tellings_a_network_held_up_is_closed_by_nobody(
    first: float, autojump_clock: MockClock
) -> None:
    """They come all at once then. Whoever was held up twice for a minute was banned for good."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(0.01))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        host = await hostile.live(world, "honest", link, gossip(5, 1000, EXCHANGE_INTERVAL_S))
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        await trio.sleep(first)
        (connection,) = world.network.connections(getter.host, host)
        for number in range(1, 5):
            connection.stall()
            await trio.sleep(0.9 * IDLE_S)
            connection.resume()
            await trio.sleep(EXCHANGE_INTERVAL_S)
            assert not fetch.member.partings.broken_off
            told = 5 * int(number * 0.9 * IDLE_S / EXCHANGE_INTERVAL_S)
            assert fetch.member.book.statistics().known > told, "late is not too often"


async def test_what_a_network_held_up_is_not_telling_too_often(autojump_clock: MockClock) -> None:
    """Now and then two of them, told at the right times, arrive together. After the ninth time in the life of
    the link an honest peer was sent away, and banned, for breaking the protocol."""

    async def held_up(greeted: Greeted) -> None:
        for number in range(4 * EXCHANGE_EARLY_MAX):
            told = [KnownPeer(Address(f"10.{200 + n}.1.{number + 1}", 7701)) for n in range(2)]
            frames = [greeted.session.send(Peers((peer,))) for peer in told]
            await greeted.stream.send_all(b"".join(frames))
            await trio.sleep(2 * EXCHANGE_INTERVAL_S)

    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(0.002))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        host = await hostile.live(world, "held-up", link, held_up)
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        await trio.sleep(7 * EXCHANGE_EARLY_MAX * EXCHANGE_INTERVAL_S)
        assert not fetch.member.partings.broken_off
        assert len(fetch.member.links) == 2


async def test_a_host_name_that_cannot_travel_is_told_to_nobody(autojump_clock: MockClock) -> None:
    """A link named a peer by a name that a resolver takes and no message may carry: whoever was connected to
    it, and to anybody else, ended with an internal error."""
    async with open_world(4) as world:
        odd = await world.add_peer("seed!of*evil.example", up=mbit(1))
        other = await world.add_peer("other", up=mbit(1))
        getter = await world.add_peer("getter")
        link = await odd.share("file.bin", {(): DATA})
        await other.share("file.bin", {(): DATA})
        fetch = getter.fetch(link, peers=[Address("seed!of*evil.example", PORT), other.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_who_was_dialled_by_name_tells_as_the_host_that_it_is(autojump_clock: MockClock) -> None:
    """Its name was taken for its network, and what it may tell was judged by that."""
    informants: set[str] = set()
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        others = [await world.add_peer(name) for name in ("one", "two")]
        for other in others:
            other.fetch(link, peers=[origin.address])
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[Address("origin", origin.address.port)])
        add = fetch.member.book.add

        def listening(address: Address, source: Source, now: float, **more: Any) -> Noted:
            informants.update([more.get("informant", "")] if source is Source.EXCHANGE else [])
            return add(address, source, now, **more)

        fetch.member.book.add = listening  # type: ignore[method-assign]
        await trio.sleep(120)
        assert origin.host.address in informants
        assert "origin" not in informants
