"""A swarm of real processes on loopback: a tracker, an origin and getters, started, awaited and stopped.

What would spoil a measurement is kept out of it. The getters are up and have told the tracker before the
origin starts, so that nobody's start is measured; the clock runs from the origin's first connection, which
its event trace tells. Nothing is announced on the local network, where others might join in.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from lab.errors import LabError
from lab.processes import launch, program

HOST: Final = "127.0.0.1"
START_S: Final = 180.0
"""For the slowest machine to start its processes, or to hash what is shared."""
POLL_S: Final = 0.02
"""Between two looks at what no process announces."""
SETTLE_S: Final = 0.5
"""After the last getter is up, for them to meet each other at the tracker."""
SETTLE_EACH_S: Final = 0.15
"""And so much more for each of them: they share the cores."""
PATIENCE: Final = 6.0
"""A run may take so many times its bound, and PATIENCE_S more, before it is called stuck."""
PATIENCE_S: Final = 120.0


def patience(bound: float) -> float:
    """How long a run is waited for that no schedule finishes sooner than ``bound``. Both in seconds."""
    return PATIENCE * bound + PATIENCE_S


@dataclass
class Getter:
    """A `peer get --json`, and what it said when its copy was complete. done_at: by the wall clock."""

    process: "subprocess.Popen[str]"
    complaints: Path
    done_at: float | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def follow(self) -> None:
        """Wait for its result, in a thread of its own."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        at = time.time()
        if line:
            self.result = json.loads(line)
            self.done_at = at

    def check_alive(self) -> None:
        """Raises LabError, with its own last word, where it has ended without its copy."""
        if self.done_at is None and self.process.poll() not in {None, 0}:
            said = self.complaints.read_text(encoding="utf-8", errors="replace").split("\n")
            why = next((line for line in reversed(said) if line.strip()), "it said nothing")
            raise LabError(f"a downloader ended with exit code {self.process.returncode}: {why}")


def start_getter(stack: ExitStack, command: Sequence[str], complaints: Path, **more: Any) -> Getter:
    """Start a `peer get --json` and follow it. complaints: where its stderr goes. more: as of `launch`."""
    with complaints.open("w", encoding="utf-8") as errors:
        process = launch(stack, command, stdout=subprocess.PIPE, stderr=errors, **more)
    getter = Getter(process, complaints)
    threading.Thread(target=getter.follow, daemon=True).start()
    return getter


def first_line(process: "subprocess.Popen[str]", stream: IO[str] | None, what: str) -> str:
    """The first line that a process prints, which is what we wait for. Raises LabError if it prints none."""
    assert stream is not None
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    try:
        line = stream.readline().strip()
    finally:
        timer.cancel()
    if not line:
        raise LabError(f"{what} did not start (exit code {process.wait()})")
    return line


def tracker_address(process: "subprocess.Popen[str]") -> str:
    """Where a tracker listens, once it does; its stderr is piped. Raises LabError with what it said."""
    line = first_line(process, process.stderr, "the tracker")
    if "listening on" not in line:
        raise LabError(f"the tracker did not start: {line}")
    return line.rsplit(" ", 1)[1]


def start_tracker(stack: ExitStack, home: Path, **more: Any) -> tuple["subprocess.Popen[str]", str]:
    """A tracker at a free port of loopback: process and address. more: as of `launch`. Raises LabError."""
    command = [*program("tracker"), "--host", HOST, "--port", "0", "--home", str(home)]
    process = launch(stack, command, stderr=subprocess.PIPE, **more)
    return process, tracker_address(process)


