"""Hashing in runs and threads gives what hashing one thing after another gives, whatever is missing."""

import errno
import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.errors import SourceChangedError
from peer.ids import FileIndex, PieceIndex
from peer.limits import HASH_TASKS_MAX
from peer.sim.workers import InlineWorkers
from peer.store import hashing
from peer.store.filesystem import File
from peer.store.hashing import Digests, hash_all
from peer.store.layout import Layout
from peer.workers import ThreadWorkers, Workers

PIECE = 64
RUN = 2 * PIECE


class MemoryFile:
    """Only what hashing uses of a file; reading beyond ``breaks_at`` fails."""

    def __init__(self, data: bytes, breaks_at: int | None) -> None:
        self.data = data
        self.breaks_at = breaks_at
        self.is_closed = False
        self.prefetched: list[int] = []

    def read_into(self, buffer: memoryview, offset: int) -> int:
        assert not self.is_closed
        if self.breaks_at is not None and offset + len(buffer) > self.breaks_at:
            raise OSError(errno.EIO, "broken")
        part = self.data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def prefetch(self, offset: int, count: int) -> None:
        assert not self.is_closed
        self.prefetched.append(offset)

    def close(self) -> None:
        assert not self.is_closed, "closed once"
        self.is_closed = True


class MemoryFiles:
    """Files by index; None for one that is missing. Notes what happens to them."""

    def __init__(self, contents: list[bytes | None], broken: dict[int, int] | None = None) -> None:
        self.contents = contents
        self.broken = broken or {}
        self.opened: dict[int, MemoryFile] = {}
        self.closed: set[int] = set()
        self.errors: set[int] = set()
        self.on_close: Callable[[int], None] = lambda file: None

    def open(self, file: FileIndex) -> File | None:
        data = self.contents[file]
        if data is None:
            return None
        assert file not in self.opened, "each file is opened once"
        self.opened[file] = MemoryFile(data, self.broken.get(file))
        return self.opened[file]  # type: ignore[return-value]

    def failed(self, file: FileIndex, error: OSError) -> None:
        self.errors.add(file)

    def close(self, file: FileIndex, opened: File) -> None:
        opened.close()
        self.on_close(file)
        self.closed.add(file)

    def check_all_closed(self) -> None:
        assert all(file.is_closed for file in self.opened.values())


def run(layout: Layout, files: MemoryFiles, workers: Workers, **options: object) -> Digests:
    return trio.run(partial(hash_all, layout, files, workers, **options))  # type: ignore[arg-type]


def content(size: int, seed: int) -> bytes:
    return blake3(bytes([seed])).digest(length=size)


@pytest.fixture(autouse=True)
def _small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "HASH_RUN_BYTES", RUN)
    monkeypatch.setattr(hashing, "HASH_JOB_BYTES", 2 * RUN)
    monkeypatch.setattr(hashing, "HASH_AHEAD_BYTES", 2 * RUN)


WORKERS = [InlineWorkers(), ThreadWorkers()]

sizes = st.one_of(
    st.integers(0, 10 * PIECE), st.sampled_from([0, 1, PIECE - 1, PIECE, PIECE + 1, RUN, RUN + 1, 7 * RUN])
)


