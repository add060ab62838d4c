"""The seam to the disk: files and folders as the store needs them. Blocking; call it through the workers.

Real side: `store/files.py`. Simulated side: `sim/disk.py`, which can be full, fail, lie and lose power.

A `Folder` is a root: every path is a tuple of components below it, already validated (`peer/paths.py`), and
no symbolic link below the root is ever followed. Errors are `OSError`, as the kernel names them; the store
translates them once, in `store/trouble.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

PathParts: TypeAlias = tuple[str, ...]
"""Path components below a folder; the empty tuple is the folder itself."""


class Kind(Enum):
    """What a directory entry is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file is still the one that was hashed.

    Modification time can be set back by a program, change time cannot: both are kept. Times in nanoseconds.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder; ``name`` is as the file system gave it, not validated."""

    name: str
    kind: Kind


class File(Protocol):
    """An open file. Positions and counts in bytes."""

    def fileno(self) -> int | None:
        """Its descriptor for `sendfile`, or None where there is none (simulation)."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from the offset; fewer bytes only at the end of the file."""

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write all of it."""

    def allocate(self, size: int) -> None:
        """Make the file that long, with its blocks reserved where the file system can."""

    def truncate(self, size: int) -> None:
        """Cut or extend, without reserving."""

    def size(self) -> int: ...

    def state(self) -> FileState:
        """As it is now, by the open descriptor."""

    def prefetch(self, offset: int, count: int) -> None:
        """Hint that this will be read soon. Never blocks, never fails."""

    def uncache(self) -> None:
        """Hint that what is durable of it need not stay in memory. Never fails."""

    def sync(self) -> None:
        """Return when the data is durable. After an OSError nothing since the last sync may be believed."""

    def lock(self) -> bool:
        """Take the exclusive advisory lock; False if another process has it. Released by close."""

    def close(self) -> None:
        """For who alone uses it. Letting go of the last reference closes as well: what others may be reading
        is let go, not closed."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes of an open file, to be sent. Offset and count in bytes."""

    file: File
    offset: int
    count: int


class Folder(Protocol):
    """A root folder and everything below it."""

    def open(self, path: PathParts, *, write: bool = False) -> File:
        """Open an existing regular file. OSError: ELOOP for a link; EMLINK to write a file with two names."""

    def create(self, path: PathParts, *, executable: bool = False) -> File:
        """Make a new file for reading and writing; FileExistsError if anything is there."""

    def make_folder(self, path: PathParts) -> None:
        """Make a folder and its missing parents; an existing real folder is fine."""

    def entries(self, path: PathParts) -> Iterator[Entry]:
        """What is in a folder, in the order of the names."""

    def kind(self, path: PathParts) -> Kind | None:
        """What is there, not following links; None for nothing."""

    def state(self, path: PathParts) -> FileState:
        """Of a regular file, by its path."""

    def allocated_bytes(self, path: PathParts) -> int:
        """How much of the disk a file takes: less than its size with holes, as much with reserved blocks."""

    def rename(self, old: PathParts, new: PathParts) -> None:
        """Move within the root; FileExistsError rather than replace anything."""

    def replace(self, old: PathParts, new: PathParts) -> None:
        """Move within the root, atomically in place of a file of ours."""

    def remove(self, path: PathParts) -> None:
        """Remove a file, link or empty folder."""

    def sync_folder(self, path: PathParts) -> None:
        """Make the folder's entries durable."""

    def sync_everything(self, path: PathParts = ()) -> None:
        """Make all data and entries below a folder durable in one call: cheaper than one sync a file for
        many files."""

    def free_bytes(self) -> int:
        """Space that this user can still fill."""

    def describe(self, path: PathParts = ()) -> str:
        """How a person would name it, for messages."""

    def close(self) -> None: ...
