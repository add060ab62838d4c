"""Run a simulation: virtual time, everything from one seed, and nothing of the real world within reach.

trio shuffles its ready tasks on purpose. To run a seed twice the same way takes a private switch and seeding
trio's own generator, as trio's tests, pytest-trio and Hypothesis do (trio issue #3089); that, and a look at
whether any task can run (`sim/clock.py`), is done here and nowhere else, with trio's version pinned and a
test that compares two processes.
"""

import gc
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Self, TypeVar, TypeVarTuple

import trio
import trio._core._instrumentation as trio_instruments
import trio._core._run as trio_run

from peer.sim.clock import Loop, VirtualClock
from peer.sim.seal import sealed

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


COLLECT_AFTER = 50_000
"""Objects that may be made and live on before cyclic garbage is looked for. With Python's own 700 a tenth of
the time of fifty nodes went there, to find nothing: what lives there lives long, and hardly in cycles."""


def _trio_loop() -> Loop:
    """A look into trio's loop, of the run that we are in."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    return Loop(
        ready=runner.runq,
        calls=runner.entry_queue.queue,
        idempotent_calls=runner.entry_queue.idempotent_queue,
        watchers=runner.waiting_for_idle,
        next_deadline=runner.deadlines.next_deadline,
    )


class _Instruments(dict[str, dict[trio.abc.Instrument, None]]):
    """trio's table of instruments, which it looks into five times for each step of a task: trio's own, a
    `UserDict`, answers each time with a call of Python code."""

    add_instrument = trio_instruments.Instruments.add_instrument
    remove_instrument = trio_instruments.Instruments.remove_instrument
    call = trio_instruments.Instruments.call

    @property
    def data(self) -> Self:
        """What a `UserDict` wraps."""
        return self


class _NoDevices:
    """trio's input and output, where there is none: the kernel is asked only when trio has woken its own loop
    (Ctrl-C does), which saves a system call for every turn of the loop."""

    def __init__(self, runner: Any) -> None:
        self._real = runner.io_manager
        self._wakers = runner.entry_queue
        self.process_events = self._real.process_events

    def get_events(self, timeout: float) -> Any:
        wakers = self._wakers
        return self._real.get_events(timeout) if wakers.queue or wakers.idempotent_queue else ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def run(
    seed: int,
    async_function: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
) -> T:
    """Run ``async_function(*args)`` in virtual time, scheduled from the seed, sealed off. Returns its result.

    The same seed and the same program give the same run. The global `random` is seeded as well, so that a
    library's use of it cannot make a difference; our own code has its generators handed in.
    """
    switch, collecting = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, gc.get_threshold()
    scheduler, everybody = trio_run._r.getstate(), random.getstate()

    async def main() -> T:
        runner = trio_run.GLOBAL_RUN_CONTEXT.runner
        runner.io_manager = _NoDevices(runner)  # type: ignore[assignment]
        runner.instruments = _Instruments(runner.instruments.data)  # type: ignore[assignment]
        seal.enter_context(sealed())
        try:
            return await async_function(*args)
        finally:
            seal.close()

    seal = ExitStack()
    try:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
        trio_run._r.seed(seed)
        random.seed(seed)
        gc.set_threshold(COLLECT_AFTER, *collecting[1:])
        return trio.run(main, clock=VirtualClock(_trio_loop))
    finally:
        seal.close()  # where trio's loop itself broke down, `main` stands still for ever
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = switch  # type: ignore[misc]
        trio_run._r.setstate(scheduler)
        random.setstate(everybody)
        gc.set_threshold(*collecting)
