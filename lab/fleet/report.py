"""The table and the figure of `lab fleet`."""

from typing import TYPE_CHECKING, Any

from lab import units
from lab.figures import BLUE, GREY, ORANGE, Plot, Theme, measured, tag, theory
from lab.fleet.run import LOOK_EVERY_S
from lab.fleet.watch import Conditions, Watch
from lab.report import Column, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def result(conditions: Conditions, watch: Watch, tracker: str) -> Result:
    """What was seen."""
    peers = len(watch.done)
    return Result(
        command="lab fleet",
        title=f"A file reaches {peers} mirrors",
        parameters={
            "file": units.size(8 * conditions.file_bytes),
            "up": units.rate(8 * conditions.up) if conditions.up else "not limited",
            "tracker": tracker,
            "peers": peers,
        },
        tables=[_table(conditions, watch)],
        plots=[_plot(conditions, watch)],
        summary=_summary(conditions, watch),
    )


def _summary(conditions: Conditions, watch: Watch) -> list[str]:
    peers, last = len(watch.done), watch.done[-1]
    lines = [
        f"{peers} mirrors had {units.size(8 * conditions.file_bytes)} after {units.seconds(last)},"
        f" the first of them after {units.seconds(watch.done[0])}."
    ]
    server, swarm = conditions.server_bound(peers), conditions.swarm_bound(peers)
    if server is not None and swarm is not None:
        ratio = f": bound / measured is {swarm / last:.3f}" if last else ""
        lines.append(
            f"One server with that uplink needs {units.seconds(server)} at least, no swarm less than"
            f" {units.seconds(swarm)}{ratio}."
        )
    if not last:
        lines.append(f"All had it at the first look, {LOOK_EVERY_S:.1f} s apart: a larger --file tells more.")
    return lines


def _table(conditions: Conditions, watch: Watch) -> Table:
    rows: list[dict[str, Any]] = [
        {"copies": number, "seconds": seconds, "server_s": conditions.server_bound(number)}
        for number, seconds in enumerate(watch.done, 1)
    ]
    columns = (
        Column("copies", "complete"),
        Column("seconds", "after", units.seconds),
        Column("server_s", "one server, at least", units.seconds),
    )
    note = f"Counted by the tracker, looked at every {LOOK_EVERY_S:.1f} s, from the first downloader on."
    return Table("fleet", "When each mirror had all of it", columns, rows, note)


def _plot(conditions: Conditions, watch: Watch) -> Plot:
    peers = len(watch.done)

    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        copies = list(range(1, peers + 1))
        measured(axes, watch.done, copies, theme.series[BLUE])
        tag(axes, watch.done[-1], peers, f"measured\n{units.seconds(watch.done[-1])}", theme.series[BLUE])
        server, swarm = conditions.server_bound(peers), conditions.swarm_bound(peers)
        if server is not None and swarm is not None:
            theory(axes, [0.0, server], [0, peers], theme.series[ORANGE])
            tag(axes, server, peers, f"one server\n{units.seconds(server)}", theme.series[ORANGE])
            theory(axes, [swarm, swarm], [0, peers], theme.series[GREY])
            tag(axes, swarm, peers * 0.08, f"fluid bound {units.seconds(swarm)}", theme.series[GREY])
        axes.set(xlabel="seconds since the first downloader", ylabel="mirrors that have all of it")
        axes.set_xlim(0, max(watch.done[-1], server or 0.0, LOOK_EVERY_S) * 1.2)
        axes.set_ylim(0, peers * 1.1)
        axes.locator_params(axis="y", integer=True)  # nobody is half a mirror

    caption = (
        f"File {units.size(8 * conditions.file_bytes)},"
        f" every uplink {units.rate(8 * conditions.up) if conditions.up else 'not limited'}. Solid: measured."
    )
    if conditions.up is not None:
        caption += " Dashed: N·F/u for one server, and max{F/u, N·F/(u + N·u)}, which no swarm beats."
    return Plot("fleet", "Mirrors serve each other while they fetch: all are done together", caption, draw)
