"""The standard streams, so that what is on their other side ends no transfer.

A shell may close them (`>&-`), whoever reads them may go (`| head -1`), the disk behind them may be full.
Then

* what goes to stderr is lost, and nothing else: progress is not worth a transfer;
* what goes to stdout is a result: its reader's going is a `BrokenPipeError`, everything else a `StorageError`
  that says so. Once: what is written after that is lost, so that no way out of the program trips over it.

A closed stream is /dev/null. Its number would else be the next file's that is opened, and whatever a library
writes to "stderr" would land in that.
"""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

from peer.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = range(3)

_UTF_8: Final = "utf-8"


class _Remarks(io.FileIO):
    """stderr: what cannot be written is lost."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data) or memoryview(data).nbytes
        except OSError:
            return memoryview(data).nbytes


class _Results(io.FileIO):
    """stdout: what cannot be written is told of, once."""

    _failed = False

    def write(self, data: "ReadableBuffer") -> int:
        while not self._failed:
            try:
                count: int | None = super().write(data)
            except BrokenPipeError:
                self._failed = True
                raise
            except OSError as error:
                self._failed = True
                why = os.strerror(error.errno or errno.EIO).lower()
                raise StorageError(f"standard output cannot be written to: {why}") from error
            if count is not None:
                return count
            select.select([], [self.fileno()], [])  # somebody has made it non-blocking
        return memoryview(data).nbytes


def settle() -> None:
    """Make all three what the module says. Once, before anything is written or opened."""
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if sys.stdin is None:
        sys.stdin = open(STDIN, encoding=_UTF_8, closefd=False)  # noqa: SIM115 - for the whole of the program
    sys.stdout = _text(_Results(STDOUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Remarks(STDERR, "w", closefd=False), sys.stderr, is_stderr=True)


def _text(raw: io.FileIO, before: TextIO | None, *, is_stderr: bool = False) -> TextIO:
    """Text over these bytes. Names of files need not be text: where they can, they come out as they were."""
    encoding = before.encoding if before is not None else _UTF_8
    as_they_were = encoding.lower().replace("_", "-") in (_UTF_8, "utf8") and not is_stderr
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding,
        "surrogateescape" if as_they_were else "backslashreplace",
        line_buffering=is_stderr or raw.isatty(),
    )
