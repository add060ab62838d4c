"""Runs one point: a tracker, an origin and N downloaders, each a real process on loopback.

In client-server mode the downloaders send nothing (`--up 0`): everybody fetches from the origin alone.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.localswarm import POLL_S, LocalSwarm, local_swarm, patience
from lab.scale.plan import Conditions, Mode, Point

LATE_AT: Final = 0.5
"""When late downloaders come, as a part of the bound."""
TRACKER_DIES_AT: Final = 0.3
"""As a part of the bound: by then everybody has been told of others."""
ORIGIN_DIES_AT: Final = 0.5
"""As a part of the bound, but not before the origin has sent ORIGIN_COPIES."""
ORIGIN_COPIES: Final = 1.5
"""Copies of the file at the origin's rate: by then each piece has been sent at least once."""


class Run:
    """One point. Make it, call `measure` once."""

    def __init__(self, conditions: Conditions, mode: Mode, peers: int, source: Path, link: str) -> None:
        self._conditions = conditions
        self._swarming = mode is Mode.SWARM
        self._mode = mode
        self._peers = peers
        self._source = source
        self._link = link
        self._ups = conditions.uplinks(mode, peers)
        self._bound = conditions.bound(mode, peers)

    def measure(self, work: Path) -> Point:
        """Run it to its end. Raises LabError where a process fails or the swarm is stuck."""
        early = self._peers - self._conditions.come_late(self._mode, self._peers)
        with local_swarm(work) as swarm:
            self._start(swarm, range(early))
            swarm.await_getters()
            origin = swarm.share(self._source, "--up", f"{self._conditions.origin_up:.0f}B")
            begun = swarm.first_connection(origin)
            self._follow(swarm, begun, origin, range(early, self._peers))
        return self._point(swarm, begun)

    def _start(self, swarm: LocalSwarm, numbers: range) -> None:
        seed = [] if self._conditions.leave else ["--seed"]
        for number in numbers:
            swarm.get(
                str(number), self._link, "--up", f"{self._ups[number]:.0f}B",
                "--order", self._conditions.order,
                "--trace", str(swarm.traces / f"peer-{number + 1}.jsonl"), *seed,
            )  # fmt: skip

    def _follow(self, swarm: LocalSwarm, begun: float, origin: "subprocess.Popen[str]", late: range) -> None:
        """Until everybody is done, with what shall happen on the way."""
        conditions, bound = self._conditions, self._bound
        events: list[tuple[float, Callable[[], None]]] = [(LATE_AT * bound, lambda: self._start(swarm, late))]
        if self._swarming and conditions.tracker_dies:
            events.append((TRACKER_DIES_AT * bound, swarm.tracker.kill))
        if self._swarming and conditions.origin_dies:
            at = max(ORIGIN_DIES_AT * bound, ORIGIN_COPIES * conditions.first_copy())
            events.append((at, origin.kill))
        events.sort(key=lambda event: event[0])
        deadline = begun + patience(bound)
        while swarm.missing or len(swarm.getters) < self._peers:
            now = time.time()
            if events and now - begun >= events[0][0]:
                events.pop(0)[1]()
            swarm.check_alive()
            if now > deadline:
                raise LabError(
                    f"{swarm.missing} of {self._peers} downloaders are stuck after {now - begun:.0f} s"
                )
            time.sleep(POLL_S)

    def _point(self, swarm: LocalSwarm, begun: float) -> Point:
        origin = swarm.origin_id()
        finished = [getter.done_at - begun for getter in swarm.getters if getter.done_at is not None]
        results = [getter.result for getter in swarm.getters]
        return Point(
            mode=self._mode.value,
            peers=self._peers,
            bound=self._bound,
            seconds=max(finished),
            first=min(finished),
            mean=sum(finished) / len(finished),
            origin_bytes=sum(int(result["sources"].get(origin, 0)) for result in results),
            wasted=max(int(result["wasted_bytes"]) for result in results) / self._conditions.file_bytes,
        )


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
        point = Run(conditions, mode, peers, source, link).measure(folder)
        if traces is not None:
            shutil.rmtree(traces, ignore_errors=True)
            shutil.copytree(folder / "traces", traces)
        return point
    finally:
        shutil.rmtree(folder, ignore_errors=True)
