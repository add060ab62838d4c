"""One task that calls back at given times, for glue that must not wait itself."""

import heapq
import math
from collections.abc import Callable
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
