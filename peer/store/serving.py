"""What the stores serve from: files kept open, and bytes of many small files joined."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from peer.buggify import Point, buggify
from peer.ids import FileIndex
from peer.limits import FILES_OPEN_MAX
from peer.store.filesystem import File, FileSlice, FileState
from peer.store.trouble import LACK


class MemoryFile:
    """Bytes that are served like a file: small files joined, because each would need a descriptor and a
    system call of its own."""

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

    def uncache(self) -> None:
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

    def opening(self, open_it: Callable[[], File]) -> File:
        """Open one more; for lack of descriptors give back those that are kept, and try once more."""
        try:
            return open_it()
        except OSError as error:
            if error.errno not in LACK or not self._files:
                raise
        self.clear()
        return open_it()

    def put(self, file: FileIndex, opened: File) -> None:
        with self._lock:
            self._files[file] = opened
            self._files.move_to_end(file)
            most = 0 if buggify(Point.DROP_FILES) else self._limit
            while len(self._files) > most:
                self._files.popitem(last=False)

    def drop(self, file: FileIndex) -> None:
        with self._lock:
            self._files.pop(file, None)

    def clear(self) -> None:
        with self._lock:
            self._files.clear()

    def __len__(self) -> int:
        return len(self._files)


def read_whole(slices: list[FileSlice], length: int) -> bytearray | None:
    """All their bytes, which must be that many; None if a file ends before its slice. Raises OSError."""
    data = bytearray(length)
    view, done = memoryview(data), 0
    for part in slices:
        if part.file.read_into(view[done : done + part.count], part.offset) != part.count:
            return None
        done += part.count
    return data if done == length else None
