"""`peer get`: fetch a share by its link, or by its published name."""

import json
from dataclasses import dataclass
from pathlib import Path

import click

from peer.cli.options import (
    PEER_PORT,
    DurationType,
    NetworkOptions,
    PathType,
    PeerAddressType,
    publisher_option,
    with_network,
)
from peer.cli.run import Stop, run, say
from peer.cli.serve_options import flags_of
from peer.ids import Address, NodeId

TIMEOUT_DEFAULT_S = 120.0
WATCH_EVERY_S = 0.25
"""How often a person sees how it goes; the end, and Ctrl-C, wait for nothing."""

ORDER_NAMES = ("rarest", "in-order", "random")
"""Those of `peer.swarm.orders`, without loading it for a help text; the first is the default."""


@dataclass(frozen=True, slots=True)
class GetOptions:
    """The options of `get` alone, as parsed. seed_s: None not at all, infinity until stopped. given: the
    parameters that were flags."""

    link: str
    folder: Path
    peers: tuple[Address, ...]
    port: int | None
    seed_s: float | None
    only: tuple[str, ...]
    timeout_s: float
    as_json: bool
    verbose: bool
    publisher: NodeId | None = None
    given: frozenset[str] = frozenset()
    order: str = ORDER_NAMES[0]


@click.command("get", short_help="Fetch a share by its link or published name.")
@click.argument("link", metavar="LINK|NAME")
@click.option(
    "-o",
    "--output",
    "folder",
    type=PathType(),
    default=Path(),
    metavar="DIR",
    help="Folder to put it in (default: here; made if it is missing).",
)
@click.option(
    "--peer",
    "peers",
    type=PeerAddressType(PEER_PORT),
    multiple=True,
    metavar="HOST[:PORT]",
    help="Ask this peer as well. May be repeated.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="MANYHANDS_PORT",
    help=f"Serve others on this port (default: {PEER_PORT} if it is free, else any).",
)
@click.option("--seed", is_flag=True, help="Go on serving when complete, until stopped.")
@click.option(
    "--seed-for",
    type=DurationType(),
    metavar="TIME",
    help="Go on serving for this long: 90s, 10m.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    help="Fetch only files that match, such as '*.pdf' or 'docs/*'. May be repeated.",
)
@click.option(
    "--order",
    type=click.Choice(ORDER_NAMES),
    default=ORDER_NAMES[0],
    help="Which pieces first: rarest (the default, fastest for all), in-order (to read the beginning while"
    " the rest comes), random.",
)
@click.option(
    "--timeout",
    type=DurationType(positive=True),
    default=TIMEOUT_DEFAULT_S,
    metavar="TIME",
    help="Give up after this long without progress (default: 2m).",
)
@click.option("-v", "--verbose", is_flag=True, help="Say each second what limits the transfer now.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
@publisher_option
@with_network
def command(
    link: str,
    folder: Path,
    peers: tuple[Address, ...],
    port: int | None,
    seed: bool,
    seed_for: float | None,
    only: tuple[str, ...],
    order: str,
    timeout: float,
    verbose: bool,
    as_json: bool,
    publisher: NodeId | None,
    network: NetworkOptions,
) -> None:
    """Fetch the share that LINK names, from everybody who has some of it, and serve others meanwhile.

    Every piece is verified before it is written. Run the same command again after an interruption: it goes on
    where the disk says it stood. What is already there is found, not fetched; a different file of the same
    name is never overwritten, and a folder of other things is not added to.

    Put the link in quotes: it contains characters that a shell takes for its own.

    Instead of a link, NAME with --tracker HOST fetches what is published there under that name, and says by
    whom. A name can be anybody's: --from NODEID insists on one publisher.

    Where a daemon runs with this home (`peer serve`), it fetches and seeds on: this command follows it and
    ends when all is here. Ctrl-C, or giving up after --timeout, ends the following and not the transfer;
    `peer remove` ends that.
    """
    if seed and seed_for is not None:
        raise click.UsageError("--seed seeds until stopped, --seed-for for a time: give one of them")
    seed_s = float("inf") if seed else seed_for
    given = flags_of(click.get_current_context())
    options = GetOptions(
        link, folder, peers, port, seed_s, only, timeout, as_json, verbose, publisher, given, order
    )

    async def work(stop: Stop) -> int:
        from peer.cli.handing import hand_get
        from peer.cli.remote import daemon_of

        client = await daemon_of(network.home)
        if client is not None:
            return await hand_get(client, network, options, stop)
        from peer.cli.fetching import Fetching

        outcome = await Fetching(network, options, stop).run()
        if outcome.interrupted:
            say(f"stopped; run the same command again to go on from {outcome.held_text}")
        return outcome.exit_code

    run(work)


def result_line(
    *,
    share: bytes,
    name: str,
    total_bytes: int,
    seconds: float,
    path: str,
    sources: dict[str, int],
    resumed_bytes: int,
    wasted_bytes: int,
    publisher: NodeId | None = None,
) -> str:
    """The JSON object that ends `get --json`: scripts rely on its names.

    In ASCII, so that it is UTF-8 wherever it goes and whatever bytes are in the path: those that are no text
    become \\udcXX, of which Python's `os.fsencode` makes them again.
    """
    return json.dumps(
        {
            "share_id": share.hex(),
            "name": name,
            "bytes": total_bytes,
            "seconds": round(seconds, 3),
            "path": path,
            "sources": sources,
            "resumed_bytes": resumed_bytes,
            "wasted_bytes": wasted_bytes,
        }
        | ({} if publisher is None else {"publisher": publisher.hex()}),
    )
