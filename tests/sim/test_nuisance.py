"""Peers that only cost: an honest swarm beside a crowd of them is a tenth slower at most.

Each nuisance is met both ways: it dials every honest node, and every honest getter is told of it.
"""

import os
from functools import cache
from random import Random

import msgpack  # type: ignore[import-untyped]
import pytest
import trio
from trio.testing import MockClock

from peer.greeting import Greeted
from peer.ids import Address
from peer.limits import KNOWN_PEERS_MAX, OUTBOX_BYTES_MAX
from peer.member import Member
from peer.member_statistics import member_statistics
from peer.sim.network import mbit
from peer.sim.run import run
from peer.sim.world import PORT, open_world
from tests.sim import hostile

PIECE = 16 * 1024
PIECES = 128
DATA = Random(1).randbytes(PIECE * PIECES)
GETTERS = 4
NUISANCES = 3
SLOWER_MAX = 1.10
SEEDS = range(1, 1 + int(os.environ.get("NUISANCE_SEEDS", "1")))

FLOOD = "haves, chokes and unchokes without end"

BEHAVIOURS = {
    FLOOD: hostile.flooder(PIECES),
    "claims everything and sends nothing": hostile.silent(PIECES),
    "asks for one piece for ever": hostile.same_piece_for_ever(PIECES, PIECE),
    "loses what it is asked for and has it again": hostile.fickle(PIECES),
    "minds no cancel": hostile.deaf(PIECES, PIECE, DATA),
    "tells of a thousand addresses that do not answer": hostile.gossip(PIECES, 1000),
}


async def last_honest(behaviour: hostile.Behaviour | None) -> tuple[float, list[Member]]:
    """Seconds until the last honest getter is done."""
    async with open_world(7) as world:
        origin = await world.add_peer("origin")
        origin.node.services.up.set_rate(mbit(2))
        link = await origin.share("file", {(): DATA})
        getters = [await world.add_peer(f"getter{number}") for number in range(GETTERS)]
        addresses = [origin.address, *(getter.address for getter in getters)]
        if behaviour is not None:
            for number in range(NUISANCES):
                host = await hostile.live(world, f"nuisance{number}", link, behaviour)
                addresses.append(Address(host.address, PORT))
        fetches = []
        for getter in getters:
            getter.node.services.up.set_rate(mbit(0.5))
            fetches.append(getter.fetch(link, peers=addresses))
        begun = trio.current_time()
        await trio.sleep(0.1)
        if behaviour is not None:
            for number in range(NUISANCES):
                for target in (origin, *getters):
                    name = f"visitor{number}-{target.name}"
                    await hostile.visit(world, name, link, target.address, behaviour)
        with trio.fail_after(600):
            for fetch in fetches:
                await fetch.wait()
        seconds = trio.current_time() - begun
        assert all(fetch.read() == DATA for fetch in fetches)
        members = [fetch.member for fetch in fetches]
        for member in members:
            assert member.book.statistics().known <= KNOWN_PEERS_MAX
            assert not any("getter" in line or "origin" in line for line in member.partings.expelled)
            for statistics in member_statistics(member).links:
                assert statistics.requests_open <= 256
            assert all(link.connection._outbox_bytes <= OUTBOX_BYTES_MAX for link in member.links.values())
        return seconds, members


@cache
def alone(seed: int) -> float:
    return run(seed, last_honest, None)[0]


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_crowd_of_nuisances_costs_an_honest_swarm_a_tenth_at_most(name: str) -> None:
    for seed in SEEDS:
        seconds, members = run(seed, last_honest, BEHAVIOURS[name])
        assert seconds <= SLOWER_MAX * alone(seed)
        if name == FLOOD:
            banned = [member.book.statistics().banned for member in members]
            assert all(banned), "the flooded have put an end to it"


async def test_who_loses_and_regains_pieces_without_end_is_asked_twice_for_each(
    autojump_clock: MockClock,
) -> None:
    """It was asked again at once, as often as it liked, and each time a little memory was lost."""
    async with open_world(7) as world:
        origin = await world.add_peer("origin")
        origin.node.services.up.set_rate(mbit(0.1))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        host = await hostile.live(world, "fickle", link, hostile.fickle(PIECES))
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        await trio.sleep(30)
        assert fetch.member.intake is not None
        assert fetch.member.intake.download.statistics().asks < 3 * PIECES


@pytest.mark.parametrize("payload", [0, 1000])
async def test_who_sends_unknown_kinds_without_end_is_sent_away(
    payload: int, autojump_clock: MockClock
) -> None:
    """They are skipped, so that later versions may add some; a million of them were skipped as well."""
    header = msgpack.packb({"kind": "x", "payload": payload})
    frame = len(header).to_bytes(4, "big") + header + bytes(payload)
    async with open_world(8) as world:
        origin = await world.add_peer("origin", up=mbit(0.1))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})

        async def few(greeted: Greeted) -> None:
            await greeted.stream.send_all(frame * 1000)
            await trio.sleep(10_000)

        async def many(greeted: Greeted) -> None:
            while True:
                await greeted.stream.send_all(frame * 1000)
                await trio.sleep(0.1)

        hosts = [await hostile.live(world, name, link, how) for name, how in (("few", few), ("many", many))]
        peers = [Address(host.address, PORT) for host in hosts]
        fetch = getter.fetch(link, peers=peers)
        await trio.sleep(0.05)
        assert len(fetch.member.links) == 2
        await trio.sleep(5)
        assert [link.address for link in fetch.member.links.values()] == peers[:1]
