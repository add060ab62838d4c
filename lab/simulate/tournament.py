"""Policies against each other: each on the same scenario and the same seeds, in virtual time."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Final

from lab import units
from lab.figures import ORANGE, Plot, Theme, tag, theory
from lab.report import Column, Result, Table
from lab.simulate.outcome import Outcome
from lab.simulate.scenario import Behaviour, Scenario, World
from lab.simulate.worlds import DESCRIBED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOT: Final = 5.0
SEEDS_TELLING: Final = 5
"""With fewer seeds the summary warns of chance."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy and what became of each seed, in the order of the seeds."""

    name: str
    outcomes: tuple[Outcome, ...]


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Without the files that own policies are in, where that leaves them apart: paths are longer than a table
    has room for."""
    short = ["+".join(part.rpartition(":")[2] for part in name.split("+")) for name in names]
    return dict(zip(names, short if len(set(short)) == len(short) else names, strict=True))


def result(
    scenario: Scenario, seeds: Sequence[int], entries: Sequence[Entry], world: World = World.LARGE
) -> Result:
    """The table and the figure."""
    return Result(
        command="lab tournament",
        title=f"Policies compared: {scenario.title}",
        parameters={
            "world": world.value,
            "share": units.size(8 * scenario.size),
            "origin_up": "unlimited" if scenario.origin.up is None else units.rate(8 * scenario.origin.up),
            "peers": scenario.peers,
            "seeds": list(seeds),
        },
        tables=[_table(scenario, seeds, entries), _runs(seeds, entries)],
        plots=[_plot(scenario, seeds, entries, world)],
        summary=_summary(scenario, seeds, entries),
    )


def score(scenario: Scenario, outcome: Outcome) -> float:
    """What is compared: when the last was complete. Who never was counts as when the run ended, twice.

    Where peers come until the run is over nobody is the last: then it is how long a download takes, on
    average; one that is under way counts until the end.
    """
    if scenario.ends_at is None:
        return outcome.last if outcome.last is not None else 2 * outcome.ended
    ends = [(outcome.ended if one.done is None else one.done) - one.joined for one in outcome.members]
    return mean(ends) if ends else 0.0


def _scores(scenario: Scenario, entry: Entry) -> list[float]:
    return [score(scenario, outcome) for outcome in entry.outcomes]


def _wins(scores: Sequence[Sequence[float]]) -> list[int]:
    """On how many seeds each was the best, or as good as the best."""
    best = [min(of_seed) for of_seed in zip(*scores, strict=True)]
    return [sum(map(eq, mine, best)) for mine in scores]


def _done(outcome: Outcome, groups: Sequence[int] | None = None) -> list[float]:
    """Seconds from joining to completion, of those that were complete."""
    return [
        member.done - member.joined
        for member in outcome.members
        if member.done is not None and (groups is None or member.group in groups)
    ]


def _summary(scenario: Scenario, seeds: Sequence[int], entries: Sequence[Entry]) -> list[str]:
    ranked = sorted(entries, key=lambda entry: mean(_scores(scenario, entry)))
    best = ranked[0]
    what = "the last is complete after" if scenario.ends_at is None else "a download takes"
    bound = scenario.bound()
    lines = []
    shown = short_names([entry.name for entry in entries])
    for entry in ranked:
        last, first = mean(_scores(scenario, entry)), mean(_scores(scenario, best))
        came = [len(outcome.members) for outcome in entry.outcomes]
        missing = sum(came) - sum(len(_done(outcome)) for outcome in entry.outcomes)
        text = f"{shown[entry.name]}: {what} {units.seconds(last)} on average"
        text += f", {last / bound:.3f} x the bound" if bound else ""
        text += "" if entry is best or not first else f", {last / first - 1:+.1%}"
        if missing:
            text += f"; {missing} of {sum(came)} never were complete"
            text += ", as if after twice the time that the run took" if scenario.ends_at is None else ""
        lines.append(text)
    if len(seeds) < SEEDS_TELLING:
        lines.append(f"Only {len(seeds)} seeds: differences of a few percent may be chance; try --seeds 10.")
    return lines


def _table(scenario: Scenario, seeds: Sequence[int], entries: Sequence[Entry]) -> Table:
    bound = scenario.bound()
    riders = [n for n, group in enumerate(scenario.groups) if group.behaviour is Behaviour.FREE_RIDER]
    givers = [n for n in range(len(scenario.groups)) if n not in riders]
    rows: list[dict[str, Any]] = []
    scores = [_scores(scenario, entry) for entry in entries]
    for entry, wins, last in zip(entries, _wins(scores), scores, strict=True):
        times = [time for outcome in entry.outcomes for time in _done(outcome, givers)]
        theirs = [time for outcome in entry.outcomes for time in _done(outcome, riders)]
        rows.append(
            {
                "policy": entry.name,
                "wins": wins,
                "last_s": mean(last),
                "worst_s": max(last),
                "ratio": mean(last) / bound if bound else None,
                "median_s": median(times) if times else None,
                "riders_s": median(theirs) if theirs else None,
                "origin_copies": mean(
                    sum(member.origin_bytes for member in outcome.members) / scenario.size
                    for outcome in entry.outcomes
                ),
            }
        )
    columns = [
        Column("policy", "policy", short_names([entry.name for entry in entries]).__getitem__),
        Column("wins", f"best of {len(seeds)} seeds"),
        Column("last_s", "last done, mean" if scenario.ends_at is None else "download, mean", units.seconds),
        Column("worst_s", "worst seed", units.seconds),
        Column("ratio", "mean / bound", "{:.3f}".format),
        Column("median_s", "median download", units.seconds),
        Column("origin_copies", "copies the origin sent", "{:.2f}".format),
    ]
    if riders:
        columns.insert(6, Column("riders_s", "free riders, median", units.seconds))
    note = "Every policy has met the same seeds: the same arrivals, the same introductions by the tracker."
    return Table("tournament", "Who does best", tuple(columns), rows, note)


def _runs(seeds: Sequence[int], entries: Sequence[Entry]) -> Table:
    rows: list[dict[str, Any]] = [
        {
            "policy": entry.name,
            "seed": seed,
            "complete": len(_done(outcome)),
            "last_s": outcome.last,
            "trace": outcome.trace_hash,
        }
        for entry in entries
        for seed, outcome in zip(seeds, entry.outcomes, strict=True)
    ]
    titles = {"policy": "policy", "seed": "seed", "complete": "complete", "last_s": "last", "trace": "trace"}
    columns = tuple(Column(key, title) for key, title in titles.items())
    return Table("runs", "Each run", columns, rows, shown=False)


def _plot(scenario: Scenario, seeds: Sequence[int], entries: Sequence[Entry], world: World) -> Plot:
    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        bound = scenario.bound()
        for place, entry in enumerate(entries):
            colour = theme.series[place % len(theme.series)]
            scores = _scores(scenario, entry)
            height = len(entries) - place
            # A little apart, so that equal seeds of different policies can be followed.
            heights = [height + 0.24 * (k / max(1, len(scores) - 1) - 0.5) for k in range(len(scores))]
            axes.plot(scores, heights, "o", color=colour, markersize=DOT, alpha=0.8)
            axes.plot([mean(scores)] * 2, [height - 0.3, height + 0.3], "-", color=colour, linewidth=2)
        if bound:
            theory(axes, [bound, bound], [0.4, len(entries) + 0.6], theme.series[ORANGE])
            tag(axes, bound, 0.45, "bound", theme.series[ORANGE], xytext=(6, 2), ha="left")
        shown = short_names([entry.name for entry in entries])
        axes.set_yticks(range(len(entries), 0, -1), list(shown.values()))
        what = "until the last peer is complete" if scenario.ends_at is None else "a download, on average"
        axes.set(xlabel=f"{what} (virtual seconds)")
        axes.set_ylim(0.4, len(entries) + 0.6)
        furthest = max(max(_scores(scenario, entry)) for entry in entries)
        axes.set_xlim(0, 1.05 * max(furthest, bound or 0.0, 1e-3))  # no dot is cut by the edge

    caption = (
        f"{scenario.peers} {DESCRIBED[world]}, share {units.size(8 * scenario.size)}: a dot for each of"
        f" {len(seeds)} seeds, the same for all; the bar is their mean."
    ) + (" Dashed: Kumar & Ross's bound." if scenario.bound() else "")
    return Plot("tournament", f"Policies compared: {scenario.title}", caption, draw)
