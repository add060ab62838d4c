"""In turn, and no faster than at a rate: how a network that comes too often is slowed down, and no other is.

Who comes too often waits and is not sent away: that would be an error to honest peers behind one address
translation. What waits is bounded by the connections that a network may have.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peer import limits
from peer.bucket import Buckets


class Turns:
    """One of each network at a time, in order of arrival; none of its memory is left when all have gone."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def of(self, network: str) -> AsyncIterator[None]:
        """The turn of whoever enters."""
        lock = self._locks.setdefault(network, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(network, None)


class Turnstile:
    """Lets so many of each network through at once after a quiet time, and then so many a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._turns = Turns()
        self._buckets = Buckets(rate, burst, limits.DOOR_NETWORKS_MAX)
        self.delayed = 0
        """Who had to wait, so far."""

    async def go_through(self, network: str) -> None:
        """Return when it is this one's turn."""
        async with self._turns.of(network):
            delayed = False
            while not self._buckets.of(network, now := trio.current_time()).take(now):
                self.delayed += not delayed
                delayed = True
                await trio.sleep(self._buckets.of(network, now).wait(now))
