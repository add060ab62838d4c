"""Serving a shared folder that its owner goes on using: no byte of a changed file leaves, and it is told."""

import errno
from collections.abc import Callable

import pytest

from peer.errors import SourceChangedError, StorageError
from peer.ids import PieceIndex
from peer.limits import FILES_OPEN_MAX, KIB
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.store.filesystem import FileState
from peer.store.outgoing import SourceStore
from tests.folder_kit import write
from tests.store_kit import NAME, Share, random_share, write_share

SHARE = random_share(
    1,
    {
        ("a",): 16 * KIB * 3 + 10,
        ("b",): 3000,
        ("c", "d"): 0,
        ("c", "e"): 15_000,
        ("c", "f"): 4000,
    },
)
LARGE = [PieceIndex(n) for n in range(4)]
PACKED = [PieceIndex(n) for n in (4, 5)]


@pytest.fixture
def folder(disk: SimDisk) -> SimFolder:
    folder = SimFolder(disk)
    write_share(folder, SHARE)
    return folder


def source(folder: SimFolder, share: Share = SHARE) -> SourceStore:
    paths = [(NAME, *path) for path in share.paths]
    return SourceStore(folder, share.manifest, paths, [folder.state(path) for path in paths])


@pytest.fixture
def store(folder: SimFolder) -> SourceStore:
    return source(folder)


def served(store: SourceStore, piece: PieceIndex, offset: int = 0, length: int | None = None) -> bytes:
    if length is None:
        length = store.layout.piece_length(piece) - offset
    made = b""
    for part in store.slices(piece, offset, length):
        data = bytearray(part.count)
        assert part.file.read_into(memoryview(data), part.offset) == part.count
        made += data
    assert store.still_good(piece)
    return made


def test_every_part_of_every_piece_is_served(store: SourceStore) -> None:
    assert SHARE.layout.piece_count == 6
    for piece in SHARE.pieces():
        whole = SHARE.piece(piece)
        assert served(store, piece) == whole
        for offset in range(0, len(whole), 1777):
            assert served(store, piece, offset, min(2500, len(whole) - offset)) == whole[offset:][:2500]
        assert store.check(piece)
        store.prefetch(piece)
    with pytest.raises(ValueError, match="bytes"):
        store.slices(PieceIndex(0), 1, 16 * KIB)


def append(folder: SimFolder, path: tuple[str, ...]) -> None:
    folder.open(path, write=True).write(b"!", folder.state(path).size)


def flip(folder: SimFolder, path: tuple[str, ...]) -> None:
    folder.open(path, write=True).write(b"!", 0)


def cut(folder: SimFolder, path: tuple[str, ...]) -> None:
    folder.open(path, write=True).truncate(7)


def delete(folder: SimFolder, path: tuple[str, ...]) -> None:
    folder.remove(path)


def substitute(folder: SimFolder, path: tuple[str, ...]) -> None:
    data = SHARE.files[path[1:]]
    folder.remove(path)
    write(folder, path, data)


def link(folder: SimFolder, path: tuple[str, ...]) -> None:
    folder.remove(path)
    folder.disk.plant_link(path)


