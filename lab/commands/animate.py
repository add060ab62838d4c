"""`lab animate`: a swarm in motion, from event traces."""

import json
import sys
from pathlib import Path

import click

from lab.commands.common import repeat_line
from peer.cli.options import PathType

DEFAULT_OUT = "swarm.html"


@click.command()
@click.argument("traces", nargs=-1, required=True, type=PathType(), metavar="TRACE...")
@click.option(
    "--out",
    default=DEFAULT_OUT,
    show_default=True,
    type=PathType(),
    metavar="FILE",
    help="Write the page there; a folder gets a swarm.html.",
)
@click.option("--title", default="", help="A heading of your own.")
@click.option("--json", "as_json", is_flag=True, help="The events as one JSON object on stdout, too.")
@click.option("--quick", is_flag=True, help="Nothing to shorten here; accepted as everywhere.")
def animate(*, traces: tuple[Path, ...], out: Path, title: str, as_json: bool, quick: bool) -> None:
    """Show pieces spreading through a swarm: one HTML page, from the event traces of its peers.

    TRACE is a file that `peer get --trace FILE` or `peer share --trace FILE` wrote, one for each peer, or a
    folder of them, such as `lab simulate --trace DIR` and `lab scale --out DIR` leave. A peer is called as
    its file is. Machines whose clocks differ spoil the picture: set them (NTP) before.

    The page needs no network and no server: open it in any browser. Space plays and pauses, arrows step.
    """
    from dataclasses import asdict

    from lab.animate import files, page

    story = files.read_story(traces)
    target = files.write_page(out, page.render(story, title=title, repeat=repeat_line()))
    click.echo(f"animation: {target}", err=True)
    click.echo(json.dumps(asdict(story)) if as_json else page.facts(story))
    sys.stdout.flush()
