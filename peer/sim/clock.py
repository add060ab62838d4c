"""The clock of a simulation: time stands still while any task can run, and jumps when none can.

trio's `MockClock` does the same from outside, with three turns of trio's loop for each jump. This one jumps
where the loop asks how long it may sleep, and carries out what the simulated world has on its agenda in the
same place: most of what happens in a network (a chunk leaves an uplink, a chunk arrives) wakes no task at
all, and costs a call instead of a task switch.
"""

import math
from typing import Final, Protocol

import trio

_MOMENT_S: Final = 1e-6
"""More than nothing: then trio wakes who waits for all others to be blocked, without sleeping."""


class Happenings(Protocol):
    """What happens by itself in the simulated world."""

    def next_at(self) -> float:
        """When the next is due; inf for never."""

    def carry_out(self, now: float) -> None:
        """Do what is due. Must not raise or wait; may wake tasks."""


class Loop(Protocol):
    """What the clock must know of trio's loop."""

    def is_busy(self) -> bool:
        """Whether there is something to run."""

    def is_watched(self) -> bool:
        """Whether a task waits for the moment when no other can run."""

    def next_deadline(self) -> float:
        """Of the tasks' cancel scopes, the soonest; inf for none."""


class VirtualClock(trio.abc.Clock):
    """Begins at 0."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._now = 0.0
        self._worlds: list[Happenings] = []

    def attach(self, world: Happenings) -> None:
        """Carry out what happens there, too."""
        self._worlds.append(world)

    def detach(self, world: Happenings) -> None:
        """The end of that."""
        self._worlds.remove(world)

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No task can run: go to the next moment at which one can. Never lets the loop sleep."""
        if self._loop.is_watched():
            return _MOMENT_S
        while not self._loop.is_busy():
            worlds = self._worlds
            world = worlds[0] if len(worlds) == 1 else min(worlds, key=_next_at, default=None)
            due = math.inf if world is None else world.next_at()
            if world is not None and due <= deadline and due < math.inf:
                self._now = max(self._now, due)
                world.carry_out(self._now)
                deadline = self._loop.next_deadline()
            elif deadline < math.inf:
                self._now = max(self._now, deadline)
                break
            else:
                raise RuntimeError(
                    "nothing will ever happen in this simulation: every task waits for another"
                )
        return 0.0


def _next_at(world: Happenings) -> float:
    return world.next_at()
