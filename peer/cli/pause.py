"""`peer pause`: stop serving and fetching for a while."""

import click

from peer.cli.options import home_option
from peer.cli.remote import ask, named
from peer.cli.run import say
from peer.control.protocol import Body, Pause


def chosen(share: str | None, everything: bool) -> str | None:
    """SHARE, as the daemon knows it, or --all: exactly one of them. Raises click.UsageError."""
    if (share is None) != everything:
        raise click.UsageError("name one SHARE, or give --all")
    return None if share is None else named(share)


@click.command("pause", short_help="Pause a share of the daemon, or all.")
@click.argument("share", required=False)
@click.option("--all", "everything", is_flag=True, help="All shares.")
@home_option
def command(share: str | None, everything: bool, home: str | None) -> None:
    """Have the daemon neither serve nor fetch SHARE until `peer resume`, also after a restart.

    SHARE is its id or the beginning of it, its link, its name, or its path.
    """

    def show(body: Body) -> None:
        for name in body["shares"]:
            say(f"paused: {name}")

    ask(home, Pause(chosen(share, everything)), show)
