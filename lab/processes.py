"""Programs of ours as child processes, of which none outlives us, however we end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Final

STOP_S: Final = 5.0
"""A child that was asked to stop gets so long; then it is killed."""
HELD: Final = (signal.SIGTERM, signal.SIGINT)
"""In this order, and let go in the other: `lab.cli.stop`, called for SIGTERM, looks at who handles SIGINT."""


def program(name: str) -> list[str]:
    """The command of one of our console programs, run by this Python."""
    begin = f"from lab.parent import end_with_parent; end_with_parent({os.getpid()})"
    return [sys.executable, "-c", f"{begin}; from {name}.cli import main; main()"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of this block; for a few statements that belong together.

    Their handlers raise wherever the program happens to be: between the fork and the moment in which somebody
    holds the child, that would leave a child nobody stops, which then writes into folders already removed.
    Blocking the signals instead would be inherited by the child.
    """
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    mine = threading.current_thread() is threading.main_thread()  # no other may have handlers
    before = {number: signal.getsignal(number) for number in HELD} if mine else {}
    try:
        for number, handler in before.items():
            if callable(handler):  # what is ignored, or ends us at once, stays so, for the child too
                signal.signal(number, note)
        yield
    finally:
        for number, handler in reversed(before.items()):
            if callable(handler):
                signal.signal(number, handler)
        for caught in came[:1]:
            signal.raise_signal(caught)


@contextmanager
def stopped_at_end(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Stop it politely, then surely; at once where somebody presses Ctrl-C meanwhile."""
    try:
        yield process
    finally:
        try:
            process.terminate()
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with undisturbed():
                process.kill()  # does nothing where it has ended
                process.wait()
                for pipe in (process.stdout, process.stderr):
                    if pipe is not None:
                        pipe.close()


def launch(stack: ExitStack, command: Sequence[str], **more: Any) -> "subprocess.Popen[str]":
    """Start a child that `stack` stops. more: as of `subprocess.Popen`."""
    with undisturbed():
        return stack.enter_context(stopped_at_end(subprocess.Popen(command, text=True, **more)))


@contextmanager
def running(command: Sequence[str], **more: Any) -> Iterator["subprocess.Popen[str]"]:
    """A child for the length of the block. more: as of `subprocess.Popen`."""
    with ExitStack() as stack:
        yield launch(stack, command, **more)
