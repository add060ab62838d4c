"""The daemon's state for eyes: lines, and a live view of shares, peers, rates and piece maps."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from peer.cli.limits import shown
from peer.cli.run import Stop
from peer.cli.tables import ID_DIGITS, size_of, state_of
from peer.control.protocol import Body
from peer.paths import printable
from peer.units import format_duration, format_rate

if TYPE_CHECKING:
    from rich.console import RenderableType

LEVELS = " ▁▂▃▄▅▆▇█"
"""A cell of a piece map, from none to all of its pieces."""


def head_line(body: Body) -> str:
    """The node in one line."""
    parts = [
        f"{body['known']} share{'s' if body['known'] != 1 else ''}, {body['open']} open",
        f"{body['peers']} peer{'s' if body['peers'] != 1 else ''}",
        f"up {format_rate(body['rate_up'])} ({shown(body['up'])})",
        f"down {format_rate(body['rate_down'])} ({shown(body['down'])})",
        f"running {format_duration(body['seconds'])}",
    ]
    for what in ("failed", "paused"):
        if body[what]:
            parts.insert(1, f"{body[what]} {what}")
    return ", ".join(parts)


def piece_map(cells: bytes) -> str:
    """One character a cell."""
    top = len(LEVELS) - 1
    return "".join(LEVELS[0 if not cell else max(1, cell * top // 255)] for cell in cells)


def share_line(row: dict[str, Any]) -> str:
    """A share in one line."""
    parts = [state_of(row), size_of(row) or "size not known"]
    if row.get("links") is not None:
        parts.append(f"{row['peers']} peer{'s' if row['peers'] != 1 else ''} of {row['known_peers']} known")
        if row["rate_down"] >= 1:
            parts.append(f"down {format_rate(row['rate_down'])}")
        if row["rate_up"] >= 1:
            parts.append(f"up {format_rate(row['rate_up'])}")
        if not row["complete"]:
            parts.append(f"limited by {row['limited_by']}")
    limits = [f"{way} at most {shown(row[way])}" for way in ("up", "down") if row[way] is not None]
    return f"{row['share'][:ID_DIGITS]} {printable(row['name'])}: {', '.join([*parts, *limits])}"


def peer_line(link: dict[str, Any]) -> str:
    """A connected peer in one line."""
    flags = "".join(letter for letter, on in (("c", link["chokes_us"]), ("w", link["wants_us"])) if on)
    return (
        f"{link['address']} {link['node'][:ID_DIGITS]} {link['pieces']} pieces,"
        f" down {format_rate(link['rate_down'])}, up {format_rate(link['rate_up'])}"
        f"{f' [{flags}]' if flags else ''}"
    )


def as_lines(body: Body) -> list[str]:
    """All of it without a terminal."""
    if "known" not in body:
        return [printable(line) for line in _share_lines(body)]
    lines = [head_line(body), *(f"listening on {address}" for address in body["addresses"])]
    for row in body["shares"]:
        lines += _share_lines(row)
    for tracker in body["trackers"]:
        state = f": {tracker['error']}" if tracker["error"] else ""
        shares = "1 share" if tracker["shares"] == 1 else f"{tracker['shares']} shares"
        lines.append(f"tracker {tracker['tracker']} is told of {shares}{state}")
    return [printable(line) for line in (*lines, *body["damaged"])]


def _share_lines(row: dict[str, Any]) -> list[str]:
    lines = [share_line(row)]
    if row.get("error"):
        lines.append(f"  {row['error']}")
    if row.get("cells") and not row["complete"]:
        lines.append(f"  [{piece_map(row['cells'])}]")
    lines += [f"  {peer_line(link)}" for link in row.get("links", ())]
    lines += [f"  {trouble}" for trouble in _troubles(row)]
    return lines


def _troubles(row: Body) -> list[str]:
    """What cannot be read here any more, and what others say of us."""
    return [*row.get("troubles", ()), *row.get("sent_away", ())]


async def live(look: Callable[[], Awaitable[Body | None]], stop: Stop, every_s: float) -> None:
    """Show it on the terminal until stopped. look: what to show; None if stopped meanwhile."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as view:
        while (body := await look()) is not None:
            view.update(render(body, console.height), refresh=True)
            with trio.move_on_after(every_s):
                await stop.requested.wait()
                return


def render(body: Body, height: int) -> "RenderableType":
    """The live view: as many shares and peers as there is room for."""
    from rich.console import Group
    from rich.text import Text

    whole = "known" in body
    rows: Sequence[dict[str, Any]] = body["shares"] if whole else [body]
    parts: list[RenderableType] = []
    if whole:
        parts += [Text(head_line(body), style="bold"), Text("")]
        for tracker in body["trackers"]:
            if tracker["error"]:
                parts.append(Text(f"tracker {tracker['tracker']}: {tracker['error']}", style="yellow"))
    room = height - len(parts) - 2
    for number, row in enumerate(rows):
        made = _share_block(row, peers_max=8 if whole else height)
        if len(made) > room and number:
            parts.append(Text(f"and {len(rows) - number} more at work", style="dim"))
            break
        parts += made
        room -= len(made)
    if not rows:
        parts.append(Text("nothing at work: all shares rest until somebody wants one", style="dim"))
    return Group(*parts)


def _share_block(row: dict[str, Any], peers_max: int) -> "list[RenderableType]":
    from rich.text import Text

    colour = {"failed": "red", "paused": "yellow", "seeding": "green"}.get(row["state"], "cyan")
    line = Text(share_line(row), no_wrap=True, overflow="ellipsis")
    line.stylize("bold " + colour, 0, ID_DIGITS)
    made: list[RenderableType] = [line]
    if row.get("cells"):
        done = 100 * row["held"] // row["wanted"] if row.get("wanted") else 0
        map_line = Text("  ▕")
        map_line.append(piece_map(row["cells"]), style=colour)
        map_line.append(f"▏ {done} % of {row['pieces']} pieces", style="dim")
        made.append(map_line)
    if row.get("error"):
        made.append(Text(f"  {printable(row['error'])}", style="red", no_wrap=True, overflow="ellipsis"))
    for link in row.get("links", ())[:peers_max]:
        made.append(Text(f"  {peer_line(link)}", style="dim", no_wrap=True, overflow="ellipsis"))
    hidden = row["peers"] - len(row.get("links", ())[:peers_max])
    if hidden > 0 and row.get("links"):
        made.append(Text(f"  and {hidden} more peers", style="dim"))
    for trouble in _troubles(row)[:3]:
        made.append(Text(f"  {printable(trouble)}", style="yellow", no_wrap=True, overflow="ellipsis"))
    return made
