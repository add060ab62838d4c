"""A swarm in virtual time whose members come late and go early."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import trio
from trio.testing import MockClock

from peer.cli.get import TIMEOUT_DEFAULT_S
from peer.ids import PieceIndex
from peer.limits import PIECE_BYTES_MIN
from peer.magnet import MagnetLink
from peer.sim.network import mbit
from peer.sim.world import SimFetch, SimPeer, World, open_world
from peer.swarm.orders import ORDERS
from peer.swarm.policies import Policies

FILE_BYTES = 4 << 20
DATA = Random(1).randbytes(FILE_BYTES)
ORIGIN = mbit(40)
PEER = mbit(4)
PEERS = 8


@asynccontextmanager
async def swarm(seed: int) -> AsyncIterator[tuple[World, SimPeer, MagnetLink, list[SimPeer], list[SimFetch]]]:
    """An origin and peers behind limits of their own, all fetching."""
    async with open_world(seed) as world:
        origin = await world.add_peer("origin")
        origin.node.services.up.set_rate(ORIGIN)
        link = await origin.share("file", {(): DATA})
        peers: list[SimPeer] = []
        fetches = []
        for number in range(PEERS):
            peer = await world.add_peer(f"peer{number}")
            peer.node.services.up.set_rate(PEER)
            fetches.append(peer.fetch(link, peers=[origin.address, *(other.address for other in peers)]))
            peers.append(peer)
        yield world, origin, link, peers, fetches


def bound(peers: int) -> float:
    return peers * FILE_BYTES / (ORIGIN + peers * PEER)


async def test_a_late_joiner_is_soon_level_with_the_others(autojump_clock: MockClock) -> None:
    async with swarm(1) as (world, _, link, peers, fetches):
        half = bound(PEERS) / 2
        await trio.sleep(half)
        joined = trio.current_time()
        late = await world.add_peer("late")
        late.node.services.up.set_rate(PEER)
        fetch = late.fetch(link, peers=[peer.address for peer in peers])
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA
        # All bytes that the nine need, less what was carried before it came, at the rate of all uplinks.
        own_bound = max(FILE_BYTES / (ORIGIN + PEERS * PEER), bound(PEERS + 1) - half)
        assert trio.current_time() - joined <= 1.25 * own_bound
        for other in fetches:
            await other.wait()


async def test_everybody_completes_when_the_origin_dies_with_every_piece_out(
    autojump_clock: MockClock,
) -> None:
    async with swarm(2) as (_, origin, _, _, fetches):
        (member,) = origin.node.members.values()
        assert member.outflow is not None
        assert member.holding is not None
        upload = member.outflow.upload
        with trio.fail_after(60):
            while upload.statistics(0).first_copies < member.holding.layout.piece_count:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await trio.sleep(1)  # what was handed to the network arrives
            assert not all(fetch.member.complete.is_set() for fetch in fetches)
            await origin.crash()
            for fetch in fetches:
                await fetch.wait()
        assert all(fetch.read() == DATA for fetch in fetches)


async def test_a_share_that_comes_later_is_found_where_the_link_says(autojump_clock: MockClock) -> None:
    """Its node had said that it did not have it, and was not asked again before `get` gives up."""
    async with open_world(1) as world:
        early = await world.add_peer("early")
        link = await early.share("file", {(): DATA})
        await early.crash()
        origin = await world.add_peer("origin")
        found = (await world.add_peer("getter")).fetch(link, peers=[origin.address])
        await trio.sleep(60)
        await origin.share("file", {(): DATA})
        with trio.fail_after(TIMEOUT_DEFAULT_S - 60):
            await found.wait()


async def test_in_order_brings_the_beginning_first(autojump_clock: MockClock) -> None:
    async with open_world(3) as world:
        origin = await world.add_peer("origin", up=mbit(20))
        link = await origin.share("file", {(): DATA})
        in_order = Policies(make_picker=ORDERS["in-order"])
        getter = await world.add_peer("getter", make_policies=lambda: in_order)
        other = await world.add_peer("other")
        fetch = getter.fetch(link, peers=[origin.address, other.address])
        other.fetch(link, peers=[origin.address])  # while all links are seeds' every picker goes in order
        with trio.fail_after(60):
            while fetch.member.intake is None or fetch.member.holding is None:  # noqa: ASYNC110
                await trio.sleep(0.01)
            have = fetch.member.holding.have
            half = len(have) // 2
            while have.count < half:  # noqa: ASYNC110
                await trio.sleep(0.01)
            # Each link is asked for the first that it holds: the other getter's may lie further on.
            early = sum(PieceIndex(piece) in have for piece in range(half))
            assert early > 0.65 * have.count
            await fetch.wait()
        assert fetch.read() == DATA


async def test_a_limited_uplink_sends_one_piece_after_the_other(autojump_clock: MockClock) -> None:
    """Side by side all four first pieces would be there at the same time, after four times as long."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin")
        origin.node.services.up.set_rate(2 * PIECE_BYTES_MIN)
        link = await origin.share("file", {(): DATA[: 8 * PIECE_BYTES_MIN]})
        getters = [await world.add_peer(f"getter{number}") for number in range(4)]
        for getter in getters:
            getter.node.services.up.set_rate(0)
        members = [getter.fetch(link, peers=[origin.address]).member for getter in getters]
        firsts: list[float] = []
        with trio.fail_after(10):
            while len(firsts) < 3:
                await trio.sleep(0.01)
                had = sum(bool(member.holding and member.holding.have.count) for member in members)
                firsts += [trio.current_time()] * (had - len(firsts))
        steps = [after - before for before, after in pairwise(firsts)]
        assert min(steps) > 0.25, "pieces come one by one"
