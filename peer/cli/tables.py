"""Shares as lines of a table on stdout: for people, and for `awk`."""

from collections.abc import Iterable, Sequence
from typing import Any

import click

from peer.cli.run import say
from peer.paths import printable
from peer.units import format_bytes

ID_DIGITS = 12
"""Of an id, as it is shown: no two shares of a daemon agree in so many by accident."""


def state_of(row: dict[str, Any]) -> str:
    """State and, of what is not complete, how much is here."""
    state = str(row["state"])
    total, held = row.get("wanted") or row["bytes"], row.get("held", 0)
    if not row["complete"] and total and held and state != "failed":
        return f"{state} {100 * held // total} %"
    return state


def size_of(row: dict[str, Any]) -> str | None:
    """The size of a share, where it is known: nothing at all is a size, too."""
    return format_bytes(row["bytes"]) if row["bytes"] or row["complete"] else None


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A table of shares; a line on stderr if there are none."""
    if not rows:
        say("no shares: `peer share PATH` or `peer get LINK` bring some")
        return
    lines = [("ID", "STATE", "SIZE", "PEERS", "PATH")]
    for row in rows:
        size = size_of(row) or "?"
        path = printable(str(row["path"]))
        lines.append((row["share"][:ID_DIGITS], state_of(row), size, str(row["peers"]), path))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line[4]]))
    for row in rows:
        if row.get("error"):
            say(f"{row['share'][:ID_DIGITS]} {row['name']}: {row['error']}")


def print_troubles(lines: Iterable[str]) -> None:
    """What could not be read, on stderr."""
    for line in lines:
        say(f"peer: {line}")
