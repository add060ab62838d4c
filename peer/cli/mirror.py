"""`peer mirror`: fetch and seed everything that is published, and what comes later."""

from pathlib import Path

import click

from peer.cli.options import (
    PEER_PORT,
    DurationType,
    NetworkOptions,
    PathType,
    SizeType,
    publisher_option,
    with_network,
)
from peer.cli.run import Stop, run
from peer.ids import NodeId

INTERVAL_DEFAULT_S = 60.0
INTERVAL_S_MIN = 1.0


@click.command("mirror", short_help="Fetch and seed everything that is published.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=PathType(),
    default=Path(),
    metavar="DIR",
    help="Folder to put it in, each share in one of its own (default: here; made if it is missing).",
)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    help="Only names that match, such as 'debian-*'. May be repeated.",
)
@publisher_option
@click.option(
    "--max-size",
    type=SizeType(),
    metavar="SIZE",
    help="Keep no more than this in all, older versions counted: 500GiB. What does not fit is left out.",
)
@click.option(
    "--interval",
    type=DurationType(positive=True),
    default=INTERVAL_DEFAULT_S,
    metavar="TIME",
    help="Look for what is new this often (default: 1m).",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="MANYHANDS_PORT",
    help=f"Serve others on this port (default: {PEER_PORT} if it is free, else any).",
)
@with_network
def command(
    folder: Path,
    only: tuple[str, ...],
    publisher: NodeId | None,
    max_size: int | None,
    interval: float,
    port: int | None,
    network: NetworkOptions,
) -> None:
    """Fetch everything that is published at the trackers, seed it, and go on with what comes later.

    At least one --tracker HOST is needed. Runs until stopped; started again, it checks what it has, seeds it,
    and goes on with what was not complete. Every share has a folder of its own in DIR, called as it was
    published; where that name is taken, the beginning of the share id is added. A newer version gets a new
    folder, and the older one is no longer seeded: nothing is ever removed. DIR/.manyhands holds the mirror's
    own records.

    Whoever may publish there decides what comes to this disk: choose with --only, --from and --max-size.
    """
    if not network.trackers:
        raise click.UsageError("name at least one tracker whose catalogue is to be mirrored: --tracker HOST")

    async def work(stop: Stop) -> int:
        from peer.cli.mirroring import mirror
        from peer.mirror import Wish

        return await mirror(
            network, folder, Wish(only, publisher, max_size), max(interval, INTERVAL_S_MIN), port, stop
        )

    run(work)
