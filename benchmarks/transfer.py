"""One sharer, one getter, loopback, a new file: ours beside libtorrent, nginx with curl, and our plaintext.

usage: python -m benchmarks.transfer [--mib 1024] [--rounds 5] [--work DIR] [--sparse-gib 0]

The sides take turns. Ours is timed as `get --json` reports it (from the start of the transfer to complete,
verified, synced and renamed) and as a process; libtorrent, in plaintext, from connecting to seeding; curl as
a process. Ours is encrypted, and our own plaintext another side; with ``--plain`` only that.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import describe, ratio_line
from benchmarks.processes import (
    Run,
    curl,
    libtorrent_getter,
    libtorrent_seeder,
    nginx,
    our_getter,
    our_sharer,
    peak_mib,
)
from lab.cli import stop
from peer.limits import MIB
from peer.manifest import piece_bytes_for


@dataclass(frozen=True, slots=True)
class Bars:
    """At most these ratios of our time to theirs, who are plaintext in any case. None: only shown."""

    libtorrent: float
    nginx: float | None = None
    plain: float | None = None
    """Beside our own plaintext."""
    cpu: float | None = None
    """Of the two getters' processor seconds, beside libtorrent."""


ENCRYPTED = Bars(libtorrent=0.7, plain=1.6)
PLAIN = Bars(libtorrent=0.6, nginx=1.3, cpu=0.8)
PEAK_BAR_MIB = 120
"""Resident memory of either end, however large the file."""


@dataclass(frozen=True, slots=True)
class Side:
    """Somebody who fetches the file into a folder."""

    name: str
    fetch: Callable[[Path], Run]
    clock: str | None
    """Where the run reports its seconds; None: the whole process counts."""
    bar: float | None = None
    """Our time is held against this share of theirs."""
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """One a round, without the warm-up."""


def show(name: str, run: Run, size: int, seconds: float) -> None:
    """One line a run."""
    print(
        f"  {name:<13} {size / seconds / 1e6:6.0f} MB/s  {seconds:6.2f} s  (process {run.wall_s:.2f} s, "
        f"cpu {run.cpu_s:.2f} s, peak {run.rss_mib:.0f} MiB)",
        flush=True,
    )


def write_source(path: Path, size: int) -> None:
    """A file of whole MiB, on disk. In parts: a child's peak memory begins with that of who started it."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())  # or its write-back would slow down whoever syncs


def one_round(sides: Sequence[Side], size: int, out: Path) -> dict[str, tuple[Run, float]]:
    """Everybody once; what each ran, and its seconds, by name."""
    runs = {}
    for side in sides:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        run = side.fetch(out)
        fetched = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        if fetched != size:
            raise SystemExit(f"{side.name} fetched {fetched} bytes of {size}")
        runs[side.name] = run, run.reported[side.clock] if side.clock else run.wall_s
    return runs


def compare(work: Path, size: int, rounds: int, is_plain: bool) -> None:
    """All of them in turn."""
    source = work / "source" / "file.bin"
    source.parent.mkdir()
    write_source(source, size)
    piece = piece_bytes_for(size)
    bars = PLAIN if is_plain else ENCRYPTED
    options = ["--plain"] if is_plain else []
    has_nginx = bool(shutil.which("nginx") and shutil.which("curl"))
    if not has_nginx:
        print("nginx or curl is not installed: left out", file=sys.stderr)
    with ExitStack() as servers:
        sharer, link = servers.enter_context(our_sharer(source, work / "home-share", *options))
        ours = Side("manyhands", lambda out: our_getter(link, out, work / "home-get", *options), "seconds")
        others = []
        port = servers.enter_context(libtorrent_seeder(source, piece))
        libtorrent = Side(
            "libtorrent", lambda out: libtorrent_getter(source, out, port, piece), "wall_s", bars.libtorrent
        )
        others.append(libtorrent)
        if has_nginx:
            web = servers.enter_context(nginx(source.parent, work / "nginx"))
            others.append(
                Side("nginx, curl", lambda out: curl(web, source.name, out / "curl"), None, bars.nginx)
            )
        if not is_plain:
            _, open_link = servers.enter_context(our_sharer(source, work / "home-plain", "--plain"))
            others.append(
                Side(
                    "our plaintext",
                    lambda out: our_getter(open_link, out, work / "home-get", "--plain"),
                    "seconds",
                    bars.plain,
                )
            )
        sides = [ours, *others]
        peak = 0.0
        for number in range(rounds + 1):
            # Who comes first meets another state of the machine's memory: take turns.
            first = number % len(sides)
            runs = one_round([*sides[first:], *sides[:first]], size, work / "out")
            print("warm-up" if number == 0 else f"round {number}")
            for side in sides:
                run, seconds = runs[side.name]
                show(side.name, run, size, seconds)
                if number:
                    side.seconds.append(seconds)
                    side.cpu_s.append(run.cpu_s)
            peak = max(peak, runs[ours.name][0].rss_mib)
        for side in others:
            print(ratio_line(f"wall, manyhands / {side.name}", ours.seconds, side.seconds, side.bar))
        print(ratio_line("getter's CPU, manyhands / libtorrent", ours.cpu_s, libtorrent.cpu_s, bars.cpu))
        peaks = f"getter {peak:.0f} MiB, sharer {peak_mib(sharer):.0f} MiB"
        print(f"peak memory: {peaks}  bar {PEAK_BAR_MIB}")
        print(f"our rate: median {size / statistics.median(ours.seconds) / 1e6:.0f} MB/s")


def alone(work: Path, size: int, rounds: int, options: list[str]) -> None:
    """Our side only: that it runs, and how fast."""
    source = work / "file.bin"
    write_source(source, size)
    with our_sharer(source, work / "home-share", *options) as (_, link):
        for _ in range(rounds):
            mine = our_getter(link, work / "out", work / "home-get", *options)
            show("manyhands", mine, size, mine.reported["seconds"])
            shutil.rmtree(work / "out")


def memory(work: Path, gib: int) -> None:
    """Peak memory of both ends for a large sparse file."""
    source = work / "sparse" / "large.bin"
    source.parent.mkdir()
    with source.open("wb") as file:
        file.truncate(gib << 30)
    with our_sharer(source, work / "home-sparse") as (sharer, link):
        mine = our_getter(link, work / "sparse-out", work / "home-sparse-get")
        print(
            f"{gib} GiB sparse: getter {mine.rss_mib:.0f} MiB, sharer {peak_mib(sharer):.0f} MiB, "
            f"{mine.reported['seconds']:.1f} s  bar {PEAK_BAR_MIB}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="after a warm-up (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="where to put the files (default: the temporary folder)")
    parser.add_argument(
        "--sparse-gib", type=int, default=0, help="then fetch a sparse file of this size, for the memory"
    )
    parser.add_argument("--ours-only", action="store_true", help="a smoke run without anybody beside us")
    parser.add_argument("--plain", action="store_true", help="ours is plaintext, and has other bars")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="manyhands-bench-", dir=arguments.work))
    print(describe("trio", "libtorrent", "blake3"))
    try:
        if arguments.ours_only:
            alone(work, arguments.mib * MIB, arguments.rounds, ["--plain"] if arguments.plain else [])
        else:
            compare(work, arguments.mib * MIB, arguments.rounds, arguments.plain)
        if arguments.sparse_gib:
            memory(work, arguments.sparse_gib)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()
