"""A result on a terminal: rich tables, plain when stdout is not a terminal."""

import os
import sys
from typing import TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

from lab.report import Result, Table

PLAIN_WIDTH = 160
"""Columns where the output is no terminal: wide enough that no table folds."""


class PatientConsole(Console):
    """Goes on in silence when its reader has seen enough (`| head`): a report is still to be written."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(stream: TextIO) -> Console:
    return PatientConsole(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


def show(result: Result, stream: TextIO) -> None:
    out = console(stream)
    out.print(f"[bold]{escape(result.title)}[/bold]")
    if result.parameters:
        said = ", ".join(
            f"{name.replace('_', ' ')} {_short(value)}" for name, value in result.parameters.items()
        )
        out.print(f"[dim]{escape(said)}[/dim]")
    for table in result.tables:
        if not table.shown:
            continue
        out.print()
        out.print(_readable(_table(table), out), crop=False)
        if table.note:
            out.print(f"[dim]{escape(table.note)}[/dim]")
    if result.summary:
        out.print()
        for line in result.summary:
            out.print(f"• {escape(line)}")


def _table(table: Table) -> RichTable:
    shown = RichTable(
        title=escape(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for column in table.columns:
        number = all(isinstance(row.get(column.key), int | float | None) for row in table.rows)
        shown.add_column(escape(column.title), justify="right" if number else "left")
    for cells in table.cells():
        shown.add_row(*map(escape, cells))
    return shown


def _readable(table: RichTable, out: Console) -> RichTable:
    """Where a terminal is too narrow for the words, it folds the lines itself: rich would leave nothing."""
    least = Measurement.get(out, out.options.update(max_width=PLAIN_WIDTH), table).minimum
    if least > out.width:
        table.width = least
    return table


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
