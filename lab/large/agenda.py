"""Virtual time as an event heap. Equal times keep the order in which they were arranged, so runs repeat."""

import gc
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any


class Agenda:
    """What happens when. ``now`` is seconds since the beginning."""

    __slots__ = ("_heap", "events", "now", "stopped")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.stopped = False
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call then; at once, after what is under way, if that is past."""
        self.events += 1
        heappush(self._heap, (time if time > self.now else self.now, self.events, call, args))

    def run(self, until: float = inf) -> None:
        """Until `stopped`, or that time, or nothing is left.

        The cycle collector rests meanwhile: it would look at millions of long-lived objects again and again.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._run(until)
        finally:
            if collecting:
                gc.enable()

    def _run(self, until: float) -> None:
        heap = self._heap
        while heap and not self.stopped:
            if heap[0][0] > until:
                self.now = until
                return
            self.now, _, call, args = heappop(heap)
            call(*args)
