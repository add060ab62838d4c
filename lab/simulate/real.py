"""A scenario with real processes: a tracker, an origin and the peers on loopback, shaped by --up and --down.

The first peers are up and waiting before the origin starts, so that start-up is not measured, and the clock
runs from the origin's first connection, as in `lab scale`. Latencies are the loopback's, whatever the
scenario says. Nothing is drawn from a seed here, and no two runs are alike.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final

from lab.errors import LabError
from lab.processes import launch, program
from lab.scale.run import (
    HOST,
    POLL_S,
    READY_S,
    SETTLE_S,
    Downloader,
    first_link,
    share_link,
)
from lab.simulate.outcome import Member, Outcome
from lab.simulate.scenario import Group, Scenario

PATIENCE: Final = 6.0
PATIENCE_S: Final = 120.0
"""A run may take so many times its bound, and this many seconds more."""


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """Run a scenario. seed: of the file's bytes. Raises LabError where a process fails."""
    with tempfile.TemporaryDirectory(prefix="lab-real-") as folder, ExitStack() as stack:
        return _Run(scenario, seed, Path(folder), stack).run()


class _Run:
    def __init__(self, scenario: Scenario, seed: int, work: Path, stack: ExitStack) -> None:
        self._scenario = scenario
        self._work = work
        self._stack = stack
        self._seed = seed
        self._members: list[tuple[Member, Downloader]] = []
        self._environment = os.environ | {"MANYHANDS_LAN": "0"}

    def run(self) -> Outcome:
        scenario = self._scenario
        source = self._work / "file"
        source.write_bytes(Random(self._seed).randbytes(scenario.size))
        link = share_link(source, self._work)
        tracker = self._start_tracker()
        coming = sorted(
            (
                (time, number, index, group)
                for number, group in enumerate(scenario.groups)
                for index, time in enumerate(group.times(Random(self._seed)))
            ),
            key=lambda entry: entry[:3],
        )
        while coming and not coming[0][0]:
            self._start(*coming.pop(0), link, tracker)
        self._await_ready()
        trace = self._work / "origin.jsonl"
        origin = self._start_origin(source, tracker, trace)
        begun = self._first_connection(trace, bool(self._members))
        self._follow(begun, coming, origin, link, tracker)
        node = json.loads(trace.read_text(encoding="utf-8").splitlines()[0])["node"]
        return self._outcome(begun, node)

    def _outcome(self, begun: float, origin: str) -> Outcome:
        members = []
        for member, downloader in self._members:
            if downloader.done_at is not None:
                member.done = downloader.done_at - begun
                member.wasted_bytes = int(downloader.result["wasted_bytes"])
                member.origin_bytes = int(downloader.result["sources"].get(origin, 0))
            members.append(member)
        return Outcome(tuple(members), time.time() - begun, 0, "")

    # --- processes

    def _popen(self, command: list[str], **more: Any) -> "subprocess.Popen[str]":
        return launch(self._stack, command, env=self._environment, **more)

    def _start_tracker(self) -> str:
        home = str(self._work / "tracker")
        command = [*program("tracker"), "--host", HOST, "--port", "0", "--home", home]
        process = self._popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        line = process.stderr.readline()
        if "listening on" not in line:
            raise LabError(f"the tracker did not start: {line.strip() or 'it said nothing'}")
        return line.strip().rsplit(" ", 1)[1]

    def _start(self, joined: float, number: int, index: int, group: Group, link: str, tracker: str) -> None:
        name = f"{number}-{index}"
        limits = []
        for option, rate in (("--up", group.given), ("--down", group.down)):
            if rate is not None:
                limits += [option, f"{rate:.0f}B"]
        if group.stays == inf:
            limits.append("--seed")
        elif group.stays:
            limits += ["--seed-for", f"{group.stays:g}s"]
        complaints = self._work / f"complaints-{name}"
        errors = self._stack.enter_context(complaints.open("w", encoding="utf-8"))
        process = self._popen(
            [*program("peer"), "get", link, "-o", str(self._work / f"out-{name}"), "--json", "--progress",
             "none", "--timeout", "1h", "--host", HOST, "--port", "0", "--tracker", tracker,
             "--home", str(self._work / f"home-{name}"), *limits],
            stdout=subprocess.PIPE,
            stderr=errors,
        )  # fmt: skip
        downloader = Downloader(process, complaints)
        self._members.append((Member(number, index, joined), downloader))
        threading.Thread(target=downloader.follow, daemon=True).start()

    def _start_origin(self, source: Path, tracker: str, trace: Path) -> "subprocess.Popen[str]":
        up = self._scenario.origin.up
        return self._popen(
            [*program("peer"), "share", str(source), "--progress", "none", "--host", HOST, "--port", "0",
             "--tracker", tracker, *([] if up is None else ["--up", f"{up:.0f}B"]),
             "--home", str(self._work / "origin"), "--trace", str(trace)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    # --- time

    def _await_ready(self) -> None:
        """Until every peer that is there from the beginning is up: its home has a key then."""
        deadline = time.monotonic() + READY_S
        homes = [self._work / f"home-{member.group}-{member.number}" for member, _ in self._members]
        while not all(home.is_dir() and any(home.iterdir()) for home in homes):
            if time.monotonic() > deadline:
                raise LabError(f"the peers did not start within {READY_S:.0f} s")
            time.sleep(POLL_S)
        time.sleep(SETTLE_S + 0.15 * len(homes))

    def _first_connection(self, trace: Path, awaited: bool) -> float:
        """When the origin met its first peer, by the wall clock; now, if nobody waits for it."""
        deadline = time.monotonic() + READY_S
        while awaited and time.monotonic() < deadline:
            time.sleep(POLL_S)
            begun = first_link(trace)
            if begun is not None:
                return begun
        if awaited:
            raise LabError("no peer reached the origin")
        return time.time()

    def _follow(
        self,
        begun: float,
        coming: list[tuple[float, int, int, Group]],
        origin: "subprocess.Popen[str]",
        link: str,
        tracker: str,
    ) -> None:
        """Until everybody is done or patience ends, with what shall happen on the way."""
        scenario = self._scenario
        dies_at = inf if scenario.origin.dies_at is None else scenario.origin.dies_at
        last = coming[-1][0] if coming else 0.0
        ends = begun + last + PATIENCE * (scenario.bound() or 0) + PATIENCE_S
        while time.time() < ends and (coming or any(d.done_at is None for _, d in self._members)):
            passed = time.time() - begun
            while coming and coming[0][0] <= passed:
                self._start(*coming.pop(0), link, tracker)
            if passed >= dies_at:
                origin.kill()
                dies_at = inf
            for _, downloader in self._members:
                if downloader.done_at is None and downloader.process.poll() not in {None, 0}:
                    raise LabError(f"a peer ended too soon: {downloader.last_word()}")
            time.sleep(POLL_S)
