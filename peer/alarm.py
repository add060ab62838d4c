"""Callbacks at given times, by one task, for glue that must not wait itself."""

import heapq
import math
from collections.abc import Callable
from functools import partial
from itertools import count

import trio

from peer.bell import Bell


class Alarm:
    """Callbacks at points of trio's clock, by one task. Callbacks return at once and do not raise."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()  # equal times fire in the order in which they were set
        self._scope = trio.CancelScope(deadline=-math.inf)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at ``when`` (seconds of trio's clock), or at once if that has passed."""
        heapq.heappush(self._heap, (when, next(self._numbers), callback))
        self._scope.deadline = min(when, self._scope.deadline)  # if it sleeps, and for too long

    async def sleep(self, seconds: float) -> None:
        """As `trio.sleep`, at less than the price of a cancel scope; not without `run`."""
        bell = Bell()
        self.at(trio.current_time() + seconds, bell.ring)
        await bell.wait()

    async def run(self) -> None:
        """Until cancelled."""
        heap = self._heap
        while True:
            now = trio.current_time()
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)[2]()
            with trio.CancelScope(deadline=heap[0][0] if heap else math.inf) as self._scope:
                await trio.sleep_forever()


class Timer:
    """One callback that is due at one time at most: asked for again, it comes at the sooner of the two.

    Who sets an alarm for a sooner time, and one more each time that it rings, must not be rung by those that
    were overtaken: each would set another, for ever.
    """

    __slots__ = ("_alarm", "_callback", "_when")

    def __init__(self, alarm: Alarm, callback: Callable[[], None]) -> None:
        self._alarm = alarm
        self._callback = callback
        self._when = math.inf

    def at(self, when: float) -> None:
        """Call back at ``when`` (seconds of trio's clock) or before."""
        if when < self._when:
            self._when = when
            self._alarm.at(when, partial(self._ring, when))

    def _ring(self, when: float) -> None:
        if when == self._when:
            self._when = math.inf
            self._callback()
