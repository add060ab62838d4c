"""The simulated disk is a faithful one: the folder kit, and what power loss, failure and lies leave."""

import errno
from collections.abc import Callable

import pytest

from peer.sim.disk import Done, Operation, SimDisk
from peer.sim.files import SimFolder
from peer.sim.medium import SECTOR_BYTES
from peer.store.filesystem import Folder, Kind
from tests.folder_kit import CHECKS, read, refused, write

SEEDS = range(60)
OLD, NEW = b"o" * (4 * SECTOR_BYTES), b"n" * (4 * SECTOR_BYTES)


def after_crashes(disk: SimDisk) -> list[SimFolder]:
    """What each of many power losses leaves."""
    made = []
    for seed in SEEDS:
        image = disk.copy()
        image.crash(seed)
        made.append(SimFolder(image))
    return made


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kit(folder: SimFolder, check: Callable[[Folder], None]) -> None:
    check(folder)


def test_synced_data_and_names_survive_every_crash(disk: SimDisk, folder: SimFolder) -> None:
    folder.make_folder(("d",))
    file = folder.create(("d", "f"))
    file.write(NEW, 0)
    file.sync()
    folder.sync_folder(("d",))
    folder.sync_folder(())
    for after in after_crashes(disk):
        assert read(after, ("d", "f")) == NEW


