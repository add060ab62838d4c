"""Scanning and checking on the simulated disk: the same share, and every operation fails once."""

import errno
from pathlib import Path

import pytest
import trio

from peer.errors import StorageError
from peer.limits import PIECE_BYTES_MIN
from peer.paths import printable
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.sim.workers import InlineWorkers
from peer.store import hashing
from peer.store.check import Check, Verdict, check
from peer.store.files import open_folder
from peer.store.filesystem import Folder
from peer.store.scan import Scan, scan
from tests.glue.test_scan import content, write

PIECE = PIECE_BYTES_MIN
TREE = {
    "a": content(5, 1),
    "b": content(5 * PIECE + 3, 2),
    "c/d": content(PIECE, 3),
    "c/e/f": content(PIECE - 1, 4),
    "g": b"",
}


@pytest.fixture(autouse=True)
def _small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "HASH_RUN_BYTES", 2 * PIECE)


def disk_with_tree() -> SimDisk:
    disk = SimDisk()
    folder = SimFolder(disk)
    folder.make_folder(("c", "e"))
    for path, data in TREE.items():
        file = folder.create(tuple(path.split("/")))
        if data:
            file.write(data, 0)
        file.close()
    return disk


def scan_all(folder: Folder) -> Scan:
    return trio.run(scan, folder, (), InlineWorkers())


def check_all(folder: Folder, made: Scan) -> Check:
    return trio.run(check, folder, made.paths, made.manifest, InlineWorkers())


def test_both_disks_make_the_same_share(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    real = scan_all(open_folder(str(tmp_path)))
    simulated = scan_all(SimFolder(disk_with_tree()))
    assert real.manifest == simulated.manifest
    assert check_all(SimFolder(disk_with_tree()), real).is_complete


def test_whichever_operation_fails_the_scan_says_so_in_a_line() -> None:
    disk = disk_with_tree()
    before = len(disk.log)
    made = scan_all(SimFolder(disk))
    operations = len(disk.log) - before
    assert operations > 20, "the disk is asked often, and each time it matters"
    for nth in range(1, operations + 1):
        disk = disk_with_tree()
        disk.fail(errno.EIO, nth=nth)
        with pytest.raises(StorageError, match=r"^/sim.*input/output") as caught:
            scan_all(SimFolder(disk))
        assert printable(str(caught.value)) == str(caught.value)
    assert check_all(SimFolder(disk_with_tree()), made).is_complete


@pytest.mark.parametrize("operation", [Operation.OPEN, Operation.READ, Operation.LOOK])
def test_whichever_operation_fails_a_check_finds_the_rest(operation: Operation) -> None:
    made = scan_all(SimFolder(disk_with_tree()))
    layout_pieces = made.manifest.piece_count
    for nth in range(1, 100):
        disk = disk_with_tree()
        disk.fail(errno.EIO, operation, nth=nth)
        found = check_all(SimFolder(disk), made)
        if found.is_complete and Verdict.UNREADABLE not in found.verdicts:
            break
        assert found.verdicts.count(Verdict.UNREADABLE) == 1
        assert found.verdicts.count(Verdict.GOOD) == len(TREE) - 1
        assert found.pieces.count >= layout_pieces - 6
    assert nth > 1


def test_a_disk_that_fails_for_good_proves_nothing() -> None:
    made = scan_all(SimFolder(disk_with_tree()))
    disk = disk_with_tree()
    disk.fail(errno.EIO, Operation.READ, times=float("inf"))
    found = check_all(SimFolder(disk), made)
    assert found.pieces.is_empty
    assert set(found.verdicts) == {Verdict.UNREADABLE, Verdict.GOOD}, "the empty file needs no reading"
