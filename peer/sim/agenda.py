"""What will happen in the simulated world: a heap of callbacks in virtual time, carried out by one task.

One task for the whole network rather than one for each packet: a wake-up of a task costs far more than a heap
operation, and callbacks due at the same moment run in the order in which they were made, in every run.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any

import trio


class Agenda:
    """Callbacks by time. They run in `run`'s task, one after the other, and must not wait."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._made = 0
        self._sleep: trio.CancelScope | None = None

    @property
    def pending(self) -> int:
        """Callbacks that have not run."""
        return len(self._heap)

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call at that time; at once, but not from here, if it is past."""
        heapq.heappush(self._heap, (time, self._made, call, args))
        self._made += 1
        if self._sleep is not None and time < self._sleep.deadline:
            self._sleep.deadline = time

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        """Call that many seconds from now."""
        self.at(trio.current_time() + delay, call, *args)

    async def run(self) -> None:
        """Carry out the agenda until cancelled."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                _, _, call, args = heapq.heappop(self._heap)
                call(*args)
            deadline = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
