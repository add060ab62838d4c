"""`peer limits`: rate limits of the running daemon."""

import json
import math
from typing import Any

import click

from peer.cli.options import RateType, home_option
from peer.cli.remote import ask, named
from peer.control.protocol import Body, Limits
from peer.paths import printable
from peer.units import format_rate


class LimitType(click.ParamType[float]):
    """A rate, or `none` for no limit (infinity)."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "none":
            return math.inf
        return RateType().convert(value, param, ctx)


@click.command("limits", short_help="Show or change the daemon's rate limits.")
@click.argument("share", required=False)
@click.option(
    "--up",
    "new_up",
    type=LimitType(),
    metavar="RATE",
    help="Send at most this: 4mbit, 1MB, or none: no limit.",
)
@click.option("--down", "new_down", type=LimitType(), metavar="RATE", help="Receive at most this.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (bytes a second).")
@home_option
def command(
    share: str | None, new_up: float | None, new_down: float | None, as_json: bool, home: str | None
) -> None:
    """Show the rate limits of the daemon, or change them at once; of one SHARE if it is named.

    Both hold: a share gets no more than its own limit, and all together no more than the node's. A share's
    limits are remembered; the node's last until the daemon stops or reads its configuration again (`up` and
    `down` in config.toml are for always).
    """

    def show(body: Body) -> None:
        if as_json:
            click.echo(json.dumps(body))
            return
        whose = printable(str(body["name"])) if "name" in body else "node"
        rates = [f"{way} {shown(body[way])}" for way in ("up", "down")]
        click.echo(f"{whose}: {', '.join(rates)}")

    ask(home, Limits(None if share is None else named(share), new_up, new_down), show)


def shown(rate: float | None) -> str:
    """A limit for people."""
    return "no limit" if rate is None else format_rate(rate)
