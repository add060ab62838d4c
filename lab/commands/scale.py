"""`lab scale`: client-server against peer-to-peer, measured with real processes."""

import json
import random
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.commands.common import Output, repeat_line, with_output

if TYPE_CHECKING:
    from lab.report import Result
    from lab.scale.plan import Conditions, Point

POINTS_NAME = "points.jsonl"
"""What was measured so far, in the folder of the report: a run that was stopped goes on from there."""

BLOCK_BYTES = 1 << 20

STARTING_S = 3.0
"""About what it takes to start and stop the processes of a point."""


@click.command()
@click.option("--file", default="4MiB", show_default=True, metavar="SIZE", help="Size F of the file.")
@click.option(
    "--origin-up", metavar="RATE", help="The origin's uplink u_s (default: 8mbit; --quick: 16mbit)."
)
@click.option(
    "--peer-up", metavar="RATE", help="Each downloader's uplink u (default: a tenth of the origin's)."
)
@click.option(
    "--peers", metavar="LIST", help="Numbers of downloaders N (default: 1,2,4,8,16,24,32; --quick: 1,2,4,8)."
)
@click.option("--mixed", is_flag=True, help="Uplinks of half and of one and a half times --peer-up, in turn.")
@click.option(
    "--free-riders", default=0, type=click.IntRange(min=0), metavar="K", help="K downloaders send nothing."
)
@click.option(
    "--late",
    default=0,
    type=click.IntRange(min=0),
    metavar="K",
    help="K downloaders, or all but one, come at half time.",
)
@click.option("--leave", is_flag=True, help="Who is done goes at once, instead of serving on.")
@click.option("--origin-dies", is_flag=True, help="The origin is killed once every piece is out.")
@click.option("--tracker-dies", is_flag=True, help="The tracker is killed early.")
@click.option(
    "--order",
    type=click.Choice(["rarest", "in-order", "random"]),
    default="rarest",
    show_default=True,
    help="Which pieces the swarm's downloaders ask for first.",
)
@click.option("--swarm-only", is_flag=True, help="Leave client-server out: no switch changes it.")
@with_output
def scale(
    *,
    output: Output,
    file: str,
    origin_up: str | None,
    peer_up: str | None,
    peers: str | None,
    mixed: bool,
    free_riders: int,
    late: int,
    leave: bool,
    origin_dies: bool,
    tracker_dies: bool,
    order: str,
    swarm_only: bool,
) -> None:
    """Client-server against peer-to-peer, measured: the same file, the same links, N real `peer` processes.

    Once with every downloader fetching from the origin alone, once as a swarm, both beside their lower
    bounds: Kurose & Ross's figure, with our measurements on it. The switches change the swarm. With --out, a
    run that was stopped goes on where it was, and an animation of the largest swarm comes with the report.
    """
    from lab import units
    from lab.scale.plan import Conditions, Mode, plan
    from lab.scale.report import result

    # In the large the links must be the limit, not the cores: 33 Python processes share them.
    origin = units.parse_rate(origin_up or ("16mbit" if output.quick else "8mbit")) / 8
    conditions = Conditions(
        file_bytes=int(units.parse_size(file) / 8),
        origin_up=origin,
        peer_up=units.parse_rate(peer_up) / 8 if peer_up else origin / 10,
        mixed=mixed,
        free_riders=free_riders,
        late=late,
        leave=leave,
        origin_dies=origin_dies,
        tracker_dies=tracker_dies,
        order=order,
    )
    counts = units.parse_counts(peers or ("1,2,4,8" if output.quick else "1,2,4,8,16,24,32"))
    conditions.check(counts)
    wanted = [(mode, n) for mode, n in plan(counts) if mode is Mode.SWARM or not swarm_only]
    points = _measure_all(output, conditions, wanted)
    found = result(conditions, points)
    if output.folder is not None:
        _animate(output.folder, found, conditions, max(counts))
    output.finish(found)


