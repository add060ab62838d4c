"""`peer remove`: have the daemon forget a share."""

import click

from peer.cli.options import home_option
from peer.cli.remote import ask, named
from peer.cli.run import say
from peer.control.protocol import Body, Remove


@click.command("remove", short_help="Have the daemon forget a share; its files stay.")
@click.argument("share")
@home_option
def command(share: str, home: str | None) -> None:
    """Have the daemon forget SHARE: it is neither served nor fetched any more. Its files stay where they are,
    a partial download too: `peer get` goes on from there.

    SHARE is its id or the beginning of it, its link, its name, or its path.
    """

    def show(body: Body) -> None:
        say(f"forgotten: {body['name']}; its files stay at {body['path']}")

    ask(home, Remove(named(share)), show)
