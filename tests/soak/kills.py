"""kill -9 at random points of a real transfer: the same command always goes on and ends with the same bytes.

Prints each kill's point, what the next run found, and what it fetched again.
"""

import filecmp
import random
import shutil
from pathlib import Path

from tests.real.commands import get, sharing
from tests.soak.processes import fetching, progress

MIB = 1 << 20
SIZE = 24 * MIB


def one_kill(link: str, work: Path, kill_at: int) -> tuple[int, int]:
    """Kill a getter when it holds so many bytes; return that and what the next run found."""
    process = fetching(link, work / "out", work / "home")
    held = 0
    for done in progress(process):
        held = max(held, done)
        if held >= kill_at:
            break
    process.kill()
    process.communicate()
    again = get(link, work / "out", work / "home", "--json")
    if again.code:
        raise SystemExit(f"soak: after a kill at {held} bytes: exit code {again.code}: {again.err}")
    return held, int(again.json["resumed_bytes"])


def run(work: Path, count: int, seed: int) -> int:
    """Kill so often; the number of transfers that did not end complete and identical."""
    rng = random.Random(seed)
    failures = 0
    source = work / "file.bin"
    source.write_bytes(rng.randbytes(SIZE))
    with sharing(source, work / "share-home", "--up", f"{4 * SIZE // MIB}MiB") as link:
        for number in range(count):
            held, resumed = one_kill(link, work, rng.randrange(1, SIZE))
            same = filecmp.cmp(source, work / "out" / "file.bin", shallow=False)
            # The progress that we read is a moment old: what was held then must be found again.
            lost = max(0, held - resumed)
            failures += not same or lost > 0
            print(
                f"kill {number + 1}: at {held} bytes, found {resumed}, "
                f"{'identical' if same else 'DIFFERENT'}{f', LOST {lost}' if lost else ''}",
                flush=True,
            )
            shutil.rmtree(work / "out")
    print(f"{count - failures} of {count} transfers complete, identical, nothing lost", flush=True)
    return failures
