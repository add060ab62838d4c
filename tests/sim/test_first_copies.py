"""The scarcest bytes of a swarm are the first copies that its origin sends."""

from random import Random

import trio
from trio.testing import MockClock

from peer.limits import HINTS_VAIN_MAX
from peer.sim.network import mbit
from peer.sim.world import open_world

FILE_BYTES = 100 * (64 << 10)
UP = mbit(2)


async def test_an_origin_no_faster_than_its_peers_sends_nearly_everything_once_before_anything_twice(
    autojump_clock: MockClock,
) -> None:
    """It sent a fifth of the file twice meanwhile: several asked for a piece before any could announce it."""
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=UP)
        getters = [await world.add_peer(f"getter{n}", up=UP) for n in range(10)]
        link = await origin.share("file", {(): Random(1).randbytes(FILE_BYTES)})
        fetches = [getter.fetch(link, peers=[origin.address]) for getter in getters]
        for fetch in fetches:
            await fetch.wait()
        outflow = origin.node.members[link.share].outflow
        assert outflow is not None
        sent = outflow.statistics()
        assert sent.repeats <= 0.1 * sent.first_copies
        assert trio.current_time() <= 1.12 * FILE_BYTES / UP  # of which headers are 1.05


async def test_who_comes_late_for_one_file_of_two_is_not_sent_away_for_each_piece_of_it(
    autojump_clock: MockClock,
) -> None:
    """It took a quarter longer: what nobody wanted stayed unsent, so every piece was better had elsewhere."""
    wanted = Random(1).randbytes(6 << 20)
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getters = [await world.add_peer(f"getter{n}", up=UP) for n in range(4)]
        link = await origin.share("folder", {("a",): wanted, ("b",): Random(2).randbytes(6 << 20)})
        fetches = [getter.fetch(link, peers=[origin.address], only=("a",)) for getter in getters]
        for fetch in fetches:
            await fetch.wait()
        outflow = origin.node.members[link.share].outflow
        assert outflow is not None
        before = outflow.statistics().hints
        late = await world.add_peer("late")
        began = trio.current_time()
        await late.fetch(link, peers=[origin.address], only=("a",)).wait()
        assert outflow.statistics().hints - before <= HINTS_VAIN_MAX
        uplinks = mbit(8) + 4 * UP
        assert trio.current_time() - began <= 1.25 * len(wanted) / uplinks
