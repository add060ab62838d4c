"""`peer search`: find published shares by the words of their names."""

import click

from peer.cli.options import (
    TRACKER_PORT,
    AddressType,
    NetworkOptions,
    home_option,
    publisher_option,
    swarm_key_option,
)
from peer.cli.run import Stop, run
from peer.ids import Address, NodeId

LIMIT_DEFAULT = 50


@click.command("search", short_help="Find published shares by the words of their names.")
@click.argument("words", nargs=-1)
@click.option(
    "--tracker",
    "trackers",
    type=AddressType(TRACKER_PORT),
    multiple=True,
    required=True,
    metavar="HOST[:PORT]",
    help=f"Ask this tracker (default port {TRACKER_PORT}). May be repeated.",
)
@publisher_option
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=LIMIT_DEFAULT,
    show_default=True,
    help="Show so many at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with links.")
@swarm_key_option
@click.option("--plain", is_flag=True, help="No encryption: for labs and trusted links.")
@home_option
def command(
    words: tuple[str, ...],
    trackers: tuple[Address, ...],
    publisher: NodeId | None,
    limit: int,
    as_json: bool,
    swarm_secret: bytes | None,
    plain: bool,
    home: str | None,
) -> None:
    """List published shares whose names have all WORDS, or words that begin so; without any, all of them.

    One line each, those with most seeders first: seeders, leechers, size, the publisher's node id, the name.
    `peer get NAME --tracker HOST` fetches one. Seeders and leechers are what the tracker counts; everything
    else is signed by the publisher and was checked. Exit code 3 if nothing is found.
    """
    network = NetworkOptions(home, trackers, None, None, None, plain, "none", swarm_secret=swarm_secret)

    async def work(stop: Stop) -> int:
        import trio

        from peer.cli.searching import search
        from peer.errors import ExitCode

        code: int = ExitCode.INTERRUPTED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.cancel, nursery.cancel_scope)
            code = await search(network, words, publisher, limit, as_json=as_json)
            nursery.cancel_scope.cancel()
        return code

    run(work)
