"""What a simulated disk remembers: the content that programs see, and the content that a power loss leaves.

A file has both as sectors of 4 KiB, held sparsely. A write changes what is seen and makes the sector dirty; a
sync makes dirty sectors durable. A sync that FAILS leaves them clean and not durable, as ext4, XFS and Btrfs
do (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020): the next sync succeeds
and saves nothing. In a power loss each unsynced sector is, independently, old, new, or torn at 512 bytes; one
that was never durable may also be what the blocks held before (POSIX promises no zeros). The size is that of
the last sync, or of any moment since.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

SECTOR_BYTES: Final = 4096
TEAR_BYTES: Final = 512
"""What disks promise to write in one piece."""

_ZEROS: Final = bytes(SECTOR_BYTES)


@dataclass(slots=True)
class FileNode:
    """A regular file. Sizes in bytes; sectors by their index in the file; absent means zeros."""

    number: int
    executable: bool = False
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    seen: dict[int, bytes] = field(default_factory=dict)
    reserved_sectors: int = 0
    durable: dict[int, bytes] = field(default_factory=dict)
    durable_size: int = 0
    durable_mtime_ns: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Size and modification time at each change of the size since the last sync."""
    dirty: set[int] = field(default_factory=set)
    abandoned: set[int] = field(default_factory=set)
    """Seen, clean, not durable: what a failed sync leaves."""
    claimed: set[int] = field(default_factory=set)
    """The same, and the drive says that it has them: what a sync that lies leaves."""
    links: int = 0
    opens: int = 0
    freed: bool = False
    locked_by: object = None

    @property
    def used_sectors(self) -> int:
        return self.reserved_sectors + sum(index >= self.reserved_sectors for index in self.seen)

    def needed_sectors(self, offset: int, count: int) -> list[int]:
        """The sectors, in order, for which a write there takes new ones of the disk."""
        if not count:
            return []
        first = max(self.reserved_sectors, offset // SECTOR_BYTES)
        return [index for index in range(first, sectors_in(offset + count)) if index not in self.seen]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        count = max(0, min(len(buffer), self.size - offset))
        first, start = divmod(offset, SECTOR_BYTES)
        sectors = range(first, sectors_in(offset + count))
        data = b"".join([self.seen.get(index, _ZEROS) for index in sectors])
        buffer[:count] = data[start : start + count]
        return count

    def widened(self, data: memoryview, offset: int) -> memoryview | bytes:
        """The data with what is seen before it in its first sector and after it in its last."""
        first, before = divmod(offset, SECTOR_BYTES)
        last, inside = divmod(offset + len(data), SECTOR_BYTES)
        if not before and not inside:
            return data
        after = self.seen.get(last, _ZEROS)[inside:] if inside else b""
        return b"".join((self.seen.get(first, _ZEROS)[:before], data, after))

    def write(self, first: int, sectors: Sequence[bytes]) -> None:
        """Write whole sectors, one after the other."""
        written = range(first, first + len(sectors))
        self.seen.update(zip(written, sectors, strict=True))
        self.dirty.update(written)
        if self.abandoned:
            self.abandoned.difference_update(written)
        if self.claimed:
            self.claimed.difference_update(written)

    def resize(self, size: int) -> None:
        """Cut or extend what is seen; the rest of a cut sector becomes zeros, as POSIX wants."""
        if size < self.size:
            last, inside = divmod(size, SECTOR_BYTES)
            for index in [index for index in self.seen if index > last or (index == last and not inside)]:
                del self.seen[index]
                self.dirty.add(index)
            if inside and last in self.seen:
                self.seen[last] = self.seen[last][:inside] + _ZEROS[inside:]
                self.dirty.add(last)
            self.reserved_sectors = min(self.reserved_sectors, sectors_in(size))
        self.grow_to(size)

    def grow_to(self, size: int) -> None:
        """Have another size, which a power loss may leave, and the ones before it as well."""
        if size != self.size:
            self.size = size
            self.sizes.append((size, self.mtime_ns))

    def sync(self) -> None:
        for index in self.dirty | self.claimed:
            _set(self.durable, index, self.seen.get(index))
        self.dirty.clear()
        self.claimed.clear()
        self._sync_size()

    def claim_sync(self) -> None:
        """The drive says that it has it all, and keeps it in its own cache: only a power loss tells, since to
        the system these sectors are clean, and a sync that fails later is not about them."""
        self.claimed |= self.dirty
        self.dirty.clear()

    def fail_sync(self, sectors: set[int] | None = None) -> None:
        """Of these sectors, or of all. Not of a size: that lies in a journal, which is written again."""
        failed = self.dirty if sectors is None else self.dirty & sectors
        self.abandoned |= failed
        self.dirty -= failed

    def drop_cache(self) -> None:
        """Forget clean sectors: those that a failed sync left show again what the medium has."""
        for index in self.abandoned:
            _set(self.seen, index, self.durable.get(index))
        self.abandoned.clear()

    def lose_power(self, rng: Random, loss: float) -> None:
        """Leave what the medium has. loss: how likely an unsynced sector does not arrive whole."""
        for index in sorted(self.dirty | self.abandoned | self.claimed):
            if rng.random() >= loss:
                _set(self.durable, index, self.seen.get(index))
            elif index not in self.durable and rng.random() < 0.2:
                self.durable[index] = rng.randbytes(SECTOR_BYTES)
            elif rng.random() < 0.25:
                old, new = self.durable.get(index, _ZEROS), self.seen.get(index, _ZEROS)
                cut = rng.randrange(0, SECTOR_BYTES, TEAR_BYTES)
                first, second = (new, old) if rng.random() < 0.5 else (old, new)
                self.durable[index] = first[:cut] + second[cut:]
        if (self.size, self.mtime_ns) != (self.durable_size, self.durable_mtime_ns) and rng.random() >= loss:
            self._sync_size()
        elif self.sizes and rng.random() < 0.3:  # each change of an inode is written for itself
            self.durable_size, self.durable_mtime_ns = rng.choice(self.sizes)
        size = self.durable_size
        sectors = sectors_in(size)
        self.durable = {index: data for index, data in self.durable.items() if index < sectors}
        if size % SECTOR_BYTES and sectors - 1 in self.durable:
            self.durable[sectors - 1] = self.durable[sectors - 1][: size % SECTOR_BYTES].ljust(
                SECTOR_BYTES, b"\0"
            )
        self.seen = dict(self.durable)
        self.size, self.mtime_ns = size, self.durable_mtime_ns
        self.reserved_sectors = min(self.reserved_sectors, sectors)
        self.dirty.clear()
        self.claimed.clear()
        self.abandoned.clear()
        self.sizes.clear()
        self.let_go()

    def let_go(self) -> None:
        """Its program is gone, and with it descriptors and locks."""
        self.opens = 0
        self.locked_by = None

    def copy(self) -> "FileNode":
        made = FileNode(self.number, self.executable, self.size, self.mtime_ns, self.ctime_ns)
        made.seen, made.durable = dict(self.seen), dict(self.durable)
        made.reserved_sectors = self.reserved_sectors
        made.durable_size, made.durable_mtime_ns = self.durable_size, self.durable_mtime_ns
        made.dirty, made.abandoned, made.claimed = set(self.dirty), set(self.abandoned), set(self.claimed)
        made.sizes = list(self.sizes)
        made.links, made.freed = self.links, self.freed
        return made

    def _sync_size(self) -> None:
        self.durable_size = self.size
        self.durable_mtime_ns = self.mtime_ns
        self.sizes.clear()


@dataclass(slots=True)
class FolderNode:
    """A folder: names to node numbers, as seen and as durable."""

    number: int
    seen: dict[str, int] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    links: int = 0

    def lose_power(self) -> None:
        self.seen = dict(self.durable)

    def copy(self) -> "FolderNode":
        return FolderNode(self.number, dict(self.seen), dict(self.durable), self.links)


@dataclass(slots=True)
class LinkNode:
    """A symbolic link that somebody planted. Nothing follows it."""

    number: int
    links: int = 0

    def copy(self) -> "LinkNode":
        return LinkNode(self.number, self.links)


Node = FileNode | FolderNode | LinkNode


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of one folder before it is durable. node: what the name means now, None for nothing."""

    folder: int
    name: str
    node: int | None


class EntryLog:
    """Changes of folders that are not durable yet, in order. One operation's changes go together.

    A rename is both its halves or neither (every journalling file system promises that), but of several
    unsynced operations any may be lost, whatever their order.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Change, ...]] = []

    def add(self, *changes: Change) -> None:
        self._pending.append(changes)

    def sync(self, folder: int | None, folders: dict[int, FolderNode]) -> None:
        """Make durable what concerns the folder; None: everything."""
        kept = []
        for changes in self._pending:
            if folder is None or any(change.folder == folder for change in changes):
                _apply(changes, folders)
            else:
                kept.append(changes)
        self._pending = kept

    def lose_power(self, rng: Random, loss: float, folders: dict[int, FolderNode]) -> None:
        for changes in self._pending:
            if rng.random() >= loss:
                _apply(changes, folders)
        self._pending = []

    def copy(self) -> "EntryLog":
        made = EntryLog()
        made._pending = list(self._pending)
        return made

    def __len__(self) -> int:
        return len(self._pending)


def _apply(changes: tuple[Change, ...], folders: dict[int, FolderNode]) -> None:
    for change in changes:
        if change.folder in folders:
            _set(folders[change.folder].durable, change.name, change.node)


def _set(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def sectors_in(size: int) -> int:
    """How many sectors a file of this size has."""
    return -(-size // SECTOR_BYTES)
