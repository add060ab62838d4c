"""Runs one point: a tracker, an origin and N downloaders, each a real process on loopback.

The downloaders are up and waiting before the origin starts, so that start-up is not measured; the clock runs
from the origin's first connection, which its event trace tells. In client-server mode the downloaders send
nothing (`--up 0`): everybody fetches from the origin alone.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError
from lab.processes import launch, program
from lab.scale.plan import Conditions, Mode, Point

HOST: Final = "127.0.0.1"
READY_S: Final = 180.0
"""For the slowest machine to start a process."""
PATIENCE: Final = 6.0
"""A point may take so many times its bound, and this many seconds more, before it is called stuck."""
PATIENCE_S: Final = 120.0
POLL_S: Final = 0.02
SETTLE_S: Final = 0.5
"""After the last downloader has announced itself, for them to meet each other."""
ORIGIN_DIES_AT: Final = 1.5
"""First copies: by then each piece has been sent at least once."""


@dataclass
class Downloader:
    """One getting process and what it said when it was done."""

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

    def last_word(self) -> str:
        """Why it ended, as it said itself."""
        said = self.complaints.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(said) if line.strip()), "it said nothing")


class Run:
    """One point. Make it, call `measure` once."""

    def __init__(self, conditions: Conditions, mode: Mode, peers: int, source: Path, work: Path) -> None:
        self._conditions = conditions
        self._mode = mode
        self._peers = peers
        self._source = source
        self._work = work
        self._stack = ExitStack()
        self._downloaders: list[Downloader] = []
        self._tracker_process: subprocess.Popen[str] | None = None
        self.traces = work / "traces"
        self.traces.mkdir()
        self._environment = os.environ | {"MANYHANDS_LAN": "0"}

    def measure(self, link: str) -> Point:
        """Run it to its end. Raises LabError where a process fails or the swarm is stuck."""
        conditions, bound = self._conditions, self._conditions.bound(self._mode, self._peers)
        ups = conditions.uplinks(self._mode, self._peers)
        late = conditions.late if self._mode is Mode.SWARM else 0
        with self._stack:
            tracker = self._start_tracker()
            for number, up in enumerate(ups[: self._peers - late]):
                self._start_downloader(number, up, link, tracker)
            self._await_ready()
            trace = self.traces / "origin.jsonl"
            origin = self._start_origin(tracker, trace)
            begun = self._first_connection(trace, origin)
            self._follow(begun, bound, origin, lambda: self._join_late(ups, late, link, tracker))
            finished = [d.done_at - begun for d in self._downloaders if d.done_at is not None]
            node = json.loads(trace.read_text().splitlines()[0])["node"]
        size = conditions.file_bytes
        return Point(
            mode=self._mode.value,
            peers=self._peers,
            bound=bound,
            seconds=max(finished),
            first=min(finished),
            mean=sum(finished) / len(finished),
            origin_bytes=sum(int(d.result["sources"].get(node, 0)) for d in self._downloaders),
            wasted=max(int(d.result["wasted_bytes"]) for d in self._downloaders) / size,
        )

    # --- processes

    def _popen(self, command: Sequence[str], **more: Any) -> "subprocess.Popen[str]":
        return launch(self._stack, command, env=self._environment, **more)

    def _start_tracker(self) -> str:
        process = self._popen(
            [*program("tracker"), "--host", HOST, "--port", "0", "--home", str(self._work / "tracker")],
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        if "listening on" not in line:
            raise LabError(f"the tracker did not start: {line.strip() or 'it said nothing'}")
        self._tracker_process = process
        return line.strip().rsplit(" ", 1)[1]

    def _start_downloader(self, number: int, up: float, link: str, tracker: str) -> None:
        home = self._work / f"home-{number}"
        seed = [] if self._conditions.leave else ["--seed"]
        complaints = self._work / f"complaints-{number}"
        with complaints.open("w", encoding="utf-8") as file:
            process = self._popen(
                [*program("peer"), "get", link, "-o", str(self._work / f"out-{number}"), "--json",
                 "--progress", "none", "--timeout", "1h", "--host", HOST, "--port", "0", "--tracker", tracker,
                 "--up", f"{up:.0f}B", "--home", str(home), "--order", self._conditions.order,
                 "--trace", str(self.traces / f"peer-{number + 1}.jsonl"), *seed],
                stdout=subprocess.PIPE,
                stderr=file,
            )  # fmt: skip
        downloader = Downloader(process, complaints)
        self._downloaders.append(downloader)
        threading.Thread(target=downloader.follow, daemon=True).start()

    def _start_origin(self, tracker: str, trace: Path) -> "subprocess.Popen[str]":
        return self._popen(
            [*program("peer"), "share", str(self._source), "--progress", "none", "--host", HOST,
             "--port", "0", "--tracker", tracker, "--up", f"{self._conditions.origin_up:.0f}B",
             "--home", str(self._work / "origin"), "--trace", str(trace)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    # --- time

    def _await_ready(self) -> None:
        """Until every downloader is up: its home has a key then, and it announces itself at once."""
        deadline = time.monotonic() + READY_S
        homes = [self._work / f"home-{number}" for number in range(len(self._downloaders))]
        while not all(home.is_dir() and any(home.iterdir()) for home in homes):
            self._check_alive()
            if time.monotonic() > deadline:
                raise LabError(f"the downloaders did not start within {READY_S:.0f} s")
            time.sleep(POLL_S)
        time.sleep(SETTLE_S + 0.15 * len(homes))

    def _first_connection(self, trace: Path, origin: "subprocess.Popen[str]") -> float:
        """When the origin met its first downloader, by the wall clock."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            begun = first_link(trace)
            if begun is not None:
                return begun
            if origin.poll() is not None:
                raise LabError(f"the origin ended with exit code {origin.returncode}")
        raise LabError("no downloader reached the origin")

    def _follow(self, begun: float, bound: float, origin: "subprocess.Popen[str]", join: Any) -> None:
        """Until everybody is done, with what shall happen on the way."""
        conditions = self._conditions
        swarm = self._mode is Mode.SWARM
        events = [(0.5 * bound, join)]
        if swarm and conditions.tracker_dies and self._tracker_process is not None:
            events.append((0.3 * bound, self._tracker_process.kill))
        if swarm and conditions.origin_dies:
            events.append((max(0.5 * bound, ORIGIN_DIES_AT * conditions.first_copy()), origin.kill))
        events.sort(key=lambda event: event[0])
        deadline = begun + PATIENCE * bound + PATIENCE_S
        while events or any(d.done_at is None for d in self._downloaders):
            now = time.time()
            if (
                all(d.done_at is not None for d in self._downloaders)
                and len(self._downloaders) == self._peers
            ):
                return
            if events and now - begun >= events[0][0]:
                events.pop(0)[1]()
            self._check_alive()
            if now > deadline:
                missing = sum(d.done_at is None for d in self._downloaders)
                raise LabError(f"{missing} of {self._peers} downloaders are stuck after {now - begun:.0f} s")
            time.sleep(POLL_S)

    def _check_alive(self) -> None:
        """Raises LabError where a downloader has ended without its copy."""
        dead = [d for d in self._downloaders if d.done_at is None and d.process.poll() not in (None, 0)]
        if dead:
            code, why = dead[0].process.returncode, dead[0].last_word()
            raise LabError(f"a downloader ended with exit code {code}: {why}")

    def _join_late(self, ups: Sequence[float], late: int, link: str, tracker: str) -> None:
        for number in range(self._peers - late, self._peers):
            self._start_downloader(number, ups[number], link, tracker)


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


def measure(
    conditions: Conditions,
    mode: Mode,
    peers: int,
    source: Path,
    link: str,
    work: Path,
    traces: Path | None = None,
) -> Point:
    """One point, in a folder of its own that is removed afterwards. traces: where event traces are kept."""
    folder = work / f"{mode.value}-{peers}"
    folder.mkdir(parents=True)
    try:
        run = Run(conditions, mode, peers, source, folder)
        point = run.measure(link)
        if traces is not None:
            shutil.rmtree(traces, ignore_errors=True)
            shutil.copytree(run.traces, traces)
        return point
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
