"""Runs a command: turns errors into one line and an exit code, and Ctrl-C into a clean stop."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import NoReturn, TypeVar

import click
import trio

from peer.errors import ExitCode, ManyhandsError
from peer.paths import printable

T = TypeVar("T")

DEBUG_VARIABLE = "MANYHANDS_DEBUG"
"""Set to anything, it lets tracebacks through."""


class Stop:
    """A request to stop, by signal. `requested` is set by the first one; the second ends the process."""

    def __init__(self) -> None:
        self.requested = trio.Event()

    async def watch(self) -> None:
        """Wait for SIGINT and SIGTERM."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self.requested.is_set():
                    os._exit(ExitCode.INTERRUPTED)
                self.requested.set()

    async def cancel(self, scope: trio.CancelScope) -> None:
        """Cancel a scope as soon as it is requested."""
        await self.requested.wait()
        scope.cancel()


async def unless_stopped(stop: Stop, work: Callable[[], Awaitable[T]]) -> T | None:
    """What the work gives; None, at once, if a stop is requested before it is done."""
    result: T | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop.cancel, nursery.cancel_scope)
        result = await work()
        nursery.cancel_scope.cancel()
    return result


def say(text: str) -> None:
    """One line on stderr, safe for a terminal."""
    click.echo(printable(text), err=True)


def fail(text: str, code: int) -> NoReturn:
    """Say why, and exit."""
    say(f"peer: {text}")
    sys.exit(code)


class OneLine(logging.Handler):
    """What is logged while a command runs, for people: a line each, for a bug of ours too."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        why = (
            ""
            if error is None
            else f": {type(error).__name__}: {error} (a bug; {DEBUG_VARIABLE}=1 shows where)"
        )
        say(f"peer: {record.getMessage()}{why}")


def log_to_people() -> None:
    """Have warnings of the library shown as lines. A daemon sets up its own log afterwards."""
    root = logging.getLogger("peer")
    if not root.handlers and DEBUG_VARIABLE not in os.environ:
        root.addHandler(OneLine(logging.WARNING))


def run(command: Callable[[Stop], Awaitable[int]]) -> NoReturn:
    """Run an async command to its exit code. Never shows a traceback, unless asked for one."""
    log_to_people()
    sys.exit(_guarded(lambda: trio.run(_with_stop, command)))


def guard(command: Callable[[], int]) -> NoReturn:
    """The same for a command that needs no event loop."""
    sys.exit(_guarded(command))


async def _with_stop(command: Callable[[Stop], Awaitable[int]]) -> int:
    stop = Stop()
    code = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop.watch)
        code = await command(stop)
        nursery.cancel_scope.cancel()
    return code


def _guarded(command: Callable[[], int]) -> int:
    gc.freeze()  # all that is loaded by now; the program's beginning has switched it off
    gc.enable()
    try:
        code = command()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BaseException as error:
        return _report(error)


def _report(error: BaseException) -> int:
    if DEBUG_VARIABLE in os.environ:
        raise error
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, SystemExit):
            return leaf.code if isinstance(leaf.code, int) else ExitCode.INTERNAL
    for leaf in leaves:
        if isinstance(leaf, ManyhandsError):
            say(f"peer: {leaf}")
            return leaf.exit_code
    if any(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        return ExitCode.DONE  # whoever read our output has gone; that is not for us to report
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return ExitCode.INTERRUPTED
    leaf = leaves[0]
    say(
        f"peer: internal error: {type(leaf).__name__}: {leaf} "
        f"(please report it; {DEBUG_VARIABLE}=1 shows where it happened)"
    )
    return ExitCode.INTERNAL


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
