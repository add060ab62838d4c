"""Swarms to which something happens: free riders, a late joiner, an origin that dies. Our own real processes.

usage: python -m benchmarks.swarm_life [--mode loopback|netns] [--only riders|late|origin] [--mib 32]

riders: 3 of 20 peers give nothing. The others may end at most 5 % later than without them, beyond what the
bound itself charges. late: an eleventh peer comes at half time, and should be done within 1.25 x its bound.
origin: killed (kill -9) once it has sent every piece once; everyone still completes.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from benchmarks import namespaces
from benchmarks.machine import describe
from benchmarks.swarm import Ours, Outcome, Scenario
from lab.cli import stop
from lab.errors import LabError
from peer.limits import MIB

ORIGIN_KBIT = 40_000
PEER_KBIT = 4_000
PEERS = 10
"""In the two parts that have no free riders."""
RIDERS, CROWD = 3, 20
"""So many of so many peers give nothing."""
RIDERS_BAR = 1.05
"""Time of the others over that without riders, beyond what the bound itself charges."""
LATE_BAR = 1.25
"""Time of the late joiner over its bound."""

Kind = TypeVar("Kind", bound=Ours)


def scenario(count: int, riders: int = 0) -> Scenario:
    """Peers with 4 Mbit/s up, the last of them riding for free."""
    ups = (PEER_KBIT,) * (count - riders) + (0,) * riders
    return Scenario(f"{count} peers, {riders} of them give nothing", ORIGIN_KBIT, ups, 0.0, 0.0)


class Late(Ours):
    """One more getter joins at half time."""

    came_at: float | None = None

    @property
    def expected(self) -> int:
        return len(self._scenario.ups_kbit) + 1

    def meanwhile(self, seconds: float, origin: "subprocess.Popen[str]", link: str, tracker: str) -> None:
        if self.came_at is None and seconds >= self._scenario.bound_s(self._source.stat().st_size) / 2:
            self.came_at = seconds
            self._start_getter(self.expected, PEER_KBIT, link, tracker)


class Orphaned(Ours):
    """The origin is killed as soon as it has sent every piece once."""

    may_die = True
    killed_at: float | None = None

    def meanwhile(self, seconds: float, origin: "subprocess.Popen[str]", link: str, tracker: str) -> None:
        if self.killed_at is None and self._everything_is_out():
            origin.kill()
            self.killed_at = seconds

    def _everything_is_out(self) -> bool:
        try:
            lines = self._origin_trace.read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        pieces, sent = None, set()
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line is being written
            if event["event"] == "share":
                pieces = event["pieces"]
            elif event["event"] == "sent":
                sent.add(event["piece"])
        return pieces is not None and len(sent) == pieces


def run(swarm: type[Kind], plan: Scenario, arguments: argparse.Namespace) -> tuple[Kind, Outcome]:
    """One swarm from beginning to end; what became of it, and when everybody was done."""
    work = Path(tempfile.mkdtemp(prefix="manyhands-life-"))
    try:
        source = work / "file.bin"
        source.write_bytes(random.Random(1).randbytes(arguments.mib * MIB))
        with ExitStack() as stack:
            if arguments.mode == "netns":
                spare = (PEER_KBIT,) if swarm is Late else ()
                stack.enter_context(namespaces.shaped([plan.origin_kbit, *plan.ups_kbit, *spare]))
            ours = swarm(plan, source, work, arguments.mode, plain=False)
            return ours, ours.run()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def riders(arguments: argparse.Namespace) -> None:
    """Free riders beside none."""
    size = arguments.mib * MIB
    alone, beside = scenario(CROWD), scenario(CROWD, RIDERS)
    charged = beside.bound_s(size) / alone.bound_s(size)
    _, without = run(Ours, alone, arguments)
    _, with_them = run(Ours, beside, arguments)
    honest = max(with_them.seconds[: CROWD - RIDERS])
    ratio = honest / without.last / charged
    print(f"{RIDERS} of {CROWD} ride for free: the others done after {honest:.2f} s")
    print(f"  without them {without.last:.2f} s; theory charges {charged:.3f}; beyond that {ratio:.3f}")
    print(f"  bar {RIDERS_BAR}: {'met' if ratio <= RIDERS_BAR else 'MISSED'}")


def late(arguments: argparse.Namespace) -> None:
    """Somebody comes at half time."""
    size = arguments.mib * MIB
    ours, outcome = run(Late, scenario(PEERS), arguments)
    assert ours.came_at is not None
    took = outcome.seconds[-1] - ours.came_at
    everybody = scenario(PEERS + 1).bound_s(size)
    own = max(8e-3 * size / (ORIGIN_KBIT + PEERS * PEER_KBIT), everybody - ours.came_at)
    ratio = took / own
    print(f"a late joiner at {ours.came_at:.1f} s: done {took:.2f} s later")
    print(
        f"  its bound {own:.2f} s (what all {PEERS + 1} need, at the rate of all uplinks); ratio {ratio:.3f}"
    )
    print(f"  bar {LATE_BAR}: {'met' if ratio <= LATE_BAR else 'MISSED'}")


def origin_dies(arguments: argparse.Namespace) -> None:
    """The origin leaves when it is no longer needed."""
    size = arguments.mib * MIB
    ours, outcome = run(Orphaned, scenario(PEERS), arguments)
    assert ours.killed_at is not None
    one_copy = 8e-3 * size / ORIGIN_KBIT
    carried = ours.killed_at * (ORIGIN_KBIT + PEERS * PEER_KBIT)
    bound = ours.killed_at + (PEERS * 8e-3 * size - carried) / (PEERS * PEER_KBIT)
    print(f"the origin killed after {ours.killed_at:.2f} s (one copy takes {one_copy:.2f} s)")
    print(f"  all {len(outcome.seconds)} complete after {outcome.last:.2f} s")
    print(f"  the bound without it: {bound:.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode",
        choices=["loopback", "netns"],
        default="loopback",
        help="our own limits, or shaped namespaces (default: %(default)s)",
    )
    parser.add_argument("--only", choices=["riders", "late", "origin"], action="append", help="repeatable")
    parser.add_argument("--mib", type=int, default=32, help="size of the file (default: %(default)s)")
    arguments = parser.parse_args()
    why_not = namespaces.available() if arguments.mode == "netns" else None
    if why_not:
        print(f"skipped: {why_not}")
        return
    print(describe("trio"))
    parts = {"riders": riders, "late": late, "origin": origin_dies}
    try:
        for name in arguments.only or parts:
            parts[name](arguments)
    except LabError as error:
        sys.exit(f"benchmarks.swarm_life: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users keep theirs compiled
    main()
