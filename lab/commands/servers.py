"""`lab servers`: six architectures under the same load."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import click

from lab.commands.common import Output, with_output
from lab.servers.roster import SERVERS
from lab.servers.workloads import FULL, QUICK, TITLES

CLIENTS_MAX = 5000
"""Bounded on purpose: a process for each of them is the most expensive thing that the lab does."""


@click.command()
@click.option(
    "--server", "servers", multiple=True, type=click.Choice(list(SERVERS)), help="Only this one; repeatable."
)
@click.option(
    "--workload", "workloads", multiple=True, type=click.Choice(list(TITLES)), help="Only this; repeatable."
)
@click.option(
    "--clients", metavar="LIST", help=f"Sizes of the crowd [default: {','.join(map(str, FULL.crowd))}]."
)
@click.option("--idle", type=int, help=f"Idle connections [default: {FULL.idle}].")
@click.option("--busy", type=int, help=f"Busy clients beside them [default: {FULL.busy}].")
@click.option(
    "--repetitions", default=3, show_default=True, help="Measure so often: a verdict needs three that agree."
)
@with_output
def servers(
    *,
    output: Output,
    servers: tuple[str, ...],
    workloads: tuple[str, ...],
    clients: str | None,
    idle: int | None,
    busy: int | None,
    repetitions: int,
) -> None:
    """One server, many clients: six architectures behind one protocol, measured under the same load.

    Textbook claims are held against the measurements: confirmed, refuted, or not visible here. Everything
    runs on the loopback interface and ends by itself.
    """
    from lab import units
    from lab.servers.report import result
    from lab.servers.runner import Campaign
    from lab.servers.size import statements

    scale = QUICK if output.quick else FULL
    if clients is not None:
        scale = replace(scale, crowd=tuple(units.parse_counts(clients)))
    scale = replace(
        scale, idle=scale.idle if idle is None else idle, busy=scale.busy if busy is None else busy
    )
    for name, value, least in (
        ("--clients", max(scale.crowd), 1),
        ("--idle", scale.idle, 2),
        ("--busy", scale.busy, 1),
        ("--repetitions", repetitions, 1),
    ):
        most = 100 if name == "--repetitions" else CLIENTS_MAX
        if not least <= value <= most:
            raise click.UsageError(f"{name} cannot be {value}: {least} to {most:,}")
    chosen_servers, chosen_workloads = servers or tuple(SERVERS), workloads or tuple(TITLES)
    with progress() as show:
        campaign = Campaign(scale, chosen_servers, chosen_workloads, repetitions, output.say, show)
        campaign.run()
    chosen = {
        "servers": list(chosen_servers),
        "workloads": list(chosen_workloads),
        "crowd": list(scale.crowd),
        "idle": scale.idle,
        "busy": scale.busy,
        "large_bytes": scale.large_bytes,
        "repetitions": repetitions,
    }
    output.finish(result(campaign.rows, statements(), scale, chosen))


@contextmanager
def progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, a line now and then elsewhere; on stderr."""
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def _line(done: int, total: int, what: str) -> None:
    if done % max(1, total // 10) == 0:
        click.echo(f"{done}/{total} {what}", err=True)
