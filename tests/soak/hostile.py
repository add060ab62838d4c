"""10,000 hostile connections at a sharer while honest peers fetch from it: RELIABILITY row 17.

Bars: honest transfers at half their undisturbed speed at least, memory growth under 64 MiB, descriptors back to
where they were within 30 s.
"""

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.real.commands import environment, get
from tests.soak.processes import Sharer, descriptors, heard_sharing, peak_memory

MIB = 1 << 20
SIZE = 128 * MIB
CALM_RUNS = 3
GROWTH_MAX = 64 * MIB
BACK_S = 30
SPARE_DESCRIPTORS = 2


def fetch(sharer: Sharer, work: Path) -> float:
    """One honest transfer: its speed in bytes a second."""
    result = get(sharer.link, work / "out", work / "home", "--json", "--progress", "none")
    if result.code:
        raise SystemExit(f"soak: an honest transfer failed: {result.err}")
    (work / "out" / "file.bin").unlink()
    return SIZE / float(result.json["seconds"])


def run(work: Path, count: int, seed: int) -> int:
    """Disturb transfers with so many connections; the number of bars that were missed."""
    source = work / "file.bin"
    source.write_bytes(random.Random(seed).randbytes(SIZE))
    with heard_sharing(source, work / "share-home") as sharer:
        pid = sharer.process.pid
        calm = statistics.median([fetch(sharer, work) for _ in range(CALM_RUNS)])
        memory, base = peak_memory(pid), descriptors(pid)
        command = [sys.executable, "-m", "tests.soak.crowd", "127.0.0.1", str(sharer.port), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as crowd:
            speeds = [fetch(sharer, work)]
            while crowd.poll() is None:
                speeds.append(fetch(sharer, work))
            taken = int(crowd.communicate()[0] or 0)
        growth = peak_memory(pid) - memory
        since = time.monotonic()
        while descriptors(pid) > base + SPARE_DESCRIPTORS and time.monotonic() - since < BACK_S:
            time.sleep(0.1)
        left, back = descriptors(pid) - base, time.monotonic() - since
    ratio = statistics.median(speeds) / calm
    print(
        f"{taken} hostile connections during {len(speeds)} transfers: {ratio:.2f} of the undisturbed "
        f"{calm / MIB:.0f} MiB/s, {growth / MIB:.1f} MiB more memory, descriptors {left:+d} after {back:.1f} s",
        flush=True,
    )
    return sum((taken < count, ratio < 0.5, growth > GROWTH_MAX, left > SPARE_DESCRIPTORS))
