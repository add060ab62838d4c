"""A wait for one descriptor that two tasks may share, which trio allows to one only.

Who comes second sleeps until the first has waited, and then sees for itself: its turn may be over again, as
after any wait for a descriptor. The same if the first was cancelled.
"""

from collections.abc import Awaitable, Callable
from socket import socket

import trio


class SharedWait:
    """`trio.lowlevel.wait_readable` or `wait_writable` of one socket."""

    __slots__ = ("_others", "_socket", "_taken", "_wait")

    def __init__(self, wait: Callable[[socket], Awaitable[None]], sock: socket) -> None:
        self._wait = wait
        self._socket = sock
        self._others = trio.lowlevel.ParkingLot()
        self._taken = False

    async def __call__(self) -> None:
        """Return when it may be otherwise. Who waits itself raises what trio does."""
        if self._taken:
            await self._others.park()
            return
        self._taken = True
        try:
            await self._wait(self._socket)
        finally:
            self._taken = False
            self._others.unpark_all()

    def closed(self) -> None:
        """The socket is about to be closed: everybody comes back."""
        self._others.unpark_all()
