"""`peer list`: the shares that the daemon knows."""

import json

import click

from peer.cli.options import home_option
from peer.cli.remote import ask
from peer.cli.tables import print_rows, print_troubles
from peer.control.protocol import Body, List


@click.command("list", short_help="List the shares that the daemon knows.")
@click.option("--links", is_flag=True, help="Print one magnet link a line, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@home_option
def command(links: bool, as_json: bool, home: str | None) -> None:
    """List the shares that the daemon of this home knows: id, state, size, peers, and where they are.

    The beginning of an id is enough for the other commands; so is a name, if only one share has it.
    """

    def show(body: Body) -> None:
        rows = body["shares"]
        if links:
            for row in rows:
                click.echo(row["link"])
        elif as_json:
            for row in rows:
                click.echo(json.dumps(row))
        else:
            print_rows(rows)
        print_troubles(body.get("damaged", ()))

    ask(home, List(), show)
