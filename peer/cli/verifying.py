"""The work of `peer verify`."""

import os
from pathlib import Path

import trio

from peer.cli.display import Display
from peer.cli.subject import Subject
from peer.errors import UsageError
from peer.paths import printable
from peer.store.check import Verdict, check
from peer.store.files import open_folder
from peer.store.filesystem import Folder
from peer.store.trouble import trouble
from peer.workers import Lane, ThreadWorkers


def _open(path: str) -> Folder:
    with trouble(path):
        return open_folder(path)


def _prefix(subject: Subject, folder: Path) -> tuple[str, ...]:
    """Where in DIR the share is: in a folder of its name, or DIR is that folder. Raises UsageError.

    A share may have a folder of its own name in it, as many a program's source has: so where more of it lies.
    """
    if os.path.isfile(folder):
        raise UsageError(f"{folder} is a file: name the folder that it is in")
    inside, manifest = folder / subject.name, subject.manifest
    if not manifest.is_single_file:
        tops = {path[0] for path in (*(file.path for file in manifest.files), *manifest.folders)}
        here, below = (sum(os.path.lexists(place / top) for top in tops) for place in (folder, inside))
        if here > below or not os.path.exists(inside):
            return ()
    return (subject.name,)


async def verify(subject: Subject, folder: Path, display: Display) -> tuple[list[str], bool]:
    """Lines for the user, a line for each file that is not good and a summary; and whether all is good.

    Raises StorageError if the folder cannot be read, UsageError if it is none.
    """
    manifest = subject.manifest
    workers = ThreadWorkers()
    prefix = await workers.run(Lane.DISK, _prefix, subject, folder)
    root = await workers.run(Lane.DISK, _open, str(folder))

    def progress(done: int, total: int) -> None:
        display.show(trio.current_time(), "verifying", done, total)

    try:
        paths = [(*prefix, *file.path) for file in manifest.files]
        result = await check(root, paths, manifest, workers, whole_files=True, progress=progress)
    finally:
        root.close()
    lines = [
        f"{verdict.value:<10} {printable('/'.join(path))}"
        for path, verdict in zip(paths, result.verdicts, strict=True)
        if verdict is not Verdict.GOOD
    ]
    good_files = sum(verdict is Verdict.GOOD for verdict in result.verdicts)
    lines.append(
        f"{good_files} of {len(manifest.files)} files and {result.pieces.count} of {manifest.piece_count} "
        f"pieces are good"
    )
    return lines, result.is_complete
