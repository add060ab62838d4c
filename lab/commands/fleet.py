"""`lab fleet`: a running network of mirrors, watched while a new file reaches all of them."""

import tempfile
from math import isnan
from pathlib import Path

import click

from lab.commands.common import Output, with_output
from peer.cli.options import PathType


@click.command()
@click.option(
    "--tracker", required=True, metavar="HOST[:PORT]", help="The tracker whose mirrors are measured."
)
@click.option("--file", metavar="SIZE", help="Size F of the file (default: 16 MiB; --quick: 4 MiB).")
@click.option(
    "--up", metavar="RATE", help="Everybody's uplink u: the origin keeps to it, the bounds are drawn for it."
)
@click.option(
    "--peers",
    type=click.IntRange(min=1),
    metavar="N",
    help="End when N have it (default: when all who came do).",
)
@click.option(
    "--swarm-key",
    type=PathType(),
    metavar="FILE",
    help="Secret of a private swarm, in a file.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Give up after so many seconds in which nothing changes.",
)
@with_output
def fleet(
    *,
    output: Output,
    tracker: str,
    file: str | None,
    up: str | None,
    peers: int | None,
    swarm_key: Path | None,
    timeout: float,
) -> None:
    """A running network of mirrors, measured: how soon does a new file reach all of them?

    Publishes a file of random bytes at the tracker, serves it, and watches the tracker's counts until every
    mirror (`peer mirror`) has it. Whatever the mirrors are, containers, machines of a cluster or processes,
    is measured as it is; --up must be what they were started with. The file stays in the mirrors' folders,
    under a name that begins with lab-fleet.
    """
    from lab import units
    from lab.fleet.report import result
    from lab.fleet.run import measure
    from lab.fleet.watch import Conditions
    from peer.cli.options import TRACKER_PORT
    from peer.errors import UsageError
    from peer.ids import Address

    if isnan(timeout):  # a range of numbers lets nan pass, and nothing is ever later than that
        raise UsageError("--timeout cannot be nan: give seconds")
    rate = units.parse_rate(up) / 8 if up else None
    if rate == 0:
        raise UsageError("--up cannot be 0: the origin would never send anything")
    try:
        address = Address.parse(tracker, TRACKER_PORT)
    except ValueError as error:
        raise UsageError(str(error)) from error
    conditions = Conditions(
        file_bytes=int(units.parse_size(file or ("4MiB" if output.quick else "16MiB")) / 8),
        up=rate,
    )
    if conditions.file_bytes < 1:
        raise UsageError("--file must be at least one byte")
    with tempfile.TemporaryDirectory(prefix="manyhands-fleet-") as folder:
        watch = measure(conditions, address, swarm_key, peers, timeout, Path(folder), output.say)
    output.finish(result(conditions, watch, str(address)))
