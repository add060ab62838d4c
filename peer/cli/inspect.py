"""`peer inspect`: the files, sizes and checksums of a share."""

import click

from peer.cli.options import PEER_PORT, DurationType, NetworkOptions, PeerAddressType, with_network
from peer.cli.run import Stop, run
from peer.ids import Address

TIMEOUT_DEFAULT_S = 30.0


@click.command("inspect", short_help="Show the files, sizes and checksums of a share.")
@click.argument("share", metavar="LINK|PATH")
@click.option(
    "--checksums", is_flag=True, help="Print lines that `b3sum --check` reads, and nothing else on stdout."
)
@click.option(
    "--peer",
    "peers",
    type=PeerAddressType(PEER_PORT),
    multiple=True,
    metavar="HOST[:PORT]",
    help="For a link: ask this peer. May be repeated.",
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
    checksums: bool,
    peers: tuple[Address, ...],
    timeout: float,
    network: NetworkOptions,
) -> None:
    """Show what is in the share that a link names, or what sharing a path would give.

    For a link the list is fetched from any peer that has it, and checked against the link. For a path it is
    made by hashing, and the link's identity is printed without sharing anything.
    """

    async def work(stop: Stop) -> int:
        from peer.cli.display import make_display
        from peer.cli.listing import checksum_lines, listing
        from peer.cli.subject import subject_of
        from peer.errors import ExitCode

        with make_display(network.progress) as display:
            subject = await subject_of(share, network, peers, timeout, display, stop)
        if subject is None:
            return ExitCode.INTERRUPTED
        lines = checksum_lines(subject) if checksums else listing(subject)
        for line in lines:
            click.echo(line)
        return ExitCode.DONE

    run(work)
