"""Serving files that belong to somebody else: the sharer may edit, move or delete them at any moment.

Each file was hashed in a known state (size, modification and change time, inode). Bytes leave only from a
file that is in that state when it is opened, at each use, and after they were sent (RELIABILITY row 7). A
program can set a modification time back; it cannot set the change time. No file is ever mapped into memory:
a truncation would kill the process.

Small files are read into memory and looked at before and after, so nothing of them remains to be asked later.
"""

import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from blake3 import blake3

from peer.errors import SourceChangedError, StorageError
from peer.ids import FileIndex, PieceIndex
from peer.manifest import Manifest
from peer.paths import printable
from peer.store.filesystem import File, FileSlice, FileState, Folder, PathParts
from peer.store.layout import Layout, Segment
from peer.store.serving import MemoryFile, OpenFiles, read_whole
from peer.store.trouble import translate
from peer.store.verify import piece_matches

_HASH_BYTES = 1 << 20

_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)
"""A link, a folder or a device has the file's name."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is no longer what was hashed. pieces: the ones that can no longer be served."""

    file: FileIndex
    path: str
    reason: str
    pieces: range

    def __str__(self) -> str:
        return f"{self.path} {self.reason} since it was hashed: it is served no longer. Share it again."


class SourceFiles:
    """Files in the state in which they were hashed. Threads may share it."""

    def __init__(self, folder: Folder, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout
        self._known: dict[FileIndex, tuple[PathParts, FileState]] = {}
        self._open = OpenFiles()
        self._lock = Lock()
        self._changes: dict[FileIndex, Change] = {}
        self._untold: list[Change] = []
        self._spoiled: set[PieceIndex] = set()

    def know(self, file: FileIndex, path: PathParts, state: FileState) -> None:
        """From now on this is the file, and this is how it must be."""
        with self._lock:
            self._known[file] = (path, state)
            change = self._changes.pop(file, None)
            if change is not None:
                self._spoiled.difference_update(map(PieceIndex, change.pieces))
                for other in self._changes.values():
                    self._spoiled.update(map(PieceIndex, other.pieces))
        self._open.drop(file)

    def known(self) -> dict[FileIndex, tuple[PathParts, FileState]]:
        """A copy: where each file is, and the state that it must be in."""
        with self._lock:
            return dict(self._known)

    def slices(self, piece: PieceIndex, segments: Sequence[Segment]) -> list[FileSlice]:
        """These segments, of the one piece, to be sent. Raises SourceChangedError, StorageError."""
        if not self._layout.is_packed(piece):
            return [FileSlice(self.open(part.file), part.offset, part.length) for part in segments]
        data = bytearray(sum(part.length for part in segments))
        view, done = memoryview(data), 0
        for part in segments:
            self.read(part, view[done : done + part.length])
            done += part.length
        return [FileSlice(MemoryFile(data), 0, len(data))]

    def read(self, part: Segment, buffer: memoryview) -> None:
        """Read a segment of a small file into the buffer. Raises SourceChangedError, StorageError."""
        path, state = self._expect(part.file)
        file = self._opened(part.file, path)
        try:
            self._compare(part.file, path, file, state)
            count = file.read_into(buffer, part.offset)
            self._compare(part.file, path, file, state)
        except OSError as error:
            raise translate(error, self._folder.describe(path)) from error
        finally:
            file.close()
        if count != part.length:
            raise self._changed(part.file, path, "has become shorter")

    def open(self, file: FileIndex) -> File:
        """A large file, open and in its state. Raises SourceChangedError, StorageError."""
        path, state = self._expect(file)
        opened = self._open.get(file)
        fresh = opened is None
        if opened is None:
            opened = self._opened(file, path)
        self._compare(file, path, opened, state)
        if fresh:
            self._open.put(file, opened)
        return opened

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether what `slices` gave of the piece is still what was hashed. Raises StorageError where it
        cannot be looked at, as `open` does."""
        if piece in self._spoiled:
            return False
        file = self._layout.large_file(piece)
        if file is None:
            return True  # it was copied in its state
        try:
            self.open(file)
        except SourceChangedError:
            return False
        return True

    def is_spoiled(self, piece: PieceIndex) -> bool:
        """Whether a file of the piece was found changed. Does not look."""
        return piece in self._spoiled

    def confirm(self, files: Iterable[FileIndex]) -> None:
        """Make sure that those of these files that are known here are in their state. As `open` raises."""
        for file in files:
            if file in self._known:
                path, state = self._expect(file)
                try:
                    changed = self._folder.state(path) != state
                except FileNotFoundError as error:
                    raise self._changed(file, path, "was moved or deleted") from error
                except OSError as error:
                    if error.errno in _NO_FILE:
                        raise self._changed(file, path, "was replaced by something else") from error
                    raise translate(error, self._folder.describe(path)) from error
                if changed:
                    raise self._changed(file, path, "was changed")

    def prefetch(self, part: Segment) -> None:
        """Hint that this part of a large file will be read soon."""
        opened = self._open.get(part.file)
        if opened is not None:
            opened.prefetch(part.offset, part.length)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All files that are no longer what was hashed."""
        with self._lock:
            return tuple(self._changes.values())

    def take_changes(self) -> tuple[Change, ...]:
        """Those not taken before: each is to be told once."""
        with self._lock:
            untold, self._untold = tuple(self._untold), []
            return untold

    def close(self) -> None:
        """Let go of all files."""
        self._open.clear()

    def _expect(self, file: FileIndex) -> tuple[PathParts, FileState]:
        change = self._changes.get(file)
        if change is not None:
            raise SourceChangedError(str(change))
        return self._known[file]

    def _opened(self, file: FileIndex, path: PathParts) -> File:
        try:
            return self._open.opening(lambda: self._folder.open(path))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._changed(file, path, "was moved or deleted") from error
        except OSError as error:
            raise translate(error, self._folder.describe(path)) from error

    def _compare(self, file: FileIndex, path: PathParts, opened: File, state: FileState) -> None:
        try:
            now = opened.state()
        except OSError as error:  # on a network file system it may be gone: whoever asks next opens it anew
            self._open.drop(file)
            raise translate(error, self._folder.describe(path)) from error
        if now != state:
            self._open.drop(file)
            resized = now.size != state.size
            reason = f"has {now.size} bytes instead of {state.size}" if resized else "was changed"
            raise self._changed(file, path, reason)

    def _changed(self, file: FileIndex, path: PathParts, reason: str) -> SourceChangedError:
        pieces = self._layout.pieces_of(file)
        change = Change(file, printable(self._folder.describe(path)), reason, pieces)
        with self._lock:
            if file not in self._changes:
                self._changes[file] = change
                self._untold.append(change)
                self._spoiled.update(map(PieceIndex, pieces))
        return SourceChangedError(str(change))


class SourceStore:
    """A shared file or folder, to serve pieces from.

    paths, states: of each file of the manifest, below the folder; the states as of when it was hashed, or the
    files of another store that knows them, which is then told of what is found here.
    """

    def __init__(
        self,
        folder: Folder,
        manifest: Manifest,
        paths: Sequence[PathParts],
        states: Sequence[FileState] | SourceFiles,
    ) -> None:
        if len(paths) != len(manifest.files):
            raise ValueError("a path for each file of the manifest")
        self._folder = folder
        self._manifest = manifest
        self._paths = paths
        self.layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
        if isinstance(states, SourceFiles):
            self.files = states
            return
        self.files = SourceFiles(folder, self.layout)
        for number, (path, state) in enumerate(zip(paths, states, strict=True)):
            self.files.know(FileIndex(number), path, state)

    def slices(self, piece: PieceIndex, offset: int, length: int) -> list[FileSlice]:
        """Where these bytes of a piece are now. Raises SourceChangedError, StorageError."""
        return self.files.slices(piece, self.layout.segments(piece, offset, length))

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether the files that hold the piece are still the ones that were hashed. Raises StorageError
        where that cannot be seen, as `open` does."""
        return self.files.still_good(piece)

    def prefetch(self, piece: PieceIndex) -> None:
        """Hint that the piece will be read soon."""
        if not self.layout.is_packed(piece):
            self.files.prefetch(self.layout.segments(piece)[0])

    def look(self, files: Iterable[int]) -> None:
        """Look whether these files are in their states; `take_changes` has those that are not. What cannot be
        looked at just now is looked at another time."""
        for number in files:
            with suppress(StorageError):
                self.files.confirm((FileIndex(number),))

    def check(self, piece: PieceIndex) -> bool:
        """Read and hash the piece: whether it can be served. An unreadable disk is a no."""
        return check_piece(self._manifest, self.layout, self.slices, piece)

    def recheck(self, file: FileIndex) -> bool:
        """Hash a changed file again: if only its times or owner changed, it is served from now on.

        Raises StorageError.
        """
        path = self._paths[file]
        try:
            opened = self._folder.open(path)
            before = opened.state()
            if before.size != self.layout.sizes[file]:
                return False  # and not read: a log that grows may have become very long
            digest = digest_of(opened, before.size)
            state = opened.state()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translate(error, self._folder.describe(path)) from error
        if state != before or digest != self._manifest.files[file].digest:
            return False
        self.files.know(file, path, state)
        return True

    def take_changes(self) -> tuple[Change, ...]:
        """Files that were found changed and not taken before."""
        return self.files.take_changes()

    def close(self) -> None:
        self.files.close()


def check_piece(
    manifest: Manifest,
    layout: Layout,
    slices: Callable[[PieceIndex, int, int], list[FileSlice]],
    piece: PieceIndex,
) -> bool:
    """Whether the bytes that are there for a piece are its own. What cannot be read is not."""
    return read_piece(manifest, layout, slices, piece) is not None


def read_piece(
    manifest: Manifest,
    layout: Layout,
    slices: Callable[[PieceIndex, int, int], list[FileSlice]],
    piece: PieceIndex,
) -> bytearray | None:
    """The bytes of a piece, verified; None if they cannot be read, or are others."""
    length = layout.piece_length(piece)
    try:
        data = read_whole(slices(piece, 0, length), length)
    except (OSError, SourceChangedError):
        return None
    return data if data is not None and piece_matches(data, manifest.piece_digest(piece)) else None


def digest_of(file: File, size: int) -> bytes:
    """The hash of a file's first bytes, at most so many. Raises OSError."""
    running = blake3()
    buffer, offset = bytearray(min(size, _HASH_BYTES)), 0  # small files are many: no megabyte for each
    while count := file.read_into(memoryview(buffer)[: size - offset], offset):
        running.update(memoryview(buffer)[:count])
        offset += count
    return running.digest()
