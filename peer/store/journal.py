"""The journal's file: records appended, synced when asked, rewritten when it has grown or cannot be trusted.

It lies beside the data that it speaks of. It is replaced as a whole by a new file that is synced first, so at
every moment one good journal is there under its name. After a failed sync nobody knows what the medium holds
of it (the page cache shows our records all the same), so it must be rewritten before it counts again.
"""

from collections.abc import Iterable

from peer.buggify import Point, buggify
from peer.limits import JOURNAL_BYTES_MAX, JOURNAL_GROWTH_BYTES
from peer.store.filesystem import File, Folder, PathParts
from peer.store.records import Contents, Header, Record, decode, encode


def read_journal(folder: Folder, path: PathParts) -> Contents | None:
    """What the journal there says; None if there is none or it has no good header. Raises OSError."""
    data = read_whole(folder, path, JOURNAL_BYTES_MAX)
    return None if data is None else decode(data)


class Journal:
    """One share's journal, for one writer. Methods raise OSError; the state stays right after one.

    continued: what `read_journal` found, to append to it. Otherwise `rewrite` must come first.
    """

    def __init__(
        self, folder: Folder, path: PathParts, header: Header, continued: Contents | None = None
    ) -> None:
        self._folder = folder
        self._path = path
        self._header = header
        self._file: File | None = None
        self._end = self._checksum = self._compact_bytes = 0
        if continued is not None:
            self._file = folder.open(path, write=True)
            self._end, self._checksum = continued.end, continued.checksum
        self._broken = continued is None

    @property
    def needs_rewrite(self) -> bool:
        """Whether nothing more should be appended: it is too long, or what the medium holds is unknown."""
        if buggify(Point.REWRITE_JOURNAL):
            return True
        return self._broken or self._end > 2 * self._compact_bytes + JOURNAL_GROWTH_BYTES

    @property
    def length(self) -> int:
        """Bytes that count."""
        return self._end

    def append(self, record: Record) -> None:
        """Add a record, not yet durable. Without effect while a rewrite is needed after a failure."""
        if self._broken or self._file is None:
            return
        data, checksum = encode(record, self._checksum, self._header.piece_count)
        # After an error the next record goes to the same place: the chained checksums disown leftovers.
        self._file.write(data, self._end)
        self._end += len(data)
        self._checksum = checksum

    def sync(self) -> None:
        """Make what was appended durable."""
        if self._file is None:
            return
        try:
            self._file.sync()
        except OSError:
            self._broken = True
            raise

    def rewrite(self, records: Iterable[Record]) -> None:
        """Put a new journal with just these records (the header comes by itself) in its place, durably."""
        self._broken = True
        fresh = (*self._path[:-1], self._path[-1] + ".new")
        data, checksum = encode(self._header)
        parts = [data]
        for record in records:
            data, checksum = encode(record, checksum, self._header.piece_count)
            parts.append(data)
        whole = b"".join(parts)
        file = write_whole(self._folder, fresh, whole)
        self._folder.replace(fresh, self._path)
        self._folder.sync_folder(self._path[:-1])
        self._file = file
        self._end = self._compact_bytes = len(whole)
        self._checksum = checksum
        self._broken = False

    def close(self) -> None:
        """Let go of the file."""
        self._file = None


def read_whole(folder: Folder, path: PathParts, bytes_max: int) -> bytes | None:
    """A small file's bytes, at most so many; None if there is none. Raises OSError."""
    try:
        file = folder.open(path)
    except FileNotFoundError:
        return None
    try:
        data = bytearray(min(file.size(), bytes_max))
        count = file.read_into(memoryview(data), 0)
        return bytes(memoryview(data)[:count])
    finally:
        file.close()


def write_whole(folder: Folder, path: PathParts, data: bytes) -> File:
    """A new file with these bytes, synced; a leftover of an interrupted attempt is removed first."""
    if folder.kind(path) is not None:
        folder.remove(path)
    file = folder.create(path)
    try:
        file.write(data, 0)
        file.sync()
    except BaseException:
        file.close()
        raise
    return file
