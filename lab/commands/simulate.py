"""`lab simulate`: a scenario in virtual time."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.commands.common import Output, repeat_line, with_output

if TYPE_CHECKING:
    from lab.report import Result
    from lab.simulate.scenario import Scenario

SEEDS_MAX = 1000


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--seed", "seeds", default="1", show_default=True, metavar="LIST", help="Seeds to run: 7, or 1-5."
)
@click.option("--size", metavar="SIZE", help="Another size of the share than the scenario says.")
@click.option(
    "--trace",
    "traces",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the first seed's event traces, a file for each peer, for lab animate.",
)
@with_output
def simulate(*, output: Output, scenario: Path, seeds: str, size: str | None, traces: Path | None) -> None:
    """Run SCENARIO, a TOML file, in virtual time: whole nodes, the code that users run, from a seed.

    SCENARIO may also be the name of one that comes with the lab: textbook, free-riders, origin-dies,
    comings-and-goings. docs/scenarios.md describes the language. The trace hash is equal for equal seeds.
    With --out the report comes with an animation of the first seed. --quick runs the first seed only.
    """
    from lab import units
    from lab.simulate.report import SeedRun, result
    from lab.simulate.scenario import parse, share_size
    from lab.simulate.small import simulate as run_seed
    from peer.errors import UsageError

    parsed = parse(_read(scenario))
    if size is not None:
        parsed = replace(parsed, size=share_size(size))
    numbers = units.parse_counts(seeds)
    if len(numbers) > SEEDS_MAX:
        raise UsageError(f"--seed names {len(numbers)} seeds: at most {SEEDS_MAX} at once")
    if output.quick:
        numbers = numbers[:1]
    runs: list[SeedRun] = []
    lines: dict[str, list[str]] | None = {} if traces or output.folder else None
    for number in numbers:
        runs.append(SeedRun(number, run_seed(parsed, number, None if runs else lines)))
        if len(numbers) > 1:
            output.say(f"seed {number}: trace {runs[-1].outcome.trace_hash}")
    found = result(parsed, runs)
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


def _read(path: Path) -> str:
    """The scenario's text: a file, or one of those that come with the lab. Raises UsageError."""
    from peer.errors import UsageError

    own = Path(__file__).parents[1] / "scenarios"
    if not path.is_file() and (own / f"{path}.toml").is_file():
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
