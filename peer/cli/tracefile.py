"""The file that `--trace` names: a regular file, or a pipe or terminal that somebody reads meanwhile.

What is traced goes on, whatever is at the other end: nothing here waits, neither for a reader to come nor for
a slow one. What a reader has not taken yet is kept, up to TRACE_BACKLOG_BYTES_MAX; then the trace ends, with
one line that says so. Lines reach a regular file one by one: a process that is killed leaves its own.
"""

import errno
import os
import select
import stat
import time
from pathlib import Path

from peer.cli.run import say
from peer.errors import UsageError
from peer.limits import TRACE_BACKLOG_BYTES_MAX, TRACE_END_S
from peer.store.trouble import trouble

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""Without O_NONBLOCK a named pipe that nobody reads would be waited for, before a word is said."""

PERMISSIONS = 0o666
"""Less the umask: it is no secret."""


class TraceFile:
    """Takes lines; never blocks, never raises. Opening it raises UsageError and StorageError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._backlog = bytearray()
        with trouble(str(path)):
            try:
                self._descriptor: int | None = os.open(path, FLAGS, PERMISSIONS)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                raise UsageError(f"--trace {path}: {_why_nobody(path)}") from error

    def write(self, line: str) -> None:
        """Once it has ended, lines are lost."""
        if self._descriptor is None:
            return
        self._backlog += line.encode("utf-8", "backslashreplace")
        self._pass_on(self._descriptor)
        if len(self._backlog) > TRACE_BACKLOG_BYTES_MAX:
            self._end("its reader is too slow; a file keeps up")

    def close(self, patience_s: float = TRACE_END_S) -> None:
        """Give the reader a moment for the rest."""
        if self._descriptor is None:
            return
        try:
            if self._backlog and not self._wait(self._descriptor, patience_s):
                self._end("its reader has not taken the rest")
        except KeyboardInterrupt:  # whoever presses it again has no patience left
            pass
        self._end()

    def _wait(self, descriptor: int, patience_s: float) -> bool:
        """Whether all of it went out in that time."""
        poll = select.poll()  # unlike select, whatever the descriptor's number
        poll.register(descriptor, select.POLLOUT)
        until = time.monotonic() + patience_s
        while self._backlog and poll.poll(max(until - time.monotonic(), 0.0) * 1000):
            self._pass_on(descriptor)
        return not self._backlog

    def _pass_on(self, descriptor: int) -> None:
        try:
            while self._backlog:
                del self._backlog[: os.write(descriptor, self._backlog)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._end("nobody reads it any more")
        except OSError as error:  # a full disk: no reason to end what is traced
            self._end(os.strerror(error.errno or errno.EIO).lower())

    def _end(self, why: str = "") -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._backlog.clear()
        if descriptor is not None:
            os.close(descriptor)
        if why:
            say(f"the trace {self._path} ends here: {why}")


def _why_nobody(path: Path) -> str:
    """What it is that cannot be written to, although it is there."""
    try:
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        is_pipe = False
    if is_pipe:
        return "nobody reads this pipe: start its reader first, or name a file"
    return "it is a socket or a device without a driver: name a file, or a pipe that somebody reads"
