"""One scenario in three worlds: real processes, whole nodes in virtual time, fluid links. How far apart?

    python -m benchmarks.worlds [--seeds 3] [--size 8MiB]

Ten peers, an origin and their uplinks, as in `lab simulate textbook`. Compared are the median over the seeds
of the time at which the last peer and the middle one are complete. Bar: within 10 % of each other.
"""

import argparse
import time
from statistics import median

from benchmarks.machine import describe
from lab.simulate.outcome import Outcome
from lab.simulate.scenario import Scenario, World, parse
from lab.simulate.worlds import runner

BAR = 0.10

TEXT = """
[share]
size = "{size}"
[origin]
up = "16mbit"
latency = "0.1ms"
[[peers]]
count = 10
up = "1.6mbit"
latency = "0.1ms"
"""


def middle(outcome: Outcome) -> float:
    return median(member.done for member in outcome.members if member.done is not None)


def measure(scenario: Scenario, world: World, seeds: int) -> tuple[float, float]:
    """The last and the middle peer's time, medians over the seeds; prints each run."""
    run = runner(world, scenario)
    lasts, middles = [], []
    for seed in range(1, seeds + 1):
        begun = time.perf_counter()
        outcome = run(seed, None)
        spent = time.perf_counter() - begun
        if outcome.last is None:
            raise SystemExit(f"{world}, seed {seed}: somebody never completed")
        lasts.append(outcome.last)
        middles.append(middle(outcome))
        print(
            f"{world.value:>6}  seed {seed}  middle {middles[-1]:6.2f} s  last {lasts[-1]:6.2f} s"
            f"  ({spent:.1f} s of work)",
            flush=True,
        )
    return median(lasts), median(middles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs in each world (default: %(default)s)")
    parser.add_argument("--size", default="8MiB", help="of the share (default: %(default)s)")
    options = parser.parse_args()
    print(describe("trio"))
    scenario = parse(TEXT.format(size=options.size))
    print(f"bound {scenario.bound():.2f} s")
    found = {world: measure(scenario, world, options.seeds) for world in World}
    for place, name in enumerate(("last", "middle")):
        times = [pair[place] for pair in found.values()]
        apart = max(times) / min(times) - 1
        shown = ", ".join(f"{world.value} {pair[place]:.2f} s" for world, pair in found.items())
        print(f"{name}: {shown}: {apart:.1%} apart  bar {BAR:.0%}: {'met' if apart <= BAR else 'MISSED'}")


if __name__ == "__main__":
    main()
