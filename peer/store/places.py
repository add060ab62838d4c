"""Where the files of a download are now, and reading and writing them there.

A file is ABSENT, PARTIAL (in NAME.part/data, ours to write) or at its TARGET (complete and right; it may be
the user's own copy, so it is watched for changes and never written). Large files stay open, and get their
full length with all blocks reserved before the first byte: a disk that fills up later, or many fragments,
would cost more. Small files are opened, written and closed, once for each piece that has some of their bytes.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from threading import Lock

from peer.buggify import Point, buggify
from peer.errors import StorageError
from peer.ids import FileIndex, PieceIndex
from peer.limits import SYNC_EACH_MAX
from peer.manifest import Manifest
from peer.store.filesystem import File, FileSlice, FileState, Folder, PathParts
from peer.store.layout import Layout, Segment
from peer.store.outgoing import SourceFiles, digest_of
from peer.store.partial import Partial
from peer.store.serving import MemoryFile, OpenFiles
from peer.store.trouble import translate, trouble


class Place(IntEnum):
    """Where a file of the share is, as far as we know."""

    ABSENT = 0
    PARTIAL = 1
    TARGET = 2


class Places:
    """The files of one share below one folder. Threads may share it."""

    def __init__(self, folder: Folder, name: str, manifest: Manifest, layout: Layout) -> None:
        self.folder = folder
        self.top: PathParts = (name,)
        self.manifest = manifest
        self.layout = layout
        self.partial = Partial(folder, name)
        self.target = SourceFiles(folder, layout)
        self._places = bytearray(len(manifest.files))
        self._files = OpenFiles()
        self._own: dict[FileIndex, FileState] = {}
        """Of large files written to in this run: as our last write left them."""
        self._edited: set[FileIndex] = set()
        """Of these, the ones that somebody else changed between two writes of ours."""
        self._fresh: set[PathParts] = set()
        self._durable_folders: set[PathParts] = set()
        self._lock = Lock()

    def of(self, file: FileIndex) -> Place:
        return Place(self._places[file])

    @property
    def any_at_target(self) -> bool:
        return Place.TARGET in self._places

    def partial_path(self, file: FileIndex) -> PathParts:
        return (*self.partial.data, *self.manifest.files[file].path)

    def target_path(self, file: FileIndex) -> PathParts:
        return (*self.top, *self.manifest.files[file].path)

    def partials(self, files: Iterable[FileIndex]) -> list[FileIndex]:
        """Those of them that are in NAME.part."""
        return [file for file in files if self._places[file] == Place.PARTIAL]

    def found(self, files: Iterable[FileIndex]) -> None:
        """These were left in NAME.part by an earlier run, which may have been killed before it synced their
        names."""
        for file in files:
            self._places[file] = Place.PARTIAL
            self._fresh.add(self.partial_path(file))

    def landed(self, files: Mapping[FileIndex, FileState]) -> None:
        """These are complete at the target, in these states."""
        for file, state in files.items():
            self.target.know(file, self.target_path(file), state)
            self._places[file] = Place.TARGET
            self._own.pop(file, None)
            self._files.drop(file)

    def partial_states(self, files: Iterable[FileIndex]) -> dict[FileIndex, FileState]:
        """Those of them that are in NAME.part, as they are. Raises StorageError for what is no file."""
        states = {}
        for file in files:
            path = self.partial_path(file)
            try:
                states[file] = self.folder.state(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise translate(error, self.folder.describe(path)) from error
        return states

    def taken_bytes(self, file: FileIndex) -> int:
        """What it takes on the disk."""
        if self._places[file] != Place.PARTIAL:
            return 0
        path = self.partial_path(file)
        with trouble(self.folder.describe, path):
            return self.folder.allocated_bytes(path)

    # --- writing

    def write(self, part: Segment, data: memoryview) -> None:
        """Write a segment, unless its file is good at the target; one thread at a time. StorageError."""
        if self._places[part.file] == Place.TARGET:
            return
        path = self.partial_path(part.file)
        try:
            if self.layout.sizes[part.file] >= self.layout.piece_bytes:
                file = self._large(part.file, path)
                now = file.state()
                if self._own.get(part.file, now) != now:
                    self._edited.add(part.file)
                file.write(data, part.offset)
                self._own[part.file] = file.state()
            else:
                file = self._files.opening(lambda: self._open_to_write(part.file, path))
                file.write(data, part.offset)
                file.close()
        except OSError as error:
            raise translate(error, self.folder.describe(path)) from error

    def _large(self, number: FileIndex, path: PathParts) -> File:
        file = self._files.get(number)
        if file is None:
            file = self._files.opening(lambda: self._open_to_write(number, path))
            size = self.layout.sizes[number]
            if file.size() != size:
                file.allocate(size)
            self._files.put(number, file)
        return file

    def _open_to_write(self, number: FileIndex, path: PathParts) -> File:
        if self._places[number] == Place.PARTIAL:
            return self.folder.open(path, write=True)
        executable = self.manifest.files[number].executable
        try:
            try:
                file = self.folder.create(path, executable=executable)
            except FileNotFoundError:
                if self.folder.kind(self.partial.path) is None:
                    raise  # somebody took NAME.part away: a second one without our files helps nobody
                self.folder.make_folder(path[:-1])
                file = self.folder.create(path, executable=executable)
        except FileExistsError:  # another thread was first, or an earlier run
            file = self.folder.open(path, write=True)
        with self._lock:
            # Every thread that opens a file without knowing it notes its name as not durable, and does so
            # before it writes: so no piece can count while a name that it needs is in nobody's notes.
            self._places[number] = Place.PARTIAL
            self._fresh.add(path)
        return file

    # --- durability

    def note_fresh(self, paths: Iterable[PathParts]) -> None:
        """These names below NAME.part are not durable yet."""
        with self._lock:
            self._fresh.update(paths)

    def take_fresh(self) -> set[PathParts]:
        """The names in NAME.part that are not durable yet; they are the caller's to sync."""
        with self._lock:
            fresh, self._fresh = self._fresh, set()
            return fresh

    def sync(
        self, files: Iterable[FileIndex], fresh: Iterable[PathParts], *, keep_cached: bool = True
    ) -> None:
        """Make the data of these files in NAME.part durable, and these names. Raises OSError.

        keep_cached: if not, what is durable leaves the page cache (large files only).
        """
        numbers = sorted(files)
        folders = parents(fresh, self.partial.path, self._durable_folders)
        if len(numbers) + len(folders) > SYNC_EACH_MAX or buggify(Point.SYNC_EVERYTHING):
            self.folder.sync_everything(self.partial.path)
        else:
            for number in numbers:
                file = self._files.get(number) or self._to_sync(number)
                file.sync()
                if not keep_cached:
                    file.uncache()
            for path in folders:
                self.folder.sync_folder(path)
        self._durable_folders.update(folders)

    def _to_sync(self, number: FileIndex) -> File:
        path = self.partial_path(number)
        return self._files.opening(lambda: self.folder.open(path, write=True))

    def forget(self, files: Iterable[FileIndex]) -> None:
        """Open these anew when they are next used."""
        for file in files:
            self._files.drop(file)

    # --- reading

    def slices(self, piece: PieceIndex, offset: int, length: int) -> list[FileSlice]:
        """Where these bytes of a piece are. Raises SourceChangedError, StorageError."""
        segments = self.layout.segments(piece, offset, length)
        if not self.layout.is_packed(piece):
            return [FileSlice(self._open_large(part.file), part.offset, part.length) for part in segments]
        if all(self._places[part.file] == Place.TARGET for part in segments):
            return self.target.slices(piece, segments)
        data = bytearray(length)
        view, done = memoryview(data), 0
        for part in segments:
            self._read(part, view[done : done + part.length])
            done += part.length
        return [FileSlice(MemoryFile(data), 0, length)]

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether what `slices` gave is still what was hashed. What is in NAME.part is our own."""
        file = self.layout.large_file(piece)
        if file is not None and self._places[file] != Place.TARGET:
            return True
        return self.target.still_good(piece)

    def prefetch(self, piece: PieceIndex) -> None:
        """Hint that the piece will be read soon."""
        if self.layout.is_packed(piece):
            return
        part = self.layout.segments(piece)[0]
        file = self._files.get(part.file)
        if file is not None:
            file.prefetch(part.offset, part.length)
        else:
            self.target.prefetch(part)

    def _read(self, part: Segment, buffer: memoryview) -> None:
        if self._places[part.file] == Place.TARGET:
            self.target.read(part, buffer)
            return
        path = self.partial_path(part.file)
        with trouble(self.folder.describe, path):
            file = self.folder.open(path)
            count = file.read_into(buffer, part.offset)
            file.close()
        if count != part.length:
            raise StorageError(f"{self.folder.describe(path)} has become shorter: run the same command again")

    def read_own(self, piece: PieceIndex, buffer: memoryview) -> None:
        """Fill the buffer with a piece of a large file in NAME.part. Raises OSError."""
        part = self.layout.segments(piece)[0]
        if self._open_to_read(part.file).read_into(buffer, part.offset) != part.length:
            raise OSError(f"piece {piece} cannot be read whole")

    def _open_large(self, number: FileIndex) -> File:
        """To serve from, wherever it is."""
        is_at_target = self._places[number] == Place.TARGET
        return self.target.open(number) if is_at_target else self._open_to_read(number)

    def _open_to_read(self, number: FileIndex) -> File:
        file = self._files.get(number)
        if file is None:
            path = self.partial_path(number)
            with trouble(self.folder.describe(path)):
                file = self._files.opening(lambda: self.folder.open(path, write=True))
            self._files.put(number, file)
        return file

    def is_untouched(self, file: FileIndex) -> bool:
        """Whether a large file in NAME.part is as our writes in this run left it, as far as its state tells.
        Raises StorageError."""
        own = self._own.get(file)
        if own is None or file in self._edited:
            return False
        path = self.partial_path(file)
        with trouble(self.folder.describe, path):
            return self.folder.state(path) == own

    def digest(self, file: FileIndex) -> bytes | None:
        """The hash of a whole file in NAME.part, read now; None if it is not there. What somebody appended is
        none of it, and cut off before it lands. Raises StorageError."""
        if self.of(file) is not Place.PARTIAL:
            return None
        path = self.partial_path(file)
        with trouble(self.folder.describe, path):
            opened = self.folder.open(path)
            try:
                return digest_of(opened, self.layout.sizes[file])
            finally:
                opened.close()

    def close(self) -> None:
        """Let go of files and lock."""
        self._files.clear()
        self.target.close()
        self.partial.release()


def parents(paths: Iterable[PathParts], top: PathParts, known: Iterable[PathParts]) -> list[PathParts]:
    """The folders to sync so that these names are durable: deepest first, each once.

    top: a folder whose own name is durable. known: others of that kind.
    """
    durable = {top, *known}
    found: set[PathParts] = set()
    for path in paths:
        folder = path[:-1]
        while folder not in found:
            found.add(folder)
            if folder in durable:
                break
            folder = folder[:-1]
    return sorted(found, key=lambda folder: (-len(folder), folder))
