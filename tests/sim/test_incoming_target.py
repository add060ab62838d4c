"""What a download finds at its target: what is in the way stays as it is, what is good is used."""

import errno

import pytest

from peer.errors import SourceChangedError, StorageError
from peer.ids import PieceIndex
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.store.filesystem import PathParts
from tests.folder_kit import read, write
from tests.sim.incoming_kit import PART, SHARE, begin
from tests.store_kit import (
    NAME,
    assert_held_is_true,
    expected_tree,
    fetch,
    finish,
    random_share,
    read_piece,
    resume,
    set_of,
    tree,
)

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


@pytest.mark.parametrize("left", [(PART,), (PART, "lock"), (PART, "manifest")], ids=lambda path: path[-1])
def test_a_part_folder_with_nothing_of_the_share_is_no_beginning(folder: SimFolder, left: PathParts) -> None:
    """Anybody can make one, another share with that name even; and a folder of the user's was added to."""
    folder.make_folder((PART,))
    if left[1:]:
        write(folder, left, SHARE.manifest.encode() if left[-1] == "manifest" else b"")
    folder.make_folder((NAME,))
    write(folder, (NAME, "mine"), b"mine")
    with pytest.raises(StorageError, match="has other things in it and nothing of this share"):
        resume(folder, SHARE)
    assert tree(folder)[NAME, "mine"] == b"mine"
    folder.rename((NAME, "mine"), ("mine",))
    finish(resume(folder, SHARE), SHARE)
    assert tree(folder) == {**expected_tree(SHARE), ("mine",): b"mine"}


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