@pytest.mark.parametrize("workers", WORKERS, ids=["inline", "threads"])
@given(st.lists(sizes, max_size=10), st.data())
@settings(max_examples=60)
def test_same_digests_as_one_after_another(workers: Workers, lengths: list[int], data: st.DataObject) -> None:
    contents = [content(size, seed) for seed, size in enumerate(lengths)]
    # On disk some are missing, some shorter, some longer, some break when read.
    there: list[bytes | None] = list(contents)
    broken: dict[int, int] = {}
    for file in data.draw(st.sets(st.integers(0, max(0, len(lengths) - 1)), max_size=3)) if lengths else ():
        kind = data.draw(st.sampled_from(["missing", "short", "longer", "broken"]))
        if kind == "missing":
            there[file] = None
        elif kind == "short":
            there[file] = contents[file][: data.draw(st.integers(0, lengths[file]))]
        elif kind == "longer":
            there[file] = contents[file] + b"more"
        else:
            broken[file] = data.draw(st.integers(0, lengths[file]))
    files = MemoryFiles(there, broken)
    long_files = data.draw(st.booleans())
    layout = Layout(PIECE, lengths)
    done: list[tuple[int, int]] = []
    digests = run(
        layout,
        files,
        workers,
        long_files=long_files,
        tasks=data.draw(st.integers(1, 5)),
        progress=lambda now, total: done.append((now, total)),
    )
    files.check_all_closed()
    check_digests(layout, contents, files, digests, long_files=long_files)
    assert sorted(done) == done
    if layout.piece_count:
        assert done[-1] == (sum(lengths), sum(lengths))


def check_digests(
    layout: Layout, contents: list[bytes], files: MemoryFiles, digests: Digests, *, long_files: bool
) -> None:
    for number in range(layout.piece_count):
        segments = layout.segments(PieceIndex(number))
        data = b"".join(contents[s.file][s.offset : s.offset + s.length] for s in segments)
        expected = blake3(data).digest()
        found = digests.piece(PieceIndex(number))
        if found is None:
            assert any(is_damaged(files, s.file, contents[s.file]) for s in segments)
        else:
            assert found == expected
    for file, data in enumerate(contents):
        found = digests.files[file]
        is_small = len(data) < PIECE
        if found is None:
            assert is_damaged(files, file, data) or not (long_files or is_small)
        else:
            assert found == blake3(data).digest()
            assert not data or not is_short(files, file, data)
        if not is_damaged(files, file, data):
            assert all(
                digests.piece(PieceIndex(p)) or layout.is_packed(PieceIndex(p))
                for p in layout.pieces_of(FileIndex(file))
            )


def is_damaged(files: MemoryFiles, file: int, data: bytes) -> bool:
    return file in files.broken or is_short(files, file, data)


def is_short(files: MemoryFiles, file: int, data: bytes) -> bool:
    there = files.contents[file]
    return there is None or len(there) < len(data)


def test_a_missing_piece_is_not_one_of_zeros() -> None:
    digests = run(Layout(PIECE, [PIECE]), MemoryFiles([None]), InlineWorkers())
    assert digests.piece(PieceIndex(0)) is None


def test_a_file_that_is_one_piece_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counting(data: memoryview | None = None, **options: object) -> object:
        if data is not None:
            hashed.append(len(data))
            return blake3(data)
        return blake3()

    monkeypatch.setattr(hashing, "blake3", counting)
    contents: list[bytes | None] = [content(PIECE, 1), content(PIECE - 1, 2)]
    digests = run(Layout(PIECE, [PIECE, PIECE - 1]), MemoryFiles(contents), InlineWorkers())
    assert digests.files == [digests.piece(PieceIndex(0)), digests.piece(PieceIndex(1))]
    assert hashed == [PIECE, PIECE - 1]


@pytest.mark.parametrize("workers", WORKERS, ids=["inline", "threads"])
def test_an_error_ends_it_and_leaves_nothing_open(workers: Workers) -> None:
    lengths = [5 * RUN, 9 * RUN, 10, 20]
    files = MemoryFiles([content(size, 0) for size in lengths])

    def changed(file: int) -> None:
        raise SourceChangedError(f"file {file} changed")

    files.on_close = changed
    with pytest.raises(SourceChangedError, match=r"file \d changed"):
        run(Layout(PIECE, lengths), files, workers, tasks=4)
    files.check_all_closed()


