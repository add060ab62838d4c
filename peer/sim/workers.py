"""The simulated side of the workers seam: no threads, every job runs in place.

trio's virtual clock jumps while a worker thread runs (trio issue #456), so a simulation may not have any.
"""

from collections.abc import Callable
from random import Random
from typing import Final, TypeVar, TypeVarTuple

import trio

from peer.workers import DISK_THREADS, Lane

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_CORES: Final = 2
_SHORT_S: Final = 0.02
_STALL_CHANCE: Final = 0.02


class InlineWorkers:
    """Runs each job at once, with a checkpoint before it as a real hop would have."""

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    def clock(self) -> float:
        return trio.current_time()


class SlowWorkers(InlineWorkers):
    """Jobs wait for a thread and take time, now and then much of it (a disk that spins up, a sync behind
    other writers): others overtake them, and what their callers knew has changed when they are back. As with
    threads, one that has begun is not cancelled. Each does all its work at one moment between.

    stall_s: the longest that a job takes.
    """

    def __init__(self, rng: Random, stall_s: float) -> None:
        self._rng = rng
        self._stall_s = stall_s
        self._threads = {
            Lane.DISK: trio.CapacityLimiter(DISK_THREADS),
            Lane.COMPUTE: trio.CapacityLimiter(_CORES),
        }

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        async with self._threads[lane]:
            return await self._work(job, *args)

    async def _work(self, job: Callable[[*Ts], T], *args: *Ts) -> T:
        await self._pass_time()
        try:
            return job(*args)
        finally:
            await self._pass_time()

    async def _pass_time(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self._draw())

    def _draw(self) -> float:
        stalls = self._rng.random() < _STALL_CHANCE
        return self._rng.random() * (self._stall_s if stalls else _SHORT_S)
