# ruff: noqa: RUF001 - the formulas are written as the papers write them
"""The table and the figures of `lab scale`, from measured points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lab import units
from lab.figures import BLUE, ORANGE, Plot, Theme, measured, tag_ends, theory
from lab.report import Column, Result, Table
from lab.scale.plan import Conditions, Mode, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = {Mode.CLIENT_SERVER: ORANGE, Mode.SWARM: BLUE}


def result(conditions: Conditions, points: Sequence[Point]) -> Result:
    """Everything measured so far."""
    return Result(
        command="lab scale",
        title="Client–server against peer-to-peer, measured",
        parameters={
            "file": units.size(8 * conditions.file_bytes),
            "origin_up": units.rate(8 * conditions.origin_up),
            "peer_up": units.rate(8 * conditions.peer_up),
            "conditions": ", ".join(described(conditions)) or "all alike, all stay",
        },
        tables=[_table(conditions, points)],
        plots=[_time_plot(conditions, points), _origin_plot(conditions, points)],
        summary=_summary(conditions, points),
    )


def described(conditions: Conditions) -> list[str]:
    """What is not as it should be, in words."""
    words = []
    if conditions.mixed:
        words.append("uplinks of half and one and a half in turn")
    if conditions.free_riders:
        words.append(f"{conditions.free_riders} free riders")
    if conditions.late:
        words.append(f"{conditions.late} come at half time")
    if conditions.leave:
        words.append("who is done leaves")
    if conditions.origin_dies:
        words.append("the origin dies in the middle")
    if conditions.order != "rarest":
        words.append(f"pieces {conditions.order}")
    if conditions.tracker_dies:
        words.append("the tracker dies")
    return words


def of_mode(points: Sequence[Point], mode: Mode) -> list[Point]:
    return sorted((point for point in points if point.mode == mode), key=lambda point: point.peers)


def _summary(conditions: Conditions, points: Sequence[Point]) -> list[str]:
    lines = []
    servers, swarms = of_mode(points, Mode.CLIENT_SERVER), of_mode(points, Mode.SWARM)
    if servers and swarms and servers[-1].peers == swarms[-1].peers:
        server, swarm = servers[-1], swarms[-1]
        copies = swarm.origin_bytes / conditions.file_bytes
        lines.append(
            f"{swarm.peers} downloaders: {units.seconds(server.seconds)} from one server,"
            f" {units.seconds(swarm.seconds)} as a swarm: {server.seconds / swarm.seconds:.3g} times faster,"
            f" and the origin sent {copies:.2f} copies instead of {swarm.peers}."
        )
    for mode, found in ((Mode.CLIENT_SERVER, servers), (Mode.SWARM, swarms)):
        if found:
            worst = min(found, key=lambda point: point.efficiency)
            lines.append(
                f"{mode.value}: bound / measured is at least {worst.efficiency:.3f} (at N = {worst.peers})."
            )
    below = [point for point in points if point.seconds < point.bound]
    if below:
        names = ", ".join(f"{point.mode} N = {point.peers}" for point in below)
        lines.append(f"BELOW ITS BOUND, so shaping or clocks are wrong: {names}.")
    return lines


def _table(conditions: Conditions, points: Sequence[Point]) -> Table:
    rows: list[dict[str, Any]] = [
        {
            "mode": point.mode,
            "peers": point.peers,
            "bound_s": point.bound,
            "seconds": point.seconds,
            "efficiency": point.efficiency,
            "first_s": point.first,
            "mean_s": point.mean,
            "origin_copies": point.origin_bytes / conditions.file_bytes,
            "origin_share": point.origin_bytes / (point.peers * conditions.file_bytes),
            "wasted": point.wasted,
        }
        for mode in Mode
        for point in of_mode(points, mode)
    ]
    columns = (
        Column("mode", "who serves"),
        Column("peers", "peers N"),
        Column("bound_s", "bound", units.seconds),
        Column("seconds", "last done", units.seconds),
        Column("efficiency", "bound / measured", "{:.3f}".format),
        Column("first_s", "first done", units.seconds),
        Column("origin_copies", "copies the origin sent", "{:.2f}".format),
        Column("origin_share", "origin's share", "{:.0%}".format),
        Column("wasted", "fetched twice, at most", "{:.1%}".format),
    )
    waiting = "all downloaders but those that come late" if conditions.late else "all downloaders"
    note = (
        f"The clock runs from the origin's first connection, {waiting} waiting for it, to the last verified"
        " copy."
    )
    return Table("scale", "Until the last downloader has the file", columns, rows, note)


def _caption(conditions: Conditions) -> str:
    extra = described(conditions)
    return (
        f"File {units.size(8 * conditions.file_bytes)}, origin up {units.rate(8 * conditions.origin_up)},"
        f" peer up {units.rate(8 * conditions.peer_up)}, downlinks not limited, real `peer` processes on one"
        f" machine, encrypted, shaped by --up.{' ' + '; '.join(extra).capitalize() + '.' if extra else ''}"
    )


def _time_plot(conditions: Conditions, points: Sequence[Point]) -> Plot:
    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        most = max(2, *(point.peers for point in points))  # a curve has two points at least
        grid = range(1, most + 1)
        ends: dict[int, list[tuple[float, str, str]]] = {}  # by N: two of one place would cover each other
        for mode in Mode:
            found, colour = of_mode(points, mode), theme.series[COLOURS[mode]]
            theory(axes, list(grid), [conditions.bound(mode, n) for n in grid], colour)
            if found:
                measured(axes, [p.peers for p in found], [p.seconds for p in found], colour)
                last = found[-1]
                name = f"{mode.value}\n{units.seconds(last.seconds)}"
                ends.setdefault(last.peers, []).append((last.seconds, name, colour))
            else:
                end = (conditions.bound(mode, most), f"{mode.value}\n(the bound)", colour)
                ends.setdefault(most, []).append(end)
        axes.set(xlabel="downloaders N", ylabel="until the last one has the file (seconds)")
        axes.set_xlim(0, most * 1.22)
        axes.set_xticks(_ticks(most))
        axes.set_ylim(0, None)
        for peers, names in ends.items():
            tag_ends(axes, peers, names)

    caption = (
        "Dashed: lower bounds of Kurose & Ross, N·F/uₛ and max{F/uₛ, N·F/(uₛ + Σuᵢ)}. Solid: measured. "
        + _caption(conditions)
    )
    title = "The server's time grows with every downloader; the swarm's hardly does"
    return Plot("scale", title, caption, draw)


def _origin_plot(conditions: Conditions, points: Sequence[Point]) -> Plot:
    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        most = max(2, *(point.peers for point in points))  # a curve has two points at least
        ends: dict[int, list[tuple[float, str, str]]] = {}
        for mode in Mode:
            found, colour = of_mode(points, mode), theme.series[COLOURS[mode]]
            if found:
                shares = [p.origin_bytes / (p.peers * conditions.file_bytes) for p in found]
                measured(axes, [p.peers for p in found], shares, colour)
                name = f"{mode.value}\n{shares[-1]:.0%}"
                ends.setdefault(found[-1].peers, []).append((shares[-1], name, colour))
        grid = list(range(1, most + 1))
        fluid = [
            conditions.origin_up * conditions.bound(Mode.SWARM, n) / (n * conditions.file_bytes) for n in grid
        ]
        theory(axes, grid, fluid, theme.series[BLUE])
        axes.set(xlabel="downloaders N", ylabel="copies that the origin sends, per downloader")
        axes.set_xlim(0, most * 1.22)
        axes.set_xticks(_ticks(most))
        axes.set_ylim(0, 1.15)
        for peers, names in ends.items():
            tag_ends(axes, peers, names)

    caption = "Dashed: the origin's share when every uplink is busy to the end. " + _caption(conditions)
    return Plot("origin", "Who downloads also serves: the origin's load per downloader falls", caption, draw)


def _ticks(most: int) -> list[int]:
    step = max(1, -(-most // 8))
    return sorted({1, *range(step, most + 1, step), most} - ({most - 1} if step > 1 else set()))
