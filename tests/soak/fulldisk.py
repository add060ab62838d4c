"""A small disk fills up while it is fetched to, and is freed again. Needs root, to mount one."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.real.commands import PATIENCE_S, begin
from tests.soak.processes import heard_sharing

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
    """Fill the disk up to so many bytes, whoever else writes to it."""
    with path.open("wb", buffering=0) as file:
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


def one_time(work: Path, disk: Path, link: str, rng: random.Random) -> str:
    """Fetch, fill, wait for the word, free, wait for the end; what went wrong."""
    process = begin(
        "peer", "get", link, "-o", disk, "--host", "127.0.0.1", "--home", work / "home", "--progress", "json"
    )
    at = rng.randrange(MIB, FILES * FILE_SIZE // 2)
    said = False
    assert process.stderr is not None
    for line in process.stderr:
        if '"done": ' in line and int(line.partition('"done": ')[2].partition(",")[0]) >= at:
            break
    fill(disk / "filler", 0)
    for line in process.stderr:
        if "disk is full" in line:
            said = True
            break
    (disk / "filler").unlink()
    since = time.monotonic()
    try:
        _, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return "did not go on when there was room"
    if process.returncode or not said:
        return f"exit code {process.returncode}, {'' if said else 'said nothing, '}{err.splitlines()[-1:]}"
    took = time.monotonic() - since
    same = (
        subprocess.run(["diff", "-r", str(work / "folder"), str(disk / "folder")], check=False).returncode
        == 0
    )
    subprocess.run(["rm", "-r", str(disk / "folder")], check=True)
    if not same:
        return "WRONG BYTES"
    return "" if took < RESUME_S else f"took {took:.0f} s to go on"
