"""The simulated side of a node's alarm: woken by the simulated world's agenda.

trio's only way to wake a task at a given time is to cancel its sleep, which costs several times what the
usual callback does. A tenth of a small world's time went there. Everything else of an alarm is the real one.
"""

import math

from peer.alarm import Alarm
from peer.bell import Bell
from peer.sim.agenda import Agenda


class SimAlarm(Alarm):
    """An `Alarm` that sleeps by an agenda. What was put there for a time that is no longer of interest still
    rings, to no effect."""

    def __init__(self, agenda: Agenda) -> None:
        super().__init__()
        self._agenda = agenda
        self._bell = Bell()

    async def _sleep(self) -> None:
        if self._sleeps_until < math.inf:
            self._wake_at(self._sleeps_until)
        await self._bell.wait()

    def _wake_at(self, when: float) -> None:
        self._agenda.at(when, self._bell.ring)
