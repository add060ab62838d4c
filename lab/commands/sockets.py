"""`lab sockets`: a guided tour."""

import click

from lab.commands.common import Output, with_output


@click.command()
@click.option(
    "--station",
    "numbers",
    multiple=True,
    type=int,
    metavar="N",
    help="Only this station, 1 to 8; repeatable.",
)
@with_output
def sockets(*, output: Output, numbers: tuple[int, ...]) -> None:
    """How two processes talk at all: a guided tour in eight stations.

    Every station really happens, on this machine and now, and shows what the operating system did:
    descriptors, addresses, states.
    """
    import sys

    from lab import screen
    from lab.sockets import show
    from lab.sockets.tour import STATIONS

    for number in numbers:
        if not 1 <= number <= len(STATIONS):
            raise click.UsageError(f"there is no station {number}: 1 to {len(STATIONS)}")
    chosen = sorted(set(numbers)) or range(1, len(STATIONS) + 1)
    visits = []
    console = screen.console(sys.stdout)
    for number in chosen:
        visit = show.visit(number, output.quick)
        visits.append(visit)
        if not output.as_json:
            show.narrate(visit, console)
        if visit.trouble:
            output.say(f"station {number} left out: {visit.trouble}")
    output.finish(show.result(visits, output.quick), shown=True)
