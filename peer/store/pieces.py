"""What a node reads pieces from, whether they are being fetched or shared."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from peer.ids import FileIndex, PieceIndex
from peer.limits import FILES_OPEN_MAX
from peer.store.filesystem import File, FileState


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Consecutive bytes of an open file. Holding it keeps the file open."""

    file: File
    offset: int
    count: int


class PieceStore(Protocol):
    """Pieces to serve. Blocking; threads may share it. Raises StorageError, `SourceChangedError` among it."""

    def slices(self, piece: PieceIndex, offset: int, length: int) -> list[FileSlice]:
        """Where these bytes of a piece can be read now: at most `SLICES_MAX` slices."""

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether the files that hold the piece are the ones that were hashed; asked after sending from it."""

    def check(self, piece: PieceIndex) -> bool:
        """Read and hash the piece: whether it can be served."""

    def prefetch(self, piece: PieceIndex) -> None:
        """Hint that the piece will be read soon."""


class MemoryFile:
    """Bytes that are served like a file: many small files joined, because each would need a descriptor."""

    def __init__(self, data: bytearray) -> None:
        self._data = memoryview(data)

    def fileno(self) -> None:
        return None

    def read_into(self, buffer: memoryview, offset: int) -> int:
        part = self._data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def write(self, data: memoryview | bytes, offset: int) -> None:
        raise NotImplementedError("bytes to be sent are not changed")

    def allocate(self, size: int) -> None:
        raise NotImplementedError("bytes to be sent are not changed")

    def truncate(self, size: int) -> None:
        raise NotImplementedError("bytes to be sent are not changed")

    def size(self) -> int:
        return len(self._data)

    def state(self) -> FileState:
        return FileState(len(self._data), 0, 0, 0)

    def prefetch(self, offset: int, count: int) -> None:
        pass

    def sync(self) -> None:
        pass

    def lock(self) -> bool:
        return True

    def close(self) -> None:
        pass


class OpenFiles:
    """The files last used, kept open. What falls out is let go and closes when nobody reads it any more."""

    def __init__(self, limit: int = FILES_OPEN_MAX) -> None:
        self._limit = limit
        self._files: OrderedDict[FileIndex, File] = OrderedDict()
        self._lock = Lock()

    def get(self, file: FileIndex) -> File | None:
        with self._lock:
            found = self._files.get(file)
            if found is not None:
                self._files.move_to_end(file)
            return found

    def put(self, file: FileIndex, opened: File) -> None:
        with self._lock:
            self._files[file] = opened
            self._files.move_to_end(file)
            while len(self._files) > self._limit:
                self._files.popitem(last=False)

    def drop(self, file: FileIndex) -> None:
        with self._lock:
            self._files.pop(file, None)

    def clear(self) -> None:
        with self._lock:
            self._files.clear()

    def __len__(self) -> int:
        return len(self._files)


def read_slices(slices: Sequence[FileSlice], buffer: memoryview) -> bool:
    """Read them one after the other into the buffer; False if a file ends before its slice. Raises OSError."""
    done = 0
    for piece in slices:
        if piece.file.read_into(buffer[done : done + piece.count], piece.offset) != piece.count:
            return False
        done += piece.count
    return True


