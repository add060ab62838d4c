"""`python -m tests.chaos.daemon`: a daemon under commands and faults from seeds.

Plays seeds and prints a line for each that fails, which replays it.
"""

import argparse
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

from tests.chaos.daemon_plan import DaemonPlan, draw
from tests.chaos.daemon_play import play
from tests.chaos.outcome import Outcome


def main() -> int:
    """Play seeds; 0 if nothing failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="play one, and tell what happens in it")
    parser.add_argument("--seeds", default="0:200", metavar="FROM:TO", help="play these (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    parser.add_argument("--only", metavar="LIST", help="of the plan of --seed play only these actions")
    parser.add_argument("--shrink", action="store_true", help="find the fewest actions of --seed that fail")
    arguments = parser.parse_args()
    if arguments.seed is None:
        first, last = map(int, arguments.seeds.split(":"))
        return 1 if play_many(range(first, last), arguments.jobs) else 0
    plan = draw(arguments.seed)
    if arguments.only is not None:
        plan = plan.only([int(text) for text in arguments.only.split(",")])
    if arguments.shrink:
        plan = shrink(plan)
    return tell(plan)


def play_many(seeds: range, jobs: int) -> int:
    """Give the number of failures."""
    failures = 0
    with ProcessPoolExecutor(jobs) as pool:
        for seed, line in zip(seeds, pool.map(line_of, seeds, chunksize=5), strict=True):
            if line is not None:
                failures += 1
                print(line, flush=True)
            if (seed + 1) % 1000 == 0:
                print(f"{seed + 1} seeds, {failures} failures", flush=True)
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {failures} failures", flush=True)
    return failures


def line_of(seed: int) -> str | None:
    """What fails with a seed, None if nothing."""
    outcome = play(draw(seed))
    return None if outcome.failure is None else _line(draw(seed), outcome)


def shrink(plan: DaemonPlan) -> DaemonPlan:
    """Leave out what is not needed for the same kind of failure."""
    kind = play(plan).kind
    for size in (16, 8, 4, 2, 1):
        at = 0
        while kind is not None and at < len(plan.actions):
            left = plan.only([a.number for a in (*plan.actions[:at], *plan.actions[at + size :])])
            if play(left).kind == kind:
                plan = left
            else:
                at += size
    return plan


def tell(plan: DaemonPlan) -> int:
    """Play one plan with all that there is to know."""
    print(plan.describe())
    outcome = play(plan)
    if outcome.error is not None:
        print("".join(line for line in outcome.story.splitlines(True) if " land " not in line))
        traceback.print_exception(outcome.error)
    print(f"trace {outcome.digest}; complete {outcome.seconds:.2f} s after the faults")
    if outcome.failure is not None:
        print(_line(plan, outcome))
    return 1 if outcome.failure is not None else 0


def _line(plan: DaemonPlan, outcome: Outcome) -> str:
    numbers = [action.number for action in plan.actions]
    part = "" if len(numbers) == len(draw(plan.seed).actions) else f" --only {','.join(map(str, numbers))}"
    return f"python -m tests.chaos.daemon --seed {plan.seed}{part}   # {outcome.failure}"


if __name__ == "__main__":
    sys.exit(main())
