"""The simulated side of a node's alarm: callbacks straight from the simulated world's agenda.

A tenth of a small world's time went into a task for each node that slept until its next callback was due.
"""

from collections.abc import Callable

import trio

from peer.alarm import Alarm
from peer.sim.agenda import Agenda


class SimAlarm(Alarm):
    """An `Alarm` that is as much part of the world as what happens on the network. Its node's end is its own:
    what was set is not called after it."""

    def __init__(self, agenda: Agenda) -> None:
        super().__init__()
        self._agenda = agenda
        self._ended = False

    def at(self, when: float, callback: Callable[[], None]) -> None:
        self._agenda.at(when, self._call, callback)

    async def run(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._ended = True

    def _call(self, callback: Callable[[], None]) -> None:
        if not self._ended:
            callback()
