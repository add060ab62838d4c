"""`peer stop`: end the daemon."""

import click

from peer.cli.options import home_option
from peer.cli.remote import ask
from peer.cli.run import say
from peer.control.protocol import Body, Stop


@click.command("stop", short_help="Stop the daemon.")
@home_option
def command(home: str | None) -> None:
    """Stop the daemon of this home in order. It remembers its shares: `peer serve` goes on where it was."""

    def show(body: Body) -> None:
        say("the daemon stops")

    ask(home, Stop(), show)
