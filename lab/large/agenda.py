"""Virtual time, event by event. Equal times keep the order in which they were arranged, so runs repeat.

Thousands of peers arrange tens of thousands of events, and one heap of them all is walked up and down through
memory that no cache holds. So what is far away is thrown unsorted into *slices* of time, and only that of now
is a heap: it stays small, however many peers there are.
"""

import gc
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Final

SLICES_PER_S: Final = 64
"""A thousand busy peers have some hundred events in a slice."""

Event = tuple[float, int, Callable[..., object], tuple[Any, ...]]
"""When, the how manieth, and what to call."""


class Agenda:
    """What happens when. ``now`` is seconds since the beginning."""

    __slots__ = ("_later", "_near", "_slice", "_slices", "events", "now", "stopped")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.stopped = False
        self._slice = 0  # the one that we are in
        self._near: list[Event] = []  # a heap: what is in it still, or before
        self._later: dict[int, list[Event]] = {}  # by slice
        self._slices: list[int] = []  # a heap of these

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call then; at once, after what is under way, if that is past. The time must be finite."""
        time = time if time > self.now else self.now  # in half the time of max
        self.events = number = self.events + 1
        in_slice = int(time * SLICES_PER_S)
        if in_slice <= self._slice:
            heappush(self._near, (time, number, call, args))
        elif (later := self._later.get(in_slice)) is not None:
            later.append((time, number, call, args))
        else:
            self._later[in_slice] = [(time, number, call, args)]
            heappush(self._slices, in_slice)

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
        while not self.stopped and (self._near or self._slices):
            if not self._near:
                self._slice = heappop(self._slices)
                self._near = self._later.pop(self._slice)
                heapify(self._near)
            near = self._near
            while near and not self.stopped:
                if near[0][0] > until:
                    self.now = until
                    return
                self.now, _, call, args = heappop(near)
                call(*args)