def test_unsynced_sectors_are_old_new_or_torn_each_for_itself(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    file.write(OLD, 0)
    folder.sync_everything()
    file.write(NEW, 0)
    outcomes = set()
    for after in after_crashes(disk):
        data = read(after, ("f",))
        assert len(data) == len(OLD)
        for start in range(0, len(data), 512):
            assert data[start : start + 512] in (OLD[:512], NEW[:512])
        outcomes.add(data)
    assert {OLD, NEW} <= outcomes
    sectors = [{data[i : i + SECTOR_BYTES] for data in outcomes} for i in (0, SECTOR_BYTES)]
    assert all(len(seen) > 2 for seen in sectors), "torn sectors appear"
    assert any(data[:SECTOR_BYTES] == OLD[:SECTOR_BYTES] and data[-1:] == b"n" for data in outcomes)


def test_unsynced_names_are_lost_or_kept_each_for_itself(disk: SimDisk, folder: SimFolder) -> None:
    for name in "abc":
        write(folder, (name,), b"")
    folder.sync_everything()
    folder.remove(("a",))
    folder.rename(("b",), ("moved",))
    write(folder, ("new",), b"")
    seen = {tuple(entry.name for entry in after.entries(())) for after in after_crashes(disk)}
    assert seen == {
        (*a, *b, "c", *m, *new)
        for a in ((), ("a",))
        for b, m in ((("b",), ()), ((), ("moved",)))
        for new in ((), ("new",))
    }


def test_a_synced_file_is_lost_with_its_name(disk: SimDisk, folder: SimFolder) -> None:
    folder.create(("f",)).sync()
    folder.make_folder(("d",))
    folder.create(("d", "g"))
    folder.sync_folder(("d",))
    kinds = {(after.kind(("f",)), after.kind(("d", "g"))) for after in after_crashes(disk)}
    assert kinds == {(a, b) for a in (None, Kind.FILE) for b in (None, Kind.FILE)}


def test_unsynced_growth_may_be_lost(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    file.write(b"x" * 100, 0)
    folder.sync_everything()
    file.allocate(9000)
    sizes = {after.state(("f",)).size for after in after_crashes(disk)}
    assert sizes == {100, 9000}


def test_a_failed_sync_saves_nothing_and_hides_it(disk: SimDisk, folder: SimFolder) -> None:
    """Rebello et al. 2020: the pages are clean, show the new data, and the next sync succeeds."""
    file = folder.create(("f",))
    file.write(OLD, 0)
    folder.sync_everything()
    disk.fail(errno.EIO, Operation.SYNC)
    file.write(NEW, 0)
    with refused(errno.EIO):
        file.sync()
    assert read(folder, ("f",)) == NEW
    file.sync()
    assert any(read(after, ("f",)) != NEW for after in after_crashes(disk))
    dropped = disk.copy()
    dropped.drop_caches()
    assert read(SimFolder(dropped), ("f",)) == OLD
    file.write(NEW, 0)
    file.sync()
    assert all(read(after, ("f",)) == NEW for after in after_crashes(disk))


def test_a_failed_sync_of_everything_is_one_of_each_file(disk: SimDisk, folder: SimFolder) -> None:
    write(folder, ("f",), NEW)
    disk.fail(errno.EIO, Operation.SYNC_EVERYTHING)
    with refused(errno.EIO):
        folder.sync_everything()
    folder.sync_everything()
    disk.drop_caches()
    assert read(folder, ("f",)) == bytes(len(NEW))


def test_a_lying_disk_saves_nothing(disk: SimDisk, folder: SimFolder) -> None:
    disk.sync_lies = True
    file = folder.create(("f",))
    file.write(NEW, 0)
    file.sync()
    folder.sync_folder(())
    folder.sync_everything()
    assert {after.kind(("f",)) for after in after_crashes(disk)} == {None, Kind.FILE}


def test_what_a_lying_sync_has_taken_is_no_matter_of_one_that_fails_later(
    disk: SimDisk, folder: SimFolder
) -> None:
    """To the system it is clean: only a power loss takes it, and a later, true sync saves it."""
    disk.sync_lies = True
    file = folder.create(("f",))
    file.write(NEW, 0)
    file.sync()
    disk.sync_lies = False
    disk.fail(errno.EIO, Operation.SYNC)
    with refused(errno.EIO):
        file.sync()
    disk.drop_caches()
    assert read(folder, ("f",)) == NEW
    folder.sync_folder(())
    file.sync()
    assert {read(after, ("f",)) for after in after_crashes(disk)} == {NEW}


def test_a_full_disk_takes_what_fits(disk: SimDisk, folder: SimFolder) -> None:
    disk.capacity_bytes = 6 * SECTOR_BYTES
    file = folder.create(("f",))
    assert folder.free_bytes() == 6 * SECTOR_BYTES
    file.write(NEW, 0)
    with refused(errno.ENOSPC):
        file.write(NEW, 3 * SECTOR_BYTES)
    assert file.size() == 6 * SECTOR_BYTES
    assert folder.free_bytes() == 0
    file.write(OLD, 0)  # in place of what is there
    with refused(errno.ENOSPC):
        folder.create(("g",)).allocate(1)
    file.truncate(SECTOR_BYTES)
    assert folder.free_bytes() == 5 * SECTOR_BYTES
    folder.remove(("f",))
    assert folder.free_bytes() == 5 * SECTOR_BYTES, "still open"
    file.close()
    assert folder.free_bytes() == 6 * SECTOR_BYTES


def test_space_is_right_after_crashes(disk: SimDisk, folder: SimFolder) -> None:
    for number in range(4):
        write(folder, (f"{number}",), NEW)
        if number % 2:
            folder.sync_everything()
    folder.remove(("0",))
    folder.remove(("3",))
    for after in after_crashes(disk):
        used = sum(after.allocated_bytes((entry.name,)) for entry in after.entries(()))
        assert after.free_bytes() == disk.capacity_bytes - used
    folder.sync_everything()
    assert len(disk.nodes) == 3, "what nobody can reach is forgotten"


def test_scripted_faults_count_operations(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    disk.fail(errno.EIO, Operation.WRITE, nth=2, times=2)
    file.write(b"a" * 10, 0)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            file.write(b"b" * 10, 0)
    file.write(b"c" * 10, 10)
    assert read(folder, ("f",))[:10] == b"bbbbbaaaaa", "a failing write may have written something"
    disk.fail_randomly(errno.EIO, Operation.READ, chance=0.5, seed=1)
    outcomes = []
    for _ in range(40):
        try:
            read(folder, ("f",))
            outcomes.append(True)
        except OSError:
            outcomes.append(False)
    assert 5 < sum(outcomes) < 35
    disk.heal()
    assert read(folder, ("f",))


def test_operations_are_numbered_logged_and_observed(disk: SimDisk, folder: SimFolder) -> None:
    seen: list[Done] = []
    disk.observer = seen.append
    write(folder, ("f",), b"x")
    disk.fail(errno.ENOSPC, Operation.RENAME)
    with refused(errno.ENOSPC):
        folder.rename(("f",), ("g",))
    assert seen == disk.log
    assert seen == [
        Done(1, Operation.CREATE, "/sim/f"),
        Done(2, Operation.WRITE, "/sim/f"),
        Done(3, Operation.RENAME, "/sim/g", errno.ENOSPC),
    ]


def test_a_kill_keeps_the_cache_and_frees_locks(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    file.write(NEW, 0)
    assert file.lock()
    disk.kill()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(OLD, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.open(("f",))
    again = SimFolder(disk).open(("f",))
    assert again.lock()
    assert read(SimFolder(disk), ("f",)) == NEW


def test_links_are_refused(disk: SimDisk, folder: SimFolder) -> None:
    folder.make_folder(("d",))
    disk.plant_link(("d", "l"))
    attempts: tuple[Callable[[], object], ...] = (
        lambda: folder.open(("d", "l")),
        lambda: folder.create(("d", "l", "f")),
        lambda: folder.make_folder(("d", "l")),
        lambda: folder.state(("d", "l")),
    )
    for attempt in attempts:
        with refused(errno.ELOOP):
            attempt()
    assert folder.kind(("d", "l")) is Kind.LINK
    folder.remove(("d", "l"))


def test_a_crash_is_decided_by_its_seed(disk: SimDisk, folder: SimFolder) -> None:
    write(folder, ("f",), NEW)
    write(folder, ("g",), NEW)

    def outcome(seed: int) -> list[tuple[str, bytes]]:
        image = disk.copy()
        image.crash(seed)
        after = SimFolder(image)
        return [(entry.name, read(after, (entry.name,))) for entry in after.entries(())]

    assert all(outcome(seed) == outcome(seed) for seed in range(10))
    assert len({str(outcome(seed)) for seed in range(30)}) > 5


def test_a_file_that_a_lost_rename_left_with_two_names_outlives_one_of_them() -> None:
    """Found by seed 58333: the file went with the first name, and the other led nowhere."""
    twice = 0
    for seed in range(200):
        disk = SimDisk()
        folder = SimFolder(disk, ("sim",))
        write(folder, ("f",), b"x")
        folder.sync_everything()
        folder.rename(("f",), ("g",))
        folder.rename(("g",), ("h",))
        disk.crash(seed)
        folder = SimFolder(disk, ("sim",))
        names = sorted(path[-1] for path in disk.tree())
        if len(names) < 2:
            continue
        twice += 1
        assert names == ["f", "h"]
        folder.remove(("f",))
        folder.sync_everything()
        assert read(folder, ("h",)) == b"x"
    assert twice


def test_what_was_never_durable_may_be_anything(disk: SimDisk, folder: SimFolder) -> None:
    folder.create(("f",)).write(NEW, 0)
    folder.sync_folder(())
    contents = [read(after, ("f",)) for after in after_crashes(disk)]
    assert any(len(set(data)) > 2 for data in contents), "what the blocks held before"


def test_a_size_may_be_that_of_any_moment_since_the_last_sync(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    file.write(OLD, 0)
    folder.sync_everything()
    for part in range(3):
        file.write(NEW, len(OLD) + part * len(NEW))
    sizes = {len(read(after, ("f",))) for after in after_crashes(disk)}
    assert sizes == {len(OLD) * count for count in (1, 2, 3, 4)}
    file.sync()
    assert {len(read(after, ("f",))) for after in after_crashes(disk)} == {4 * len(OLD)}


def test_a_close_that_fails_has_lost_what_went_through_it(disk: SimDisk, folder: SimFolder) -> None:
    file = folder.create(("f",))
    file.write(OLD, 0)
    folder.sync_everything()
    file = folder.open(("f",), write=True)
    file.write(NEW[:SECTOR_BYTES], 0)
    disk.fail(errno.EDQUOT, Operation.CLOSE)
    with pytest.raises(OSError, match="quota"):
        file.close()
    folder.open(("f",)).sync()
    assert read(folder, ("f",)).startswith(b"n")
    disk.drop_caches()
    assert read(folder, ("f",)) == OLD
    folder.open(("f",)).close()  # nothing was written: nothing to tell


def test_an_error_may_be_told_of_what_was_done(disk: SimDisk, folder: SimFolder) -> None:
    disk.fail(errno.EIO, Operation.CREATE, happens=1.0)
    disk.fail(errno.EIO, Operation.RENAME, happens=1.0)
    disk.fail(errno.EIO, Operation.REMOVE)
    with pytest.raises(OSError, match="error"):
        folder.create(("a",))
    with pytest.raises(OSError, match="error"):
        folder.rename(("a",), ("b",))
    with pytest.raises(OSError, match="error"):
        folder.remove(("b",))
    assert [entry.name for entry in folder.entries(())] == ["b"]
