"""`peer config`: the settings, and where each comes from."""

import difflib
import json
import os
from pathlib import Path
from typing import Any

import click

from peer import config
from peer.cli.configured import config_path
from peer.cli.options import PEER_PORT, OutwardAddressType, home_option, network_options
from peer.cli.run import say
from peer.cli.serve_options import sources_of
from peer.net.outward import OutwardAddress

OTHER_VARIABLES = ("MANYHANDS_HOME", "MANYHANDS_SWARM_KEY", "MANYHANDS_DEBUG")


@click.command("config", short_help="Print the configuration, and where each value comes from.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PEER_PORT, envvar="MANYHANDS_PORT", help="As in serve."
)
@click.option(
    "--announce",
    type=OutwardAddressType(),
    metavar="HOST[:PORT]",
    envvar="MANYHANDS_ANNOUNCE",
    help="As in serve.",
)
@click.option(
    "--log-level",
    type=click.Choice(config.LOG_LEVELS),
    default="info",
    envvar="MANYHANDS_LOG_LEVEL",
    help="As in serve.",
)
@click.option("--log-json", is_flag=True, envvar="MANYHANDS_LOG_JSON", help="As in serve.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: key to value and source.")
@network_options
@home_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, home: str | None, **options: Any) -> None:
    """Print the settings that `peer serve` (with the same flags) would run with, and where each comes from.

    \b
    default      nobody said anything
    file         config.toml in the home
    environment  a variable MANYHANDS_ and the name in capitals: MANYHANDS_UP=4mbit
    flag         an option on the command line

    Each of these overrides those above it. The lines that are printed are what config.toml may say: any can
    be put there.
    """
    sources = sources_of(ctx)
    rows = {
        key.name: {
            "value": _plain(key.name, options[key.parameter]),
            "source": _source(key, sources.get(key.parameter, "default"), options[key.parameter]),
        }
        for key in config.KEYS
    }
    if as_json:
        click.echo(json.dumps(rows))
        return
    path = config_path(home)
    click.echo(f"# {path}{'' if path.exists() else ' (not there)'}")
    lines = [(_toml(name, row["value"]), row) for name, row in rows.items()]
    width = max(len(line) for line, _ in lines)
    for line, row in lines:
        key = config.BY_NAME[next(name for name, other in rows.items() if other is row)]
        click.echo(f"{line:{width}}  # {row['source']}: {key.meaning}")
    _warn_of_variables()


def _source(key: config.Key, source: str, value: Any) -> str:
    """The word for a source; the swarm key comes from the environment by a way of its own."""
    if key.name == "swarm_key" and value is not None and source == "default":
        return "environment"
    return source


def _plain(name: str, value: Any) -> Any:
    """A parameter's value as the file would have it."""
    if name in ("up", "down") and value is not None:
        return rate_text(value)
    if name == "swarm_key":  # the secret is not shown
        return None if value is None else "..."
    if name == "tracker":
        return [str(address) for address in value]
    return str(value) if isinstance(value, OutwardAddress | Path) else value


def rate_text(rate: float) -> str:
    """A rate (bytes a second) as `tc` writes it, without loss."""
    bits = round(rate * 8)
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bits and bits % size == 0:
            return f"{bits // size}{unit}"
    return f"{bits}bit" if bits else "0"


def _toml(name: str, value: Any) -> str:
    if value is None or value == []:
        return f"# {name} ="
    return f"{name} = {json.dumps(value)}"


def _warn_of_variables() -> None:
    """A variable of ours that nobody knows is likely a slip."""
    known = {key.variable: key for key in config.KEYS} | dict.fromkeys(OTHER_VARIABLES)
    for name in sorted(os.environ):
        if name.startswith(config.PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            say(f"peer: {name} is not used{f': did you mean {close[0]}?' if close else ''}")
