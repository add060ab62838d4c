"""A small disk fills up while it is fetched to, and is freed again. Needs root, to mount one."""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.real.commands import PATIENCE_S
from tests.soak.processes import fetching, heard_sharing

MIB = 1 << 20
DISK = 64 * MIB
FILES, FILE_SIZE = 160, 200_000
RATE = "8MiB"
RESUME_S = 30


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A tmpfs for the length of the block."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "manyhands-soak", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def fill(path: Path, leave: int) -> None:
    """Fill the disk up to so many bytes, whoever else writes to it. At once, or the others would be done."""
    with path.open("wb", buffering=0) as file:
        status = os.statvfs(path.parent)
        with suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - MIB)
        file.seek(0, os.SEEK_END)
        while (status := os.statvfs(path.parent)).f_bavail * status.f_frsize > leave:
            with suppress(OSError):
                file.write(bytes(64 * 1024))


def run(work: Path, count: int, seed: int) -> int:
    """Fill it so many times; the number of times that the transfer did not pause, say so, and go on."""
    if os.geteuid() != 0:
        print("full disk: skipped, mounting a small disk needs root", flush=True)
        return 0
    rng = random.Random(seed)
    source = work / "folder"
    for number in range(FILES):
        path = source / f"{number % 10}" / f"{number:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(FILE_SIZE))
    disk, failures = work / "disk", 0
    try:
        with small_disk(disk), heard_sharing(source, work / "share-home", "--up", RATE) as sharer:
            for number in range(count):
                wrong = one_time(work, disk, sharer.link, rng)
                failures += bool(wrong)
                print(
                    f"full disk {number + 1}: {wrong or 'paused, said so, went on, right bytes'}", flush=True
                )
    except subprocess.CalledProcessError as error:
        print(f"full disk: skipped, this machine mounts none: {error.stderr.decode().strip()}", flush=True)
    return failures


def heard(stderr: IO[str], enough: Callable[[str, int], bool], done: int = 0) -> int | None:
    """Read on until a line and the bytes there by then are `enough`; those bytes, None at the end."""
    for line in stderr:
        if '"done": ' in line:
            done = int(line.partition('"done": ')[2].partition(",")[0])
        if enough(line, done):
            return done
    return None


def one_time(work: Path, disk: Path, link: str, rng: random.Random) -> str:
    """Fetch, fill, wait for the word, free, wait for the end; what went wrong."""
    with fetching(link, disk, work / "home") as process:
        at = rng.randrange(MIB, FILES * FILE_SIZE // 2)
        assert process.stderr is not None
        held = heard(process.stderr, lambda _, done: done >= at)
        fill(disk / "filler", 0)
        paused = heard(process.stderr, lambda line, _: "disk is full" in line, held or 0)
        (disk / "filler").unlink()
        since = time.monotonic()
        heard(process.stderr, lambda _, done: done > (paused or 0))
        took = time.monotonic() - since
        try:
            _, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            return "did not go on when there was room"
    if process.returncode or paused is None:
        silent = "said nothing, " if paused is None else ""
        return f"exit code {process.returncode}, {silent}{err.splitlines()[-1:]}"
    same = (
        subprocess.run(["diff", "-r", str(work / "folder"), str(disk / "folder")], check=False).returncode
        == 0
    )
    subprocess.run(["rm", "-r", str(disk / "folder")], check=True)
    if not same:
        return "WRONG BYTES"
    return "" if took < RESUME_S else f"took {took:.0f} s to go on"
