"""Where the console scripts begin: nothing is loaded yet.

A Ctrl-C while click is being loaded is an interruption like any other, and no traceback.
"""

import sys
from importlib import import_module


def start(module: str) -> None:
    """Load the module of a command line, and run its ``main``."""
    try:
        run = import_module(module).main
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, not loaded yet either
    run()
