"""What every experiment's command line shares: --json, --out, --quick, and how a result is shown."""

import functools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from lab.cli import ARGUMENTS
from peer.cli.options import PathType
from peer.errors import StorageError, UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Output:
    """Where a result goes. stdout carries results, stderr everything else."""

    as_json: bool
    folder: Path | None
    quick: bool
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)

    def check(self) -> None:
        """Find out before a long run that its report cannot be written."""
        if self.folder is not None:
            make_folder(self.folder, "--out")

    def say(self, line: str) -> None:
        """Progress and remarks: stderr."""
        click.echo(line, err=True)

    def finish(self, result: Any, shown: bool = False) -> None:
        """Show the result (`lab.report.Result`) unless it was shown already; with --out, write its report."""
        from lab import report

        result.started = self.started
        result.seconds = time.perf_counter() - self.clock
        result.repeat = repeat_line()
        # The report first: whoever reads stdout may close it early (`| head`).
        if self.folder is not None:
            written = report.write(result, self.folder, self.say)
            figures = sum(path.suffix in (".svg", ".png") for path in written)
            self.say(
                f"report: {self.folder / report.REPORT_NAME} ({figures} figure files, {report.RESULTS_NAME})"
            )
        if self.as_json:
            click.echo(json.dumps(report.finite(result.to_json()), ensure_ascii=False, allow_nan=False))
        elif not shown:
            from lab import screen

            screen.show(result, sys.stdout)


def make_folder(folder: Path, flag: str) -> None:
    """Have a folder that can be written to. flag: what named it. Raises UsageError, StorageError."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: name a folder with {flag}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}; name another {flag}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "read-only" if os.statvfs(folder).f_flag & os.ST_RDONLY else "permission denied"
        raise StorageError(f"cannot write to {folder}: {why}; name another {flag}")


def repeat_line() -> str:
    """The command that repeats this run."""
    context = click.get_current_context(silent=True)
    given = context.find_root().meta.get(ARGUMENTS, []) if context else []
    return shlex.join(["lab", *given])


def with_output(command: Command) -> Command:
    """Add --json, --out and --quick; the command gets one `output: Output` for them."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of tables.")
    @click.option(
        "--out",
        "folder",
        type=PathType(),
        metavar="DIR",
        help="Write results.json, figures and report.html.",
    )
    @click.option("--quick", is_flag=True, help="A short run: same experiment, fewer and smaller steps.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, folder: Path | None, quick: bool, **more: Any) -> Any:
        output = Output(as_json, folder, quick)
        output.check()
        return command(*args, output=output, **more)

    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the name, click the options