class LocalSwarm:
    """The getters and the origin around one tracker. `local_swarm` makes it and stops them all at its end.

    traces: the folder with the origin's event trace; a getter's is written where its options say.
    """

    def __init__(self, work: Path, stack: ExitStack) -> None:
        self._work = work
        self._stack = stack
        self._environment = os.environ | {"MANYHANDS_LAN": "0"}
        self._homes: list[Path] = []
        self.traces = work / "traces"
        self.traces.mkdir()
        self.getters: list[Getter] = []
        self.tracker, self._address = start_tracker(stack, work / "tracker", env=self._environment)

    def get(self, name: str, link: str, *options: str) -> Getter:
        """Start a getter under a name of its own. It gives up only when we do."""
        home = self._work / f"home-{name}"
        getter = start_getter(
            self._stack,
            [*program("peer"), "get", link, "-o", str(self._work / f"out-{name}"), "--json", "--progress",
             "none", "--timeout", "1h", "--host", HOST, "--port", "0", "--tracker", self._address,
             "--home", str(home), *options],
            self._work / f"complaints-{name}",
            env=self._environment,
        )  # fmt: skip
        self._homes.append(home)
        self.getters.append(getter)
        return getter

    def share(self, source: Path, *options: str) -> "subprocess.Popen[str]":
        """Start the origin."""
        return launch(
            self._stack,
            [*program("peer"), "share", str(source), "--progress", "none", "--host", HOST, "--port", "0",
             "--tracker", self._address, "--home", str(self._work / "origin"),
             "--trace", str(self._origin_trace), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )  # fmt: skip

    @property
    def missing(self) -> int:
        """How many getters are not done."""
        return sum(getter.done_at is None for getter in self.getters)

    def check_alive(self) -> None:
        """Raises LabError where a getter has ended without its copy."""
        for getter in self.getters:
            getter.check_alive()

    def await_getters(self) -> None:
        """Until every getter is up, and they have had the time to meet each other."""
        await_homes(self._homes, self.getters)
        time.sleep(SETTLE_S + SETTLE_EACH_S * len(self._homes))

    def first_connection(self, origin: "subprocess.Popen[str]") -> float:
        """Wait until the origin meets its first getter; when that was, by the wall clock."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            begun = first_link(self._origin_trace)
            if begun is not None:
                return begun
            if origin.poll() is not None:
                raise LabError(f"the origin ended with exit code {origin.returncode}")
        raise LabError("no downloader reached the origin")

    def origin_id(self) -> str:
        """The origin's node id, as getters name it among their sources."""
        with self._origin_trace.open(encoding="utf-8") as trace:
            return str(json.loads(trace.readline())["node"])

    @property
    def _origin_trace(self) -> Path:
        return self.traces / "origin.jsonl"


@contextmanager
def local_swarm(work: Path) -> Iterator[LocalSwarm]:
    """A swarm that begins with its tracker; what its processes keep is below ``work``. Raises LabError."""
    with ExitStack() as stack:
        yield LocalSwarm(work, stack)


def await_homes(homes: Sequence[Path], getters: Sequence[Getter]) -> None:
    """Until every getter is up: its home has a key then, and it announces itself at once. Raises LabError."""
    deadline = time.monotonic() + START_S
    while not all(home.is_dir() and any(home.iterdir()) for home in homes):
        for getter in getters:
            getter.check_alive()
        if time.monotonic() > deadline:
            raise LabError(f"the downloaders did not start within {START_S:.0f} s")
        time.sleep(POLL_S)


def first_link(trace: Path) -> float | None:
    """When the first connection of a traced node was made, by the wall clock; None before that."""
    try:
        lines = trace.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    wall: float | None = None
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # still being written
            return None
        if event["event"] == "begin":
            wall = float(event["wall"])
        elif event["event"] == "link" and wall is not None:
            return wall + float(event["t"])
    return None


def node_id(home: Path) -> str:
    """Who a peer with this home is."""
    done = subprocess.run(
        [*program("peer"), "id", "--home", str(home)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def share_link(source: Path, work: Path) -> str:
    """The link of a file, as `peer inspect` computes it, without an address: the tracker knows those."""
    done = subprocess.run(
        [*program("peer"), "inspect", str(source), "--home", str(work / "inspect"), "--progress", "none"],
        check=False,
        capture_output=True,
        text=True,
    )
    share = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("share")), None)
    if share is None:
        raise LabError(f"the file cannot be read: {done.stderr.strip()}")
    return f"magnet:?xt=urn:blake3:{share}&dn={source.name}"