def test_memory_is_bounded_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    buffer = hashing._Buffer

    def counting(size: int) -> hashing._Buffer:
        made.append(size)
        return buffer(size)

    monkeypatch.setattr(hashing, "_Buffer", counting)
    lengths = [1000 * RUN]
    run(Layout(PIECE, lengths), MemoryFiles([bytes(lengths[0])]), ThreadWorkers(), tasks=100)
    assert sum(made) <= 2 * HASH_TASKS_MAX * RUN
    made.clear()
    monkeypatch.setattr(hashing, "HASH_MEMORY_BYTES", 3 * RUN)
    run(Layout(PIECE, lengths), MemoryFiles([bytes(lengths[0])]), ThreadWorkers(), tasks=100)
    assert sum(made) <= 3 * RUN


def test_the_order_in_which_runs_come_in_does_not_matter() -> None:
    """The first run is held back until others wait behind it, as a slow disk would."""
    lengths = [8 * RUN]
    data = content(lengths[0], 3)
    release = threading.Event()

    class Slow(MemoryFiles):
        def open(self, file: FileIndex) -> File | None:
            opened = super().open(file)
            assert opened is not None
            read = opened.read_into

            def slow_read(buffer: memoryview, offset: int) -> int:
                if offset == 0:
                    assert release.wait(60)
                if offset == 2 * RUN:
                    release.set()
                return read(buffer, offset)

            opened.read_into = slow_read  # type: ignore[method-assign]
            return opened

    digests = run(Layout(PIECE, lengths), Slow([data]), ThreadWorkers(), tasks=2)
    assert digests.files == [blake3(data).digest()]


@pytest.mark.parametrize(("rate", "offsets"), [(0, []), (10**18, [2 * RUN, 3 * RUN])], ids=["cached", "cold"])
def test_a_slow_disk_is_asked_ahead(monkeypatch: pytest.MonkeyPatch, rate: int, offsets: list[int]) -> None:
    monkeypatch.setattr(hashing, "CACHED_BYTES_PER_S_MIN", rate)
    files = MemoryFiles([bytes(4 * RUN), bytes(RUN)])
    run(Layout(PIECE, [4 * RUN, RUN]), files, InlineWorkers(), tasks=1)
    assert [file.prefetched for file in files.opened.values()] == [offsets, []]


@pytest.mark.parametrize("workers", WORKERS, ids=["inline", "threads"])
async def test_it_can_be_cancelled(workers: Workers) -> None:
    lengths = [1000 * RUN]
    files = MemoryFiles([bytes(lengths[0])])
    seen: list[int] = []

    def cancel(done: int, total: int) -> None:
        seen.append(done)
        scope.cancel()

    with trio.CancelScope() as scope:
        await hash_all(Layout(PIECE, lengths), files, workers, progress=cancel)
    assert scope.cancelled_caught
    assert seen[-1] < lengths[0]
    files.check_all_closed()


async def test_threads_are_called_back_in_the_middle_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run lasts until the threads have been called back once more: then its job ends with it."""
    monkeypatch.setattr(hashing, "HASH_JOB_BYTES", 10**9)
    monkeypatch.setattr(hashing, "HASH_JOB_S", 0.001)
    lengths = [10 * RUN]
    files = MemoryFiles([bytes(lengths[0])])
    called_back = threading.Condition()

    class Recalled(hashing._Hashing):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "recalls":
                with called_back:
                    called_back.notify_all()

        def _hash_run(self, run: range, buffer: hashing._Buffer) -> int:
            before = self.recalls
            with called_back:
                assert called_back.wait_for(lambda: self.recalls > before, 60)
            return super()._hash_run(run, buffer)

    monkeypatch.setattr(hashing, "_Hashing", Recalled)
    seen: list[int] = []
    await hash_all(
        Layout(PIECE, lengths),
        files,
        ThreadWorkers(),
        tasks=1,
        progress=lambda done, total: seen.append(done),
    )
    assert list(dict.fromkeys(seen)) == list(range(RUN, lengths[0] + RUN, RUN))
