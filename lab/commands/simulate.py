"""`lab simulate`: a scenario in virtual time."""

from pathlib import Path

import click

from lab.commands.common import Output, with_output

SEEDS_MAX = 1000


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--seed", "seeds", default="1", show_default=True, metavar="LIST", help="Seeds to run: 7, or 1-5."
)
@click.option(
    "--world",
    type=click.Choice(["small", "large", "real"]),
    default="small",
    show_default=True,
    help="small: whole nodes, to some hundred peers. large: the nodes' policy over fluid links, to ten"
    " thousand. real: processes on this machine, in real time.",
)
@click.option(
    "--policy",
    metavar="POLICY",
    help="large world: another policy, such as random, in-order, even, none, random+even, or FILE.py:Class"
    " (docs/scenarios.md).",
)
@with_output
def simulate(*, output: Output, scenario: Path, seeds: str, world: str, policy: str | None) -> None:
    """Run SCENARIO, a TOML file, from a seed, in one of three worlds.

    SCENARIO may also be the name of one that comes with the lab: textbook, free-riders, origin-dies,
    comings-and-goings, thousand, open. docs/scenarios.md describes the language. In virtual time the trace
    hash is equal for equal seeds.
    --quick runs the first seed only.
    """
    from lab import units
    from lab.simulate.report import SeedRun, result
    from lab.simulate.scenario import World, parse
    from lab.simulate.worlds import runner
    from peer.errors import UsageError

    parsed = parse(read_scenario(scenario))
    policies = None
    if policy is not None:
        from lab.large.policies import by_name
        from lab.large.policies import parse as parse_policy

        policies = parse_policy(policy, by_name(dict(parsed.policies)))
    run_seed = runner(World(world), parsed, policies)
    numbers = units.parse_counts(seeds)
    if len(numbers) > SEEDS_MAX:
        raise UsageError(f"--seed names {len(numbers)} seeds: at most {SEEDS_MAX} at once")
    if output.quick:
        numbers = numbers[:1]
    runs = []
    for number in numbers:
        runs.append(SeedRun(number, run_seed(number)))
        if len(numbers) > 1:
            output.say(f"seed {number}: trace {runs[-1].outcome.trace_hash}")
    output.finish(result(parsed, runs, World(world), policies.name if policies else None))


def read_scenario(path: Path) -> str:
    """The scenario's text: a file, or one of those that come with the lab. Raises UsageError."""
    from peer.errors import UsageError

    own = Path(__file__).parents[1] / "scenarios"
    if not path.exists() and (own / f"{path}.toml").is_file():
        path = own / f"{path}.toml"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(sorted(found.stem for found in own.glob("*.toml")))
        raise UsageError(
            f"there is no file {path}, and no scenario of that name: there are {names}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}") from None
