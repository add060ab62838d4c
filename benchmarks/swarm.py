"""How close a swarm comes to the fluid bound max{F/u_s, F/d_min, N F/(u_s + sum u_i)}: ours, and libtorrent.

usage: python -m benchmarks.swarm [--mode netns|loopback] [--scenario 10|30|mixed ...] [--rounds 3] [--mib 32]
                                  [--no-libtorrent]

netns: real processes in network namespaces behind token buckets (needs root); payload, headers and
acknowledgements share the links. loopback: our own --up limits, where only scheduling can lose time.
The clock runs from the start of the origin's process, all getters already up and waiting for it, until the
last one is complete and verified.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import namespaces
from benchmarks.libtorrent_peer import make_torrent
from benchmarks.machine import describe
from benchmarks.processes import program
from lab.bounds import peer_to_peer
from lab.processes import stopped_at_end
from peer.manifest import piece_bytes_for

MIB = 1 << 20
TRACKER_PORT = 7700
PEER_PORT = 7701
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Uplinks in kbit/s; the bars are ratios to the bound."""

    name: str
    origin_kbit: int
    ups_kbit: tuple[int, ...]
    bar_netns: float
    bar_loopback: float

    def bound_s(self, size: int) -> float:
        """The fluid bound for a file of so many bytes."""
        bound = peer_to_peer(8.0 * size, self.origin_kbit * 1e3, [up * 1e3 for up in self.ups_kbit])
        return float(bound.time)


