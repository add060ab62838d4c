"""`peer share`: share a file or folder."""

from dataclasses import dataclass
from pathlib import Path

import click

from peer.cli.options import PEER_PORT, NetworkOptions, OutwardAddressType, PathType, with_network
from peer.cli.run import Stop, run
from peer.cli.serve_options import flags_of
from peer.net.outward import OutwardAddress


@dataclass(frozen=True, slots=True)
class ShareOptions:
    """The options of `share` alone, as parsed. given: the parameters that were flags."""

    path: Path
    port: int
    announce: OutwardAddress | None
    publish: str | None = None
    given: frozenset[str] = frozenset()


@click.command("share", short_help="Share a file or folder.")
@click.argument("path", type=PathType())
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PEER_PORT,
    show_default=True,
    envvar="MANYHANDS_PORT",
    help="Listen on this port; 0: any free one.",
)
@click.option(
    "--announce",
    type=OutwardAddressType(),
    envvar="MANYHANDS_ANNOUNCE",
    metavar="HOST[:PORT]",
    help="The address to put into the link, where others reach this machine by another than its own;"
    " without a port, with the one that is listened on.",
)
@click.option(
    "--publish",
    metavar="NAME",
    help="List the share under this name at the trackers, for `peer search`, `peer get NAME`, `peer mirror`.",
)
@with_network
def command(
    path: Path,
    port: int,
    announce: OutwardAddress | None,
    publish: str | None,
    network: NetworkOptions,
) -> None:
    """Share PATH, a file or a folder: print its magnet link, and seed it until stopped.

    The link goes to stdout, alone on the first line; everything else to stderr. Symbolic links inside a
    folder are not followed: they are named and left out. A file that changes while it is shared is noticed
    and no longer sent.

    With --publish NAME and --tracker HOST others need no link. The name is this node's for as long as it
    shares, and a day longer. Shared again after a change, PATH has the name lead to the new content.

    Where a daemon runs with this home (`peer serve`), it seeds: this command prints the link and ends.
    """
    given = flags_of(click.get_current_context())
    options = ShareOptions(path, port, announce, publish, given)

    async def work(stop: Stop) -> int:
        from peer.cli.handing import hand_share
        from peer.cli.remote import daemon_of

        client = await daemon_of(network.home)
        if client is not None:
            return await hand_share(client, network, options, stop)
        from peer.cli.sharing import Sharing

        return await Sharing(network, options, stop).run()

    run(work)
