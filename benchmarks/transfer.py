"""One sharer, one getter, loopback, into a new file: ours against libtorrent (plaintext) and nginx with curl.

usage: python -m benchmarks.transfer [--mib 1024] [--rounds 5] [--work DIR] [--sparse-gib 0]

The sides take turns. Ours is timed as `get --json` reports it (from the start of the transfer to complete,
verified, synced and renamed) and as a process; libtorrent from connecting to seeding; curl as a process.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
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
    """At most these ratios of ours to theirs, who are plaintext in any case. None: only shown."""

    libtorrent: float
    nginx: float | None = None
    cpu: float | None = None
    """Of the two getters' processor seconds, beside libtorrent."""


ENCRYPTED = Bars(libtorrent=0.7)
PLAIN = Bars(libtorrent=0.6, nginx=1.3, cpu=0.8)
PEAK_BAR_MIB = 120
"""Resident memory of either end, however large the file."""


def show(name: str, run: Run, size: int, seconds: float) -> None:
    """One line a run."""
    print(
        f"  {name:<12} {size / seconds / 1e6:6.0f} MB/s  {seconds:6.2f} s  (process {run.wall_s:.2f} s, "
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


def compare(work: Path, size: int, rounds: int, options: list[str]) -> None:
    """All three in turn."""
    source = work / "source" / "file.bin"
    source.parent.mkdir()
    write_source(source, size)
    piece = piece_bytes_for(size)
    has_nginx = bool(shutil.which("nginx") and shutil.which("curl"))
    if not has_nginx:
        print("nginx or curl is not installed: left out", file=sys.stderr)
    ours: list[float] = []
    theirs: list[float] = []
    curls: list[float] = []
    cpu: list[tuple[float, float]] = []
    with (
        our_sharer(source, work / "home-share", *options) as (sharer, link),
        libtorrent_seeder(source, piece) as port,
        nginx(source.parent, work / "nginx") if has_nginx else nullcontext() as web,
    ):
        for number in range(rounds + 1):
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            if number % 2:  # who comes first meets another state of the machine's memory: take turns
                other = libtorrent_getter(source, out / "lt", port, piece)
                shutil.rmtree(out / "lt")
            mine = our_getter(link, out / "ours", work / "home-get", *options)
            same = (out / "ours" / "file.bin").stat().st_size == size
            shutil.rmtree(out / "ours")
            if not number % 2:
                other = libtorrent_getter(source, out / "lt", port, piece)
                shutil.rmtree(out / "lt")
            web_run = curl(web, "file.bin", out / "curl") if web is not None else None
            label = "warm-up" if number == 0 else f"round {number}"
            print(f"{label}{'' if same else '  OUR FILE HAS ANOTHER SIZE'}")
            show("manyhands", mine, size, mine.reported["seconds"])
            show("libtorrent", other, size, other.reported["wall_s"])
            if web_run:
                show("nginx, curl", web_run, size, web_run.wall_s)
            if number:
                ours.append(mine.reported["seconds"])
                theirs.append(other.reported["wall_s"])
                cpu.append((mine.cpu_s, other.cpu_s))
                if web_run:
                    curls.append(web_run.wall_s)
        bars = PLAIN if "--plain" in options else ENCRYPTED
        print(ratio_line("wall, manyhands / libtorrent", ours, theirs, bars.libtorrent))
        if curls:
            print(ratio_line("wall, manyhands / nginx and curl", ours, curls, bars.nginx))
        mine_cpu, other_cpu = [a for a, _ in cpu], [b for _, b in cpu]
        print(ratio_line("getter's CPU, manyhands / libtorrent", mine_cpu, other_cpu, bars.cpu))
        peaks = f"getter {mine.rss_mib:.0f} MiB, sharer {peak_mib(sharer):.0f} MiB"
        print(f"peak memory: {peaks}  bar {PEAK_BAR_MIB}")
        print(f"our rate: median {size / statistics.median(ours) / 1e6:.0f} MB/s")


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
    parser.add_argument("--plain", action="store_true", help="measure our plaintext transport")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="manyhands-bench-", dir=arguments.work))
    print(describe("trio", "libtorrent", "blake3"))
    try:
        options = ["--plain"] if arguments.plain else []
        if arguments.ours_only:
            alone(work, arguments.mib * MIB, arguments.rounds, options)
        else:
            compare(work, arguments.mib * MIB, arguments.rounds, options)
        if arguments.sparse_gib:
            memory(work, arguments.sparse_gib)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()