CHANGES: list[tuple[Callable[[SimFolder, tuple[str, ...]], None], str]] = [
    (append, "bytes instead of"),
    (flip, "was changed"),
    (cut, "7 bytes instead of"),
    (delete, "was moved or deleted"),
    (substitute, "was changed"),
    (link, ""),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("is_open", [False, True], ids=["unread", "open"])
def test_a_changed_large_file_is_noticed(
    folder: SimFolder,
    store: SourceStore,
    change: Callable[[SimFolder, tuple[str, ...]], None],
    reason: str,
    is_open: bool,
) -> None:
    if is_open:
        served(store, LARGE[0])
    change(folder, (NAME, "a"))
    if change is link and not is_open:
        with pytest.raises(StorageError, match="symbolic link"):
            store.slices(LARGE[1], 0, 10)
        return
    if change in (delete, substitute, link) and is_open:
        # We hold the file that was hashed: it is right, but it is not in the folder any more.
        reason = "was changed"
    with pytest.raises(SourceChangedError, match=reason) as caught:
        store.slices(LARGE[1], 0, 10)
    assert str(caught.value).startswith("/sim/share/a ")
    for piece in LARGE:
        assert not store.still_good(piece)
        assert not store.check(piece)
        with pytest.raises(SourceChangedError):
            store.slices(piece, 0, 1)
    for piece in PACKED:
        assert served(store, piece) == SHARE.piece(piece)
    told = store.take_changes()
    assert [(change.file, list(change.pieces)) for change in told] == [(0, LARGE)]
    assert not store.take_changes(), "told once"


@pytest.mark.parametrize(
    ("change", "reason"), CHANGES[:5], ids=lambda value: getattr(value, "__name__", None)
)
def test_a_changed_small_file_is_noticed(
    folder: SimFolder,
    store: SourceStore,
    change: Callable[[SimFolder, tuple[str, ...]], None],
    reason: str,
) -> None:
    change(folder, (NAME, "b"))
    with pytest.raises(SourceChangedError, match=reason):
        store.slices(PACKED[0], 100, 10)
    assert not store.still_good(PACKED[0])
    assert served(store, PACKED[1]) == SHARE.piece(PACKED[1])
    for piece in LARGE:
        assert served(store, piece) == SHARE.piece(piece)
    assert [change.path for change in store.take_changes()] == ["/sim/share/b"]


def test_a_change_between_reading_and_asking_is_noticed(folder: SimFolder, store: SourceStore) -> None:
    """A large file goes out by its descriptor, so it is looked at after sending as well."""
    part = store.slices(LARGE[2], 0, 100)[0]
    flip(folder, (NAME, "a"))
    part.file.read_into(memoryview(bytearray(100)), part.offset)
    assert not store.still_good(LARGE[2])
    assert len(store.take_changes()) == 1


def test_a_small_file_that_changes_while_it_is_read_is_not_sent(
    disk: SimDisk, folder: SimFolder, store: SourceStore
) -> None:
    def meanwhile(done: object) -> None:
        if disk.log[-1].operation is Operation.READ:
            disk.observer = None
            flip(folder, (NAME, "c", "e"))

    disk.observer = meanwhile
    with pytest.raises(SourceChangedError):
        store.slices(PACKED[0], 3000, 5000)


def test_a_file_that_is_only_touched_can_be_rechecked(folder: SimFolder, store: SourceStore) -> None:
    file = SHARE.file("a")
    folder.open((NAME, "a"), write=True).write(SHARE.files[("a",)][:5], 0)  # the same bytes
    assert not store.still_good(LARGE[0])
    assert store.recheck(file)
    assert store.still_good(LARGE[0])
    assert served(store, LARGE[0]) == SHARE.piece(LARGE[0])
    flip(folder, (NAME, "a"))
    assert not store.still_good(LARGE[0])
    assert not store.recheck(file)
    assert not store.still_good(LARGE[0])
    folder.remove((NAME, "a"))
    assert not store.recheck(file)


def test_a_file_of_another_length_is_not_read_to_know_that_it_is_another(
    disk: SimDisk, folder: SimFolder, store: SourceStore
) -> None:
    """All of it was hashed, each time that it had grown."""
    append(folder, (NAME, "a"))
    before = len(disk.log)
    assert not store.recheck(SHARE.file("a"))
    assert not [done for done in disk.log[before:] if done.operation is Operation.READ]


def test_a_recheck_leaves_other_changes(folder: SimFolder, store: SourceStore) -> None:
    """Two small files of one piece: the piece is good again when both are."""
    for name in ("e", "f"):
        path = (NAME, "c", name)
        folder.open(path, write=True).write(SHARE.files[path[1:]][:1], 0)
        assert not store.check(PACKED[1])
        with pytest.raises(SourceChangedError):
            store.slices(PACKED[1], 0 if name == "e" else 3000, 10)
    assert len(store.files.changes) == 2
    assert store.recheck(SHARE.file("c", "e"))
    assert not store.still_good(PACKED[1])
    assert store.recheck(SHARE.file("c", "f"))
    assert store.still_good(PACKED[1])


def test_an_unreadable_disk_is_no_change(disk: SimDisk, store: SourceStore) -> None:
    disk.fail(errno.EIO, Operation.READ, times=2)
    with pytest.raises(StorageError, match="input/output") as caught:
        store.slices(PACKED[0], 0, 10)
    assert not isinstance(caught.value, SourceChangedError)
    assert not store.check(LARGE[0])
    assert store.check(LARGE[0])
    assert not store.take_changes()


def test_a_file_that_the_network_file_system_has_lost_is_an_error_with_its_name(
    store: SourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for the state of what is open, NFS says ESTALE: that ended the connection with a bare OSError."""
    held = store.slices(LARGE[0], 0, 10)

    def stale(_: object) -> FileState:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(type(held[0].file), "state", stale)
        for piece in (LARGE[0], PACKED[0]):
            with pytest.raises(StorageError, match="network file system has lost it"):
                store.slices(piece, 0, 10)
        with pytest.raises(StorageError, match="the network file system has lost it"):
            store.still_good(LARGE[0])
    assert served(store, LARGE[0]) == SHARE.piece(LARGE[0])


def test_open_files_are_bounded() -> None:
    share = random_share(3, {(f"{n:03}",): 16 * KIB for n in range(FILES_OPEN_MAX + 20)})
    disk = SimDisk()
    folder = SimFolder(disk)
    write_share(folder, share)
    store = source(folder, share)
    held = store.slices(PieceIndex(0), 0, 100)
    for piece in share.pieces():
        assert served(store, piece) == share.piece(piece)
    assert disk.open_files == FILES_OPEN_MAX + 1, "the one that is being read stays open as well"
    assert held[0].file.read_into(memoryview(bytearray(10)), 0) == 10
    del held
    store.close()
    assert disk.open_files == 0


def test_a_source_folder_that_disappears(folder: SimFolder, store: SourceStore) -> None:
    folder.rename((NAME,), ("elsewhere",))
    for piece in SHARE.pieces():
        with pytest.raises(SourceChangedError):
            store.slices(piece, 0, store.layout.piece_length(piece))
    assert {change.file for change in store.take_changes()} == {0, 1, 3}
