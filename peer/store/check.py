"""Which pieces and files of a share already lie somewhere, found out by reading and hashing them.

Missing, short and longer files are ordinary: their pieces are simply not good. Nothing is changed on disk.
"""

import errno
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final

from peer.bitfield import Bitfield
from peer.ids import FileIndex, PieceIndex
from peer.manifest import Manifest
from peer.paths import printable
from peer.store.filesystem import File, FileState, Folder, PathParts
from peer.store.hashing import Digests, Progress, hash_all
from peer.store.layout import Layout
from peer.store.trouble import translate
from peer.workers import Lane, Workers

_OUR_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the file: with them, a file counted as unreadable would be a wrong answer."""

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL})
"""Nothing, or something that is no regular file: a folder, a link, a device."""


_FILES_PER_JOB: Final = 1000
"""Empty files that one job looks at: some tens of milliseconds."""


class Verdict(Enum):
    """What a file on disk is, compared with the share."""

    GOOD = "good"
    BAD = "bad"
    """It is there, but its bytes are others, or fewer."""
    LONGER = "longer"
    """It begins with the right bytes, and there are more behind them."""
    MISSING = "missing"
    """No regular file is there under its name."""
    UNREADABLE = "unreadable"
    """The system does not let us read it, or not all of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result. By file index: what each file is, and the state in which it was read (None: not read).

    A good piece may be used as long as the states of its files are still these.
    """

    pieces: Bitfield
    verdicts: tuple[Verdict, ...]
    states: tuple[FileState | None, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all of the share is there, and no more."""
        return self.pieces.is_full and all(verdict is Verdict.GOOD for verdict in self.verdicts)


async def check(
    root: Folder,
    paths: Sequence[PathParts],
    manifest: Manifest,
    workers: Workers,
    *,
    whole_files: bool = False,
    progress: Progress | None = None,
    tasks: int | None = None,
) -> Check:
    """Check the files at these paths below the root, one for each file of the manifest, in its order.

    whole_files: hash long files as a whole too. Their good pieces prove them already; this proves in addition
    that the manifest's file hashes, which `b3sum` users see, belong to its pieces. It costs as much again.
    progress: see `hash_all`, counting bytes that are not there as done at once. tasks: hashing threads.
    Raises StorageError only for shortages of our own, such as too many open files.
    """
    layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
    targets = _Targets(root, paths, manifest)
    empty = [FileIndex(number) for number, file in enumerate(manifest.files) if not file.size]
    for start in range(0, len(empty), _FILES_PER_JOB):
        await workers.run(Lane.DISK, targets.look_at, empty[start : start + _FILES_PER_JOB])
    digests = await hash_all(layout, targets, workers, long_files=whole_files, progress=progress, tasks=tasks)
    good = _good_pieces(layout, manifest, digests, targets)
    verdicts = tuple(
        targets.verdict(file, layout, good, digests) for file in map(FileIndex, range(len(manifest.files)))
    )
    return Check(good, verdicts, tuple(targets.states))


def _good_pieces(layout: Layout, manifest: Manifest, digests: Digests, targets: "_Targets") -> Bitfield:
    good = Bitfield(layout.piece_count)
    for piece in map(PieceIndex, range(layout.piece_count)):
        if digests.piece(piece) == manifest.piece_digest(piece):
            good.add(piece)
    for file in targets.changed:
        for number in layout.pieces_of(file):
            good.discard(number)
    return good


class Spellings:
    """Where a share's paths are below a root: under the names that the disk has for them.

    Names in a manifest are in Unicode form NFC. A sharer's own disk may have others, which are the same names
    to a reader and other ones to Linux: what came from a Mac often has its accents decomposed. Blocking.
    """

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._listed: dict[PathParts, dict[str, str]] = {}

    def found(self, paths: Iterable[PathParts]) -> list[PathParts]:
        """The same paths in the same order; what is nowhere stays as it is."""
        return [path if self._is_there(path) else self._respelled(path) for path in paths]

    def _is_there(self, path: PathParts) -> bool:
        try:
            return self._root.kind(path) is not None
        except OSError:  # a link or a file on the way: there is nothing to list
            return False

    def _respelled(self, path: PathParts) -> PathParts:
        made: PathParts = ()
        for name in path:
            names = self._listed.get(made)
            if names is None:
                names = self._listed[made] = self._names(made)
            made = (*made, names.get(unicodedata.normalize("NFC", name), name))
        return made

    def _names(self, folder: PathParts) -> dict[str, str]:
        """The names in a folder by their form NFC; where two have the same, the one that is in it."""
        names: dict[str, str] = {}
        with suppress(OSError):
            for entry in self._root.entries(folder):
                plain = unicodedata.normalize("NFC", entry.name)
                if plain == entry.name or plain not in names:
                    names[plain] = entry.name
        return names


class _Targets:
    """The files to check, for hashing; remembers what was found."""

    def __init__(self, root: Folder, paths: Sequence[PathParts], manifest: Manifest) -> None:
        self.states: list[FileState | None] = [None] * len(manifest.files)
        self.changed: set[FileIndex] = set()
        self._root = root
        self._paths = paths
        self._manifest = manifest
        self._unreadable: set[FileIndex] = set()

    def look_at(self, files: Sequence[FileIndex]) -> None:
        """Empty files, which hashing does not open."""
        for file in files:
            try:
                self.states[file] = self._root.state(self._paths[file])
            except OSError as error:
                self._not_opened(file, error)

    def open(self, file: FileIndex) -> File | None:
        try:
            opened = self._root.open(self._paths[file])
            self.states[file] = opened.state()
        except OSError as error:
            self._not_opened(file, error)
            return None
        return opened

    def failed(self, file: FileIndex, error: OSError) -> None:
        if error.errno in _OUR_SHORTAGE:
            raise translate(error, printable(self._root.describe(self._paths[file]))) from error
        self._unreadable.add(file)

    def close(self, file: FileIndex, opened: File) -> None:
        try:
            if opened.state() != self.states[file]:
                self.changed.add(file)
        except OSError as error:
            self.changed.add(file)
            self.failed(file, error)
        finally:
            opened.close()

    def _not_opened(self, file: FileIndex, error: OSError) -> None:
        if error.errno not in _NOT_THERE:
            self.failed(file, error)

    def verdict(self, file: FileIndex, layout: Layout, good: Bitfield, digests: Digests) -> Verdict:
        if file in self._unreadable:
            return Verdict.UNREADABLE
        state = self.states[file]
        if state is None:
            return Verdict.MISSING
        wanted = self._manifest.files[file]
        digest = digests.files[file]
        if file in self.changed or state.size < wanted.size or digest not in (None, wanted.digest):
            return Verdict.BAD
        # Without a digest of its own a long file is what its pieces are. A small file always has one: its
        # pieces may be bad because of its neighbours.
        if wanted.size >= layout.piece_bytes and not all(piece in good for piece in layout.pieces_of(file)):
            return Verdict.BAD
        if wanted.size < layout.piece_bytes and digest is None:
            return Verdict.BAD
        return Verdict.GOOD if state.size == wanted.size else Verdict.LONGER
