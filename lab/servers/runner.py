"""All runs, one after the other: rows for results.json, one clear line for whatever could not be run."""

import hashlib
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lab.servers.measure import MeasurementError, Server, run_job
from lab.servers.workloads import Run, Scale, Speed, files, row, runs

PROCESS_SPARE: Final = 100
"""Processes that others of this user may have meanwhile."""


@dataclass(slots=True)
class Campaign:
    """What is to be run.

    `say` gets one line for each thing left out, `progress` how many runs are done, of how many, and the next.
    """

    scale: Scale
    servers: Sequence[str]
    workloads: Sequence[str]
    repetitions: int
    say: Callable[[str], None]
    progress: Callable[[int, int, str], None]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """Fills `rows`. A run that fails is said and left out; the others go on."""
        raise_descriptor_limit()
        plan = list(runs(self.scale, speed(), tuple(self.servers), tuple(self.workloads)))
        possible = [run for run in plan if self._possible(run)]
        queue = [(repetition, run) for repetition in range(1, self.repetitions + 1) for run in possible]
        for number, (repetition, run) in enumerate(queue):
            self.progress(number, len(queue), f"{run.label}: {run.server}")
            try:
                self.rows.append(self._measure(run, repetition))
            except MeasurementError as error:
                self.say(f"{run.label} with {run.server} left out: {error}")
        self.progress(len(queue), len(queue), "done")

    def _possible(self, run: Run) -> bool:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if run.descriptors > limit:
            self.say(
                f"{run.label} with {run.server} left out: it needs {run.descriptors} descriptors and this"
                f" user may have {limit} (ulimit -n)"
            )
            return False
        tasks = process_limit()
        if run.server in ("process", "thread") and run.clients + PROCESS_SPARE > tasks:
            self.say(
                f"{run.label} with {run.server} left out: it needs {run.clients} processes or threads and"
                f" this user may have {tasks} (ulimit -u)"
            )
            return False
        return True

    def _measure(self, run: Run, repetition: int) -> dict[str, Any]:
        footprints: list[tuple[int | None, int, int]] = []
        with Server(run.server, files(run, self.scale)) as server:

            def look() -> None:
                found = server.footprint()
                footprints.append((found.memory_bytes, found.processes, found.threads))

            facts = run_job(server, {**run.job, "seed": repetition}, look)
            usage = server.stop()
        return row(run, repetition, facts, usage, footprints)


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, as any server does; the limit then. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, DESCRIPTORS_MAX) if hard != resource.RLIM_INFINITY else DESCRIPTORS_MAX
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS has a second, lower limit of the kernel
        return soft
    return wanted


DESCRIPTORS_MAX: Final = 20_000
"""Enough for every experiment; some systems allow a billion, and programs that close them all one by one."""


def process_limit() -> int:
    """How many processes this user may have; for root that is no limit."""
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return 1 << 30 if soft == resource.RLIM_INFINITY or os.geteuid() == 0 else soft


def speed() -> Speed:
    """How fast this machine sums a MiB and counts, so that heavy requests last equally long anywhere."""
    data = bytes(1 << 20)
    return Speed(
        sums_per_s=1 / _best(lambda: hashlib.blake2b(data).digest()),
        counts_per_s=COUNT_SAMPLE / _best(_count),
    )


COUNT_SAMPLE: Final = 200_000


def _count() -> None:
    number = 0
    for _ in range(COUNT_SAMPLE):  # as the handler of COUNT does
        number += 1  # noqa: SIM113


def _best(action: Callable[[], object], times: int = 7) -> float:
    """Seconds of the fastest of a few tries."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return best