SCENARIOS = {
    "10": Scenario("10 peers, 4 Mbit/s up", 40_000, (4_000,) * 10, 1.08, 1.04),
    "30": Scenario("30 peers, 4 Mbit/s up", 40_000, (4_000,) * 30, 1.10, 1.06),
    "mixed": Scenario("20 peers, 2 and 8 Mbit/s up in turn", 40_000, (2_000, 8_000) * 10, 1.12, 1.08),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds until each getter was done; what the origin sent and the worst waste, as shares of the file."""

    seconds: tuple[float, ...]
    origin_share: float = 0.0
    wasted_max: float = 0.0

    @property
    def last(self) -> float:
        return max(self.seconds)


class Ours:
    """A swarm of our own processes."""

    may_die = False
    """Whether the origin is allowed to end before the others are done."""

    def __init__(self, scenario: Scenario, source: Path, work: Path, mode: str, plain: bool) -> None:
        self._scenario = scenario
        self._source = source
        self._work = work
        self._shaped = mode == "netns"
        self._plain = ["--plain"] if plain else []
        self._done: dict[int, tuple[float, dict[str, object]]] = {}
        self._stack = ExitStack()

    def run(self) -> Outcome:
        """Start everybody, then the origin, and wait for the last."""
        link = self._link()
        with self._stack:
            tracker = self._start_tracker()
            for number, up in enumerate(self._scenario.ups_kbit, 1):
                self._start_getter(number, up, link, tracker)
            time.sleep(SETTLE_S + 0.15 * len(self._scenario.ups_kbit))
            begun = time.perf_counter()
            origin = self._start_origin(tracker)
            deadline = begun + 20 * self._scenario.bound_s(self._source.stat().st_size)
            while len(self._done) < self.expected:
                time.sleep(0.05)
                self.meanwhile(time.perf_counter() - begun, origin, link, tracker)
                if time.perf_counter() > deadline or (origin.poll() is not None and not self.may_die):
                    raise SystemExit(f"only {len(self._done)} getters completed")
        size = self._source.stat().st_size
        results = [result for _, result in self._done.values()]
        from_peers = {str(result["node"]) for result in results if "node" in result}
        sources: dict[str, int] = {}
        for result in results:
            for node, count in dict(result["sources"]).items():  # type: ignore[call-overload]
                sources[node] = sources.get(node, 0) + count
        origin_bytes = max((count for node, count in sources.items() if node not in from_peers), default=0)
        wasted = max(int(str(result["wasted_bytes"])) for result in results) / size
        seconds = tuple(self._done[number][0] - begun for number in sorted(self._done))
        return Outcome(seconds, origin_bytes / size, wasted)

    @property
    def expected(self) -> int:
        """How many getters will complete."""
        return len(self._scenario.ups_kbit)

    def meanwhile(self, seconds: float, origin: "subprocess.Popen[str]", link: str, tracker: str) -> None:
        """Called often while the swarm runs, so many seconds after the origin's start: for variations."""

    def _link(self) -> str:
        output = subprocess.run(
            [*program("peer"), "inspect", str(self._source), "--home", str(self._work / "inspect"),
             "--progress", "none"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        share = next(line.split()[1] for line in output.stdout.splitlines() if line.startswith("share"))
        return f"magnet:?xt=urn:blake3:{share}&dn={self._source.name}"

    def _popen(self, namespace: str, command: list[str]) -> subprocess.Popen[str]:
        if self._shaped:
            command = namespaces.inside(namespace, command)
        return self._stack.enter_context(
            stopped_at_end(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
        )

    def _start_tracker(self) -> str:
        host = namespaces.TRACKER_ADDRESS if self._shaped else "127.0.0.1"
        port = TRACKER_PORT if self._shaped else 0
        process = self._popen(
            namespaces.TRACKER,
            [*program("tracker"), "--host", host, "--port", str(port), "--home", str(self._work / "tracker")],
        )
        assert process.stderr is not None
        return process.stderr.readline().strip().rsplit(" ", 1)[1]

    def _common(self, number: int, up_kbit: int, tracker: str) -> list[str]:
        options = ["--tracker", tracker, "--home", str(self._work / f"home-{number}"), "--progress", "none"]
        if self._shaped:
            return [*options, "--host", namespaces.address(number), "--port", str(PEER_PORT), *self._plain]
        return [*options, "--host", "127.0.0.1", "--port", "0", "--up", f"{up_kbit}kbit", *self._plain]

    def _start_getter(self, number: int, up_kbit: int, link: str, tracker: str) -> None:
        process = self._popen(
            namespaces.name(number),
            [*program("peer"), "get", link, "-o", str(self._work / f"out-{number}"), "--json", "--seed",
             "--timeout", "1h", *self._common(number, up_kbit, tracker)],
        )  # fmt: skip
        threading.Thread(target=self._follow, args=(number, process), daemon=True).start()

    def _follow(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            self._done[number] = (time.perf_counter(), json.loads(line))

    def _start_origin(self, tracker: str) -> subprocess.Popen[str]:
        return self._popen(
            namespaces.name(0),
            [*program("peer"), "share", str(self._source),
             *self._common(0, self._scenario.origin_kbit, tracker)],
        )  # fmt: skip


def libtorrent_swarm(scenario: Scenario, source: Path, work: Path) -> Outcome:
    """The same with libtorrent, in the namespaces."""
    torrent = work / "swarm.torrent"
    make_torrent(source, torrent, piece_bytes_for(source.stat().st_size))
    count = len(scenario.ups_kbit)
    start = time.time() + SETTLE_S + 0.15 * count
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                stopped_at_end(
                    subprocess.Popen(
                        namespaces.inside(
                            namespaces.name(number),
                            [sys.executable, "-m", "benchmarks.libtorrent_member", str(number), str(count),
                             str(source), str(work / f"lt-{number}"), str(torrent), str(start)],
                        ),
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
            for number in range(count + 1)
        ]  # fmt: skip
        seconds = []
        for process in processes[1:]:
            assert process.stdout is not None
            seconds.append(float(process.stdout.readline()))
    return Outcome(tuple(seconds))


def measure(scenario: Scenario, arguments: argparse.Namespace) -> None:
    """All rounds of one scenario."""
    size = arguments.mib * MIB
    bound = scenario.bound_s(size)
    shaped = arguments.mode == "netns"
    bar = scenario.bar_netns if shaped else scenario.bar_loopback
    fluid_share = scenario.origin_kbit * 1e3 * bound / (8 * size)
    print(f"{scenario.name}, {arguments.mib} MiB, {arguments.mode}: bound {bound:.1f} s", flush=True)
    ours, theirs = [], []
    for number in range(arguments.rounds):
        work = Path(tempfile.mkdtemp(prefix="manyhands-swarm-"))
        try:
            source = work / "file.bin"
            source.write_bytes(random.Random(number).randbytes(size))
            with ExitStack() as stack:
                if shaped:
                    stack.enter_context(namespaces.shaped([scenario.origin_kbit, *scenario.ups_kbit]))
                outcome = Ours(scenario, source, work, arguments.mode, arguments.plain).run()
                ours.append(outcome.last / bound)
                line = (
                    f"  manyhands  last {outcome.last:6.2f} s  ratio {outcome.last / bound:.3f}  first "
                    f"{min(outcome.seconds):.2f} s  origin sent {outcome.origin_share:.2f} F (fluid "
                    f"{fluid_share:.2f})  wasted at most {100 * outcome.wasted_max:.2f} %"
                )
                print(line, flush=True)
                if shaped and not arguments.no_libtorrent:
                    other = libtorrent_swarm(scenario, source, work)
                    theirs.append(other.last / bound)
                    print(
                        f"  libtorrent last {other.last:6.2f} s  ratio {other.last / bound:.3f}", flush=True
                    )
        finally:
            shutil.rmtree(work, ignore_errors=True)
    median = statistics.median(ours)
    print(f"  median ratio {median:.3f}, bar {bar}: {'met' if median <= bar else 'MISSED'}")
    if theirs:
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"  libtorrent's median {statistics.median(theirs):.3f}; ours / libtorrent {ratio:.3f}, bar 0.95"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=["netns", "loopback"], default="netns")
    parser.add_argument("--scenario", choices=list(SCENARIOS), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=32)
    parser.add_argument("--no-libtorrent", action="store_true")
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    why_not = namespaces.available() if arguments.mode == "netns" else None
    if why_not:
        print(f"skipped: {why_not}")
        return
    print(describe("trio", "libtorrent"))
    for key in arguments.scenario or list(SCENARIOS):
        measure(SCENARIOS[key], arguments)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users keep theirs compiled
    main()
