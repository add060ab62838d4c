"""The cheapest way to wake a task: a bell that one task listens for.

An `Event` serves any number of waiters, once, and is made anew each time; this serves one, for ever. The
tasks of a connection wait for every message, so what a wait costs is paid for every message.
"""

import trio


class Bell:
    """One task waits for it, anybody rings it. A ring that nobody waits for is heard by nobody: look at what
    it is about first, and wait with no checkpoint in between."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Wake who waits."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Until it rings. Raises trio.BusyResourceError where another task waits already."""
        if self._task is not None:
            raise trio.BusyResourceError("another task waits for this bell")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up)

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
