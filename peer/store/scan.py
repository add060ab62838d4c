"""From a path on disk to a share: which files there are, what they hash to, and what tells if they change.

What a user shares must arrive as it is, so nothing is left out quietly. A name that no manifest may carry,
two names that are one elsewhere, a file that cannot be read: each ends the scan with a line that names it and
the way out. Symbolic links, sockets and devices are no content of a share: they are left out and listed.

Names in the manifest are in Unicode form NFC; `Scan.paths` keeps the names under which the disk has them.
"""

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

from peer.errors import ManifestError, SourceChangedError, StorageError, UsageError
from peer.ids import FileIndex
from peer.limits import FILES_MAX, PATH_DEPTH_MAX, PIECES_MAX, SHARE_BYTES_MAX
from peer.manifest import FileEntry, Manifest, count_pieces, piece_bytes_for
from peer.paths import Parts, check_component, check_paths, printable
from peer.store.files import open_folder
from peer.store.filesystem import File, FileState, Folder, Kind, PathParts
from peer.store.hashing import Digests, Progress, hash_all
from peer.store.layout import Layout
from peer.store.trouble import translate, trouble
from peer.workers import Lane, Workers

T = TypeVar("T")

_ENTRIES_PER_JOB: Final = 1000
"""Directory entries that one job looks at: some tens of milliseconds when they are not cached."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not shared; both fields are ready for a terminal."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A share, and where its files are.

    paths, states: for each file of the manifest, by its index: its path below the scanned root, as the disk
    spells it, and its state when it was hashed.
    """

    manifest: Manifest
    paths: tuple[PathParts, ...]
    states: tuple[FileState, ...]
    skipped: tuple[Skipped, ...]


def open_source(path: str) -> tuple[Folder, PathParts]:
    """The root and the path below it for what a user names on the command line: a file or a folder.

    Links in the path are followed, as the user wrote it. Blocking. Raises StorageError.
    """
    real = os.path.realpath(path)
    with trouble(path):
        if os.path.isdir(real):
            return open_folder(real), ()
        os.stat(real)
        return open_folder(os.path.dirname(real)), (os.path.basename(real),)


