"""The work of `peer verify`."""

import os
from pathlib import Path

import trio

from peer.cli.display import Display
from peer.cli.subject import Subject
from peer.errors import UsageError
from peer.paths import printable
from peer.store.check import Spellings, Verdict, check
from peer.store.files import open_folder
from peer.store.filesystem import Folder, PathParts
from peer.store.trouble import trouble
from peer.workers import Lane, ThreadWorkers


def _open(path: str) -> Folder:
    if os.path.isfile(path):
        raise UsageError(f"{path} is a file: name the folder that it is in")
    with trouble(path):
        return open_folder(path)


def _paths(subject: Subject, root: Folder) -> tuple[list[PathParts], list[PathParts]]:
    """Where in DIR the share's files are: as messages name them, and as the disk spells them."""
    spellings, manifest = Spellings(root), subject.manifest
    prefix = () if _is_here(subject, root, spellings) else (subject.name,)
    paths = [(*prefix, *file.path) for file in manifest.files]
    return paths, spellings.found(paths)


def _is_here(subject: Subject, root: Folder, spellings: Spellings) -> bool:
    """Whether DIR is the share's folder itself, rather than has it in a folder of its name.

    A share may have a folder of its own name in it, as many a program's source has: so where more of it lies.
    """
    if subject.manifest.is_single_file:
        return False
    tops = {path[0] for path in (*(file.path for file in subject.manifest.files), *subject.manifest.folders)}

    def is_there(path: PathParts) -> bool:
        return os.path.lexists(root.describe(path))

    (inside,) = spellings.found([(subject.name,)])
    here = sum(map(is_there, spellings.found((top,) for top in tops)))
    below = sum(map(is_there, spellings.found((*inside, top) for top in tops)))
    return here > below or not os.path.exists(root.describe(inside))


async def verify(subject: Subject, folder: Path, display: Display) -> tuple[list[str], bool]:
    """Lines for the user, a line for each file that is not good and a summary; and whether all is good.

    Raises StorageError if the folder cannot be read, UsageError if it is none.
    """
    manifest = subject.manifest
    workers = ThreadWorkers()
    root = await workers.run(Lane.DISK, _open, str(folder))

    def progress(done: int, total: int) -> None:
        display.show(trio.current_time(), "verifying", done, total)

    try:
        paths, disk_paths = await workers.run(Lane.DISK, _paths, subject, root)
        result = await check(root, disk_paths, manifest, workers, whole_files=True, progress=progress)
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
