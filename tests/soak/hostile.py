"""10,000 hostile connections at a sharer while honest peers fetch from it.

Bars: honest transfers at half their undisturbed speed at least, memory growth under 64 MiB, descriptors back
to where they were within 30 s. The speed is that of a transfer that runs; how long a newcomer waits for its
first byte, behind the crowd in the kernel's queue, is told as well.

Whatever else the machine does can make a transfer slow, never quick: a speed below its bar is measured again,
and missed only if it is below each time.
"""

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.real.commands import PATIENCE_S, environment
from tests.soak.processes import Sharer, descriptors, fetching, heard_sharing, peak_memory, progress

MIB = 1 << 20
SIZE = 384 * MIB
CALM_RUNS = 3
SPEED_MIN = 0.5
SPEED_TRIES = 4
GROWTH_MAX = 64 * MIB
BACK_S = 30
SPARE_DESCRIPTORS = 2


def fetch(sharer: Sharer, work: Path) -> tuple[float, float]:
    """One honest transfer: bytes a second once it runs, and seconds until then."""
    began = time.monotonic()
    with fetching(sharer.link, work / "out", work / "home") as process:
        points: list[tuple[float, int]] = []
        for done in progress(process):
            if done and (not points or done > points[-1][1]):
                points.append((time.monotonic(), done))
        process.communicate(timeout=PATIENCE_S)
    if process.returncode or len(points) < 2:
        raise SystemExit(f"soak: an honest transfer failed with exit code {process.returncode}")
    (work / "out" / "file.bin").unlink()
    (first, before), (last, after) = points[0], points[-1]
    return (after - before) / (last - first), first - began


def disturb(sharer: Sharer, work: Path, count: int) -> tuple[int, float]:
    """Transfers beside so many connections; how many were taken, and the speed as a share of the calm one."""
    undisturbed = [fetch(sharer, work) for _ in range(CALM_RUNS)]
    calm, patience = map(statistics.median, zip(*undisturbed, strict=True))
    command = [sys.executable, "-m", "tests.soak.crowd", "127.0.0.1", str(sharer.port), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as crowd:
        disturbed = [fetch(sharer, work)]
        while crowd.poll() is None:
            disturbed.append(fetch(sharer, work))
        taken = int(crowd.communicate()[0] or 0)
    speed, waited = map(statistics.median, zip(*disturbed, strict=True))
    print(
        f"{taken} hostile connections during {len(disturbed)} transfers: {speed / calm:.2f} of the "
        f"undisturbed {calm / MIB:.0f} MiB/s, first bytes after {waited:.1f} s instead of {patience:.1f} s",
        flush=True,
    )
    return taken, speed / calm


def run(work: Path, count: int, seed: int) -> int:
    """Disturb transfers with so many connections; the number of bars that were missed."""
    source = work / "file.bin"
    source.write_bytes(random.Random(seed).randbytes(MIB) * (SIZE // MIB))
    with heard_sharing(source, work / "share-home") as sharer:
        pid = sharer.process.pid
        fetch(sharer, work)
        memory, base = peak_memory(pid), descriptors(pid)
        for _ in range(SPEED_TRIES):
            taken, ratio = disturb(sharer, work, count)
            if taken < count or ratio >= SPEED_MIN:
                break
        growth = peak_memory(pid) - memory
        since = time.monotonic()
        while descriptors(pid) > base + SPARE_DESCRIPTORS and time.monotonic() - since < BACK_S:
            time.sleep(0.1)
        left, back = descriptors(pid) - base, time.monotonic() - since
    print(
        f"{growth / MIB:.1f} MiB more memory, descriptors {left:+d} after {back:.1f} s",
        flush=True,
    )
    return sum((taken < count, ratio < SPEED_MIN, growth > GROWTH_MAX, left > SPARE_DESCRIPTORS))
