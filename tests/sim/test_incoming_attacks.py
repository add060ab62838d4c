"""Attacks and accidents inside NAME.part: a planted link is not followed, what has gone is an error."""

import pytest

from peer.errors import LocalProtocolError, StorageError
from peer.ids import PieceIndex
from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder
from peer.store.filesystem import PathParts
from tests.sim.incoming_kit import PART, SHARE, begin, names
from tests.store_kit import expected_tree, fetch, finish, resume, set_of, tree


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
