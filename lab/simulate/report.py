"""The tables and the figure of `lab simulate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import units
from lab.figures import BLUE, ORANGE, Plot, Theme, measured, tag, theory
from lab.report import Column, Result, Table
from lab.simulate.outcome import Outcome
from lab.simulate.scenario import Scenario, World
from lab.simulate.worlds import DESCRIBED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MARKED_MAX = 100
"""Of more peers than that the points of a curve would hide it."""


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One seed and what came of it."""

    seed: int
    outcome: Outcome


def result(
    scenario: Scenario, runs: Sequence[SeedRun], world: World = World.SMALL, policy: str | None = None
) -> Result:
    """All runs of one scenario in one world."""
    named = policy or "+".join(name for _, name in scenario.policies)
    return Result(
        command="lab simulate",
        title=scenario.title,
        parameters={
            "world": world.value,
            **({"policy": named} if named else {}),
            "share": units.size(8 * scenario.size),
            "origin_up": _rate(scenario.origin.up),
            "peers": scenario.peers,
            "seeds": [run.seed for run in runs],
        },
        tables=[_seeds(scenario, runs), _peers(runs)],
        plots=[_plot(scenario, runs, world, named)],
        summary=_summary(scenario, runs),
    )


def _rate(value: float | None) -> str:
    return "unlimited" if value is None else units.rate(8 * value)


def _summary(scenario: Scenario, runs: Sequence[SeedRun]) -> list[str]:
    lines = []
    bound = scenario.bound()
    for run in runs:
        outcome = run.outcome
        done = [member.done for member in outcome.members if member.done is not None]
        missing = scenario.peers - len(done)
        last = outcome.last
        text = f"seed {run.seed}: "
        if scenario.ends_at is not None:
            here = len(outcome.members)
            text += f"{here} peers came within {units.seconds(outcome.ended)}, {len(done)} were complete"
        elif last is None:
            text += f"{missing} of {scenario.peers} peers never completed"
        else:
            text += f"all complete after {units.seconds(last)}"
            text += f", {last / bound:.3f} x the bound" if bound else ""
        wrong = f", {outcome.wrong} WRONG COPIES" if outcome.wrong else ""
        lines.append(text + wrong + (f"; trace {outcome.trace_hash}" if outcome.trace_hash else ""))
    if bound:
        lines.append(f"No schedule is faster than {units.seconds(bound)} (all there from the beginning).")
    return lines


def _seeds(scenario: Scenario, runs: Sequence[SeedRun]) -> Table:
    bound = scenario.bound()
    rows: list[dict[str, Any]] = []
    for run in runs:
        members = run.outcome.members
        done = sorted(member.done for member in members if member.done is not None)
        last = run.outcome.last
        rows.append(
            {
                "seed": run.seed,
                "complete": len(done),
                "bound_s": bound,
                "first_s": done[0] if done else None,
                "last_s": last,
                "ratio": last / bound if last is not None and bound else None,
                "origin_copies": sum(member.origin_bytes for member in members) / scenario.size,
                "wasted": max((member.wasted_bytes for member in members), default=0) / scenario.size,
                "wrong": run.outcome.wrong,
                "trace": run.outcome.trace_hash or None,
            }
        )
    columns = (
        Column("seed", "seed"),
        Column("complete", "complete"),
        Column("bound_s", "bound", units.seconds),
        Column("first_s", "first done", units.seconds),
        Column("last_s", "last done", units.seconds),
        Column("ratio", "last / bound", "{:.3f}".format),
        Column("origin_copies", "copies the origin sent", "{:.2f}".format),
        Column("wasted", "fetched twice, at most", "{:.1%}".format),
        Column("trace", "trace"),
    )
    note = "Equal seeds give equal traces, on any machine, as long as the program is the same."
    if not any(row["trace"] for row in rows):
        note = "Real processes: no run is like another."
    return Table("seeds", "What became of it", columns, rows, note)


def _peers(runs: Sequence[SeedRun]) -> Table:
    rows = [
        {
            "seed": run.seed,
            "group": member.group + 1,
            "peer": member.number + 1,
            "joined_s": member.joined,
            "done_s": member.done,
            "wasted_bytes": member.wasted_bytes,
            "origin_bytes": member.origin_bytes,
        }
        for run in runs
        for member in run.outcome.members
    ]
    titles = ("seed", "group", "peer", "joined", "done", "fetched twice (bytes)", "from the origin (bytes)")
    keys = ("seed", "group", "peer", "joined_s", "done_s", "wasted_bytes", "origin_bytes")
    columns = tuple(Column(key, title) for key, title in zip(keys, titles, strict=True))
    return Table("peers", "Each peer", columns, rows, shown=False)


def _plot(scenario: Scenario, runs: Sequence[SeedRun], world: World, policy: str) -> Plot:
    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        end = 0.0
        for run in runs:
            done = sorted(member.done for member in run.outcome.members if member.done is not None)
            if done:
                end = max(end, done[-1])
                x, y = [0.0, *done], list(range(len(done) + 1))
                style = {
                    "drawstyle": "steps-post",
                    "markersize": 3.5 if scenario.peers <= MARKED_MAX else 0,
                    "alpha": 0.85,
                }
                measured(axes, x, y, theme.series[BLUE], **style)
        bound = scenario.bound()
        if bound:
            theory(axes, [bound, bound], [0, scenario.peers], theme.series[ORANGE])
            tag(axes, bound, scenario.peers * 0.5, "bound", theme.series[ORANGE], xytext=(-6, 0), ha="right")
        clock = "seconds" if world is World.REAL else "virtual seconds"
        axes.set(xlabel=clock, ylabel="peers that are complete")
        axes.set_xlim(0, max(end, bound or 0.0, 1.0) * 1.05)
        axes.set_ylim(0, scenario.peers * 1.05)

    seeds = ", ".join(str(run.seed) for run in runs)
    caption = (
        f"{scenario.peers} {DESCRIBED[world]}{f' ({policy})' if policy else ''}, share"
        f" {units.size(8 * scenario.size)}, origin up"
        f" {_rate(scenario.origin.up)}; a curve for each seed ({seeds})."
    )
    if scenario.bound():
        caption += " Dashed: no schedule has all of them complete sooner (Kumar & Ross)."
    return Plot("simulate", scenario.title, caption, draw)
