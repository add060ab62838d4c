"""`peer verify`: which pieces and files of a share are good on disk."""

from pathlib import Path

import click

from peer.cli.inspect import TIMEOUT_DEFAULT_S
from peer.cli.options import PEER_PORT, DurationType, NetworkOptions, PathType, PeerAddressType, with_network
from peer.cli.run import Stop, run, unless_stopped
from peer.ids import Address


@click.command("verify", short_help="Tell which pieces and files of a share are good on disk.")
@click.argument("share", metavar="LINK|PATH")
@click.argument("folder", metavar="DIR", type=PathType())
@click.option(
    "--peer",
    "peers",
    type=PeerAddressType(PEER_PORT),
    multiple=True,
    metavar="HOST[:PORT]",
    help="For a link: ask this peer for the list of pieces. May be repeated.",
)
@click.option(
    "--timeout",
    type=DurationType(positive=True),
    default=TIMEOUT_DEFAULT_S,
    metavar="TIME",
    help="For a link: give up after this long without an answer (default: 30s).",
)
@with_network
def command(
    share: str,
    folder: Path,
    peers: tuple[Address, ...],
    timeout: float,
    network: NetworkOptions,
) -> None:
    """Compare what lies in DIR with a share: the one that a link names, or the one that a path would make.

    DIR is the folder that the share was put into (as `get -o DIR`), or the share's own folder. Exit code 0 if
    everything is there and good, 4 if not.
    """

    async def work(stop: Stop) -> int:
        from functools import partial

        from peer.cli.display import make_display
        from peer.cli.subject import subject_of
        from peer.cli.verifying import verify
        from peer.errors import ExitCode

        with make_display(network.progress) as display:
            subject = await subject_of(share, network, peers, timeout, display, stop)
            if subject is None:
                return ExitCode.INTERRUPTED
            verified = await unless_stopped(stop, partial(verify, subject, folder, display))
        if verified is None:
            return ExitCode.INTERRUPTED
        lines, good = verified
        for line in lines:
            click.echo(line)
        return ExitCode.DONE if good else ExitCode.NOT_VERIFIED

    run(work)
