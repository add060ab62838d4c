"""The hash of each large file as a whole, computed along while its pieces are written.

The manifest names it beside the pieces' own hashes, and a file is not called complete before it agrees
(docs/decisions/whole-file-check.md). A piece that continues what was hashed so far is hashed from memory;
pieces that came too early are read again soon after, while the page cache has them; what is left at the end
is read then. So a download that came in order costs next to nothing at its end.

Only verified bytes are given in. What becomes of them on the disk is not seen here: a piece that a failed
sync takes is fetched again with the same bytes, and the running hash stays right.
"""

from collections.abc import Callable
from threading import Lock

from blake3 import blake3

from peer.bitfield import Bitfield
from peer.errors import StorageError
from peer.ids import FileIndex, PieceIndex
from peer.limits import CATCH_UP_PIECES_MAX
from peer.store.layout import Layout


class _Running:
    """One file's hash up to, not including, the piece ``next``."""

    __slots__ = ("hash", "lock", "next", "stop")

    def __init__(self, pieces: range) -> None:
        self.hash = blake3()
        self.lock = Lock()
        self.next = pieces.start
        self.stop = pieces.stop


class Wholes:
    """Running hashes of the files of a share that have pieces of their own. Threads may share it.

    read: fills the buffer with a piece that was written; whatever it raises, comes out of `catch_up` only.
    """

    def __init__(self, layout: Layout, read: Callable[[PieceIndex, memoryview], None]) -> None:
        self._layout = layout
        self._read = read
        self._seen = Bitfield(layout.piece_count)
        self._files: dict[FileIndex, _Running] = {}
        self._lock = Lock()

    def written(self, piece: PieceIndex, data: memoryview) -> None:
        """A verified piece was written: hash it if it is next, then some of those that wait."""
        file = self._layout.large_file(piece)
        if file is None:
            return
        running = self._running(file)
        with self._lock:
            self._seen.add(piece)
        if not running.lock.acquire(blocking=False):
            return  # another thread is hashing this file, and will come to this piece or leave it for later
        try:
            if running.next == piece:
                running.hash.update(data)
                running.next += 1
            self._catch_up(running, CATCH_UP_PIECES_MAX)
        except (OSError, StorageError):
            pass  # read again at the end, by somebody who can say so
        finally:
            running.lock.release()

    def digest(self, file: FileIndex) -> bytes | None:
        """The file's hash if all of its pieces came by; those that wait are read now. None if not all came
        or one cannot be read: the whole file is to be read then."""
        running = self._files.get(file)
        if running is None:
            return None
        with running.lock:
            try:
                self._catch_up(running, running.stop)
            except (OSError, StorageError):
                return None
            return running.hash.digest() if running.next == running.stop else None

    def _running(self, file: FileIndex) -> _Running:
        with self._lock:
            running = self._files.get(file)
            if running is None:
                running = self._files[file] = _Running(self._layout.pieces_of(file))
            return running

    def _catch_up(self, running: _Running, pieces_max: int) -> None:
        buffer = bytearray()
        for _ in range(pieces_max):
            piece = PieceIndex(running.next)
            if running.next == running.stop or piece not in self._seen:
                return
            size = self._layout.piece_length(piece)
            if len(buffer) < size:
                buffer = bytearray(size)
            with memoryview(buffer)[:size] as view:
                self._read(piece, view)
                running.hash.update(view)
            running.next += 1
