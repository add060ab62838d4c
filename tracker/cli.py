"""The `tracker` command. Imports what it needs when it needs it, so that `--help` is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peer.entry import enter
from peer.version import version_option

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio import CancelScope

    from peer.net.transport import Transport
    from tracker.server import ServerLimits, ServerStatistics, TrackerServer


def _folder(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """A path; an empty one is not the working folder."""
    if value == "":
        raise click.BadParameter("it is empty: name a folder, or leave it out", ctx, param)
    return None if value is None else Path(value)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.option("--host", metavar="HOST", help="Listen on this address only.  [default: every address]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7700,
    show_default=True,
    help="Listen on this port; 0: any free one.",
)
@click.option(
    "--home",
    metavar="DIR",
    callback=_folder,
    envvar="MANYHANDS_HOME",
    help="Folder of the tracker's key (default: a new key each time).  [env: MANYHANDS_HOME]",
)
@click.option(
    "--swarm-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the secret of a private swarm: only its peers get in; '-' asks for it.  "
    "[env: MANYHANDS_SWARM_KEY holds the secret]",
)
def command(host: str | None, port: int, home: Path | None, swarm_key: Path | None) -> None:
    """Tell peers about each other: who else has a share, and which shares are published.

    Keeps the members of each swarm, and the names of published shares, in memory only, and forgets those that
    fall silent. Peers find it with --tracker HOST:PORT. Ctrl-C ends it; peers that are transferring go on
    without it.
    """
    import trio

    from peer.errors import ManyhandsError

    remarks: list[str] = []
    try:
        trio.run(_serve, build_transport(home, swarm_key, remarks.append), host, port, remarks)
    except ManyhandsError as error:
        click.echo(f"tracker: {error}", err=True)
        sys.exit(error.exit_code)


def build_transport(
    home: Path | None, swarm_key: Path | None = None, warn: Callable[[str], None] = lambda text: None
) -> Transport:
    """The transport that this tracker listens on.

    It takes encrypted peers and plain ones alike; of a private swarm only those who have its secret.
    home: where the key is kept; without one a new key is made for this run, since peers do not expect a
    certain tracker. warn: is told what is not as it should be.
    """
    from peer.home import swarm_secret
    from peer.identity import Identity, load_or_create_identity
    from peer.net.either import EitherTransport
    from peer.net.swarmca import SwarmAuthority
    from peer.net.tcp import TcpTransport
    from peer.net.tls import TlsTransport

    identity = Identity.generate()
    if home is not None:
        identity = load_or_create_identity(home)
    secret = swarm_secret(swarm_key, warn)
    if secret is not None:
        return TlsTransport(identity, SwarmAuthority.private(secret))
    return EitherTransport(TlsTransport(identity, SwarmAuthority.public()), TcpTransport())


async def _serve(transport: Transport, host: str | None, port: int, remarks: list[str]) -> None:
    import signal
    from random import SystemRandom

    import trio

    from tracker.server import TrackerServer

    server = TrackerServer(transport, SystemRandom(), bounds=_bounds())
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        for address in await server.listen(host, port):
            click.echo(f"listening on {address}", err=True)
        for remark in remarks:  # scripts take the address from the first line
            click.echo(f"tracker: {remark}", err=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, server, nursery.cancel_scope)
            await server.run()
            nursery.cancel_scope.cancel()
    click.echo(_summary(server.statistics()), err=True)


def _bounds() -> ServerLimits:
    """Fewer connections where this process may open fewer files (macOS: 256): a full house makes room for
    newcomers, a process out of descriptors cannot."""
    import resource

    from peer.limits import TRACKER_DESCRIPTORS_RESERVED
    from tracker.server import ServerLimits

    usual = ServerLimits()
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return usual
    connections = min(usual.connections, max(descriptors - TRACKER_DESCRIPTORS_RESERVED, 4))
    return ServerLimits(connections, min(usual.connections_per_address, connections // 4))


async def _stop_on_signal(
    signals: AsyncIterator[int], server: TrackerServer, everything: CancelScope
) -> None:
    """The first signal lets answers under way finish, the second does not."""
    await anext(signals)
    server.stop()
    await anext(signals)
    everything.cancel()


def _summary(statistics: ServerStatistics) -> str:
    registry = statistics.registry
    return (
        f"stopped; questions answered: {statistics.answered}, "
        f"at the end members: {registry.members}, swarms: {registry.swarms}, "
        f"published names: {statistics.catalogue.names}"
    )


def main() -> None:
    """Entry point of the `tracker` program."""
    enter(command, "tracker")
