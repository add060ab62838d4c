"""A download's place on disk: what it begins with, refuses, keeps, serves, and leaves behind."""

import errno

import pytest

from peer.errors import LocalProtocolError, SourceChangedError, StorageError, StorageFullError
from peer.ids import PieceIndex
from peer.limits import KIB, MIB
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.store.filesystem import PathParts
from peer.store.incoming import IncomingStore, open_incoming
from peer.store.partial import stored_manifest
from tests.folder_kit import read, write
from tests.store_kit import (
    NAME,
    Share,
    assert_held_is_true,
    expected_tree,
    fetch,
    finish,
    missing,
    random_share,
    read_piece,
    resume,
    set_of,
    tree,
    write_share,
)

PART = NAME + ".part"
SHARE = random_share(
    1,
    {
        ("a",): 16 * KIB * 3 + 10,
        ("b", "c"): 5000,
        ("b", "d"): 9000,
        ("e",): 0,
        ("f",): 16 * KIB,
        ("g",): 6000,
        ("h", "i", "j"): 13_000,
    },
    folders=[("k", "l"), ("m",)],
    executable=[("a",), ("b", "d"), ("e",)],
)
# Pieces: 0-3 are a, 4 is f, 5 has b/c, b/d and the first 2384 of g, 6 the rest of g and h/i/j up to 12768.
assert SHARE.layout.piece_count == 8


def begin(folder: SimFolder, share: Share = SHARE) -> IncomingStore:
    return open_incoming(folder, NAME, share.manifest)


def names(folder: SimFolder) -> list[str]:
    return [entry.name for entry in folder.entries(())]


# --- from start to end


def test_a_folder(disk: SimDisk, folder: SimFolder) -> None:
    store = begin(folder)
    assert names(folder) == [PART]
    assert store.wanted.is_full
    fetch(store, SHARE)
    assert set_of(store.held) == set(range(8))
    completed = store.complete()
    assert completed.path == (NAME,)
    assert not completed.dropped
    assert tree(folder) == expected_tree(SHARE)
    for path in SHARE.paths:
        assert folder.state((NAME, *path)).executable == (path in SHARE.executable)
    assert_held_is_true(store, SHARE)
    store.close()
    store.close()
    assert disk.open_files == 0


@pytest.mark.parametrize("size", [0, 1, 16 * KIB, 16 * KIB * 4 + 1])
def test_a_single_file(folder: SimFolder, size: int) -> None:
    share = random_share(2, {(): size}, executable=[()])
    store = begin(folder, share)
    finish(store, share)
    assert tree(folder) == expected_tree(share)
    assert folder.state((NAME,)).executable


@pytest.mark.parametrize(
    "share",
    [
        Share({}, folders=[]),
        Share({}, folders=[("a",), ("b", "c")]),
        Share({("x",): b"", ("y", "z"): b""}),
    ],
    ids=["empty", "folders", "empty files"],
)
def test_a_share_without_bytes(folder: SimFolder, share: Share) -> None:
    finish(begin(folder, share), share)
    assert tree(folder) == (expected_tree(share) or {(NAME,): None})


def test_the_same_again_fetches_nothing(folder: SimFolder) -> None:
    finish(begin(folder), SHARE)
    store = resume(folder, SHARE)
    assert store.held.is_full
    assert not store.unproven
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_pieces_are_served_while_others_come(folder: SimFolder) -> None:
    store = begin(folder)
    for piece in (2, 5, 4):
        fetch(store, SHARE, [piece])
        assert_held_is_true(store, SHARE)
        assert store.still_good(PieceIndex(piece))
        store.prefetch(PieceIndex(piece))
    assert not store.still_good(PieceIndex(0))
    with pytest.raises(StorageError, match="not here"):
        store.slices(PieceIndex(0), 0, 1)
    slices = store.slices(PieceIndex(5), 100, 10_000)
    assert len(slices) == 1, "small files are joined"


def test_slices_taken_before_completion_are_good_after_it(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE)
    taken = {piece: store.slices(piece, 0, 10) for piece in SHARE.pieces()}
    store.complete()
    store.close()
    for piece, slices in taken.items():
        data = bytearray(10)
        assert slices[0].file.read_into(memoryview(data), slices[0].offset) == 10
        assert data == SHARE.piece(piece)[:10]


