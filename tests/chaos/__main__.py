"""`python -m tests.chaos`: see the package."""

import argparse
import sys
import time
import traceback

from tests import chaos
from tests.chaos.plan import draw
from tests.chaos.play import play


def main() -> int:
    """Play seeds; 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=(chaos.__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="0:50", help="FROM:TO")
    parser.add_argument("-v", action="store_true")
    arguments = parser.parse_args()
    first, last = (arguments.seed, arguments.seed + 1) if arguments.seed is not None else map(int, arguments.seeds.split(":"))
    failures = 0
    for seed in range(first, last):
        plan = draw(seed)
        if arguments.v:
            print(plan.describe())
        t = time.monotonic()
        outcome = play(plan)
        t = time.monotonic() - t
        if outcome.failure or arguments.v:
            print(f"python -m tests.chaos --seed {seed}   # {outcome.failure} [{t:.2f} s, {outcome.seconds:.1f} virtual]", flush=True)
        failures += outcome.failure is not None
        if arguments.v and outcome.error is not None:
            print(outcome.story)
            traceback.print_exception(outcome.error)
    print(failures, "failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
