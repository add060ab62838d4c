"""Nobody is left behind: what a test has started has ended with it, and is ended where the test failed."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.cli import stop


def children() -> set[int]:
    """Processes of ours that run, or that nobody has asked how they ended; empty where there is no /proc."""
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, listing.read_text().split()))
    return found


@pytest.fixture(autouse=True)
def _nobody_is_left_behind() -> Iterator[None]:
    before = children()
    yield
    left = children() - before
    for pid in left:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert not left, "the test left processes behind"


@pytest.fixture
def stoppable() -> Iterator[None]:
    """SIGTERM leaves through every `with`, as in `lab` from the command line."""
    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)
