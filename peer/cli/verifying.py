"""The work of `peer verify`."""

from pathlib import Path

import trio

from peer.cli.display import Display
from peer.cli.subject import Subject
from peer.paths import printable
from peer.store.check import Verdict, check
from peer.store.files import open_folder
from peer.store.filesystem import Folder
from peer.store.trouble import trouble
from peer.workers import Lane, ThreadWorkers


def _open(path: str) -> Folder:
    with trouble(path):
        return open_folder(path)


async def verify(subject: Subject, folder: Path, display: Display) -> tuple[list[str], bool]:
    """Lines for the user, a line for each file that is not good and a summary; and whether all is good.

    Raises StorageError if the folder cannot be read.
    """
    manifest = subject.manifest
    workers = ThreadWorkers()
    inside = (folder / subject.name).exists() or manifest.is_single_file
    root = await workers.run(Lane.DISK, _open, str(folder))
    prefix = (subject.name,) if inside else ()

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
