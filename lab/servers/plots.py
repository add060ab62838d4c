"""The figures of `lab servers`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab.figures import Plot, Theme, measured, panel, tag, tag_ends
from lab.servers.roster import SERVERS
from lab.servers.tables import three, trouble_rows
from lab.servers.workloads import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR: Final = {
    name: place
    for place, name in enumerate(("select", "process", "trio", "thread", "select+pool", "sequential"))
}
"""Position of each server's colour in the theme's series."""


def plots(middle: Sequence[dict[str, Any]], scale: Scale, repetitions: int) -> list[Plot]:
    said = f"Measured over loopback, median of {repetitions} runs; load from a process of its own."
    drawn = []
    if sum(row["workload"] == "crowd" for row in middle) > 1:
        drawn.append(_crowd_plot([r for r in middle if r["workload"] == "crowd"], said))
    if any("memory_kib_per_connection" in row for row in middle):
        drawn.append(_cost_plot(middle, said, scale))
    if any(row["workload"] in ("silent", "crash", "heavy C", "heavy Python") for row in middle):
        drawn.append(_trouble_plot(middle, said))
    return drawn


def _crowd_plot(rows: Sequence[dict[str, Any]], said: str) -> Plot:
    largest = max(row["clients"] for row in rows)

    def draw(figure: "Figure", theme: Theme) -> None:
        panels = figure.subplots(1, 2)
        for axes, key, heading, unit in (
            (panels[0], "per_second", "Throughput", "requests per second"),
            (panels[1], "p99_ms", "Waiting time, 99th percentile", "milliseconds"),
        ):
            ends = []
            for server in SERVERS:
                points = sorted(
                    (r["clients"], r[key])
                    for r in rows
                    if r["server"] == server and r.get("p99_ms") is not None
                )
                if points:
                    colour = theme.series[COLOUR[server]]
                    measured(axes, [x for x, _ in points], [y for _, y in points], colour)
                    ends.append((points[-1][1], server, colour))
            panel(axes, heading)
            axes.set(xscale="log", xlabel="clients at once", ylabel=unit)
            if key == "p99_ms":
                axes.set_yscale("log")
            else:
                axes.set_ylim(0, None)
            axes.xaxis.set_major_formatter(_thousands)
            axes.yaxis.set_major_formatter(_thousands)
            axes.minorticks_off()
            axes.set_xlim(0.8, max(4, largest**1.42))
            axes.set_xticks([10**k for k in range(6) if 10**k <= largest])
            figure.draw_without_rendering()  # now the limits and the layout are final
            tag_ends(axes, largest, ends)

    total = max(row["asked"] for row in rows)
    caption = (
        f"{total:,} requests for 1 KiB in all, shared by the clients, each over its own connection. {said}"
    )
    title = "Everybody at once: who serves how many, and who waits how long"
    return Plot("crowd", title, caption, draw, (10.6, 5.2))


def _thousands(value: float, _: object = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _cost_plot(middle: Sequence[dict[str, Any]], said: str, scale: Scale) -> Plot:
    idle = {r["server"]: r for r in middle if r["workload"] == "idle"}
    crowd = [r for r in middle if r["workload"] == "crowd"]
    largest = max((r["clients"] for r in crowd), default=0)
    crowded = {r["server"]: r for r in crowd if r["clients"] == largest}

    shown = [
        (idle, "memory_kib_per_connection", "Memory", "KiB for an idle connection", True),
        (crowded, "cpu_us_per_request", "Processor", "CPU µs for a request", False),
        (idle, "per_second", "Busy beside idle", "requests per second", False),
    ]
    shown = [panel for panel in shown if panel[0]]  # there may have been no crowd
    servers = [server for server in SERVERS if any(server in source for source, *_ in shown)]

    def draw(figure: "Figure", theme: Theme) -> None:
        panels = figure.subplots(1, len(shown))
        for axes, (source, key, heading, unit, log) in zip(panels, shown, strict=True):
            values = {server: source.get(server, {}).get(key) for server in servers}
            panel(axes, heading)
            _bars(axes, values, theme, log=log)
            axes.set_xlabel(unit)
            if axes is not panels[0]:
                axes.set_yticklabels([])

    caption = (
        f"Memory: proportional set size while {scale.idle:,} connections idle."
        + (f" Processor: the crowd of {largest:,} clients, connections included." if crowded else "")
        + f" Busy: {scale.busy} clients beside {scale.idle:,} idle"
        f" ones. None: the server cannot hold idle connections, or could not be measured. {said}"
    )
    return Plot("cost", "What a connection costs, and what it costs the others", caption, draw, (10.6, 4.8))


def _bars(axes: "Axes", values: Mapping[str, float | None], theme: Theme, log: bool = False) -> None:
    """Horizontal bars with their numbers; `none` where there is no value."""
    names = list(values)
    known = [value for value in values.values() if value]
    floor = 10 ** -(0 if not known else max(0, len(str(int(1 / min(known)))) - 1)) * 0.5 if log else 0.0
    colours = [theme.series[COLOUR[name]] for name in names]
    axes.barh(names, [max(value or 0.0, floor) for value in values.values()], color=colours, height=0.62)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(floor, max(known, default=1.0) * 30)
        axes.xaxis.set_major_formatter(_thousands)
        axes.minorticks_off()
    else:
        axes.set_xlim(0, max(known, default=1.0) * 1.45)
        axes.xaxis.set_major_formatter(_thousands)
        axes.locator_params(axis="x", nbins=4)
    for y, value in enumerate(values.values()):
        text = "none" if value is None else three(value)
        axes.annotate(
            text, (max(value or 0.0, floor), y), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _trouble_plot(middle: Sequence[dict[str, Any]], said: str) -> Plot:
    table = {row["server"]: row for row in trouble_rows(middle)}
    kinds = (
        ("silent_answered_share", "one silent client", 1),
        ("crash_served_share", "a handler that crashes", 1),
        ("exception_served_share", "a handler that raises", 1),
        ("heavy_c_stall_share", "a heavy request in C", -1),
        ("heavy_python_stall_share", "a heavy request in Python", -1),
    )
    present = [kind for kind in kinds if any(row.get(kind[0]) is not None for row in table.values())]
    servers = [name for name in SERVERS if name in table]

    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.add_subplot()
        good, bad = theme.series[COLOUR["trio"]], theme.series[COLOUR["process"]]
        for x, (key, _, sign) in enumerate(present):
            for y, server in enumerate(servers):
                share = table[server].get(key)
                if share is None:
                    continue
                served = share if sign > 0 else 1 - share
                axes.barh(y, 0.86, left=x, height=0.72, color=theme.grid)
                colour = good if served >= 0.5 else bad
                axes.barh(y, 0.86 * max(served, 0.012), left=x, height=0.72, color=colour)
                style = {"xytext": (0, 0), "ha": "center", "path_effects": []}
                tag(axes, x + 0.43, y, f"{served:.0%}", theme.page if served >= 0.5 else theme.ink, **style)
        axes.set_xticks([x + 0.43 for x in range(len(present))], [name for _, name, _ in present])
        axes.set_yticks(range(len(servers)), servers)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)

    caption = (
        "Share of the other clients' requests served while or after one client misbehaves; for the heavy"
        f" requests the share of their time that the others did not have to wait. {said}"
    )
    return Plot("trouble", "One client makes trouble: who is still served?", caption, draw, (10, 4.4))
