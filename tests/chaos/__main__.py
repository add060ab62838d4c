"""`python -m tests.chaos`: see the package."""

import argparse
import sys
import time
import traceback

from tests import chaos
from tests.chaos.plan import draw
from tests.chaos.play import Outcome, play


def main() -> int:
    """Play seeds; 0 if nothing failed."""
    parser = argparse.ArgumentParser(
        description=chaos.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="play one, and tell what happens in it")
    parser.add_argument("--seeds", default="0:200", metavar="FROM:TO", help="play these (%(default)s)")
    parser.add_argument("--digest", action="store_true", help="print only seeds and their trace hashes")
    arguments = parser.parse_args()
    if arguments.digest:
        first, last = _range(arguments)
        for seed in range(first, last):
            print(seed, play(draw(seed)).digest)
        return 0
    if arguments.seed is not None:
        return tell(arguments.seed)
    failures = 0
    for seed in range(*_range(arguments)):
        outcome = play(draw(seed))
        if outcome.failure is not None:
            failures += 1
            print(f"python -m tests.chaos --seed {seed}   # {outcome.failure}", flush=True)
    return 1 if failures else 0


def _range(arguments: argparse.Namespace) -> tuple[int, int]:
    if arguments.seed is not None:
        return arguments.seed, arguments.seed + 1
    first, last = arguments.seeds.split(":")
    return int(first), int(last)


def tell(seed: int) -> int:
    """Play one seed with all that there is to know."""
    plan = draw(seed)
    print(plan.describe())
    begun = time.perf_counter()
    outcome: Outcome = play(plan)
    took = time.perf_counter() - begun
    if outcome.error is not None:
        print(outcome.story)
        traceback.print_exception(outcome.error)
    print(f"trace {outcome.digest}; complete {outcome.seconds:.2f} s after the faults; took {took:.2f} s")
    if outcome.failure is not None:
        print(f"python -m tests.chaos --seed {seed}   # {outcome.failure}")
    return 1 if outcome.failure is not None else 0


if __name__ == "__main__":
    sys.exit(main())