def test_misuse_is_told(folder: SimFolder) -> None:
    store = begin(folder)
    with pytest.raises(LocalProtocolError):
        store.write_piece(PieceIndex(0), b"short")
    with pytest.raises(LocalProtocolError):
        store.complete()
    fetch(store, SHARE, [0])
    store.write_piece(PieceIndex(0), bytes(16 * KIB))  # held already: without effect
    assert_held_is_true(store, SHARE)


def test_nothing_fetched_leaves_nothing(folder: SimFolder) -> None:
    begin(folder).close()
    assert not names(folder)
    write_share(folder, SHARE)
    resume(folder, SHARE).close()
    assert names(folder) == [NAME]


# --- resuming


def test_a_clean_end_needs_no_hashing_to_go_on(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0, 5, 6])
    store.close()
    store = begin(folder)
    assert set_of(store.held) == {0, 5, 6}
    assert not store.doubtful
    assert set(store.unproven) == {0, 5, 6}
    assert store.check(PieceIndex(5))
    assert set(store.unproven) == {0, 6}
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_a_file_modified_after_a_clean_end_is_hashed_again(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0, 1, 4, 5])
    store.close()
    folder.open((PART, "data", "a"), write=True).write(b"!", 0)
    store = begin(folder)
    assert set_of(store.held) == {4, 5}
    assert store.doubtful == (0, 1)
    assert not store.check(PieceIndex(0))
    assert store.check(PieceIndex(1))
    assert not store.take_lost(), "it was never held"
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_bytes_changed_behind_our_back_are_found_before_completion(folder: SimFolder) -> None:
    """A record is a hint until proven: here the disk changes bytes without a trace."""
    store = begin(folder)
    fetch(store, SHARE)
    store.close()
    path = (PART, "data", "a")
    before = folder.state(path)
    file = folder.open(path, write=True)
    file.write(b"!", 20_000)
    node = folder._file(path)
    node.mtime_ns = before.mtime_ns
    store = begin(folder)
    assert store.held.is_full
    assert not store.check(PieceIndex(1))
    assert store.take_lost() == (1,)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_an_unreadable_journal_makes_everything_doubtful(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0, 5])
    store.close()
    folder.remove((PART, "journal"))
    store = begin(folder)
    assert not set_of(store.held)
    assert set(store.doubtful) >= {0, 5}
    for piece in store.doubtful:
        store.check(piece)
    assert set_of(store.held) == {0, 5}
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_the_manifest_can_be_had_without_asking_anybody(folder: SimFolder) -> None:
    share_id = SHARE.manifest.share_id
    assert stored_manifest(folder, NAME, share_id) is None
    store = begin(folder)
    fetch(store, SHARE, [0])
    store.close()
    assert stored_manifest(folder, NAME, share_id) == (SHARE.manifest, SHARE.manifest.encode())
    file = folder.open((PART, "manifest"), write=True)
    file.write(b"!", 50)
    assert stored_manifest(folder, NAME, share_id) is None
    begin(folder).close()  # the journal still says whose it is
    assert stored_manifest(folder, NAME, share_id) == (SHARE.manifest, SHARE.manifest.encode())


# --- what is in the way


def test_the_partial_download_of_another_share_is_named(folder: SimFolder) -> None:
    other = random_share(9, {("x",): 40_000})
    store = begin(folder, other)
    fetch(store, other, [0])
    store.close()
    before = tree(folder)
    for _ in range(2):
        with pytest.raises(StorageError, match=other.manifest.share_id.hex()):
            begin(folder)
        assert tree(folder) == before
        folder.open((PART, "manifest"), write=True).truncate(10)  # then the journal tells
        before = tree(folder)
    finish(resume(folder, other), other)
    assert tree(folder) == expected_tree(other)


