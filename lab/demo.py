"""`make demo`: one tracker, one sharer and four getters on this machine, live in one display, then a table.

Every peer is a real process with a home of its own. The sharer's uplink is limited, as uplinks are, so that
one can see the swarm carry the load: the getters pass on what they have while they fetch the rest.

usage: python -m lab.demo [PATH] [--peers N] [--up RATE] [--keep DIR]
"""

import argparse
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.cli import stop
from lab.errors import LabError
from lab.localswarm import HOST, first_line, node_id, start_tracker
from lab.processes import launch, program
from peer.errors import ExitCode
from peer.paths import printable
from peer.units import format_bytes, format_rate, parse_rate

PEERS_MAX = 64
"""Each is a process of some sixty megabytes, and a line of the display."""

SHOW_S = 12.0
"""About how long the demonstration shall take: the origin's uplink is chosen for it."""


@dataclass
class Getter:
    """One getting peer: its process and what it last said."""

    name: str
    process: subprocess.Popen[str]
    folder: Path
    done: int = 0
    total: int = 0
    detail: str = ""
    seconds: float | None = None
    result: dict[str, Any] = field(default_factory=dict)
    message: str = ""

    def follow(self) -> None:
        """Read its progress until it ends (a thread of its own)."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with suppress(ValueError):
                said = json.loads(line)
                if "message" in said:
                    self.message = said["message"]
                elif said["total"]:
                    self.done, self.total, self.detail = said["done"], said["total"], said["detail"]

    def wait_for_result(self) -> None:
        """Read the JSON object that it ends with (another thread)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.result = json.loads(line)
            self.done = self.total = self.result["bytes"]
            self.seconds = self.result["seconds"]
            self.detail = "complete and verified"


def start_sharer(stack: ExitStack, work: Path, source: Path, tracker: str, up: str) -> str:
    """Start the sharing peer; return the link, which it tells when it has hashed the share."""
    sharer = launch(
        stack,
        [*program("peer"), "share", str(source), "--host", HOST, "--port", "0",
         "--tracker", tracker, "--up", up, "--home", str(work / "origin")],
        stdout=subprocess.PIPE,
        stderr=None if sys.stderr.isatty() else subprocess.DEVNULL,
    )  # fmt: skip
    return first_line(sharer, sharer.stdout, "the sharing peer")


