"""The clock of a simulation: time stands still while any task can run, and jumps when none can.

trio's `MockClock` does the same from outside, with three turns of trio's loop for each jump. This one jumps
where the loop asks how long it may sleep, and carries out what the simulated world has on its agenda in the
same place: most of what happens in a network (a chunk leaves an uplink, a chunk arrives) wakes no task at
all, and costs a call instead of a task switch.
"""

import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

import trio

_MOMENT_S: Final = 1e-6
"""More than nothing: then trio wakes who waits for all others to be blocked, without sleeping."""

_DUE: Final = attrgetter("due")


class Happenings(Protocol):
    """What happens by itself in the simulated world."""

    due: float
    """When the next thing is; inf for never."""

    def carry_out(self, now: float) -> None:
        """Do what is due. Must not raise or wait; may wake tasks."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What the clock must know of trio's loop: its own tables, to look at."""

    ready: Sized
    """Tasks that can run."""

    calls: Sized
    idempotent_calls: Sized
    """What trio's own task of such calls is to do soon: the end of asynchronous generators."""

    watchers: Sized
    """Tasks that wait for the moment when no other can run."""

    next_deadline: Callable[[], float]
    """Of the tasks' cancel scopes, the soonest; inf for none."""


class VirtualClock(trio.abc.Clock):
    """Begins at 0."""

    def __init__(self, find_loop: Callable[[], Loop]) -> None:
        self._find_loop = find_loop
        self._loop: Loop
        self._now = 0.0
        self._worlds: list[Happenings] = []

    def attach(self, world: Happenings) -> None:
        """Carry out what happens there, too."""
        self._worlds.append(world)

    def detach(self, world: Happenings) -> None:
        """The end of that."""
        self._worlds.remove(world)

    def start_clock(self) -> None:
        self._loop = self._find_loop()

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No task can run: go to the next moment at which one can. Never lets the loop sleep."""
        loop, worlds = self._loop, self._worlds
        if loop.watchers:
            return _MOMENT_S
        while not (loop.ready or loop.calls or loop.idempotent_calls):
            world = worlds[0] if len(worlds) == 1 else min(worlds, key=_DUE, default=None)
            if world is not None and world.due <= deadline and world.due < math.inf:
                self._now = max(self._now, world.due)
                world.carry_out(self._now)
                deadline = loop.next_deadline()
            elif deadline < math.inf:
                self._now = max(self._now, deadline)
                break
            else:
                raise RuntimeError(
                    "nothing will ever happen in this simulation: every task waits for another"
                )
        return 0.0