@pytest.mark.parametrize("path", [(PART, "mine"), (PART, "data"), (PART, "data", "mine"), (PART,)])
def test_a_folder_of_the_users_with_our_name_is_not_touched(folder: SimFolder, path: PathParts) -> None:
    folder.make_folder(path[:-1])
    write(folder, path, b"mine")
    with pytest.raises(StorageError, match="move it away"):
        begin(folder)
    assert tree(folder) == {path: b"mine"}


def test_what_a_user_puts_into_our_folder_meanwhile_stays(folder: SimFolder) -> None:
    store = begin(folder)
    write(folder, (PART, "mine"), b"mine")
    finish(store, SHARE)
    assert tree(folder) == {**expected_tree(SHARE), (PART, "mine"): b"mine"}


def test_a_second_process_is_refused(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0])
    with pytest.raises(StorageError, match="in use by another process"):
        begin(folder)
    fetch(store, SHARE, [1])
    store.close()
    store = begin(folder)
    store.abandon()
    assert set_of(begin(folder).held) == {0, 1}


@pytest.mark.parametrize("path", [("a",), ("b", "c"), ("e",), ("h", "i", "j")])
def test_a_different_file_at_the_target_is_never_overwritten(folder: SimFolder, path: PathParts) -> None:
    folder.make_folder((NAME, *path)[:-1])
    write(folder, (NAME, *path), b"mine")
    before = tree(folder)
    with pytest.raises(StorageError, match=f"{path[-1]} is there and is not what the link names"):
        begin(folder)
    assert tree(folder) == before
    without = [SHARE.file(*other) for other in SHARE.paths if other != path]
    finish(resume(folder, SHARE, without), SHARE)
    assert read(folder, (NAME, *path)) == b"mine"
    assert tree(folder) == {**expected_tree(SHARE, without), **before}


def test_a_file_where_a_folder_must_be(folder: SimFolder) -> None:
    write(folder, (NAME,), b"mine")
    with pytest.raises(StorageError, match="where a folder is to be"):
        begin(folder)
    assert tree(folder) == {(NAME,): b"mine"}
    single = random_share(2, {(): 100})
    with pytest.raises(StorageError, match="not what the link names"):
        begin(folder, single)
    folder.remove((NAME,))
    folder.make_folder((NAME,))
    with pytest.raises(StorageError, match="not what the link names"):
        begin(folder, single)


@pytest.mark.parametrize("also", [(), ("a",), ("e",)], ids=["nothing else", "another a", "an empty file"])
def test_a_folder_of_other_things_is_not_added_to(folder: SimFolder, also: PathParts) -> None:
    """The name is the link's: `bin` in a home, or a repository, would take what is put there for its own."""
    folder.make_folder((NAME,))
    write(folder, (NAME, "mine"), b"mine")
    wanted = None
    if also:
        write(folder, (NAME, *also), b"" if also == ("e",) else b"another")
        wanted = [SHARE.file("b", "c")]
    before = tree(folder)
    with pytest.raises(StorageError, match="share is there, and has other things in it and nothing of this"):
        resume(folder, SHARE, wanted)
    assert tree(folder) == before


def test_a_folder_with_some_of_the_share_is_added_to(folder: SimFolder) -> None:
    folder.make_folder((NAME,))
    write(folder, (NAME, "a"), SHARE.files[("a",)])
    write(folder, (NAME, "notes"), b"mine")
    finish(resume(folder, SHARE), SHARE)
    assert tree(folder) == {**expected_tree(SHARE), (NAME, "notes"): b"mine"}


def test_a_download_that_has_begun_goes_on_beside_other_things(folder: SimFolder) -> None:
    store = begin(folder)
    store.write_piece(PieceIndex(0), SHARE.piece(PieceIndex(0)))
    store.close()
    folder.make_folder((NAME,))
    write(folder, (NAME, "notes"), b"mine")
    finish(resume(folder, SHARE), SHARE)
    assert tree(folder) == {**expected_tree(SHARE), (NAME, "notes"): b"mine"}


def test_what_appears_at_the_target_meanwhile_is_not_replaced(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE)
    folder.make_folder((NAME,))
    write(folder, (NAME, "a"), b"mine")
    with pytest.raises(StorageError, match="a has appeared meanwhile"):
        store.complete()
    assert read(folder, (NAME, "a")) == b"mine"
    folder.remove((NAME, "a"))
    store.complete()
    store.close()
    assert tree(folder) == expected_tree(SHARE)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("operation", [Operation.RENAME, Operation.SYNC_FOLDER, Operation.REMOVE])
