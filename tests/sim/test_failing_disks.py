"""What disks that fail in nastier ways have shown: errors of everything, told late, and caches that go."""

import errno

import pytest

from peer.errors import StorageError
from peer.limits import KIB
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.store.incoming import open_incoming
from tests.store_kit import NAME, assert_held_is_true, fetch, finish, random_share, resume, set_of

SHARE = random_share(1, {("large",): 300 * KIB, ("small",): 5 * KIB, ("other",): 12 * KIB})
CHANGES = (Operation.WRITE, Operation.CREATE, Operation.RENAME, Operation.REMOVE)


@pytest.mark.parametrize("way", ["kill", "close"])
def test_what_only_the_cache_shows_is_written_again(way: str) -> None:
    """A sync failed, and the disk was read-only by then: no `Lost` in the journal. The next run found every
    piece in the page cache, and its syncs had nothing to save: it was complete, until the cache went."""
    disk = SimDisk()
    store = open_incoming(SimFolder(disk), NAME, SHARE.manifest)
    fetch(store, SHARE)
    disk.fail(errno.EIO, Operation.SYNC, times=float("inf"))
    for operation in CHANGES:
        disk.fail(errno.EROFS, operation, times=float("inf"))
    with pytest.raises(StorageError):
        store.checkpoint()
    if way == "kill":
        disk.kill()
    else:
        with pytest.raises(StorageError):
            store.close()
    disk.heal()
    store = resume(SimFolder(disk), SHARE)
    store.checkpoint()
    disk.drop_caches()
    assert_held_is_true(store, SHARE)
    finish(store, SHARE)
    disk.drop_caches()
    assert not disk.open_files


def test_what_cannot_be_written_again_is_fetched_again() -> None:
    disk = SimDisk()
    fetch(open_incoming(SimFolder(disk), NAME, SHARE.manifest), SHARE)
    disk.kill()
    store = open_incoming(SimFolder(disk), NAME, SHARE.manifest)
    disk.fail(errno.EIO, Operation.WRITE)
    first, *others = store.doubtful
    assert not store.check(first)
    assert all(map(store.check, others))
    assert set_of(store.held) == set(others)
    finish(store, SHARE)


def test_a_lock_that_cannot_be_looked_at_is_let_go() -> None:
    """It was kept until the error's traceback went: the next try, in the same program, found NAME.part in use
    by another process, which was itself."""
    disk = SimDisk()
    looks, caught = 0, []
    while True:
        looks += 1
        disk.fail(errno.EIO, Operation.LOOK, nth=looks)
        try:
            store = open_incoming(SimFolder(disk), NAME, SHARE.manifest)
        except StorageError as error:
            caught.append(error)
        else:
            break
        assert "in use" not in str(caught[-1])
        disk.heal()
    disk.heal()
    assert any(done.error and done.path.endswith("/lock") for done in disk.log), "it has been looked at"
    finish(store, SHARE)
