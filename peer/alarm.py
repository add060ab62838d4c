"""One task that calls back at given times, for glue that must not wait itself."""

import heapq
import math
from collections.abc import Callable
from itertools import count

import trio


class Alarm:
    """Callbacks at points of trio's clock, by one task. Callbacks return at once and do not raise."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()  # equal times fire in the order in which they were set
        self._sleep: trio.CancelScope | None = None

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at ``when`` (seconds of trio's clock), or at once if that has passed."""
        heapq.heappush(self._heap, (when, next(self._numbers), callback))
        if self._sleep is not None and when < self._sleep.deadline:
            self._sleep.deadline = when

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
