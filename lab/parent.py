"""For a child process to end with whoever started it. Imports next to nothing: its start is measured."""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h."""


def end_with_parent(parent: int) -> None:
    """Be killed when the process `parent`, which started us, dies, however that happens; also if it is dead
    already, which the kernel would not tell. Does nothing where not Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
