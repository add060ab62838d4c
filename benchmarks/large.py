"""The large world: seconds, memory, and microseconds for each delivered piece, by the number of peers.

    python -m benchmarks.large [--peers 100,300,1000] [--pieces 400] [--calls] [--apart]

All come at once behind one origin, 1.6 Mbit/s each, 16 Mbit/s the origin, as in the scenario `thousand`. Each
size runs in a process of its own, and they take turns of a few seconds until the last is done, so that the
machine's moods, which change its speed by half from minute to minute, fall on all alike; who is done sooner
begins again. Bars: 1,000 peers x 400 pieces in less than 60 s; the cost of a piece grows no faster than the
logarithm of the number of peers. (10,000 x 400 takes a quarter of an hour.)

--calls counts function calls instead of time: what is done for a piece, whatever the machine's caches make of
it. The same on every machine.

--apart tells the two apart on the clock: for each size also as many peers in worlds of the least size, side
by side in one process, each going on for APART_S in its turn. They fill as much memory, and none of them is
larger than the least, so what they cost more is the machine's, and what one large world costs beyond that is
the growth of the work.
"""

import argparse
import cProfile
import gc
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass
from math import inf, log
from multiprocessing.connection import Connection

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

TURN_S = 3.0
"""Of processor time; then it is the next one's turn."""

TURNS_OF_THE_LAST = 5
"""In a row: of which it takes longest."""

STEP_S = 0.5
"""Virtual: how far a world goes on between two looks at the clock."""

APART_S = 0.01
"""The same where worlds stand side by side: a few events of a hundred peers, and no two of one peer."""


@dataclass
class Racer:
    """One of those that take turns, as its own process tells it. seconds: until the first was done."""

    name: str
    peers: int
    worlds: int
    seconds: float = 0.0
    processor: float = 0.0
    delivered: int = 0
    done: bool = False
    mib: float = 0.0
    ratio: float = 0.0

    @property
    def micros(self) -> float:
        return 1e6 * self.processor / self.delivered


def race(pipe: Connection, peers: int, pieces: int, worlds: int) -> None:
    """In a process of its own: a turn for each word that comes in, and what it brought as an answer."""
    gc.disable()  # as a world does while it runs, which these do for moments
    scenario = parse(TEXT.format(size=256 * pieces, peers=peers))
    bound = scenario.bound()
    assert bound is not None
    step = STEP_S if worlds == 1 else APART_S
    runs: list[Run] = []
    while pipe.recv():
        clock, cpu = time.perf_counter(), time.process_time()
        if not runs:
            runs = [Run(scenario, 1 + number, by_name({})) for number in range(worlds)]
            for run in runs:
                run.begin()
            now, going, before = 0.0, runs, 0
        while going and time.process_time() - cpu < TURN_S:
            now += step
            for run in going:
                run.go_on(now)
            going = [run for run in going if not run.swarm.agenda.stopped]
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        delivered = sum(run.swarm.transfer.delivered_pieces for run in runs)
        ratio = 0.0 if going else max(run.outcome().last or inf for run in runs) / bound
        mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1 << 20 if sys.platform == "darwin" else 1 << 10
        )
        pipe.send((clock, cpu, delivered - before, ratio, mib))
        before = delivered
        if not going:
            runs = []
            gc.collect()


def take_turns(racers: list[Racer], pieces: int) -> None:
    """Until each is done once."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    for racer in racers:
        ours, theirs = context.Pipe()
        context.Process(target=race, args=(theirs, racer.peers, pieces, racer.worlds), daemon=True).start()
        pipes.append(ours)
    while not all(racer.done for racer in racers):
        for racer, pipe in zip(racers, pipes, strict=True):
            for _ in range(TURNS_OF_THE_LAST if racer.peers * racer.worlds == most(racers) else 1):
                pipe.send(True)
                clock, cpu, delivered, ratio, mib = pipe.recv()
                racer.processor += cpu
                racer.delivered += delivered
                if not racer.done:
                    racer.seconds += clock
                    racer.done, racer.ratio, racer.mib = bool(ratio), ratio, mib
    for pipe in pipes:
        pipe.send(False)


def most(racers: list[Racer]) -> int:
    return max(racer.peers * racer.worlds for racer in racers)


def calls(case: tuple[int, int]) -> float:
    """Calls of functions, Python's own included, for each delivered piece."""
    peers, pieces = case
    run = Run(parse(TEXT.format(size=256 * pieces, peers=peers)), 1, by_name({}))
    profile = cProfile.Profile()
    profile.runcall(run.run)
    return sum(entry.callcount for entry in profile.getstats()) / run.swarm.transfer.delivered_pieces


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
    racers = [Racer(f"{peers:6} peers x {options.pieces} pieces", peers, 1) for peers in counts]
    least = counts[0]
    if options.apart:
        racers += [
            Racer(f"{peers // least:6} x {least} peers x {options.pieces} pieces", least, peers // least)
            for peers in counts[1:]
        ]
    take_turns(racers, options.pieces)
    for racer in racers:
        bar = ""
        if (racer.peers, racer.worlds, options.pieces) == (1000, 1, 400):
            bar = f"  bar {BAR_S:.0f} s: {'met' if racer.seconds < BAR_S else 'MISSED'}"
        print(
            f"{racer.name}: {racer.seconds:7.1f} s {racer.micros:5.0f} us a piece  {racer.mib:5.0f} MiB"
            f"  last at {racer.ratio:.3f} of the bound{bar}"
        )
    costs = [racer.micros for racer in racers]
    judge("cost of a piece", counts, costs[: len(counts)])
    for racer, one in zip(racers[len(counts) :], racers[1:], strict=False):
        print(
            f"{racer.worlds} worlds of {least}: x {racer.micros / costs[0]:.2f} by memory alone;"
            f" one of {one.peers}: x {one.micros / racer.micros:.2f} of that"
        )


if __name__ == "__main__":
    main()
