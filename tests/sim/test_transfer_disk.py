"""Whole nodes whose disks fail while they fetch and serve: rows 3, 4 and 5 of RELIABILITY's fault list."""

import errno
from collections.abc import Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock

from peer.errors import StorageError
from peer.limits import DISK_RETRY_S, REQUEST_TIMEOUT_S
from peer.member_statistics import member_statistics
from peer.sim.disk import Operation
from peer.sim.network import mbit
from peer.sim.workers import InlineWorkers
from peer.sim.world import open_world
from peer.workers import Lane

KIB = 1024
PATIENCE_S = 900
DATA = Random(1).randbytes(2048 * KIB)
SMALL: dict[tuple[str, ...], bytes] = {
    (f"{n % 5}", f"{n:03}"): Random(n).randbytes(3000 + 7 * n) for n in range(120)
}
FILES: dict[tuple[str, ...], bytes] = {**SMALL, ("large",): DATA}


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("operation", [Operation.SYNC, Operation.SYNC_FOLDER, Operation.SYNC_EVERYTHING])
@pytest.mark.parametrize("nth", [1, 2, 4])
async def test_syncs_that_fail_while_fetching(
    code: int, operation: Operation, nth: int, autojump_clock: MockClock
) -> None:
    async with open_world(nth) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        getter = await world.add_peer("getter")
        link = await origin.share("folder", FILES)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(3):
            await fetch.wait()
        getter.disk.fail(code, operation, nth=nth)
        with trio.fail_after(PATIENCE_S):
            try:
                await fetch.wait()
            except StorageError:  # in the very last sync, of the move: the run ends, the next one goes on
                await getter.crash()
                await getter.restart()
                fetch = getter.fetch(link, peers=[origin.address])
                await fetch.wait()
        for path, data in FILES.items():
            assert fetch.read(*path) == data
        statistics = member_statistics(fetch.member)
        assert statistics.held_bytes == statistics.wanted_bytes, "what came twice is here once"


async def test_a_disk_that_stands_still_is_no_silence_of_its_sources(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while much waits for the disk. After 20 s of that whoever had sent all he was asked for
    counted as silent, and what had come of it was thrown away."""
    monkeypatch.setattr("peer.intake.UNVERIFIED_BYTES_MAX", 256 * KIB)
    goes_on_at = 0.0
    run = InlineWorkers.run

    async def stand_still(
        workers: InlineWorkers, lane: Lane, job: Callable[..., object], *args: object
    ) -> object:
        await trio.sleep_until(goes_on_at)
        return await run(workers, lane, job, *args)

    async with open_world(3) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(1):
            await fetch.wait()
        monkeypatch.setattr(InlineWorkers, "run", stand_still)
        goes_on_at = trio.current_time() + 2 * REQUEST_TIMEOUT_S
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == DATA
        assert fetch.member.intake is not None
        statistics = fetch.member.intake.statistics().download
        assert statistics.withdrawals == 0
        assert statistics.wasted_bytes == 0


async def test_a_disk_whose_syncs_never_succeed_again_ends_it(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(3):
            await fetch.wait()
        getter.disk.fail(errno.EIO, Operation.SYNC, times=float("inf"))
        with trio.fail_after(PATIENCE_S), pytest.raises(StorageError, match="input/output"):
            await fetch.wait()


async def test_a_full_disk_pauses_until_there_is_room(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getter = await world.add_peer("getter")
        link = await origin.share("folder", SMALL)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(0.3):
            await fetch.wait()
        assert not fetch.member.complete.is_set()
        getter.disk.capacity_bytes = 0
        with trio.move_on_after(60):
            await fetch.wait()
        assert not fetch.ended.is_set()
        assert fetch.member.intake is not None
        assert "full" in (fetch.member.intake.paused or "")
        getter.disk.capacity_bytes = 1 << 40
        with trio.fail_after(30 + DISK_RETRY_S):
            await fetch.wait()
        for path, data in SMALL.items():
            assert fetch.read(*path) == data


async def test_read_errors_while_seeding_send_the_others_elsewhere(autojump_clock: MockClock) -> None:
    async with open_world(3) as world:
        seeds = [await world.add_peer(f"seed{n}", up=mbit(4)) for n in range(2)]
        links = [await seed.share("folder", FILES) for seed in seeds]
        getter = await world.add_peer("getter")
        for number, seed in enumerate(seeds):
            seed.disk.fail_randomly(errno.EIO, Operation.READ, 0.01, number)
        fetch = getter.fetch(links[0], peers=[seed.address for seed in seeds])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        for path, data in FILES.items():
            assert fetch.read(*path) == data


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_a_lack_of_descriptors_pauses_and_nothing_is_given_up(
    code: int, autojump_clock: MockClock
) -> None:
    """Row 16, on both sides: neither does the getter fail nor is the sharer's file taken for changed."""
    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getter = await world.add_peer("getter")
        link = await origin.share("folder", FILES)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.move_on_after(0.5):
            await fetch.wait()
        for peer in (origin, getter):
            peer.disk.fail(code, Operation.OPEN, times=float("inf"))
            peer.disk.fail(code, Operation.CREATE, times=float("inf"))
        with trio.move_on_after(60):
            await fetch.wait()
        assert not fetch.ended.is_set()
        assert not fetch.member.complete.is_set()
        for peer in (origin, getter):
            peer.disk.heal()
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        sharer = origin.node.members[link.share]
        assert not sharer.unreadable
        assert sharer.holding is not None
        assert sharer.holding.have.is_full
        for path, data in FILES.items():
            assert fetch.read(*path) == data
