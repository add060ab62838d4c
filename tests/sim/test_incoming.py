"""A download's place on disk: what it begins with, keeps, serves, and leaves behind."""

import errno

import pytest

from peer.errors import LocalProtocolError, StorageError, StorageFullError
from peer.ids import PieceIndex
from peer.limits import KIB, MIB
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.sim.medium import SECTOR_BYTES
from peer.store.filesystem import PathParts
from peer.store.incoming import open_incoming
from peer.store.partial import stored_manifest
from tests.folder_kit import read
from tests.sim.incoming_kit import PART, SHARE, begin, names
from tests.store_kit import (
    NAME,
    Share,
    assert_held_is_true,
    expected_tree,
    fetch,
    finish,
    good_files,
    missing,
    random_share,
    recorded,
    resume,
    set_of,
    tree,
    write_share,
)

# --- from start to end


def test_a_folder(disk: SimDisk, folder: SimFolder) -> None:
    store = begin(folder)
    assert names(folder) == [PART]
    assert store.wanted.is_full
    fetch(store, SHARE)
    assert set_of(store.held) == set(range(8))
    assert not store.complete()
    store.leave()
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


@pytest.mark.parametrize("ends", ["killed", "closed"])
@pytest.mark.parametrize("pieces", [(), (6,)], ids=["nothing", "a piece"])
def test_what_was_modified_stays_doubtful_also_on_a_disk_too_full_for_a_new_journal(
    disk: SimDisk, folder: SimFolder, pieces: tuple[int, ...], ends: str
) -> None:
    store = begin(folder)
    fetch(store, SHARE, [0, 1, 4, 5])
    store.close()
    folder.open((PART, "data", "a"), write=True).write(b"!", 0)
    disk.fail(errno.ENOSPC, Operation.WRITE)
    store = begin(folder)
    assert (set_of(store.held), store.doubtful) == ({4, 5}, (0, 1))
    fetch(store, SHARE, pieces)
    if ends == "closed":
        store.close()
    else:
        store.abandon()
    store = begin(folder)
    assert {0, 1} <= set(store.doubtful)
    assert not set_of(store.held) & {0, 1}
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_a_new_journal_whose_name_cannot_be_synced_is_continued_where_it_ends(
    disk: SimDisk, folder: SimFolder
) -> None:
    """It was continued where the old one ended, and what came behind the gap was lost to the next run."""
    store = begin(folder)
    for piece in (0, 1, 4, 5):
        fetch(store, SHARE, [piece])
        store.checkpoint()
    store.close()
    disk.fail(errno.EIO, Operation.SYNC_FOLDER)
    store = begin(folder)
    fetch(store, SHARE, [6])
    store.close()
    assert recorded(folder) == {0, 1, 4, 5, 6}


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


@pytest.mark.parametrize("path", [("a",), ("b", "c"), ("f",)])
def test_bytes_appended_behind_our_back_are_cut_off(folder: SimFolder, path: PathParts) -> None:
    """They were hashed as the file's own, and whoever made the share was blamed for it."""
    store = begin(folder)
    fetch(store, SHARE)
    store.close()
    file = folder.open((PART, "data", *path), write=True)
    file.write(b"!" * 100_000, file.size())
    store = resume(folder, SHARE)
    for piece in store.unproven:
        store.check(piece)
    assert store.wrong_files(store.wanted_files) == []
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_bytes_changed_while_they_came_are_not_the_sharers_fault(folder: SimFolder) -> None:
    store = begin(folder)
    a, last = SHARE.file("a"), PieceIndex(3)
    fetch(store, SHARE, [3, 2, 1])
    folder.open((PART, "data", "a"), write=True).write(b"!", 20_000)
    fetch(store, SHARE, [0])
    with pytest.raises(StorageError, match=r"part/data/a was changed by another program.*same command again"):
        store.wrong_files([a])
    assert set(store.take_lost()) == {1}, "it is fetched again, and nothing else"
    assert store.holds(last)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


@pytest.mark.parametrize("path", [("a",), ("f",)], ids=["four pieces", "one piece"])
@pytest.mark.parametrize("how", ["between", "after", "replaced"])
def test_a_change_to_what_came_in_order_is_not_missed(folder: SimFolder, path: PathParts, how: str) -> None:
    """What came in order was hashed from memory, and what lay on the disk was put in its place unread."""
    store = begin(folder)
    file, data = SHARE.file(*path), (PART, "data", *path)
    pieces = SHARE.layout.pieces_of(file)
    fetch(store, SHARE, pieces[: max(1, len(pieces) - 1)] if how == "between" else pieces)
    if how == "replaced":  # as many an editor does it
        folder.remove(data)
        folder.create(data, executable=path in SHARE.executable).write(bytes(len(SHARE.files[path])), 0)
    else:
        folder.open(data, write=True).write(b"!", 10)
    fetch(store, SHARE)
    with pytest.raises(StorageError, match=r"was changed by another program.*same command again"):
        store.wrong_files(store.wanted_files)
    assert pieces.start in store.take_lost()
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_what_came_in_order_and_nobody_touched_is_not_read_again(disk: SimDisk, folder: SimFolder) -> None:
    store = begin(folder)
    fetch(store, SHARE)
    before = len(disk.log)
    assert store.wrong_files([SHARE.file("a"), SHARE.file("f")]) == []
    assert {done.operation for done in disk.log[before:]} <= {Operation.LOOK}
    node = folder._file((PART, "data", "a"))
    node.ctime_ns += 1  # its owner was changed, say
    assert store.wrong_files([SHARE.file("a")]) == []
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


def test_what_is_good_at_the_target_needs_no_space(disk: SimDisk, folder: SimFolder) -> None:
    share = random_share(5, {("a",): 3 * MIB, ("b",): 100})
    write_share(folder, share)
    folder.remove((NAME, "b"))
    disk.capacity_bytes = disk.used_sectors * SECTOR_BYTES + 1 * MIB
    store = open_incoming(folder, NAME, share.manifest, good=good_files(folder, share))
    finish(store, share)
    assert tree(folder) == expected_tree(share)


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


# --- some of the files


def test_only_some_files(folder: SimFolder) -> None:
    wanted = [SHARE.file("g"), SHARE.file("e")]
    store = open_incoming(folder, NAME, SHARE.manifest, wanted=wanted)
    assert set_of(store.wanted) == {5, 6}
    fetch(store, SHARE)
    assert store.complete() == (5, 6), "their other bytes go with NAME.part"
    assert not set_of(store.held)
    assert not set_of(store.wanted), "nobody is to fetch them again"
    assert PART in names(folder), "whoever reads them meanwhile finds them"
    store.leave()
    assert names(folder) == [NAME]
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
    assert not store.complete()
    store.leave()
    assert read(folder, (NAME, "f")) == SHARE.files[("f",)]
    assert_held_is_true(store, SHARE)
    store.close()
    assert names(folder) == [NAME, PART]
    store = resume(folder, SHARE)
    assert set_of(store.held) == {1, 2, 4, 5, 6, 7}
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)
