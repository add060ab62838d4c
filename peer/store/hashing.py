"""Hashes all pieces and all files of a share, reading every byte once, on every core, in constant memory.

The share is cut into RUNS: consecutive pieces of one large file, or of the packed small files, that fit into
one buffer. A thread takes a free buffer and the next run, reads it, hashes its pieces and the files that lie
in it whole. What remains is the digest of a file that is longer than a run: it has to see its bytes in order,
while runs are finished in any order. Nobody waits for that. A thread leaves its buffer with the file's
`_FileHash`; whoever finds the next bytes in order there, and nobody feeding, feeds them and all that follow,
and gets the buffers back into use:

    thread 1   run 0: read, pieces | feed 0, feed 1 |  run 3 ...
    thread 2   run 1: read, pieces, leave | run 2: read, pieces, feed 2 | ...

It cannot get stuck: a buffer is taken before a run, runs are given out in order, so the bytes that everybody
waits for are always in some thread's hands. BLAKE3 and reading release the interpreter lock.

A piece and its file cannot share work, although both are BLAKE3: the hash of a chunk depends on its position
in the input. Only a file that is exactly one piece has the same hash for both.
"""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import trio
from blake3 import blake3

from peer.errors import ManyhandsError
from peer.ids import FileIndex, PieceIndex
from peer.limits import (
    CACHED_BYTES_PER_S_MIN,
    HASH_AHEAD_BYTES,
    HASH_JOB_BYTES,
    HASH_JOB_S,
    HASH_MEMORY_BYTES,
    HASH_RUN_BYTES,
    HASH_TASKS_MAX,
)
from peer.manifest import DIGEST_BYTES, EMPTY_DIGEST
from peer.store.filesystem import File
from peer.store.layout import Layout, Segment
from peer.workers import Lane, Workers

Progress: TypeAlias = Callable[[int, int], None]
"""Called on the event loop with the bytes hashed so far and the bytes to hash."""


class Files(Protocol):
    """Where the bytes come from. Called in worker threads; the calls for one file never overlap.

    Whatever these raise ends the hashing with that error.
    """

    def open(self, file: FileIndex) -> File | None:
        """Open it; None for a file that cannot be read and shall count as absent."""

    def failed(self, file: FileIndex, error: OSError) -> None:
        """Reading failed; unless this raises, the bytes count as absent."""

    def close(self, file: FileIndex, opened: File) -> None:
        """All of it has been read: close it."""


class Digests:
    """The result. What could not be read whole, or was not wanted, has no digest."""

    def __init__(self, layout: Layout) -> None:
        self.pieces = bytearray(DIGEST_BYTES * layout.piece_count)
        """All piece digests; zeros for a piece that is not there."""
        self.files: list[bytes | None] = [None if size else EMPTY_DIGEST for size in layout.sizes]
        self._is_there = bytearray(layout.piece_count)

    def piece(self, piece: PieceIndex) -> bytes | None:
        if not self._is_there[piece]:
            return None  # and not zeros: a hostile manifest may well say zeros
        return bytes(self.pieces[piece * DIGEST_BYTES : (piece + 1) * DIGEST_BYTES])

    def set_piece(self, piece: PieceIndex, digest: bytes) -> None:
        """Threads may do this at once, for different pieces."""
        self.pieces[piece * DIGEST_BYTES : (piece + 1) * DIGEST_BYTES] = digest
        self._is_there[piece] = 1


async def hash_all(
    layout: Layout,
    files: Files,
    workers: Workers,
    *,
    long_files: bool = True,
    progress: Progress | None = None,
    tasks: int | None = None,
) -> Digests:
    """Hash every piece and every file that is not empty.

    long_files: whether files with pieces of their own get a digest too, which costs as much again.
    tasks: threads to use, by default one for each core.
    Raises what ``files`` raises.
    """
    hashing = _Hashing(layout, files, tasks or os.cpu_count() or 1, workers.clock, long_files=long_files)
    resting = trio.lowlevel.ParkingLot()
    problems: list[Exception] = []

    async def work() -> None:
        while not hashing.is_exhausted:
            if not hashing.free:
                # Whoever frees a buffer is inside a job, and wakes us when that returns.
                hashing.hungry += 1
                await resting.park()
                hashing.hungry -= 1
                continue
            try:
                await workers.run(Lane.COMPUTE, hashing.work)
            except (ManyhandsError, OSError) as error:
                problems.append(error)
                nursery.cancel_scope.cancel()
                return
            resting.unpark_all()
            if progress is not None:
                progress(hashing.bytes_done, layout.total_bytes)

    async def recall() -> None:
        """Call the threads back now and then, and at once when all is cancelled."""
        try:
            while True:
                await trio.sleep(HASH_JOB_S)
                hashing.recalls += 1
        finally:
            hashing.is_exhausted = True

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recall)
            async with trio.open_nursery() as hashers:
                for _ in range(hashing.tasks):
                    hashers.start_soon(work)
            nursery.cancel_scope.cancel()
    finally:
        hashing.abandon()
    if problems:
        raise problems[0]
    return hashing.digests


