"""Short sleeps of many tasks, for the price of one timer.

A deadline of trio's costs as much as handling a message. Here who comes first sleeps for a step, and all who
come meanwhile wake with it: streams of one node then read at the same moments, in one pass of the event loop.
"""

import trio

from peer.limits import NAP_STEP_S


class Naps:
    """Shared by the streams of one transport."""

    __slots__ = ("_others", "_taken")

    def __init__(self) -> None:
        self._others = trio.lowlevel.ParkingLot()
        self._taken = False

    async def sleep(self, seconds: float) -> None:
        """For about so long: to the nearest step, and a part of one at least."""
        until = trio.current_time() + seconds - NAP_STEP_S / 2
        while True:
            await self._step()
            if trio.current_time() >= until:
                return

    async def _step(self) -> None:
        if self._taken:
            await self._others.park()
            return
        self._taken = True
        try:
            await trio.sleep(NAP_STEP_S)
        finally:  # if cancelled too: somebody else sleeps for the others then
            self._taken = False
            self._others.unpark_all()
