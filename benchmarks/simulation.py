"""How much faster than real time the small world is: whole nodes in virtual time, on one core.

    python -m benchmarks.simulation [--nodes 50] [--pieces 512] [--mbit 4] [--rounds 3] [--profile]

One origin (ten times the peers' uplink) and nodes behind uplinks of that many megabits a second fetch a file;
what is measured is the time from the beginning until all have every byte, in both worlds. Also the price of
`buggify` where nothing is armed.
"""

import argparse
import cProfile
import pstats
import time
import timeit
from collections.abc import Callable

from benchmarks.machine import describe
from lab.simulate.outcome import Outcome
from lab.simulate.scenario import Group, Origin, Scenario
from lab.simulate.small import simulate
from peer.buggify import Point, buggify
from peer.manifest import piece_bytes_for

BAR = 5.0
CALLS = 1_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--pieces", type=int, default=512)
    parser.add_argument("--piece-kib", type=int, default=64, help="(%(default)s, as a file of 32 MiB has)")
    parser.add_argument("--mbit", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead")
    arguments = parser.parse_args()
    size = arguments.pieces * arguments.piece_kib * 1024
    up = arguments.mbit * 1e6 / 8
    scenario = Scenario(
        size=size, origin=Origin(up=10 * up), groups=(Group(count=arguments.nodes - 1, up=up),)
    )
    print(describe("trio"))
    pieces = -(-size // piece_bytes_for(size))
    print(f"{arguments.nodes} nodes x {pieces} pieces, peers {arguments.mbit:g} Mbit/s up")
    if arguments.profile:
        profile(lambda: simulate(scenario, 1))
        return
    for seed in range(1, arguments.rounds + 1):
        report(scenario, seed)
    seconds = timeit.timeit(lambda: buggify(Point.SHORT_READ), number=CALLS)
    print(f"buggify, nothing armed: {seconds / CALLS * 1e9:.0f} ns a call")


def report(scenario: Scenario, seed: int) -> None:
    """One run, one line."""
    begun = time.perf_counter()
    outcome: Outcome = simulate(scenario, seed)
    real = time.perf_counter() - begun
    bound = scenario.bound() or 0.0
    ratio = outcome.ended / real
    verdict = "met" if ratio >= BAR else "MISSED"
    print(
        f"seed {seed}: {outcome.ended:.1f} s of virtual time (bound {bound:.1f} s) in {real:.1f} s:"
        f" {ratio:.1f} times real time, bar {BAR:g}: {verdict}; trace {outcome.trace_hash}"
    )


def profile(work: Callable[[], object]) -> None:
    """The functions that take the most time."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
