"""`lab tournament`: policies compared on the same scenario and seeds."""

from pathlib import Path

import click

from lab.commands.common import Output, with_output
from peer.cli.options import PathType

SEEDS_MAX = 1000


@click.command()
@click.argument("scenario", type=PathType())
@click.option(
    "--policies",
    default="rarest,random,in-order",
    show_default=True,
    metavar="A,B,...",
    help="What to compare: piece (rarest, random, in-order), choke (reciprocation, even, none), peer"
    " (anybody, complete-first), several of these as random+even, or your own as FILE.py:Class.",
)
@click.option(
    "--world",
    type=click.Choice(["small", "large"]),
    default="large",
    show_default=True,
    help="small: whole nodes on a simulated network. large: their policies alone, over fluid links, ten times"
    " as fast.",
)
@click.option("--seeds", default=5, show_default=True, metavar="N", help="Run the seeds 1 to N.")
@with_output
def tournament(*, output: Output, scenario: Path, policies: str, world: str, seeds: int) -> None:
    """Compare policies on SCENARIO in virtual time, each on the same seeds.

    SCENARIO is a file or a name, as for lab simulate. A policy replaces that part of the scenario's own.
    docs/scenarios.md says how to write one: a class with one short method. --quick runs two seeds.
    """
    from lab import units
    from lab.commands.simulate import SILENT_S, read_scenario
    from lab.simulate.policies import by_name
    from lab.simulate.policies import parse as parse_policy
    from lab.simulate.scenario import World, parse
    from lab.simulate.tournament import Entry, result
    from lab.simulate.worlds import runner, work
    from peer.errors import UsageError

    parsed = parse(read_scenario(scenario))
    if not 1 <= seeds <= SEEDS_MAX:
        raise UsageError(f"--seeds {seeds}: at least 1, at most {SEEDS_MAX}")
    if output.quick:
        seeds = min(seeds, 2)
    names = [name.strip() for name in policies.split(",") if name.strip()]
    if not names:
        raise UsageError("--policies names nobody: write --policies rarest,random")
    base = by_name(dict(parsed.policies))
    chosen = [(name, parse_policy(name, base)) for name in dict.fromkeys(names)]
    numbers = list(range(1, seeds + 1))
    where = World(world)
    parsed.check(where)  # before anything is as large as it says
    seconds = len(chosen) * seeds * work(parsed, where)
    if seconds > SILENT_S:
        output.say(f"this takes about {units.seconds(seconds)}")
    entries = []
    for name, policy in chosen:
        run = runner(where, parsed, policy)
        entries.append(Entry(name, tuple(run(seed, None) for seed in numbers)))
        output.say(f"{name}: {seeds} seeds done")
    output.finish(result(parsed, numbers, entries, where))
