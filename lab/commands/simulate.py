"""`lab simulate`: a scenario in virtual time."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.commands.common import Output, make_folder, repeat_line, with_output
from peer.cli.options import PathType

if TYPE_CHECKING:
    from lab.report import Result
    from lab.simulate.scenario import Scenario

SEEDS_MAX = 1000

SCENARIO_BYTES_MAX = 1 << 20
"""A thousand times what the largest of ours has. A device may never end."""

SILENT_S = 10.0
"""What takes longer is announced."""


@click.command()
@click.argument("scenario", type=PathType())
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
    help="Another policy than the node's: of pieces (random, in-order), of whom to serve (even, none), of"
    " whom newcomers are told of (complete-first), several as random+even, or FILE.py:Class, a class of yours"
    " with one short method (docs/scenarios.md). With --world real only the first kind.",
)
@click.option("--size", metavar="SIZE", help="Another size of the share than the scenario says.")
@click.option(
    "--trace",
    "traces",
    type=PathType(),
    metavar="DIR",
    help="Write the first seed's event traces, a file for each peer, for lab animate.",
)
@with_output
def simulate(
    *,
    output: Output,
    scenario: Path,
    seeds: str,
    world: str,
    policy: str | None,
    size: str | None,
    traces: Path | None,
) -> None:
    """Run SCENARIO, a TOML file, from a seed, in one of three worlds.

    SCENARIO may also be the name of one that comes with the lab: textbook, free-riders, origin-dies,
    comings-and-goings, and for the large world thousand, open. docs/scenarios.md describes the language. In
    virtual time the trace hash is equal for equal seeds. With --out the report of the small world comes with
    an animation of the first seed. --quick runs the first seed only.
    """
    from lab import units
    from lab.simulate.report import SeedRun, result
    from lab.simulate.scenario import World, parse, share_size
    from lab.simulate.worlds import runner, work
    from peer.errors import UsageError

    parsed = parse(read_scenario(scenario))
    if size is not None:
        parsed = replace(parsed, size=share_size(size))
    where = World(world)
    policies = None
    if policy is not None:
        from lab.simulate.policies import by_name
        from lab.simulate.policies import parse as parse_policy

        policies = parse_policy(policy, by_name(dict(parsed.policies)))
    if traces is not None and where is not World.SMALL:
        raise UsageError("--trace is for --world small: only whole nodes write event traces")
    if traces is not None:
        make_folder(traces, "--trace")
    run_seed = runner(where, parsed, policies)
    numbers = units.parse_counts(seeds)
    if len(numbers) > SEEDS_MAX:
        raise UsageError(f"--seed names {len(numbers)} seeds: at most {SEEDS_MAX} at once")
    if output.quick:
        numbers = numbers[:1]
    if where is not World.REAL and work(parsed, where) > SILENT_S:
        output.say(f"this takes about {units.seconds(len(numbers) * work(parsed, where))}")
    runs: list[SeedRun] = []
    watched = where is World.SMALL and (traces or output.folder)
    lines: dict[str, list[str]] | None = {} if watched else None
    for number in numbers:
        runs.append(SeedRun(number, run_seed(number, None if runs else lines)))
        if len(numbers) > 1:
            output.say(f"seed {number}: {runs[-1].outcome.trace_hash or 'done'}")
    found = result(parsed, runs, where, policies.name if policies else None)
    if lines:
        _keep(output, found, lines, traces, parsed, numbers[0])
    output.finish(found)


def _keep(
    output: Output,
    found: "Result",
    lines: "dict[str, list[str]]",
    folder: Path | None,
    scenario: "Scenario",
    seed: int,
) -> None:
    """Write the traces where they are wanted, and the animation beside the report."""
    from lab import units
    from lab.animate import page
    from lab.animate.files import natural, write_traces
    from lab.animate.plot import copies_plot
    from lab.animate.story import read

    if folder is not None:
        write_traces(folder, lines)
        output.say(f"traces: {len(lines)} files in {folder}; lab animate {folder} shows them")
    if output.folder is not None:
        story = read(sorted(lines.items(), key=lambda item: natural(item[0])))
        title = f"{found.title}, seed {seed}"
        found.pages["swarm.html"] = (
            "Animation: pieces spreading through the swarm",
            page.render(story, title=title, bound_s=scenario.bound(), repeat=repeat_line()),
        )
        first = scenario.size / scenario.origin.up if scenario.origin.up else None
        what = f"{scenario.title}: share {units.size(8 * scenario.size)}, {story.pieces} pieces, seed {seed}."
        found.plots.append(copies_plot(story, first, what))


def read_scenario(path: Path) -> str:
    """The scenario's text: a file, or one of those that come with the lab. Raises UsageError."""
    from peer.errors import UsageError

    own = Path(__file__).parents[1] / "scenarios"
    try:
        if not path.is_file() and (own / f"{path}.toml").is_file():
            path = own / f"{path}.toml"
        with path.open("rb") as file:
            data = file.read(SCENARIO_BYTES_MAX + 1)
        if len(data) > SCENARIO_BYTES_MAX:
            raise UsageError(f"{path} is no scenario: it has more than {SCENARIO_BYTES_MAX >> 10} KiB")
        return data.decode("utf-8-sig")  # some editors begin with a byte order mark
    except FileNotFoundError:
        names = ", ".join(sorted(found.stem for found in own.glob("*.toml")))
        raise UsageError(
            f"there is no file {path}, and no scenario of that name: there are {names}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}") from None