def start_getter(stack: ExitStack, work: Path, number: int, link: str, up: str) -> Getter:
    """Start one getting peer, which seeds on when it is complete."""
    name = f"peer {number}"
    folder = work / f"peer-{number}"
    process = launch(
        stack,
        [*program("peer"), "get", link, "-o", str(folder), "--host", HOST, "--port", "0",
         "--up", up, "--home", str(work / f"home-{number}"), "--json", "--progress", "json", "--seed"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    getter = Getter(name, process, folder)
    for task in (getter.follow, getter.wait_for_result):
        threading.Thread(target=task, daemon=True).start()
    return getter


def live_view(getters: list[Getter], title: str) -> RenderableType:
    """All getters at once."""
    table = Table.grid(padding=(0, 2))
    for getter in getters:
        total = max(getter.total, 1)
        table.add_row(
            Text(getter.name, style="bold"),
            ProgressBar(total, getter.done, width=30),
            Text(f"{100 * getter.done // total:3d} %"),
            Text(getter.detail, style="green" if getter.seconds is not None else "dim"),
        )
    return Group(Text(title, style="bold cyan"), table)


def differences(source: Path, copy: Path) -> Iterator[str]:
    """Every difference between two files or trees, byte by byte. Links and what is no file is left out."""
    if source.is_file():
        if not copy.is_file() or not filecmp.cmp(source, copy, shallow=False):
            yield str(copy)
        return
    seen = set()
    for folder, _, names in os.walk(source):
        for name in names:
            original = Path(folder) / name
            if original.is_symlink() or not original.is_file():
                continue
            other = copy / original.relative_to(source)
            seen.add(other)
            if not other.is_file() or not filecmp.cmp(original, other, shallow=False):
                yield str(other)
    for folder, _, names in os.walk(copy):
        yield from (str(Path(folder) / name) for name in names if Path(folder) / name not in seen)


def closing_table(getters: list[Getter], origin: str, total_bytes: int) -> Table:
    """Who got what from whom."""
    table = Table(title=f"{format_bytes(total_bytes)} to {len(getters)} peers", title_justify="left")
    for column in ("", "seconds", "from the origin", "from other peers", "wasted"):
        table.add_column(column, justify="left" if not column else "right")
    from_origin = from_others = 0
    for getter in getters:
        sources = getter.result["sources"]
        ours = sources.get(origin, 0)
        others = sum(sources.values()) - ours
        from_origin, from_others = from_origin + ours, from_others + others
        table.add_row(
            getter.name,
            f"{getter.result['seconds']:.1f}",
            format_bytes(ours),
            format_bytes(others),
            format_bytes(getter.result["wasted_bytes"]),
        )
    table.add_section()
    table.add_row("all", "", format_bytes(from_origin), format_bytes(from_others), "")
    table.add_row("one server alone", "", format_bytes(len(getters) * total_bytes), format_bytes(0), "")
    return table


def standard_library(work: Path) -> Path:
    """A copy of this Python's standard library, without what is installed or compiled there."""
    source = Path(sysconfig.get_path("stdlib"))
    copy = work / "source" / source.name
    shutil.copytree(
        source,
        copy,
        ignore=shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__"),
        dirs_exist_ok=True,  # of the demonstration before, in the same folder
    )
    return copy


def parse_arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument(
        "path", nargs="?", type=Path, help="what to share (default: this Python's standard library)"
    )
    parser.add_argument("--peers", type=_peers, default=4, help="getting peers (default: 4)")
    parser.add_argument(
        "--up", type=_uplink, help="uplink of the origin and of each peer (default: chosen for a short show)"
    )
    parser.add_argument("--keep", type=Path, help="keep the copies in this folder")
    return parser.parse_args(given)


def _peers(text: str) -> int:
    """For argparse, which makes one line of what is wrong."""
    if not (text.isdecimal() and 1 <= int(text) <= PEERS_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} peers cannot be shown: 1 to {PEERS_MAX}")
    return int(text)


def _uplink(text: str) -> str:
    """As `_peers`."""
    try:
        rate = parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not rate:
        raise argparse.ArgumentTypeError("it must be more than zero: nothing would ever arrive")
    return text


def size_of(path: Path) -> int:
    """Bytes of a file or tree, links left out."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(path)
        for name in names
        if not (Path(folder) / name).is_symlink()
    )


def main(given: Sequence[str] | None = None) -> int:
    """Run the demonstration; 0 if every copy is complete and identical."""
    arguments = parse_arguments(given)
    os.environ.setdefault("MANYHANDS_LAN", "0")  # a demonstration stays on this machine
    console = Console()
    if arguments.path is not None and not arguments.path.exists():
        console.print(f"demo: {printable(str(arguments.path))} does not exist", style="red", markup=False)
        return ExitCode.USAGE
    signal.signal(signal.SIGTERM, stop)  # through every `with`: gigabytes may lie in the folder
    try:
        work = arguments.keep or Path(tempfile.mkdtemp(prefix="manyhands-demo-"))
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        folder = printable(str(arguments.keep or tempfile.gettempdir()))
        console.print(
            f"demo: cannot make {folder}: {error.strerror}; name another --keep", style="red", markup=False
        )
        return ExitCode.STORAGE
    try:
        source = arguments.path.absolute() if arguments.path else standard_library(work)
        total = size_of(source)
        up = arguments.up or f"{max(int(total / SHOW_S * 2), 1_000_000)}B"
        rate = format_rate(parse_rate(up))
        with ExitStack() as stack:
            console.print(
                f"Sharing {printable(str(source))} ({format_bytes(total)}) with {arguments.peers} peers on "
                f"this machine; every uplink is limited to {rate}.",
                markup=False,
            )
            _, tracker = start_tracker(stack, work / "tracker")
            link = start_sharer(stack, work, source, tracker, up)
            console.print(f"tracker at {tracker}\n{link}", style="dim", markup=False, soft_wrap=True)
            getters = [start_getter(stack, work, n + 1, link, up) for n in range(arguments.peers)]
            with Live(console=console, refresh_per_second=10) as live:
                while any(g.seconds is None and g.process.poll() is None for g in getters):
                    live.update(live_view(getters, "the swarm"))
                    time.sleep(0.1)
                live.update(live_view(getters, "the swarm"))
            if not console.is_terminal:
                console.line()  # there Live ends in the middle of one
            return conclude(console, getters, source, node_id(work / "origin"))
    except LabError as error:
        console.print(f"demo: {printable(str(error))}", style="red", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("demo: stopped")
        return ExitCode.INTERRUPTED
    finally:
        if arguments.keep is None:
            shutil.rmtree(work, ignore_errors=True)


def conclude(console: Console, getters: list[Getter], source: Path, origin: str) -> int:
    """Compare every copy with the source, and print the table."""
    failed = False
    for getter in getters:
        if not getter.result:
            getter.process.wait()
            console.print(f"{getter.name} failed: {getter.message}", style="red", markup=False)
            failed = True
            continue
        wrong = list(differences(source, Path(getter.result["path"])))
        if wrong:
            failed = True
            console.print(
                f"{getter.name}: {len(wrong)} files differ, such as {wrong[0]}", style="red", markup=False
            )
    if failed:
        return 1
    copies = f"All {len(getters)} copies are" if len(getters) > 1 else "The copy is"
    console.print(f"{copies} identical to the source, byte by byte.", style="green")
    console.print(closing_table(getters, origin, getters[0].result["bytes"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
