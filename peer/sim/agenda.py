"""What will happen in the simulated world: a heap of callbacks in virtual time, carried out one by one.

One agenda for the whole network rather than a task for each packet: a wake-up of a task costs far more than a
heap operation, and callbacks due at the same moment run in the order in which they were made, in every run.
Under the simulation's own clock (`sim/clock.py`) they cost no task switch at all; under any other clock, as
in tests that have trio's, one task carries them out.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any

import trio

from peer.sim.clock import VirtualClock


class Agenda:
    """Callbacks by time. They run while `run` does, one after the other, and must not wait. To be made inside
    the simulation."""

    def __init__(self) -> None:
        self.due = math.inf
        """When the next callback is; inf for never."""
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._made = 0
        self.now = trio.lowlevel.current_clock().current_time
        """As `trio.current_time`, without asking whose clock it is each time."""
        self._sleep: trio.CancelScope | None = None
        self._failure: Exception | None = None
        self._failed = trio.Event()

    @property
    def pending(self) -> int:
        """Callbacks that have not run."""
        return len(self._heap)

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call at that time; at once, but not from here, if it is past."""
        heapq.heappush(self._heap, (time, self._made, call, args))
        self._made += 1
        if time < self.due:
            self.due = time
            if self._sleep is not None:
                self._sleep.deadline = time

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        """Call that many seconds from now."""
        self.at(self.now() + delay, call, *args)

    async def run(self) -> None:
        """Carry out the agenda until cancelled. Raises what a callback raised."""
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, VirtualClock):
            clock.attach(self)
            try:
                await self._failed.wait()
            finally:
                clock.detach(self)
        else:
            while self._failure is None:
                self.carry_out(trio.current_time())
                with trio.CancelScope(deadline=self.due) as self._sleep:
                    await self._failed.wait()
                self._sleep = None
        assert self._failure is not None
        raise self._failure

    def carry_out(self, now: float) -> None:
        """Do what is due."""
        heap = self._heap
        try:
            while heap and heap[0][0] <= now:
                _, _, call, args = heapq.heappop(heap)
                call(*args)
        except Exception as error:  # a fault of the simulation: raised where somebody can take it
            self._failure = error
            heap.clear()
            self._failed.set()
        self.due = heap[0][0] if heap else math.inf
