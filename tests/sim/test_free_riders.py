"""Peers that take and give nothing cost the others only what theory says."""

from random import Random

import trio
from trio.testing import MockClock

from peer.limits import CHOKE_ROUND_S
from peer.sim.world import open_world

FILE_BYTES = 2 << 20
ORIGIN = 1e6


async def test_the_origin_alone_serves_peers_that_give_nothing(autojump_clock: MockClock) -> None:
    """Their links unchoke and never answer: the last pieces went round among them, for ever."""
    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        origin.node.services.up.set_rate(ORIGIN)
        getters = [await world.add_peer(f"rider{number}") for number in range(8)]
        for getter in getters:
            getter.node.services.up.set_rate(0)
        link = await origin.share("file", {(): Random(1).randbytes(FILE_BYTES)})
        begun = trio.current_time()
        fetches = [
            getter.fetch(link, peers=[origin.address, *(other.address for other in getters[:number])])
            for number, getter in enumerate(getters)
        ]
        bound = len(getters) * FILE_BYTES / ORIGIN
        with trio.fail_after(2 * bound):
            for fetch in fetches:
                await fetch.wait()
        assert bound <= trio.current_time() - begun <= 1.1 * bound


async def test_who_may_send_nothing_serves_nobody_until_it_may(autojump_clock: MockClock) -> None:
    """It unchoked all the same: its neighbours asked it, waited, and were late for it at the end."""
    async with open_world(2) as world:
        rider = await world.add_peer("rider")
        rider.node.services.up.set_rate(ORIGIN)
        link = await rider.share("file", {(): Random(1).randbytes(FILE_BYTES)})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[rider.address])
        await fetch.member.found.wait()  # which is limited as pieces are
        rider.node.services.up.set_rate(0)
        await trio.sleep(2 * CHOKE_ROUND_S)
        (theirs,) = rider.node.members[link.share].links.values()
        assert theirs.wants_us
        assert theirs.choked
        rider.node.services.up.set_rate(ORIGIN)
        with trio.fail_after(2 * CHOKE_ROUND_S + 2 * FILE_BYTES / ORIGIN):
            await fetch.wait()
