"""Runs our programs as users do: real processes on loopback, each with a home of its own."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240
"""For what ends by itself: no bar, only the end of waiting for what hangs, on the slowest machine."""

LOOK_S = 0.02
"""Between two looks at what nobody announces."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object that `--json` ends with."""
        result: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return result


def command(program: str, *arguments: str | Path) -> list[str]:
    """A program of ours, run by this Python."""
    return [sys.executable, "-c", f"from {program}.cli import main; main()", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Ours, without what could leak in from the user's."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MANYHANDS")} | {
        "PYTHONPATH": str(ROOT),
        "MANYHANDS_LAN": "0",
        "COLUMNS": "100",
    }


def run(program: str, *arguments: str | Path) -> Result:
    """Run to the end."""
    done = subprocess.run(
        command(program, *arguments),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def ask(program: str, *arguments: str | Path) -> Result:
    """As `run`, for what a program says of its arguments: in a process of its own, forked from this one
    where all is loaded: to load Python and its modules is nearly all that such a command costs."""
    with TemporaryFile() as out, TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not need
            pid = os.fork()
        if pid == 0:
            code = 255
            try:
                code = _become(program, list(map(str, arguments)), out.fileno(), err.fileno())
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8"))
    assert "Traceback" not in said[1], said[1]
    return Result(os.waitstatus_to_exitcode(status), *said)


def _become(program: str, arguments: list[str], out: int, err: int) -> int:
    """Be that program to its end, in a forked process; its exit code."""
    os.environ.clear()
    os.environ.update(environment())
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, out, err)):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115 - until the process ends
        for number, mode in enumerate("rww")
    )
    sys.argv[1:] = arguments
    logging.getLogger().handlers.clear()  # those of the tests
    try:
        import_module(f"{program}.cli").main()
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 1 if exit.code else 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def begin(program: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start, to be watched."""
    return subprocess.Popen(
        command(program, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def end(process: subprocess.Popen[str], by: signal.Signals = signal.SIGTERM) -> Result:
    """Send a signal and wait for the end."""
    process.send_signal(by)
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()  # does nothing where it has ended
    assert "Traceback" not in err, err
    return Result(process.returncode, out, err)


def wait_until(condition: Callable[[], object], *alive: "subprocess.Popen[str]") -> None:
    """Until something is true that no process announces. It cannot become true once one of `alive` has
    ended."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        for process in alive:
            assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < until, "it never came"
        time.sleep(LOOK_S)


@contextmanager
def free_port() -> Iterator[int]:
    """A port of loopback that nobody but a server of ours gets while the block lasts, however often it
    starts."""
    with socket.socket() as held:
        # Bound, not listening. With this option a server may bind and listen all the same, as Linux has it,
        # while the kernel gives the port to nobody who asks for any; elsewhere it must be let go again.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform != "linux":
            held.close()
        yield port


@contextmanager
def sharing(path: Path, home: Path, *options: str | Path) -> Iterator[str]:
    """A sharing peer on loopback; gives the link."""
    process = begin("peer", "share", path, "--host", "127.0.0.1", "--port", "0", "--home", home, *options)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        assert link.startswith("magnet:?xt=urn:blake3:"), process.stderr and process.stderr.read()
        yield link
    finally:
        result = end(process)
        assert result.code == 0, result.err
        assert result.out == "", "the link stands alone on stdout"


def get(link: str, folder: Path, home: Path, *options: str | Path) -> Result:
    """A getting peer on loopback, to its end."""
    return run("peer", "get", link, "-o", folder, "--host", "127.0.0.1", "--home", home, *options)
