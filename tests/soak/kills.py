"""kill -9 at random points of a real transfer: the same command always goes on and ends with the same bytes.

Prints each kill's point, what the next run found, and what it fetched again. The points are moments, evenly
spread over the time that an undisturbed transfer takes: what the getter says of its progress comes four times
a second, and would let whoever waits for it kill at four points of a second only, or behind the end.
"""

import filecmp
import random
import shutil
import time
from pathlib import Path

from tests.real.commands import get, sharing
from tests.soak.processes import fetching, progress

MIB = 1 << 20
SIZE = 24 * MIB
RATE = "12MiB"
"""Two seconds: long against the getter's start."""


def one_kill(link: str, work: Path, after_s: float) -> tuple[int, int]:
    """Kill a getter when it has run for so long; what it had said to hold, and what the next run found."""
    with fetching(link, work / "out", work / "home") as process:
        time.sleep(after_s)
        process.kill()
        held = max(progress(process), default=0)
    again = get(link, work / "out", work / "home", "--json")
    if again.code:
        raise SystemExit(f"soak: after a kill at {held} bytes: exit code {again.code}: {again.err}")
    return held, int(again.json["resumed_bytes"])


def run(work: Path, count: int, seed: int) -> int:
    """Kill so often; the number of transfers that did not end complete and identical."""
    rng = random.Random(seed)
    failures = halfway = 0
    source = work / "file.bin"
    source.write_bytes(rng.randbytes(SIZE))
    with sharing(source, work / "share-home", "--up", RATE) as link:
        begun = time.monotonic()
        get(link, work / "out", work / "home")
        span = time.monotonic() - begun
        shutil.rmtree(work / "out")
        for number in range(count):
            held, resumed = one_kill(link, work, rng.uniform(0, span))
            same = filecmp.cmp(source, work / "out" / "file.bin", shallow=False)
            # The progress that it told is a moment old: what was held then must be found again.
            lost = max(0, held - resumed)
            failures += not same or lost > 0
            halfway += 0 < resumed < SIZE
            print(
                f"kill {number + 1}: at {held} bytes or more, found {resumed}, "
                f"{'identical' if same else 'DIFFERENT'}{f', LOST {lost}' if lost else ''}",
                flush=True,
            )
            shutil.rmtree(work / "out")
    print(f"{count - failures} of {count} transfers complete, identical, nothing lost", flush=True)
    print(f"{halfway} of them were killed between their first byte and their last", flush=True)
    if halfway < count / 2:
        print("too few to show anything: this machine is too fast or too slow for RATE", flush=True)
        failures += 1
    return failures
