"""Somebody swaps folders of a download for symbolic links that lead outside.

Real `peer get` processes write a folder while a racer exchanges, in one step of the kernel, folders of the
target and of its .part tree with links to a folder outside. Transfers may fail; the folder outside is never
touched.
"""

import ctypes
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

from tests.real.commands import get
from tests.soak.processes import heard_sharing

AT_FDCWD = -100
RENAME_EXCHANGE = 2
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FOLDERS, FILES, FILE_SIZE = 8, 80, 40_000
TRAPS = [f"{number}" for number in range(FOLDERS)]


class Racer(threading.Thread):
    """Swaps as fast as it can until told to stop. It walks to each place without following a link, or what it
    left swapped would lead itself outside."""

    def __init__(self, target: Path, links: Path) -> None:
        super().__init__(daemon=True)
        places: list[tuple[str, ...]] = [("folder.part", "data"), ("folder",), ("folder.part",)]
        places += [(*place, trap) for place in places[:2] for trap in TRAPS]
        self._pairs = [(place, os.fsencode(links / f"{number}")) for number, place in enumerate(places)]
        self._target = target
        self.stop = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
        while not self.stop.is_set():
            for place, link in self._pairs:
                folder = self._open(place[:-1])
                if folder is None:
                    continue
                name = os.fsencode(place[-1])
                if swap(folder, name, AT_FDCWD, link, RENAME_EXCHANGE) == 0:
                    self.swaps += 1
                    # Back again, mostly: so that there is something to swap next time.
                    swap(folder, name, AT_FDCWD, link, RENAME_EXCHANGE)
                os.close(folder)

    def _open(self, path: tuple[str, ...]) -> int | None:
        """The folder's descriptor, if there is one that no link leads to."""
        folder = os.open(self._target, FOLDER)
        for name in path:
            try:
                inner = os.open(name, FOLDER, dir_fd=folder)
            except OSError:
                return None
            finally:
                os.close(folder)
            folder = inner
        return folder


def prepare(work: Path, links: Path, outside: Path) -> None:
    """The folder outside, as the links will show it: every name that a download might use is there."""
    shutil.rmtree(outside, ignore_errors=True)
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir()
    for trap in TRAPS:
        (outside / trap).mkdir(parents=True)
        for number in range(FILES):
            (outside / trap / f"{number:03}").write_bytes(b"canary")
            (outside / f"{number:03}").write_bytes(b"canary")
    for name in ("journal", "manifest", "lock", "canary"):
        (outside / name).write_bytes(b"canary")
    for number in range(3 + 2 * len(TRAPS)):
        (links / f"{number}").symlink_to(
            outside / TRAPS[(number - 3) % len(TRAPS)] if number > 2 else outside
        )


def look(outside: Path) -> dict[str, tuple[int, bytes]]:
    """Everything there, with its time of change."""
    return {
        str(path.relative_to(outside)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted([outside, *outside.rglob("*")])
    }


def run(work: Path, count: int, seed: int) -> int:
    """Race for so many seconds; the number of runs in which something outside was touched."""
    if sys.platform != "linux":
        print("symlinks: skipped, only Linux swaps two names in one step", flush=True)
        return 0
    rng = random.Random(seed)
    source, links, outside = work / "folder", work / "links", work / "outside"
    for number in range(FILES):
        path = source / TRAPS[number % FOLDERS] / f"{number:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(FILE_SIZE))
    runs = swaps = failures = complete = 0
    began = time.monotonic()
    with heard_sharing(source, work / "share-home") as sharer:
        while time.monotonic() - began < count or not runs:
            prepare(work, links, outside)
            before = look(outside)
            target = work / "out"
            target.mkdir()
            racer = Racer(target, links)
            racer.start()
            result = get(sharer.link, target, work / "home", "--progress", "none")
            racer.stop.set()
            racer.join()
            runs, swaps, complete = runs + 1, swaps + racer.swaps, complete + (result.code == 0)
            after = look(outside)
            touched = sorted(name for name in before | after if before.get(name) != after.get(name))
            if touched or result.code not in (0, 5):
                failures += 1
                print(
                    f"symlinks: run {runs}: touched {touched}, exit code {result.code}: {result.err}",
                    flush=True,
                )
            shutil.rmtree(target)
    print(
        f"{runs} runs, {swaps} swaps, {complete} complete, {failures} times something outside was touched",
        flush=True,
    )
    return failures
