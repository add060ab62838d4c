"""The large world: seconds, memory, and microseconds for each delivered piece, by the number of peers.

    python -m benchmarks.large [--peers 100,300,1000] [--pieces 400] [--rounds 3] [--calls] [--apart]

All come at once behind one origin, 1.6 Mbit/s each, 16 Mbit/s the origin, as in the scenario `thousand`. Each
size runs in a process of its own, and the least of some rounds counts: other work on the machine only ever
adds to the cost. Bars: 1,000 peers x 400 pieces in less than 60 s; the cost of a piece grows no faster than
the logarithm of the number of peers. (10,000 x 400 takes about 12 minutes of a core.)

--calls counts function calls instead of time: what is done for a piece, whatever the machine's caches make of
it. The same on every machine, so once is enough.

--apart tells the two apart on the clock: for each size also as many peers in worlds of the least size, side
by side in one process, each going on for APART_S in its turn. They fill as much memory, and none of them is
larger than the least, so what they cost more is the machine's, and what one large world costs beyond that is
the growth of the work.
"""

import argparse
import cProfile
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from math import log
from typing import TypeVar

from benchmarks.machine import describe
from lab.large.run import Run
from lab.simulate.policies import by_name
from lab.simulate.scenario import parse

TEXT = """
[share]
size = "{size}KiB"
piece = "256KiB"
[origin]
up = "16mbit"
[network]
neighbours = 10
[[peers]]
count = {peers}
up = "1.6mbit"
"""

BAR_S = 60.0

APART_S = 0.01
"""Virtual: a few events of a hundred peers, and no two of one peer."""


Measured = tuple[float, float, float, float]
Case = TypeVar("Case")
Result = TypeVar("Result")


def measure(case: tuple[int, int]) -> Measured:
    """Seconds, processor microseconds a piece, MiB, and the last peer's time over the bound."""
    peers, pieces = case
    scenario = parse(TEXT.format(size=256 * pieces, peers=peers))
    run = Run(scenario, 1, by_name({}))
    begun, cpu = time.perf_counter(), time.process_time()
    outcome = run.run()
    spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bound = scenario.bound()
    assert outcome.last is not None
    assert bound is not None
    mib = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return spent, 1e6 * cpu / run.swarm.transfer.delivered_pieces, mib, outcome.last / bound


def measure_apart(case: tuple[int, int, int]) -> float:
    """Processor microseconds a piece, of peers in so many worlds of their own."""
    peers, pieces, worlds = case
    scenario = parse(TEXT.format(size=256 * pieces, peers=peers))
    runs = [Run(scenario, 1 + number, by_name({})) for number in range(worlds)]
    cpu = time.process_time()
    for run in runs:
        run.begin()
    going, step = runs, 0
    while going:
        step += 1
        for run in going:
            run.go_on(step * APART_S)
        going = [run for run in going if not run.swarm.agenda.stopped]
    cpu = time.process_time() - cpu
    return 1e6 * cpu / sum(run.swarm.transfer.delivered_pieces for run in runs)


def calls(case: tuple[int, int]) -> float:
    """Calls of functions, Python's own included, for each delivered piece."""
    peers, pieces = case
    run = Run(parse(TEXT.format(size=256 * pieces, peers=peers)), 1, by_name({}))
    profile = cProfile.Profile()
    profile.runcall(run.run)
    return sum(entry.callcount for entry in profile.getstats()) / run.swarm.transfer.delivered_pieces


def alone(what: Callable[[Case], Result], case: Case) -> Result:
    """In a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(what, (case,))


def judge(what: str, counts: list[int], costs: list[float]) -> None:
    """Compare the growth of a cost with that of the logarithm of the number of peers."""
    if len(counts) > 1:
        growth, allowed = costs[-1] / costs[0], log(counts[-1]) / log(counts[0])
        print(
            f"{what}, {counts[0]} to {counts[-1]} peers: x {growth:.2f}"
            f"  logarithm x {allowed:.2f}: {'met' if growth <= allowed else 'MISSED'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", default="100,300,1000", help="sizes of the swarm (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=400, help="of 256 KiB each (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="each size so often, in turn (default: %(default)s)"
    )
    parser.add_argument("--calls", action="store_true", help="count function calls instead of time")
    parser.add_argument("--apart", action="store_true", help="also as many peers in worlds of the least size")
    options = parser.parse_args()
    print(describe())
    counts = [int(count) for count in options.peers.split(",")]
    if options.calls:
        numbers = []
        for peers in counts:
            numbers.append(calls((peers, options.pieces)))
            print(f"{peers:6} peers x {options.pieces} pieces: {numbers[-1]:7.1f} calls a piece", flush=True)
        judge("calls a piece", counts, numbers)
        return
    runs: dict[int, list[Measured]] = {peers: [] for peers in counts}
    apart: dict[int, list[float]] = {peers: [] for peers in counts[1:]}
    for _ in range(options.rounds):
        for peers in counts:
            runs[peers].append(alone(measure, (peers, options.pieces)))
            if options.apart and peers in apart:
                case = counts[0], options.pieces, peers // counts[0]
                apart[peers].append(alone(measure_apart, case))
    costs = []
    for peers in counts:
        spent, micros, mib, ratio = min(runs[peers], key=lambda run: run[1])
        costs.append(micros)
        bar = ""
        if (peers, options.pieces) == (1000, 400):
            bar = f"  bar {BAR_S:.0f} s: {'met' if spent < BAR_S else 'MISSED'}"
        processor = micros * peers * options.pieces / 1e6
        print(
            f"{peers:6} peers x {options.pieces} pieces: {spent:7.1f} s ({processor:.1f} of processor)"
            f"  {micros:5.0f} us a piece  {mib:5.0f} MiB  last at {ratio:.3f} of the bound{bar}",
            flush=True,
        )
    judge("cost of a piece", counts, costs)
    if options.apart:
        for peers, cost in zip(counts[1:], costs[1:], strict=True):
            least = min(apart[peers])
            print(
                f"{peers // counts[0]} worlds of {counts[0]} side by side: {least:.0f} us a piece,"
                f" x {least / costs[0]:.2f} by memory alone; one of {peers}: x {cost / least:.2f} of that"
            )


if __name__ == "__main__":
    main()
