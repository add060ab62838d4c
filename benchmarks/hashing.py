"""Sharing a file from the page cache, against `b3sum`, which hashes it once with every core.

    python -m benchmarks.hashing [--mib 1024] [--rounds 9] [--folder DIR]

Ours hashes every byte twice, for its piece and for its file, and reads by copying where b3sum maps the file:
a mapped file that is truncated meanwhile would kill the process. The bar is twice b3sum's time.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.machine import describe, ratio_line
from lab.cli import stop
from peer.limits import MIB
from peer.store.scan import open_source, scan
from peer.workers import ThreadWorkers

BAR = 2.0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--mib", type=int, default=1024, help="size of the file (default: 1024)")
    options.add_argument("--rounds", type=int, default=9, help="alternated rounds (default: 9)")
    options.add_argument(
        "--folder", default=None, help="where to put the file (default: the temporary folder)"
    )
    chosen = options.parse_args()
    b3sum = shutil.which("b3sum")
    if b3sum is None:
        print("b3sum is not installed: https://github.com/BLAKE3-team/BLAKE3", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "random"
        write_random(path, chosen.mib)
        print(f"{describe('blake3', 'trio')}, load {os.getloadavg()[0]:.1f}")
        print(f"{chosen.mib} MiB from the page cache, {chosen.rounds} alternated rounds")
        return compare(b3sum, path, chosen.mib, chosen.rounds)


def write_random(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))


def compare(b3sum: str, path: Path, mib: int, rounds: int) -> int:
    theirs_s, ours_s = [], []
    for warming in [True] + [False] * rounds:
        theirs, expected = time_b3sum(b3sum, path)
        ours, found = time_scan(path)
        if found != expected:
            print(f"the digests differ: {found} and {expected}", file=sys.stderr)
            return 1
        if not warming:
            theirs_s.append(theirs)
            ours_s.append(ours)
    for name, times in (("b3sum", theirs_s), ("peer share (pieces and file)", ours_s)):
        median = statistics.median(times)
        print(f"{name:<30} median {median:.3f} s, best {min(times):.3f} s, {mib / 1024 / median:.2f} GiB/s")
    print(ratio_line("wall, peer share / b3sum", ours_s, theirs_s, BAR))
    return 0


def time_b3sum(b3sum: str, path: Path) -> tuple[float, str]:
    begin = time.perf_counter()
    output = subprocess.run([b3sum, "--no-names", str(path)], check=True, capture_output=True, text=True)
    return time.perf_counter() - begin, output.stdout.strip()


def time_scan(path: Path) -> tuple[float, str]:
    """The seconds that hashing takes inside `peer share`; starting Python is not part of it."""
    begin = time.perf_counter()
    root, top = open_source(str(path))
    found = trio.run(scan, root, top, ThreadWorkers())
    seconds = time.perf_counter() - begin
    root.close()
    return seconds, found.manifest.files[0].digest.hex()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    sys.exit(main())