async def scan(
    root: Folder,
    top: PathParts,
    workers: Workers,
    *,
    progress: Progress | None = None,
    tasks: int | None = None,
) -> Scan:
    """Make a share of the file or folder at ``top`` below the root.

    progress: see `hash_all`. tasks: hashing threads, by default one for each core.
    Raises UsageError for names and sizes that cannot be shared, StorageError for what cannot be read,
    SourceChangedError if a file changed while it was hashed.
    """
    walk = _Walk(root, top)
    while walk.pending:
        await workers.run(Lane.DISK, walk.step)
    found = sorted(walk.found, key=lambda file: file.path)
    folders = tuple(sorted(walk.empty))
    sizes = [file.state.size for file in found]
    piece_bytes = piece_bytes_for(sum(sizes))
    _check_shareable(root.describe(top), found, folders, piece_bytes)
    layout = Layout(piece_bytes, sizes)
    sources = _Sources(root, found)
    digests = await hash_all(layout, sources, workers, progress=progress, tasks=tasks)
    sources.check_complete(digests)

    def finish() -> Manifest:
        files = tuple(
            FileEntry(file.path, file.state.size, digest or b"", file.state.executable)
            for file, digest in zip(found, digests.files, strict=True)
        )
        manifest = Manifest(piece_bytes, files, folders, bytes(digests.pieces))
        manifest.encode()  # so that a manifest that would be too large is found out here, with its id known
        return manifest

    try:
        manifest = await workers.run(Lane.COMPUTE, finish)
    except ManifestError as error:
        raise UsageError(f"{printable(root.describe(top))} cannot be shared: {error}") from error
    return Scan(
        manifest,
        tuple(file.disk_path for file in found),
        tuple(file.state for file in found),
        tuple(walk.skipped),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to share: its path in the manifest, and on disk below the root."""

    path: Parts
    disk_path: PathParts
    state: FileState


def _check_shareable(name: str, found: Sequence[_Found], folders: Sequence[Parts], piece_bytes: int) -> None:
    """Everything that would make the manifest illegal, before hours go into hashing."""
    name = printable(name)
    sizes = [file.state.size for file in found]
    if sum(sizes) > SHARE_BYTES_MAX or count_pieces(piece_bytes, sizes) > PIECES_MAX:
        raise UsageError(f"{name} has {sum(sizes)} bytes, too many for one share: share parts of it")
    if len(folders) > FILES_MAX:
        raise UsageError(f"{name} has more than {FILES_MAX} empty folders: share an archive of it, or parts")
    if [file.path for file in found] == [()]:
        return
    try:
        check_paths([file.path for file in found], folders)
    except ValueError as error:
        raise UsageError(f"{name} cannot be shared: {error}; rename one") from None


class _Sources:
    """The found files, for hashing: what cannot be read or has changed ends it."""

    def __init__(self, root: Folder, found: Sequence[_Found]) -> None:
        self._root = root
        self._found = found

    def open(self, file: FileIndex) -> File:
        try:
            opened = self._root.open(self._found[file].disk_path)
        except OSError as error:
            self.failed(file, error)
        try:
            self._check_unchanged(file, opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def failed(self, file: FileIndex, error: OSError) -> NoReturn:
        raise translate(error, self._name(file)) from error

    def close(self, file: FileIndex, opened: File) -> None:
        try:
            self._check_unchanged(file, opened)
        finally:
            opened.close()

    def check_complete(self, digests: Digests) -> None:
        for number, digest in enumerate(digests.files):
            if digest is None:
                raise StorageError(
                    f"{self._name(FileIndex(number))} holds less than its size says: share a copy of it"
                )

    def _check_unchanged(self, file: FileIndex, opened: File) -> None:
        try:
            state = opened.state()
        except OSError as error:
            self.failed(file, error)
        if state != self._found[file].state:
            raise SourceChangedError(
                f"{self._name(file)} changed while it was read: share it again when nothing writes to it"
            )

    def _name(self, file: FileIndex) -> str:
        return printable(self._root.describe(self._found[file].disk_path))


@dataclass(slots=True)
class _Walk:
    """Goes through a tree, some folders a step. Blocking; one thread at a time."""

    root: Folder
    top: PathParts
    found: list[_Found] = field(default_factory=list)
    empty: list[Parts] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    pending: list[tuple[Parts, PathParts]] = field(default_factory=list)
    """Folders to look into: path in the share, path on disk."""

    def __post_init__(self) -> None:
        self.pending.append(((), self.top))

    def step(self) -> None:
        """Look into folders until enough has been seen for one job."""
        left = _ENTRIES_PER_JOB
        while self.pending and left > 0:
            left -= self._look_into(*self.pending.pop())

    def _look_into(self, path: Parts, disk_path: PathParts) -> int:
        if not path:
            kind = self._asking(disk_path, self.root.kind)
            if kind is Kind.FILE:
                self.found.append(_Found((), disk_path, self._asking(disk_path, self.root.state)))
                return 1
            if kind is not Kind.FOLDER:
                what = "is neither a file nor a folder" if kind else "does not exist"
                raise StorageError(f"{self._name(disk_path)} {what}: name what is to be shared")
        entries = self._asking(disk_path, lambda asked: list(self.root.entries(asked)))
        is_empty = True
        for entry in entries:
            disk_child = (*disk_path, entry.name)
            if entry.kind not in (Kind.FILE, Kind.FOLDER):
                what = "a symbolic link" if entry.kind is Kind.LINK else "a device, socket or pipe"
                self.skipped.append(Skipped(self._name(disk_child), what))
                continue
            is_empty = False
            child = (*path, self._shared_name(entry.name, disk_child))
            if entry.kind is Kind.FOLDER:
                if len(child) >= PATH_DEPTH_MAX:
                    raise UsageError(
                        f"{self._name(disk_child)} is {PATH_DEPTH_MAX} folders deep: share an archive of it"
                    )
                self.pending.append((child, disk_child))
            else:
                self._add(child, disk_child)
        if is_empty and path:
            self.empty.append(path)
        return len(entries) + 1

    def _shared_name(self, name: str, disk_path: PathParts) -> str:
        shared = unicodedata.normalize("NFC", name)
        try:
            check_component(shared)
        except ValueError as error:
            raise UsageError(f"{self._name(disk_path)} cannot be shared: {error}; rename it") from None
        return shared

    def _add(self, path: Parts, disk_path: PathParts) -> None:
        if len(self.found) == FILES_MAX:
            raise UsageError(
                f"{self._name(self.top)} has more than {FILES_MAX} files: share an archive of it, or parts"
            )
        self.found.append(_Found(path, disk_path, self._asking(disk_path, self.root.state)))

    def _asking(self, path: PathParts, question: Callable[[PathParts], T]) -> T:
        try:
            return question(path)
        except FileNotFoundError:
            raise SourceChangedError(f"{self._name(path)} disappeared while it was being shared") from None
        except OSError as error:
            raise translate(error, self._name(path)) from error

    def _name(self, path: PathParts) -> str:
        return printable(self.root.describe(path))
