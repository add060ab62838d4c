"""`peer status`: what the daemon does now."""

import json
import sys
from functools import partial

import click
import trio

from peer.cli.options import home_option
from peer.cli.remote import converse, named
from peer.cli.run import Stop, unless_stopped
from peer.control.client import ControlClient
from peer.control.protocol import Body, Status
from peer.errors import ExitCode

WATCH_EVERY_S = 0.5
LINE_EVERY_S = 2.0


@click.command("status", short_help="Show what the daemon does now.")
@click.argument("share", required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one a second with --watch.")
@home_option
def command(share: str | None, watch: bool, as_json: bool, home: str | None) -> None:
    """Show the daemon of this home: its rates and limits, the shares at work, their peers and piece maps.

    With SHARE (its id or the beginning of it, its link, its name, or its path) only that one, with all its
    peers. Shares at rest are counted here and listed by `peer list`.
    """

    async def talk(client: ControlClient, stop: Stop) -> int:
        from peer.cli.statusview import as_lines, live

        look = partial(
            unless_stopped, stop, partial(client.ask, Status(None if share is None else named(share)))
        )
        body = await look()
        if body is None:
            return ExitCode.INTERRUPTED
        if as_json:
            click.echo(_json(body))
        elif not watch:
            click.echo("\n".join(as_lines(body)))
        if not watch:
            return ExitCode.DONE
        if not as_json and sys.stdout.isatty():
            await live(look, stop, WATCH_EVERY_S)
            return ExitCode.DONE
        while body is not None:
            if not as_json:
                click.echo("\n".join(as_lines(body)))
            sys.stdout.flush()
            with trio.move_on_after(1.0 if as_json else LINE_EVERY_S):
                await stop.requested.wait()
                break
            body = await look()
            if as_json and body is not None:
                click.echo(_json(body))
        return ExitCode.DONE

    converse(home, talk)


def _json(body: Body) -> str:
    return json.dumps(body, default=lambda value: value.hex() if isinstance(value, bytes) else list(value))
