"""`peer id`: this node's id."""

import click

from peer.cli.options import home_option
from peer.cli.run import guard


@click.command("id")
@home_option
def command(home: str | None) -> None:
    """Print this node's id: the SHA-256 of its public key, in hex.

    The key is made the first time it is needed. Who knows the id can make sure to reach this node and nobody
    else: HOST:PORT in a link may be written ID@HOST:PORT.
    """

    def work() -> int:
        from peer.home import Home, home_path
        from peer.identity import load_or_create_identity

        opened = Home(home_path(home), exclusive=False)
        click.echo(load_or_create_identity(opened.path).node_id.hex())
        return 0

    guard(work)