def _measure_all(output: Output, conditions: "Conditions", wanted: list[tuple[Any, int]]) -> "list[Point]":
    """Measure what is not in the folder yet."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lab import units
    from lab.localswarm import share_link
    from lab.scale.plan import Mode
    from lab.scale.run import measure

    _check_room(conditions, max(peers for _, peers in wanted))
    known = _known(output.folder, conditions)
    points = [known[mode.value, peers] for mode, peers in wanted if (mode.value, peers) in known]
    missing = [item for item in wanted if (item[0].value, item[1]) not in known]
    if points:
        output.say(f"{len(points)} points are there already; {len(missing)} to measure")
    if missing:
        least = sum(conditions.bound(mode, peers) + STARTING_S for mode, peers in missing)
        output.say(f"{len(missing)} point{'s' if len(missing) > 1 else ''}: about {units.seconds(least)}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[last]}"),
        TimeElapsedColumn(),
    )
    total = sum(conditions.bound(mode, peers) for mode, peers in missing)
    with (
        tempfile.TemporaryDirectory(prefix="manyhands-scale-") as folder,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        work = Path(folder)
        source = work / "file.bin"
        _write_file(source, conditions.file_bytes)
        link = share_link(source, work)
        task = bar.add_task("measuring", total=total, last="")
        for mode, peers in missing:
            bar.update(task, description=f"{mode.value}, N = {peers}")
            traces = _traces(output.folder, conditions, peers) if mode is Mode.SWARM else None
            point = measure(conditions, mode, peers, source, link, work, traces)
            points.append(point)
            _keep(output.folder, conditions, point)
            bar.update(task, advance=point.bound, last=f"{point.seconds:.1f} s, bound {point.bound:.1f} s")
    return points


def _check_room(conditions: "Conditions", peers: int) -> None:
    """Raises UsageError where so many copies do not fit on the disk."""
    from lab import units
    from peer.errors import UsageError

    need, free = (peers + 1) * conditions.file_bytes, shutil.disk_usage(tempfile.gettempdir()).free
    if need > free:
        raise UsageError(
            f"{peers} copies of the file take {units.size(8 * need)}, and {tempfile.gettempdir()} has"
            f" {units.size(8 * free)}: a smaller --file, or another TMPDIR"
        )


def _traces(folder: Path | None, conditions: "Conditions", peers: int) -> Path | None:
    """Where a swarm's event traces are kept: under a name of their own for other conditions."""
    if folder is None:
        return None
    mark = f"{zlib.crc32(json.dumps(_key(conditions)).encode()):08x}"
    return folder / "traces" / f"{peers}-{mark}"


def _animate(folder: Path, found: "Result", conditions: "Conditions", peers: int) -> None:
    """Put an animation of the largest swarm beside the report."""
    from lab.animate import page
    from lab.animate.files import read_story
    from lab.animate.plot import copies_plot
    from lab.scale.plan import Mode
    from lab.scale.report import described

    traces = _traces(folder, conditions, peers)
    if traces is None or not traces.is_dir():
        return
    story = read_story([traces])
    first = conditions.first_copy()
    found.plots.append(
        copies_plot(
            story, first, f"The swarm of {peers}. {found.plots[0].caption.partition('measured. ')[2]}"
        )
    )
    extra = {name: value for name, value in found.parameters.items() if name != "file"}
    found.pages["swarm.html"] = (
        f"Animation: pieces spreading through the swarm of {peers}",
        page.render(
            story,
            title=f"A swarm of {peers}, measured" + "".join(f", {word}" for word in described(conditions)),
            bound_s=conditions.bound(Mode.SWARM, peers),
            repeat=repeat_line(),
            parameters={name.replace("_", " "): value for name, value in extra.items()},
        ),
    )


def _write_file(path: Path, size: int) -> None:
    """The same pseudo-random bytes each time."""
    source = random.Random(size)
    with path.open("wb") as file:
        for start in range(0, size, BLOCK_BYTES):
            file.write(source.randbytes(min(BLOCK_BYTES, size - start)))


def _key(conditions: "Conditions") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(conditions)


def _known(folder: Path | None, conditions: "Conditions") -> "dict[tuple[str, int], Point]":
    """Points that an earlier run under the same conditions has left; a line cut off by a kill is none."""
    from lab.scale.plan import Point

    found: dict[tuple[str, int], Point] = {}
    if folder is None or not (folder / POINTS_NAME).is_file():
        return found
    for line in (folder / POINTS_NAME).read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            if record["conditions"] == _key(conditions):
                point = Point(**record["point"])
                found[point.mode, point.peers] = point
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _keep(folder: Path | None, conditions: "Conditions", point: "Point") -> None:
    if folder is None:
        return
    with (folder / POINTS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"conditions": _key(conditions), "point": point.to_json()}) + "\n")