@pytest.mark.parametrize("into_folder", [False, True])
def test_completion_can_be_tried_again(
    disk: SimDisk, folder: SimFolder, operation: Operation, code: int, into_folder: bool
) -> None:
    if into_folder:
        folder.make_folder((NAME,))
    for nth in range(1, 8):
        image = disk.copy()
        there = SimFolder(image)
        store = begin(there)
        fetch(store, SHARE)
        store.checkpoint()
        image.fail(code, operation, nth=nth)
        for _ in range(3):
            try:
                store.complete()
                break
            except StorageError:
                fetch(store, SHARE)
        image.heal()
        store.close()
        finish(resume(there, SHARE), SHARE)
        assert tree(there) == expected_tree(SHARE)


# --- space


def test_too_little_space_is_told_before_anything_is_written(disk: SimDisk, folder: SimFolder) -> None:
    share = random_share(5, {("a",): 3 * MIB, ("b",): 100})
    disk.capacity_bytes = 2 * MIB
    with pytest.raises(StorageFullError, match=r"3\.\d+ MiB more are needed, 2\.\d+ MiB are free"):
        begin(folder, share)
    assert not names(folder)
    store = open_incoming(folder, NAME, share.manifest, wanted=[share.file("b")])
    store.close()
    disk.capacity_bytes = 4 * MIB
    finish(begin(folder, share), share)


def test_reserved_space_is_not_asked_for_twice(disk: SimDisk, folder: SimFolder) -> None:
    share = random_share(5, {("a",): 3 * MIB})
    disk.capacity_bytes = 4 * MIB
    store = begin(folder, share)
    fetch(store, share, [7])
    assert folder.free_bytes() < 1 * MIB, "all of the file is reserved"
    store.close()
    store = begin(folder, share)
    assert set_of(store.held) == {7}
    finish(store, share)
    assert tree(folder) == expected_tree(share)


# --- files that are there already


def test_good_files_at_the_target_are_used_in_place(folder: SimFolder) -> None:
    folder.make_folder((NAME, "b"))
    for path in (("a",), ("b", "c")):
        write(folder, (NAME, *path), SHARE.files[path], executable=path in SHARE.executable)
    inodes = {path: folder.state((NAME, *path)).inode for path in (("a",), ("b", "c"))}
    store = resume(folder, SHARE)
    assert set_of(store.held) == {0, 1, 2, 3}
    assert store.wanted.is_full
    fetch(store, SHARE)
    assert_held_is_true(store, SHARE)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)
    assert all(folder.state((NAME, *path)).inode == inode for path, inode in inodes.items())


def test_a_good_file_that_changes_meanwhile_stops_completion(folder: SimFolder) -> None:
    folder.make_folder((NAME,))
    write(folder, (NAME, "a"), SHARE.files[("a",)])
    store = resume(folder, SHARE)
    fetch(store, SHARE)
    folder.open((NAME, "a"), write=True).write(b"!", 0)
    assert not store.still_good(PieceIndex(0))
    with pytest.raises(SourceChangedError, match="share/a was changed"):
        store.slices(PieceIndex(0), 0, 1)
    with pytest.raises(SourceChangedError):
        store.complete()
    assert len(store.take_changes()) == 1
    store.close()
    with pytest.raises(StorageError, match="not what the link names"):
        resume(folder, SHARE)


def test_after_completion_changes_are_noticed(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE)
    store.complete()
    folder.open((NAME, "a"), write=True).write(b"!", 0)
    folder.remove((NAME, "b", "c"))
    assert not store.still_good(PieceIndex(1))
    with pytest.raises(SourceChangedError, match="moved or deleted"):
        store.slices(PieceIndex(5), 0, 10)
    assert read_piece(store, SHARE, PieceIndex(4)) == SHARE.piece(PieceIndex(4))
    assert len(store.take_changes()) == 2


# --- some of the files


