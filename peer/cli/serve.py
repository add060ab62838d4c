"""`peer serve`: the daemon."""

import os
import signal

import click

from peer import config
from peer.cli.options import PEER_PORT, NetworkOptions, OutwardAddressType, with_network
from peer.cli.run import Stop, run
from peer.cli.serve_options import ServeOptions, sources_of
from peer.net.outward import OutwardAddress


@click.command("serve", short_help="Run the daemon.")
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
    help="The address to put into links, where others reach this machine by another than its own;"
    " without a port, with the one that is listened on.",
)
@click.option(
    "--log-level",
    type=click.Choice(config.LOG_LEVELS),
    default="info",
    show_default=True,
    envvar="MANYHANDS_LOG_LEVEL",
    help="What to log, on stderr.",
)
@click.option("--log-json", is_flag=True, envvar="MANYHANDS_LOG_JSON", help="Log as JSON lines.")
@with_network
def command(
    port: int,
    announce: OutwardAddress | None,
    log_level: str,
    log_json: bool,
    network: NetworkOptions,
) -> None:
    """Run the daemon: one node that stays on and serves every share that it was told of.

    While it runs, `peer share` and `peer get` with the same home hand their work to it, and `peer list`,
    `status`, `limits`, `pause`, `resume`, `remove` and `stop` talk to it. It remembers its shares: stopped or
    killed, a new one goes on where it was. A share that nobody wants just now costs next to nothing.

    Settings come from config.toml in the home; a MANYHANDS_ variable overrides the file, and a flag both;
    `peer config` shows them. SIGHUP reads the file again. SIGTERM stops in order. docs/deploy.md has a unit
    for systemd.
    """
    options = ServeOptions(port, announce, log_level, log_json, sources_of(click.get_current_context()))

    async def work(stop: Stop) -> int:
        from peer.cli.serving import Serving

        return await Serving(network, options, stop).run()

    # Trio listens for signals while it runs. Before that nothing has begun; after it all is done, and being
    # told to stop once more must not make a failure of it (an interpreter that ends lets go of our handlers).
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    try:
        run(work)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
