"""One measurement: a fresh server process, a fresh load process, and what the system says about them."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from peer.errors import ManyhandsError

START_TIMEOUT_S: Final = 60.0
"""An interpreter and its imports on a busy machine."""

END_TIMEOUT_S: Final = 3.0
"""A process that has not ended by then is killed."""

JOB_EXTRA_S: Final = 30.0
"""What a job may take beyond its own limits before it is given up."""


class MeasurementError(ManyhandsError):
    """A server or load process that did not do its part."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a server and its children hold now. memory_bytes: proportional set size, None where unknown."""

    memory_bytes: int | None
    processes: int
    threads: int


class Child:
    """A Python process of ours that speaks JSON lines; killed with all its children at the end."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that it and its children can be found and ended together
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def hear(self, timeout_s: float) -> dict[str, Any] | None:
        """Its next JSON line, None where it ended without one. Raises MeasurementError on a timeout."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        if not ready:
            raise MeasurementError(f"a child process said nothing for {timeout_s:.0f} s")
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(subprocess.TimeoutExpired):
            # Gently first: a server that ends by itself buries its children, so that no zombie is left.
            self.process.send_signal(signal.SIGINT)
            self.process.wait(END_TIMEOUT_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


class Server(Child):
    """One of the six, serving files of the given sizes."""

    def __init__(self, name: str, files: Mapping[str, int]) -> None:
        super().__init__("-m", "lab.servers.serve_measured", name, json.dumps(dict(files)))
        self.port = 0
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            ready = self.hear(START_TIMEOUT_S)
            if ready is None:
                raise MeasurementError("a server did not start")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.port, self._before = ready["port"], ready
        return self

    def stop(self) -> dict[str, float] | None:
        """End it; CPU seconds and context switches since it was ready. None where it is dead already."""
        self.process.send_signal(signal.SIGINT)
        after = self.hear(START_TIMEOUT_S)
        if after is None:
            return None
        return {key: after[key] - self._before[key] for key in ("cpu_s", "switches")}

    def footprint(self) -> Footprint:
        """Of the server and all its children, from /proc; without /proc only what is certain."""
        members = _session(self.process.pid)
        if not members:
            return Footprint(None, 1, 1)
        memory = [_pss(pid) for pid in members]
        known = [bytes_ for bytes_ in memory if bytes_ is not None]
        threads = sum(_threads(pid) for pid in members)
        return Footprint(sum(known) if known else None, len(members), threads)


def run_job(server: Server, job: Mapping[str, Any], on_pause: Callable[[], None]) -> dict[str, Any]:
    """Run one job of `jobs` against a server; `on_pause` is called each time it pauses.

    Raises MeasurementError where the load did not finish.
    """
    with Child("-m", "lab.servers.jobs") as load:
        load.tell(json.dumps({"host": "127.0.0.1", "port": server.port, **job}))
        while True:
            facts = load.hear(5 * job.get("limit_s", 1.0) + JOB_EXTRA_S)
            if facts is None:
                raise MeasurementError(f"the load of {job['job']} ended without a result")
            if "paused" not in facts:
                return facts
            on_pause()
            load.tell("go on")


def _session(leader: int) -> list[int]:
    """The living processes of a session: the server was made the leader of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(entry.parent.name))
    return found


def _pss(pid: int) -> int | None:
    """Proportional set size: a page that n processes share counts 1/n for each."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def _threads(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Threads:"):
                return int(line.split()[1])
    return 1
