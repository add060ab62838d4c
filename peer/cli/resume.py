"""`peer resume`: take paused shares up again."""

import click

from peer.cli.options import home_option
from peer.cli.pause import chosen
from peer.cli.remote import ask
from peer.cli.run import say
from peer.control.protocol import Body, Resume


@click.command("resume", short_help="Take paused shares up again.")
@click.argument("share", required=False)
@click.option("--all", "everything", is_flag=True, help="All shares.")
@home_option
def command(share: str | None, everything: bool, home: str | None) -> None:
    """Have the daemon serve and fetch SHARE again. Also tries again what has failed.

    SHARE is its id or the beginning of it, its link, its name, or its path.
    """

    def show(body: Body) -> None:
        for name in body["shares"]:
            say(f"resumed: {name}")

    ask(home, Resume(chosen(share, everything)), show)
