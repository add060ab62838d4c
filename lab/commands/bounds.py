"""`lab bounds`: what theory says."""

from typing import Any

import click

from lab.commands.common import Output, with_output


@click.command()
@click.option("--file", default="1.8GB", show_default=True, metavar="SIZE", help="Size F of the file.")
@click.option(
    "--origin-up", default="40mbit", show_default=True, metavar="RATE", help="The origin's uplink u_s."
)
@click.option("--peer-up", default="4mbit", show_default=True, metavar="RATE", help="Each peer's uplink u.")
@click.option(
    "--down", default="40mbit", show_default=True, metavar="RATE|none", help="Slowest downlink d_min."
)
@click.option("--peers", default="1,5-35:5", show_default=True, metavar="LIST", help="Numbers of peers N.")
@click.option(
    "--parts", default="1,10,100,1000", show_default=True, metavar="LIST", help="Numbers of parts M."
)
@click.option("--seed-stays", default=1000.0, show_default=True, help="Seconds that a peer seeds afterwards.")
@click.option("--aborts", default=0.001, show_default=True, help="Aborting downloaders per second, θ.")
@click.option("--effectiveness", default=1.0, show_default=True, help="η of sharing among downloaders.")
@with_output
def bounds(
    *,
    output: Output,
    file: str,
    origin_up: str,
    peer_up: str,
    down: str,
    peers: str,
    parts: str,
    seed_stays: float,
    aborts: float,
    effectiveness: float,
) -> None:
    """What theory says about bringing one file to many.

    Kurose & Ross (client-server and peer-to-peer), Kumar & Ross (several seeds), Mundinger, Weber & Weiss
    (parts, chains, trees), Qiu & Srikant (peers that come and go). The defaults are Kurose & Ross's figure:
    F/u = 1 hour, u_s = 10 u.
    """
    from lab import bounds_report, units
    from lab.bounds import OpenSwarm
    from peer.errors import UsageError

    if not seed_stays > 0:
        raise UsageError(f"--seed-stays cannot be {seed_stays:g}: it must be more than zero")
    links = bounds_report.Links(
        units.parse_size(file),
        units.parse_rate(origin_up),
        units.parse_rate(peer_up),
        None if down == "none" else units.parse_rate(down),
    )
    counts = units.parse_counts(peers)
    if max(counts) > PEERS_MAX:
        raise UsageError(f"--peers {max(counts)} is more than {PEERS_MAX:,}: a curve needs no more")
    swarm: Any = OpenSwarm(
        arrivals=0.04,
        downlink=0.002,
        uplink=0.00125,
        departures=1 / seed_stays,
        aborts=aborts,
        effectiveness=effectiveness,
    )
    output.finish(bounds_report.result(links, counts, units.parse_counts(parts), swarm))


PEERS_MAX = 1_000_000
