"""The seam to threads: blocking work goes through here, and nowhere else.

A hop to a thread and back costs about 50 microseconds: callers hop once per piece, never per block. Two lanes
have separate limits, because two kinds of work that wait for each other in one pool can deadlock, and because
hashing wants one thread per core while disks want a few.
"""

import os
import time
from collections.abc import Callable
from enum import Enum
from typing import Protocol, TypeVar, TypeVarTuple

import trio

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

DISK_THREADS = 4
"""Enough to keep a solid-state disk busy; more would only queue in the kernel."""


class Lane(Enum):
    """Which pool a job waits for."""

    DISK = "disk"
    COMPUTE = "compute"


class Workers(Protocol):
    """Runs blocking functions off the event loop."""

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run ``job(*args)`` and return what it returns. Not cancellable once begun: keep jobs short."""

    def clock(self) -> float:
        """Seconds, for a job that wants to know how long something took. Any thread may look."""


class ThreadWorkers:
    """The real side: trio's worker threads, a limiter for each lane."""

    def __init__(self) -> None:
        self._limiters = {
            Lane.DISK: trio.CapacityLimiter(DISK_THREADS),
            Lane.COMPUTE: trio.CapacityLimiter(os.cpu_count() or 1),
        }

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(job, *args, limiter=self._limiters[lane])

    def clock(self) -> float:
        return time.monotonic()
