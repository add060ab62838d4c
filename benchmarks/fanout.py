"""One sharer and eight getters at once on this machine: the aggregate rate against that of a single pair.

usage: python -m benchmarks.fanout [--getters 8] [--mib 256] [--rounds 3] [--plain]
"""

import argparse
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.processes import our_getter, our_sharer
from lab.cli import stop
from peer.limits import MIB

BAR = 0.8
"""Together at least so much of a single pair's rate."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--getters", type=int, default=8, help="at once (default: %(default)s)")
    parser.add_argument("--mib", type=int, default=256, help="size of the file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="after a warm-up (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="measure the plaintext transport")
    arguments = parser.parse_args()
    options = ["--plain"] if arguments.plain else []
    size = arguments.mib * MIB
    work = Path(tempfile.mkdtemp(prefix="manyhands-bench-"))
    print(describe("trio"))
    try:
        source = work / "file.bin"
        source.write_bytes(os.urandom(size))
        ratios = []
        with our_sharer(source, work / "home-share", *options) as (_, link):
            for number in range(arguments.rounds + 1):
                begun = time.perf_counter()
                our_getter(link, work / "one", work / "home-one", *options)
                single = size / (time.perf_counter() - begun)
                shutil.rmtree(work / "one")
                threads = [
                    threading.Thread(
                        target=our_getter, args=(link, work / f"out-{n}", work / f"home-{n}", *options)
                    )
                    for n in range(arguments.getters)
                ]
                begun = time.perf_counter()
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                together = arguments.getters * size / (time.perf_counter() - begun)
                copies = [work / f"out-{n}" for n in range(arguments.getters)]
                complete = all((copy / "file.bin").stat().st_size == size for copy in copies)
                for copy in copies:
                    shutil.rmtree(copy)
                label = "warm-up" if number == 0 else f"round {number}"
                print(
                    f"{label}: one getter {single / 1e6:.0f} MB/s, {arguments.getters} together "
                    f"{together / 1e6:.0f} MB/s{'' if complete else ' INCOMPLETE'}",
                    flush=True,
                )
                if number:
                    ratios.append(together / single)
        median = statistics.median(ratios)
        verdict = "met" if median >= BAR else "MISSED"
        print(f"aggregate / single pair: median {median:.2f}  bar {BAR:g}: {verdict}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()
