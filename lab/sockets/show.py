"""Visiting stations, telling what happened there, and the report of it."""

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as RichTable

from lab.figures import BLUE, GREEN, ORANGE, PINK, Plot, Theme, measured, panel, tag
from lab.report import Column, Result, Table
from lab.sockets.tour import Log, Station, StationError, Step, said, station

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Visit:
    """A station that was visited. trouble: why it could not be shown, else empty."""

    station: Station
    log: Log
    lesson: str
    trouble: str


def visit(number: int, quick: bool) -> Visit:
    """Run one station; what this machine refuses becomes its `trouble`, and the tour goes on."""
    place = station(number)
    log = Log(quick)
    try:
        return Visit(place, log, place.run(log), "")
    except StationError as error:
        return Visit(place, log, "", str(error))
    except OSError as error:
        return Visit(place, log, "", f"the system refused: {said(error)}{WAY_OUT.get(error.errno or 0, '')}")


WAY_OUT: Final = {
    errno.EMFILE: "; allow more descriptors (ulimit -n)",
    errno.ENFILE: "; the whole system is out of descriptors",
    errno.EACCES: "; this user lacks a permission",
    errno.EPERM: "; this user lacks a permission",
    errno.ENETUNREACH: "; is the loopback interface up?",
    errno.EADDRNOTAVAIL: "; is the loopback interface up?",
}


def narrate(seen: Visit, console: Console) -> None:
    """Tell it on the terminal, the actors side by side in the order of time."""
    console.rule(f"[bold]{seen.station.number}. {escape(seen.station.title)}", align="left")
    console.print(f"[italic]{escape(seen.station.question)}")
    if seen.log.steps:
        console.print(_steps(seen.log.steps))
    for remark in seen.log.remarks:
        console.print(f"[dim]  {escape(remark)}")
    if seen.lesson:
        console.print(Padding(f"[bold]{escape(seen.lesson)}", (0, 0, 1, 2)))


def _steps(steps: list[Step]) -> RichTable:
    actors = list(dict.fromkeys(step.who for step in steps))
    with_states = any(step.states for step in steps)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=True)
    table.add_column("ms", justify="right", style="dim")
    for actor in actors:
        table.add_column(escape(actor), overflow="fold")
    if with_states:
        table.add_column("the kernel says", style="dim", overflow="fold")
    for step in steps:
        # A call that had to wait says so: accept and read are all about waiting.
        waits = step.call.startswith(("accept", "read")) and step.waited_s > WAITED_S
        waited = f" (waited {step.waited_s * 1000:.1f} ms)" if waits else ""
        cells = [f"{step.at_s * 1000:.1f}"]
        text = f"[cyan]{escape(step.call)}[/cyan]{waited}\n{escape(step.saw)}"
        cells += [text if actor == step.who else "" for actor in actors]
        if with_states:
            cells.append(escape(step.states.replace(", ", "\n")))
        table.add_row(*cells)
    return table


WAITED_S = 0.003
"""Less is what any call takes."""


def result(visits: list[Visit], quick: bool) -> Result:
    """Steps, facts and lessons of all visited stations."""
    steps = [
        {
            "station": seen.station.number,
            "at_ms": round(step.at_s * 1000, 3),
            "who": step.who,
            "call": step.call,
            "saw": step.saw,
            "states": step.states,
            "waited_ms": round(step.waited_s * 1000, 3),
        }
        for seen in visits
        for step in seen.log.steps
    ]
    facts = [
        {"station": seen.station.number, "fact": name, "value": value}
        for seen in visits
        for name, value in seen.log.facts.items()
    ]
    stations = [
        {
            "station": seen.station.number,
            "title": seen.station.title,
            "question": seen.station.question,
            "lesson": seen.lesson,
            "remarks": "; ".join(seen.log.remarks),
            "trouble": seen.trouble,
            "shown": not seen.trouble,
        }
        for seen in visits
    ]
    return Result(
        command="lab sockets",
        title="How two processes talk at all",
        parameters={"stations": [seen.station.number for seen in visits], "quick": quick},
        tables=[
            _table("stations", "What each station teaches", "station title lesson trouble", stations),
            _table("facts", "Facts", "station fact value", facts),
            _table("steps", "Step by step", "station at_ms who call saw states", steps),
            *_data_tables(visits),
        ],
        plots=[plot for seen in visits if (plot := _plot(seen))],
        summary=[f"{seen.station.number}. {seen.lesson or 'left out: ' + seen.trouble}" for seen in visits],
    )


def _table(name: str, title: str, keys: str, rows: list[dict[str, Any]]) -> Table:
    return Table(name, title, tuple(Column(key, key.replace("_", " ")) for key in keys.split()), rows)


def _data_tables(visits: list[Visit]) -> list[Table]:
    return [
        _table(
            f"station-{seen.station.number}", seen.station.title, " ".join(seen.log.data[0]), seen.log.data
        )
        for seen in visits
        if seen.log.data
    ]


def _plot(seen: Visit) -> Plot | None:
    if seen.station.number == 4 and seen.log.data:
        return _queue_plot(seen.log.data)
    return None


def _queue_plot(rows: list[dict[str, Any]]) -> Plot:
    """How many clients are served after how long, for each backlog."""
    clients = rows[0]["clients"]

    def draw(figure: "Figure", theme: Theme) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        panel(left, "Let in before anybody accepts")
        names = [f"backlog {row['backlog']}" for row in rows]
        colours = [theme.series[place] for place in (ORANGE, PINK, BLUE, GREEN)]
        left.barh(names, [row["let_in"] for row in rows], color=colours, height=0.6)
        for y, row in enumerate(rows):
            text = f"{row['let_in']} of {clients}"
            left.annotate(text, (row["let_in"], y), xytext=(4, 0), textcoords="offset points", va="center")
        left.invert_yaxis()
        left.set(xlabel="clients", xlim=(0, clients * 1.35))
        left.grid(visible=False, axis="y")
        left.tick_params(axis="y", length=0)
        panel(right, "Served, once the server accepts")
        for row, name, colour in zip(rows, names, colours, strict=False):
            waits = [float(wait) for wait in row["waits_s"].split(", ") if wait]
            times = [0.0, *(wait for wait in waits for _ in range(2))]
            served = [0.0, *(count for n in range(len(waits)) for count in (n, n + 1))]
            measured(right, times, served, colour, marker="", label=name)
        right.axvline(1.0, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        tag(right, 1.0, clients, "first repeated knock", theme.muted, fontweight="normal", fontsize=8.5)
        right.set(xlabel="seconds since the burst", ylabel="clients served", ylim=(0, clients * 1.08))
        right.set_xlim(0, None)
        right.legend(loc="center right", labelcolor="linecolor")

    caption = (
        f"Measured on loopback: {clients} clients connect at once, the server begins to accept after 0.3 s."
        " Whoever finds the queue full is not refused: its kernel knocks again after 1 s and then at growing"
        " intervals, and each time only as many get in as the queue holds."
    )
    return Plot(
        "queue", "Who finds the queue full is not told: it waits and knocks again", caption, draw, (10, 4.4)
    )
