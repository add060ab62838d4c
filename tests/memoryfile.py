"""Files for tests of streams: in memory, or a real one by its descriptor."""

import os
from pathlib import Path
from typing import cast

from peer.store.filesystem import File


class _MemoryFile:
    """A file without a descriptor."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def fileno(self) -> int | None:
        return None

    def read_into(self, buffer: memoryview, offset: int) -> int:
        part = self._data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)


class _RealFile:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def fileno(self) -> int | None:
        return self._descriptor

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self._descriptor, [buffer], offset)

    def close(self) -> None:
        os.close(self._descriptor)


def memory_file(data: bytes) -> File:
    """The bytes as a file that only streams use."""
    return cast("File", _MemoryFile(data))


def real_file(path: Path) -> File:
    """An existing file as one that only streams use, and close."""
    return cast("File", _RealFile(path))
