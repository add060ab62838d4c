"""Virtual time, event by event. Equal times keep the order in which they were arranged, so runs repeat.

Thousands of peers arrange tens of thousands of events, and one heap of them all is walked up and down through
memory that no cache holds. So what is far away is thrown unsorted into *slices* of time, which are sorted
when they come, and what is arranged for the slice that we are in goes into a heap beside it: both stay small,
however many peers there are. (A calendar queue: Brown, "Calendar queues", CACM 31(10), 1988.)
"""

import gc
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from operator import itemgetter
from typing import Any, Final

SLICES_PER_S: Final = 128
"""A thousand busy peers have some fifty events in a slice, and a usual trip over the network is longer."""

Event = tuple[float, Callable[..., object], tuple[Any, ...]]
"""When, and what to call."""

_TIME: Final = itemgetter(0)


class Agenda:
    """What happens when. ``now`` is seconds since the beginning."""

    __slots__ = ("_count", "_later", "_near", "_slice", "_slices", "_soon", "now", "stopped")

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self._slice = 0  # the one that we are in
        self._near: list[Event] = []  # what it held when it began, the last first
        self._soon: list[tuple[float, int, Event]] = []  # a heap: what was arranged for it since
        self._count = 0  # of these: equal times keep their order
        self._later: dict[int, list[Event]] = {}  # by slice, as it was arranged
        self._slices: list[int] = []  # a heap of these

    def at(self, time: float, call: Callable[..., object], *args: Any) -> None:
        """Call then; at once, after what is under way, if that is past. The time must be finite."""
        time = time if time > self.now else self.now  # in half the time of max
        in_slice = int(time * SLICES_PER_S)
        if (later := self._later.get(in_slice)) is not None:
            later.append((time, call, args))
        elif in_slice <= self._slice:
            self._count += 1
            heappush(self._soon, (time, self._count, (time, call, args)))
        else:
            self._later[in_slice] = [(time, call, args)]
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
        near, soon, slices = self._near, self._soon, self._slices
        while not self.stopped:
            if near or soon:
                is_soon = bool(soon) and (not near or soon[0][0] < near[-1][0])
                time, call, args = soon[0][2] if is_soon else near[-1]
                if time > until:
                    self.now = until
                    return
                if is_soon:
                    heappop(soon)
                else:
                    near.pop()
                self.now = time
                call(*args)
            elif slices:
                self._slice = heappop(slices)
                near += self._later.pop(self._slice)
                near.reverse()  # so that of equal times, whose order sorting keeps, the first is the last
                near.sort(key=_TIME, reverse=True)
            else:
                return