def test_only_some_files(folder: SimFolder) -> None:
    wanted = [SHARE.file("g"), SHARE.file("e")]
    store = open_incoming(folder, NAME, SHARE.manifest, wanted=wanted)
    assert set_of(store.wanted) == {5, 6}
    fetch(store, SHARE)
    completed = store.complete()
    assert completed.dropped == (5, 6), "their other bytes went with NAME.part"
    assert not set_of(store.held)
    store.close()
    assert tree(folder) == expected_tree(SHARE, wanted)


def test_some_files_twice_fetch_nothing_the_second_time(folder: SimFolder) -> None:
    wanted = [SHARE.file("g")]
    finish(resume(folder, SHARE, wanted), SHARE)
    store = resume(folder, SHARE, wanted)
    assert not missing(store)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE, wanted)


def test_then_more_files(folder: SimFolder) -> None:
    finish(resume(folder, SHARE, [SHARE.file("g")]), SHARE)
    store = resume(folder, SHARE)
    assert not set_of(store.held)
    assert store.wanted.is_full
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_fewer_files_keep_what_was_fetched_of_the_others(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [1, 2, 4, 7])
    store.close()
    store = resume(folder, SHARE, [SHARE.file("g"), SHARE.file("f")])
    assert missing(store) == [5, 6]
    fetch(store, SHARE)
    for piece in store.unproven:
        store.check(piece)
    assert not store.complete().dropped
    assert read(folder, (NAME, "f")) == SHARE.files[("f",)]
    assert_held_is_true(store, SHARE)
    store.close()
    assert names(folder) == [NAME, PART]
    store = resume(folder, SHARE)
    assert set_of(store.held) == {1, 2, 4, 5, 6, 7}
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


# --- attacks and accidents inside NAME.part


@pytest.mark.parametrize(
    "path", [(PART, "data"), (PART, "data", "a"), (PART, "data", "b"), (PART, "data", "b", "c")]
)
def test_a_link_planted_among_the_data_is_refused(disk: SimDisk, folder: SimFolder, path: PathParts) -> None:
    store = begin(folder)
    folder.make_folder(path[:-1])
    disk.plant_link(path)
    with pytest.raises(StorageError):
        fetch(store, SHARE)
    with pytest.raises(LocalProtocolError):
        store.complete()


@pytest.mark.parametrize("name", ["journal", "manifest", "lock"])
def test_a_link_planted_for_one_of_our_files_is_refused(disk: SimDisk, folder: SimFolder, name: str) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0])
    store.close()
    disk.plant_link((PART, name))
    with pytest.raises(StorageError, match="symbolic link"):
        begin(folder)


def test_the_folder_itself_as_a_link_is_refused(disk: SimDisk, folder: SimFolder) -> None:
    disk.plant_link((PART,))
    with pytest.raises(StorageError, match="in the way"):
        begin(folder)


def test_a_planted_link_to_journal_new_is_removed_not_followed(disk: SimDisk, folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0])
    store.close()
    disk.plant_link((PART, "journal.new"))
    store = begin(folder)
    assert set_of(store.held) == {0}


def test_a_partial_file_that_grew_is_cut_and_one_that_shrank_is_fetched_again(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE)
    folder.open((PART, "data", "a"), write=True).write(b"more", len(SHARE.files[("a",)]))
    folder.open((PART, "data", "g"), write=True).truncate(100)
    with pytest.raises(StorageError, match="g was cut off"):
        store.complete()
    assert store.take_lost() == (5, 6)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_a_partial_folder_that_vanishes_is_an_error_not_a_crash(folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0, 5])
    folder.rename((PART,), ("gone",))
    for piece in (PieceIndex(4), PieceIndex(6)):
        with pytest.raises(StorageError, match="does not exist"):
            store.write_piece(piece, SHARE.piece(piece))
    with pytest.raises(StorageError, match="does not exist"):
        store.checkpoint()
    store.abandon()
    assert names(folder) == ["gone"]
    folder.rename(("gone",), (PART,))
    finish(resume(folder, SHARE), SHARE)
    assert tree(folder) == expected_tree(SHARE)
