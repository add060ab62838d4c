"""The simulated side of the workers seam: no threads, every job runs in place.

trio's virtual clock jumps while a worker thread runs (trio issue #456), so a simulation may not have any.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from peer.workers import Lane

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class InlineWorkers:
    """Runs each job at once, with a checkpoint before it as a real hop would have."""

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return job(*args)

    def clock(self) -> float:
        return trio.current_time()
