"""A folder of many small files: ours against libtorrent, everything really on disk.

usage: python -m benchmarks.folder [--files 10000] [--bytes 4096] [--rounds 5]

Both are timed until every file is on disk in full; the files are counted after the exit.
"""

import argparse
import os
import shutil
import signal
import tempfile
from pathlib import Path

from benchmarks.machine import describe, ratio_line
from benchmarks.processes import libtorrent_getter, libtorrent_seeder, our_getter, our_sharer
from lab.cli import stop
from peer.manifest import piece_bytes_for

FILES_PER_FOLDER = 100
BAR = 3.0
"""Our seconds over libtorrent's."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="in the folder (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=4096, help="in each file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="after a warm-up (default: %(default)s)")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="manyhands-bench-"))
    print(describe("trio", "libtorrent"))
    try:
        source = work / "source" / "folder"
        for number in range(arguments.files):
            folder = source / f"{number // FILES_PER_FOLDER:04}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06}").write_bytes(os.urandom(arguments.bytes))
        piece = piece_bytes_for(arguments.files * arguments.bytes)
        ours, theirs = [], []
        with our_sharer(source, work / "home-share") as (_, link), libtorrent_seeder(source, piece) as port:
            for number in range(arguments.rounds + 1):
                out = work / "out"
                mine = our_getter(link, out / "ours", work / "home-get")
                our_count = sum(len(names) for _, _, names in os.walk(out / "ours"))
                other = libtorrent_getter(source, out / "lt", port, piece)
                their_count = sum(len(names) for _, _, names in os.walk(out / "lt"))
                shutil.rmtree(out)
                label = "warm-up" if number == 0 else f"round {number}"
                print(
                    f"{label}: manyhands {mine.reported['seconds']:.2f} s, {our_count} files; "
                    f"libtorrent {other.reported['on_disk_s']:.2f} s, {their_count} files",
                    flush=True,
                )
                if number:
                    ours.append(mine.reported["seconds"])
                    theirs.append(other.reported["on_disk_s"])
        print(ratio_line("wall, manyhands / libtorrent", ours, theirs, BAR))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()
