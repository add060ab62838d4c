"""Simulated jobs that take time are overtaken, and are not cancelled midway: as on threads."""

from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer.sim.workers import SlowWorkers
from peer.workers import DISK_THREADS, Lane


async def finished(seed: int, count: int) -> list[int]:
    workers, order = SlowWorkers(Random(seed), 1.0), list[int]()

    async def one(number: int) -> None:
        assert await workers.run(Lane.DISK, lambda: number) == number
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return order


async def test_jobs_overtake_each_other_as_the_seed_says(autojump_clock: MockClock) -> None:
    order = await finished(1, DISK_THREADS)
    assert sorted(order) == list(range(DISK_THREADS))
    assert len({tuple(await finished(seed, DISK_THREADS)) for seed in range(10)}) > 1
    assert trio.current_time() > 0


async def test_a_job_that_has_begun_is_not_cancelled(autojump_clock: MockClock) -> None:
    workers, done = SlowWorkers(Random(1), 1.0), list[int]()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for number in range(DISK_THREADS + 1):
                nursery.start_soon(workers.run, Lane.DISK, done.append, number)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert len(done) == DISK_THREADS, "one still waited for a thread"


async def test_what_a_job_raises_comes_out(autojump_clock: MockClock) -> None:
    def broken() -> None:
        raise OSError(5, "input/output error")

    with pytest.raises(OSError, match="error"):
        await SlowWorkers(Random(1), 1.0).run(Lane.COMPUTE, broken)
