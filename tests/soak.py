"""kill -9 at random points of a real transfer: the same command always goes on and ends with the same bytes.

usage: python -m tests.soak [--kills 200] [--mib 24] [--seed 1]

Prints each kill's point, what the next run found, and what it fetched again; ends with a line that counts.
"""

import argparse
import filecmp
import json
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.real.commands import begin, get, sharing

MIB = 1 << 20


def one_kill(link: str, work: Path, kill_at: int) -> tuple[int, int]:
    """Kill a getter when it holds so many bytes; return that and what the next run found."""
    process = begin(
        "peer", "get", link, "-o", work / "out", "--host", "127.0.0.1", "--home", work / "home",
        "--progress", "json",
    )  # fmt: skip
    held = 0
    assert process.stderr is not None
    for line in process.stderr:
        with suppress(ValueError):
            held = max(held, int(json.loads(line).get("done", 0)))
        if held >= kill_at:
            break
    process.kill()
    process.communicate()
    again = get(link, work / "out", work / "home", "--json")
    if again.code:
        raise SystemExit(f"soak: after a kill at {held} bytes: exit code {again.code}: {again.err}")
    return held, int(again.json["resumed_bytes"])


def main() -> int:
    """Kill as often as asked; 0 if every transfer ended complete and identical."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mib", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    work = Path(tempfile.mkdtemp(prefix="manyhands-soak-"))
    failures = 0
    try:
        source = work / "file.bin"
        size = arguments.mib * MIB
        source.write_bytes(rng.randbytes(size))
        with sharing(source, work / "share-home", "--up", f"{4 * arguments.mib}MiB") as link:
            for number in range(arguments.kills):
                held, resumed = one_kill(link, work, rng.randrange(1, size))
                copy = work / "out" / "file.bin"
                same = filecmp.cmp(source, copy, shallow=False)
                # The progress that we read is a moment old: what was held then must be found again.
                lost = max(0, held - resumed)
                failures += not same or lost > 0
                print(
                    f"kill {number + 1}: at {held} bytes, found {resumed}, "
                    f"{'identical' if same else 'DIFFERENT'}{f', LOST {lost}' if lost else ''}",
                    flush=True,
                )
                shutil.rmtree(work / "out")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{arguments.kills - failures} of {arguments.kills} transfers complete, identical, nothing lost")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"soak: {error}")
