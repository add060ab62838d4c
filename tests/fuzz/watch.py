"""Keeps the time of single calls into the code under test, and its memory."""

import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Watch:
    """Times calls. By the clock on the wall, which costs next to nothing to read and never says less than the
    processor time of this thread; `exact`, by that: what would block an event loop, and nothing that the
    neighbours on a busy machine do. It takes a system call to read, twice for each call that is watched."""

    def __init__(self, *, exact: bool = False) -> None:
        self._now = time.thread_time if exact else time.perf_counter
        self.calls = 0
        self.slowest_s = 0.0
        self.frames = 0
        """Counted by the targets that read frames: whole ones, not what was generated."""

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        begun = self._now()
        try:
            return function(*args, **kwargs)
        finally:
            self.slowest_s = max(self.slowest_s, self._now() - begun)


def resident_bytes() -> int:
    """Memory of this process that is in use now (where the system does not tell: its peak)."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
