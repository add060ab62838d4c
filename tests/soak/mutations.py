"""A shared file is changed while it is fetched: no wrong byte arrives, and the sharer is told.

Two sharers have the same bytes; one has its copy changed in the middle of a transfer. The getter must end
with the right bytes (from the other one), and the first sharer must say which file changed. The change comes
at a moment evenly spread over the time in which the two send it all.
"""

import filecmp
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.real.commands import PATIENCE_S
from tests.soak.processes import fetching, heard_sharing, progress

MIB = 1 << 20
SIZE = 16 * MIB
RATE = 4 * MIB
"""Of each sharer, in bytes a second. Both together: two seconds, and eight words of the getter."""


def flip(path: Path, rng: random.Random) -> None:
    """Change a byte."""
    with path.open("r+b") as file:
        file.seek(rng.randrange(SIZE - 1))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def truncate(path: Path, rng: random.Random) -> None:
    """Cut it off."""
    with path.open("r+b") as file:
        file.truncate(rng.randrange(SIZE))


def append(path: Path, rng: random.Random) -> None:
    """Add a byte."""
    with path.open("ab") as file:
        file.write(b"!")


def delete(path: Path, rng: random.Random) -> None:
    """Remove it."""
    path.unlink()


def replace(path: Path, rng: random.Random) -> None:
    """Put another file of the same size in its place."""
    other = path.with_name("other")
    other.write_bytes(rng.randbytes(SIZE))
    other.replace(path)


def overwrite(path: Path, rng: random.Random) -> None:
    """Write all of it anew, in place."""
    with path.open("r+b") as file:
        file.write(rng.randbytes(SIZE))


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (
    flip,
    truncate,
    append,
    delete,
    replace,
    overwrite,
)


def run(work: Path, count: int, seed: int) -> int:
    """Change so many files; the number of times that something was wrong."""
    rng = random.Random(seed)
    pristine = work / "good" / "file.bin"
    pristine.parent.mkdir()
    pristine.write_bytes(rng.randbytes(SIZE))
    failures = halfway = 0
    with heard_sharing(pristine, work / "good-home", "--up", f"{RATE // MIB}MiB") as good:
        for number in range(count):
            change = CHANGES[number % len(CHANGES)]
            victim = work / "victim" / "file.bin"
            victim.parent.mkdir()
            shutil.copy2(pristine, victim)
            with heard_sharing(victim, work / "victim-home", "--up", f"{RATE // MIB}MiB") as sharer:
                wrong, early = one_change(work, victim, rng, change, (sharer.link, str(good.port)))
                told = all(sharer.wait_for(text, PATIENCE_S) for text in ("file.bin", "since it was hashed"))
            if not told:
                wrong = f"{wrong} the sharer was not told".strip()
            failures += bool(wrong)
            halfway += early
            print(
                f"change {number + 1}: {change.__name__}: {wrong or 'right bytes, sharer told'}", flush=True
            )
            shutil.rmtree(victim.parent)
            shutil.rmtree(work / "out", ignore_errors=True)
    print(f"{count - failures} of {count} changes: no wrong byte, and the sharer was told", flush=True)
    print(f"{halfway} of them came before the last byte", flush=True)
    if halfway < count / 2:
        print("too few to show anything: this machine is too fast or too slow for RATE", flush=True)
        failures += 1
    return failures


def one_change(
    work: Path,
    victim: Path,
    rng: random.Random,
    change: Callable[[Path, random.Random], None],
    sources: tuple[str, str],
) -> tuple[str, bool]:
    """Fetch, and change the file at some point of it; what was wrong with the result, and whether the change
    came before the end."""
    link, other = sources
    with fetching(link, work / "out", work / "home", "--peer", f"127.0.0.1:{other}") as process:
        next(progress(process), None)  # it has begun
        time.sleep(rng.uniform(0, SIZE / (2 * RATE)))
        early = not (work / "out" / "file.bin").exists()
        change(victim, rng)
        _, err = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        return f"exit code {process.returncode}: {err.splitlines()[-1:]}", early
    same = filecmp.cmp(work / "good" / "file.bin", work / "out" / "file.bin", shallow=False)
    return "" if same else "WRONG BYTES", early