class _Buffer:
    """Memory for one run, and how many still need what is in it. Guarded by the hashing's lock."""

    __slots__ = ("users", "view")

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self.users = 0


class _FileHash:
    """A file that is spread over several runs: open while they are read, its digest fed in order.

    Guarded by the hashing's lock; only the one who has set ``busy`` touches the hasher, and without the lock.
    """

    __slots__ = ("busy", "complete", "hasher", "left", "next", "opened", "waiting")

    def __init__(self, opened: File | None, hasher: blake3 | None, size: int) -> None:
        self.opened = opened
        self.hasher = hasher
        self.complete = opened is not None and hasher is not None
        """False once a part was absent, or if nobody wants the digest: then parts are only counted."""
        self.left = size
        """Bytes that no run has brought yet."""
        self.next = 0
        """Offset of the bytes that the hasher wants now."""
        self.waiting: dict[int, tuple[memoryview, _Buffer]] = {}
        self.busy = False


class _Hashing:
    """What the threads share."""

    def __init__(
        self, layout: Layout, files: Files, tasks: int, clock: Callable[[], float], *, long_files: bool
    ) -> None:
        run_bytes = max(layout.piece_bytes, HASH_RUN_BYTES)
        buffers_useful = layout.total_bytes // run_bytes + 1
        self.tasks = min(tasks, HASH_TASKS_MAX, buffers_useful)
        buffers = min(2 * self.tasks, HASH_MEMORY_BYTES // run_bytes, buffers_useful)
        self.free = [_Buffer(min(run_bytes, layout.total_bytes)) for _ in range(buffers)]
        self.hungry = 0
        """Tasks that wait for a free buffer."""
        self.digests = Digests(layout)
        self.bytes_done = 0
        self.is_exhausted = False
        """No run is left, or none shall be begun."""
        self.recalls = 0
        """Counts up when the threads shall return after the run that they are at."""
        self._layout = layout
        self._files = files
        self._clock = clock
        self._long_files = long_files
        self._runs = _runs(layout, run_bytes // layout.piece_bytes)
        self._spread: dict[FileIndex, _FileHash] = {}
        self._lock = threading.Lock()
        # The digest of one long file is a chain; on many cores it must not be what all wait for.
        self._hasher_threads = max(1, tasks // 4)

    def work(self) -> None:
        """Do some runs, in a worker thread."""
        recalls = self.recalls
        left = HASH_JOB_BYTES
        while left > 0 and recalls == self.recalls and not self.is_exhausted:
            with self._lock:
                run = next(self._runs, None) if self.free else None
                if run is None:
                    self.is_exhausted |= bool(self.free)
                    return
                buffer = self.free.pop()
            buffer.users = 1
            count = self._hash_run(run, buffer)
            with self._lock:
                self.bytes_done += count
                self._release(buffer)
                if self.free and self.hungry:
                    return  # so that the others are woken
            left -= max(count, HASH_RUN_BYTES // 16)  # a tiny run has its costs too

    def abandon(self) -> None:
        """Close what is open: after an error or a cancellation, when no thread is at work any more."""
        for spread in self._spread.values():
            if spread.opened is not None:
                spread.opened.close()
        self._spread.clear()

    def _hash_run(self, run: range, buffer: _Buffer) -> int:
        """Read and hash; return the number of bytes that there should be."""
        segments: list[tuple[int, Segment, bool]] = []  # place in the buffer; whether all of it was read
        absent: list[tuple[int, int]] = []  # parts of the buffer, from - to
        at = 0
        for segment in self._layout.segments_of(run):
            missed = self._read(segment, buffer.view[at : at + segment.length])
            absent += [(at + begin, at + end) for begin, end in missed]
            segments.append((at, segment, not missed))
            at += segment.length
        whole = self._hash_pieces(run, buffer.view, absent)
        for place, segment, good in segments:
            part = buffer.view[place : place + segment.length]
            if segment.length < self._layout.sizes[segment.file]:
                self._feed(segment, part if good else None, buffer)
            elif good:
                digest = whole.get((place, segment.length))
                if digest is None and self._is_wanted(segment.file):
                    digest = blake3(part).digest()
                self.digests.files[segment.file] = digest
        return at

    def _hash_pieces(
        self, run: range, view: memoryview, absent: list[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """Hash the pieces that are all there; return their digests by place and length in the buffer."""
        made: dict[tuple[int, int], bytes] = {}
        start = 0
        for piece in run:
            length = self._layout.piece_length(PieceIndex(piece))
            end = start + length
            if not absent or not any(begin < end and start < stop for begin, stop in absent):
                digest = made[start, length] = blake3(view[start:end]).digest()
                self.digests.set_piece(PieceIndex(piece), digest)
            start = end
        return made

    def _read(self, segment: Segment, part: memoryview) -> list[tuple[int, int]]:
        """Fill the part; return what of it, from - to, the file does not have."""
        if segment.length < self._layout.sizes[segment.file]:
            return self._read_long(self._opened(segment.file), segment, part)
        opened = self._files.open(segment.file)
        if opened is None:
            return [(0, segment.length)]
        try:
            missed = self._read_from(opened, segment, part)
        except BaseException:
            opened.close()
            raise
        self._files.close(segment.file, opened)
        return missed

    def _read_long(self, opened: File | None, segment: Segment, part: memoryview) -> list[tuple[int, int]]:
        """Read from a file that goes on; where that takes a disk, ask it for what comes later.

        Not where the bytes come from the page cache: the hint alone costs a twentieth of the hashing.
        """
        begin = self._clock()
        missed = self._read_from(opened, segment, part)
        ahead = segment.offset + HASH_AHEAD_BYTES
        is_slow = (self._clock() - begin) * CACHED_BYTES_PER_S_MIN > segment.length
        if is_slow and opened is not None and ahead < self._layout.sizes[segment.file]:
            opened.prefetch(ahead, segment.length)
        return missed

    def _read_from(self, opened: File | None, segment: Segment, part: memoryview) -> list[tuple[int, int]]:
        if opened is None:
            return [(0, segment.length)]
        try:
            count = opened.read_into(part, segment.offset)
        except OSError as error:
            self._files.failed(segment.file, error)
            return self._read_by_piece(opened, segment, part)
        return [(count, segment.length)] if count < segment.length else []

    def _read_by_piece(self, opened: File, segment: Segment, part: memoryview) -> list[tuple[int, int]]:
        """After an error: a bad sector shall cost the piece that it is in, not its neighbours."""
        step = self._layout.piece_bytes
        if segment.length <= step:
            return [(0, segment.length)]
        missed = []
        for start in range(0, segment.length, step):
            length = min(step, segment.length - start)
            piece = Segment(segment.file, segment.offset + start, length)
            for begin, end in self._read_from(opened, piece, part[start : start + length]):
                missed.append((start + begin, start + end))
        return missed

    def _opened(self, file: FileIndex) -> File | None:
        with self._lock:
            spread = self._spread.get(file)
            if spread is None:
                hasher = blake3(max_threads=self._hasher_threads) if self._is_wanted(file) else None
                size = self._layout.sizes[file]
                spread = self._spread[file] = _FileHash(self._files.open(file), hasher, size)
            return spread.opened

    def _is_wanted(self, file: FileIndex) -> bool:
        return self._long_files or self._layout.sizes[file] < self._layout.piece_bytes

    def _feed(self, segment: Segment, part: memoryview | None, buffer: _Buffer) -> None:
        """Bring a part of a spread file, or the news that it is absent; feed what is in order."""
        spread = self._spread[segment.file]
        with self._lock:
            spread.left -= segment.length
            if part is None:
                spread.complete = False
            if not spread.complete:
                for _, waiting in spread.waiting.values():
                    self._release(waiting)
                spread.waiting.clear()
            elif part is not None:
                spread.waiting[segment.offset] = (part, buffer)
                buffer.users += 1
            if spread.busy:
                return
            spread.busy = True
        while True:
            with self._lock:
                found = spread.waiting.pop(spread.next, None)
                if found is None:
                    spread.busy = False
                    is_finished = not spread.left
                    break
            part, waiting = found
            assert spread.hasher is not None
            spread.hasher.update(part)
            with self._lock:
                spread.next += len(part)
                self._release(waiting)
        if is_finished:  # true for one caller only: the one who was feeding when the last part was there
            self._finish(segment.file, spread)

    def _finish(self, file: FileIndex, spread: _FileHash) -> None:
        with self._lock:
            del self._spread[file]
        if spread.complete and spread.hasher is not None:
            self.digests.files[file] = spread.hasher.digest()
        if spread.opened is not None:
            self._files.close(file, spread.opened)

    def _release(self, buffer: _Buffer) -> None:
        buffer.users -= 1
        if not buffer.users:
            self.free.append(buffer)


def _runs(layout: Layout, pieces_max: int) -> Iterator[range]:
    """All pieces in order, as ranges that stay inside one large file or inside the packed stream."""
    file, first = 0, 0
    while first < layout.packed_first:
        while layout.sizes[file] < layout.piece_bytes:
            file += 1
        pieces = layout.pieces_of(FileIndex(file))
        for start in range(pieces.start, pieces.stop, pieces_max):
            yield range(start, min(start + pieces_max, pieces.stop))
        first = pieces.stop
        file += 1
    for start in range(layout.packed_first, layout.piece_count, pieces_max):
        yield range(start, min(start + pieces_max, layout.piece_count))
