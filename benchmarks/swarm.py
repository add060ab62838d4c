"""How close a swarm comes to the fluid bound max{F/u_s, F/d_min, N F/(u_s + sum u_i)}: ours, and libtorrent.

usage: python -m benchmarks.swarm [--mode netns|loopback] [--scenario 10|30|mixed|home ...] [--rounds 3]
                                  [--mib 32] [--no-libtorrent]

netns: real processes in network namespaces behind token buckets (needs root); payload, headers and
acknowledgements share the links. loopback: our own --up limits, where only scheduling can lose time.
The clock runs from when the origin is up (its event trace begins; it listens and announces itself then), all
getters being up and waiting for it, until the last one is complete and verified. libtorrent's runs from when
all its processes, the seed among them, are up and its getters begin to dial. A round during which the host
took more than a few hundredths of the processors says nothing about links: run another.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import namespaces
from benchmarks.libtorrent_peer import make_torrent
from benchmarks.machine import Processors, await_quiet, describe
from lab.bounds import peer_to_peer
from lab.cli import stop
from lab.errors import LabError
from lab.localswarm import (
    HOST,
    POLL_S,
    START_S,
    Getter,
    await_homes,
    node_id,
    share_link,
    start_getter,
    tracker_address,
)
from lab.processes import launch, program
from peer.limits import MIB
from peer.manifest import piece_bytes_for

TRACKER_PORT = 7700
PEER_PORT = 7701
PATIENCE = 20
"""A swarm may take so many times its bound before it is called stuck."""
LIBTORRENT_BAR = 0.95
"""Our last getter's time over that of libtorrent's."""
MEMBER_S, MEMBER_EACH_S = 3.0, 0.3
"""For libtorrent's members to be up, which nothing here looks at, and so much more for each of them."""


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
    "home": Scenario("origin and 10 peers alike, 4 Mbit/s up", 4_000, (4_000,) * 10, 1.10, 1.06),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds until each getter was done; what the origin sent and the worst waste, as shares of the file.

    packets_per_ack: data packets that the origin sent for each bare acknowledgement it got; 0: not known.
    """

    seconds: tuple[float, ...]
    origin_share: float = 0.0
    wasted_max: float = 0.0
    packets_per_ack: float = 0.0

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
        self._getters: list[Getter] = []
        self._stack = ExitStack()

    def run(self) -> Outcome:
        """Start everybody, then the origin, and wait for the last."""
        link = share_link(self._source, self._work)
        with self._stack:
            tracker = self._start_tracker()
            for number, up in enumerate(self._scenario.ups_kbit, 1):
                self._start_getter(number, up, link, tracker)
            self._await_getters()
            origin = self._start_origin(tracker)
            begun = self._await_origin(origin)
            self._follow(begun, origin, link, tracker)
            seldom = packets_per_ack() if self._shaped else 0.0
        size = self._source.stat().st_size
        server = node_id(self._home(0))
        results = [getter.result for getter in self._getters]
        origin_bytes = sum(result["sources"].get(server, 0) for result in results)
        wasted = max(result["wasted_bytes"] for result in results) / size
        seconds = tuple(getter.done_at - begun for getter in self._getters if getter.done_at is not None)
        return Outcome(seconds, origin_bytes / size, wasted, seldom)

    def _await_getters(self) -> None:
        """Until every getter is up, they have met each other, and there is nothing more for them to do."""
        homes = [self._home(number) for number, _ in enumerate(self._scenario.ups_kbit, 1)]
        await_homes(homes, self._getters)
        if not await_quiet():
            print("  the machine is busy: this round is late from its beginning", flush=True)

    def _await_origin(self, origin: "subprocess.Popen[str]") -> float:
        """Until the origin's node is up; when that was, by the wall clock."""
        deadline = time.monotonic() + START_S
        while origin.poll() is None and time.monotonic() < deadline:
            with suppress(OSError, ValueError), self._origin_trace.open(encoding="utf-8") as trace:
                return float(json.loads(trace.readline())["wall"])
            time.sleep(POLL_S)
        raise LabError("the origin did not start")

    @property
    def _origin_trace(self) -> Path:
        return self._work / "origin.jsonl"

    def _follow(self, begun: float, origin: "subprocess.Popen[str]", link: str, tracker: str) -> None:
        """Until everybody is done. Raises LabError where a process ends too soon or the swarm is stuck."""
        deadline = begun + PATIENCE * self._scenario.bound_s(self._source.stat().st_size)
        while (done := sum(getter.done_at is not None for getter in self._getters)) < self.expected:
            time.sleep(POLL_S)
            self.meanwhile(time.time() - begun, origin, link, tracker)
            for getter in self._getters:
                getter.check_alive()
            if time.time() > deadline or (origin.poll() is not None and not self.may_die):
                raise LabError(f"only {done} getters completed")

    @property
    def expected(self) -> int:
        """How many getters will complete."""
        return len(self._scenario.ups_kbit)

    def meanwhile(self, seconds: float, origin: "subprocess.Popen[str]", link: str, tracker: str) -> None:
        """Called often while the swarm runs, so many seconds after it began: for variations."""

    def _inside(self, namespace: str, command: list[str]) -> list[str]:
        return namespaces.inside(namespace, command) if self._shaped else command

    def _home(self, number: int) -> Path:
        return self._work / f"home-{number}"

    def _start_tracker(self) -> str:
        host = namespaces.TRACKER_ADDRESS if self._shaped else HOST
        port = TRACKER_PORT if self._shaped else 0
        command = [*program("tracker"), "--host", host, "--port", str(port)]
        command += ["--home", str(self._work / "tracker")]
        process = launch(self._stack, self._inside(namespaces.TRACKER, command), stderr=subprocess.PIPE)
        return tracker_address(process)

    def _common(self, number: int, up_kbit: int, tracker: str) -> list[str]:
        options = ["--tracker", tracker, "--home", str(self._home(number)), "--progress", "none"]
        if self._shaped:
            options += [] if up_kbit else ["--up", "0kbit"]  # no token bucket lets nothing through
            return [*options, "--host", namespaces.address(number), "--port", str(PEER_PORT), *self._plain]
        return [*options, "--host", HOST, "--port", "0", "--up", f"{up_kbit}kbit", *self._plain]

    def _start_getter(self, number: int, up_kbit: int, link: str, tracker: str) -> None:
        command = [*program("peer"), "get", link, "-o", str(self._work / f"out-{number}"), "--json", "--seed"]
        command += ["--timeout", "1h", *self._common(number, up_kbit, tracker)]
        complaints = self._work / f"complaints-{number}"
        self._getters.append(
            start_getter(self._stack, self._inside(namespaces.name(number), command), complaints)
        )

    def _start_origin(self, tracker: str) -> "subprocess.Popen[str]":
        command = [*program("peer"), "share", str(self._source), "--trace", str(self._origin_trace)]
        command += self._common(0, self._scenario.origin_kbit, tracker)
        return launch(
            self._stack,
            self._inside(namespaces.name(0), command),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def packets_per_ack() -> float:
    """How seldom the getters have acknowledged what the origin sent, since its namespace was made."""
    counted = namespaces.tcp_counters(namespaces.name(0))
    return counted["TCPOrigDataSent"] / max(1, counted["TCPPureAcks"])


def libtorrent_swarm(scenario: Scenario, source: Path, work: Path) -> Outcome:
    """The same with libtorrent, in the namespaces."""
    torrent = work / "swarm.torrent"
    make_torrent(source, torrent, piece_bytes_for(source.stat().st_size))
    count = len(scenario.ups_kbit)
    start = time.time() + MEMBER_S + MEMBER_EACH_S * count
    member = [sys.executable, "-m", "benchmarks.libtorrent_member"]
    with ExitStack() as stack:
        processes = []
        for number in range(count + 1):
            words = [number, count, source, work / f"lt-{number}", torrent, start]
            command = namespaces.inside(namespaces.name(number), [*member, *map(str, words)])
            processes.append(launch(stack, command, stdout=subprocess.PIPE))
        seconds = []
        for process in processes[1:]:
            assert process.stdout is not None
            seconds.append(float(process.stdout.readline()))
    return Outcome(tuple(seconds))


def acks(outcome: Outcome) -> str:
    """For people, where it is known."""
    return f"  {outcome.packets_per_ack:.1f} packets an ack" if outcome.packets_per_ack else ""


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
                before = Processors.now()
                outcome = Ours(scenario, source, work, arguments.mode, arguments.plain).run()
                ours.append(outcome.last / bound)
                line = (
                    f"  manyhands  last {outcome.last:6.2f} s  ratio {outcome.last / bound:.3f}  first "
                    f"{min(outcome.seconds):.2f} s  origin sent {outcome.origin_share:.2f} F (fluid "
                    f"{fluid_share:.2f})  wasted at most {100 * outcome.wasted_max:.2f} %"
                )
                print(f"{line}{acks(outcome)}  {before.since()}", flush=True)
                if shaped and not arguments.no_libtorrent:
                    before = Processors.now()
                    other = libtorrent_swarm(scenario, source, work)
                    theirs.append(other.last / bound)
                    line = f"  libtorrent last {other.last:6.2f} s  ratio {other.last / bound:.3f}"
                    print(f"{line}  {before.since()}", flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    median = statistics.median(ours)
    print(f"  median ratio {median:.3f}, bar {bar}: {'met' if median <= bar else 'MISSED'}")
    if theirs:
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"  libtorrent's median {statistics.median(theirs):.3f}; ours / libtorrent {ratio:.3f}, bar"
            f" {LIBTORRENT_BAR}: {'met' if ratio <= LIBTORRENT_BAR else 'MISSED'}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode",
        choices=["netns", "loopback"],
        default="netns",
        help="shaped namespaces, beside libtorrent; or our own limits (default: %(default)s)",
    )
    parser.add_argument(
        "--scenario", choices=list(SCENARIOS), action="append", help="only this one; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each scenario (default: %(default)s)")
    parser.add_argument("--mib", type=int, default=32, help="size of the file (default: %(default)s)")
    parser.add_argument("--no-libtorrent", action="store_true", help="leave the other side out")
    parser.add_argument("--plain", action="store_true", help="measure our plaintext transport")
    arguments = parser.parse_args()
    why_not = namespaces.available() if arguments.mode == "netns" else None
    if why_not:
        print(f"skipped: {why_not}")
        return
    print(describe("trio", "libtorrent"))
    try:
        for key in arguments.scenario or list(SCENARIOS):
            measure(SCENARIOS[key], arguments)
    except LabError as error:
        sys.exit(f"benchmarks.swarm: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users keep theirs compiled
    main()
