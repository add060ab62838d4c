"""`python -m tests.chaos`: see the package."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

from tests import chaos
from tests.chaos.crowd import play_many
from tests.chaos.plan import FaultPlan, draw
from tests.chaos.play import play
from tests.chaos.shrink import Part, shrink


def main() -> int:
    """Play seeds; 0 if nothing failed."""
    parser = argparse.ArgumentParser(
        description=chaos.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="play one, and tell what happens in it")
    parser.add_argument("--seeds", default="0:200", metavar="FROM:TO", help="play these (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    parser.add_argument(
        "--mark", type=Path, metavar="FILE", help="remember there how far it got; go on there"
    )
    parser.add_argument("--shrink", action="store_true", help="find the smallest part of --seed that fails")
    parser.add_argument("--digest", action="store_true", help="print only the seed and its trace hash")
    for name in ("peers", "events", "hostile"):
        parser.add_argument(f"--{name}", metavar="LIST", help=f"of the plan of --seed play only these {name}")
    parser.add_argument("--without", metavar="LIST", help="leave out these faults that are no events")
    arguments = parser.parse_args()
    if arguments.seed is None:
        first, last = map(int, arguments.seeds.split(":"))
        return 1 if play_many(first, last, jobs=arguments.jobs, mark=arguments.mark) else 0
    part = Part(
        _numbers(arguments.peers),
        _numbers(arguments.events),
        None if arguments.hostile is None else tuple(_names(arguments.hostile)),
        () if arguments.without is None else tuple(_names(arguments.without)),
    )
    plan = part.of(draw(arguments.seed))
    if arguments.digest:
        print(arguments.seed, play(plan).digest)
        return 0
    return smallest(plan) if arguments.shrink else tell(plan, part)


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(map(int, _names(text)))


def tell(plan: FaultPlan, part: Part) -> int:
    """Play one plan with all that there is to know."""
    print(plan.describe())
    begun = time.perf_counter()
    outcome = play(plan)
    took = time.perf_counter() - begun
    if outcome.error is not None:
        print(outcome.story)
        traceback.print_exception(outcome.error)
    print(f"trace {outcome.digest}; complete {outcome.seconds:.2f} s after the faults; took {took:.2f} s")
    if outcome.failure is not None:
        print(_line(plan, part, outcome.failure))
    return 1 if outcome.failure is not None else 0


def smallest(plan: FaultPlan) -> int:
    """Shrink a plan that fails, and print the line that plays what is left."""
    outcome = play(plan)
    if outcome.failure is None:
        print(f"seed {plan.seed} does not fail")
        return 0
    part = shrink(plan, lambda smaller: play(smaller).kind == outcome.kind)
    print(part.of(plan).describe())
    print(_line(plan, part, str(play(part.of(plan)).failure)))
    return 1


def _line(plan: FaultPlan, part: Part, failure: str) -> str:
    return f"python -m tests.chaos --seed {plan.seed} {part.options()}".rstrip() + f"   # {failure}"


if __name__ == "__main__":
    sys.exit(main())
