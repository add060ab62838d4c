"""`peer stop`: end the daemon."""

from contextlib import suppress

import click
import trio

from peer.cli.options import home_option
from peer.cli.remote import converse
from peer.cli.run import Stop as Signalled
from peer.cli.run import say, unless_stopped
from peer.control import local
from peer.control.client import ControlClient
from peer.control.protocol import Stop
from peer.errors import ConnectionLost, ExitCode
from peer.home import home_path
from peer.limits import CONTROL_END_LOOK_S, CONTROL_END_S


@click.command("stop", short_help="Stop the daemon.")
@home_option
def command(home: str | None) -> None:
    """Stop the daemon of this home in order, and return when it has ended, so that the home is free for the
    next. It remembers its shares: `peer serve` goes on where it was."""

    async def talk(client: ControlClient, signalled: Signalled) -> int:
        path = home_path(home)
        socket = local.identity(path)

        async def tell() -> bool:
            with suppress(ConnectionLost):  # it may end before its answer is on the way
                await client.ask(Stop())
            return True

        if not await unless_stopped(signalled, tell):
            return ExitCode.INTERRUPTED
        with trio.move_on_after(CONTROL_END_S) as patience:
            # Its socket goes when all is durable, together with its hold on the home.
            while local.identity(path) == socket and not signalled.requested.is_set():
                with trio.move_on_after(CONTROL_END_LOOK_S):
                    await signalled.requested.wait()
        if patience.cancelled_caught:
            say("the daemon was told to stop, and is still busy ending")
        else:
            say("the daemon stops")
        return ExitCode.DONE

    converse(home, talk)
