"""The journal's file: appended, synced, rewritten; on disks that fail."""

import errno

import pytest

from peer.ids import ShareId
from peer.limits import JOURNAL_GROWTH_BYTES
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.store.journal import Journal, read_journal
from peer.store.records import Clean, Durable, Header, Written
from tests.folder_kit import read, refused, write
from tests.store_kit import set_of

PIECES = 100_000
HEADER = Header(ShareId(bytes(32)), PIECES)
PATH = ("j", "journal")


@pytest.fixture
def folder(disk: SimDisk) -> SimFolder:
    folder = SimFolder(disk)
    folder.make_folder(("j",))
    folder.sync_folder(())
    return folder


@pytest.fixture
def journal(folder: SimFolder) -> Journal:
    made = Journal(folder, PATH, HEADER)
    made.rewrite([])
    return made


def worn(journal: Journal) -> bool:
    return journal.needs_rewrite


def durable(folder: SimFolder) -> set[int]:
    contents = read_journal(folder, PATH)
    assert contents is not None
    return set_of(contents.durable)


def test_what_was_synced_survives_every_crash(disk: SimDisk, folder: SimFolder, journal: Journal) -> None:
    journal.append(Durable(tuple(range(0, 3000, 2))))
    journal.sync()
    journal.append(Durable(tuple(range(1, 3000, 2))))
    seen = set()
    for seed in range(40):
        image = disk.copy()
        image.crash(seed)
        found = durable(SimFolder(image))
        assert found >= set(range(0, 3000, 2))
        seen.add(len(found))
    assert seen == {1500, 3000}, "a torn record counts wholly or not at all"


def test_it_is_continued_where_its_good_records_end(folder: SimFolder, journal: Journal) -> None:
    journal.append(Durable((1,)))
    end = journal.length
    file = folder.open(PATH, write=True)
    file.write(b"torn", end)
    contents = read_journal(folder, PATH)
    assert contents is not None
    assert contents.end == end
    again = Journal(folder, PATH, HEADER, contents)
    again.append(Durable((2,)))
    assert durable(folder) == {1, 2}


def test_a_failed_append_leaves_no_trace(disk: SimDisk, folder: SimFolder, journal: Journal) -> None:
    journal.append(Durable((1,)))
    disk.fail(errno.ENOSPC, Operation.WRITE)
    with refused(errno.ENOSPC):
        journal.append(Durable(tuple(range(1000, 2000))))
    assert durable(folder) == {1}
    assert not worn(journal)
    journal.append(Durable((2,)))
    assert durable(folder) == {1, 2}


def test_after_a_failed_sync_only_a_rewrite_counts(
    disk: SimDisk, folder: SimFolder, journal: Journal
) -> None:
    journal.append(Durable(tuple(range(0, 20_000, 2))))
    disk.fail(errno.EIO, Operation.SYNC)
    with refused(errno.EIO):
        journal.sync()
    assert worn(journal)
    length = journal.length
    journal.append(Durable((1,)))
    assert journal.length == length
    disk.fail(errno.ENOSPC, Operation.CREATE)
    with refused(errno.ENOSPC):
        journal.rewrite([Durable((5,))])
    assert worn(journal)
    journal.rewrite([Durable((5,)), Written((6,))])
    assert not worn(journal)
    journal.append(Durable((7,)))
    journal.sync()
    disk.crash(1)
    assert durable(SimFolder(disk)) == {5, 7}


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.SYNC, Operation.RENAME])
def test_a_failed_rewrite_leaves_the_old_one(
    disk: SimDisk, folder: SimFolder, journal: Journal, operation: Operation
) -> None:
    journal.append(Durable((1,)))
    journal.sync()
    disk.fail(errno.EIO, operation)
    with refused(errno.EIO):
        journal.rewrite([Durable((1, 2))])
    assert durable(folder) == {1}
    journal.rewrite([Durable((1, 2))])
    assert durable(folder) == {1, 2}


def test_growth_asks_for_a_rewrite(folder: SimFolder, journal: Journal) -> None:
    while not worn(journal):
        journal.append(Durable(tuple(range(2000))))
    assert JOURNAL_GROWTH_BYTES < journal.length < JOURNAL_GROWTH_BYTES + 20_000
    journal.rewrite([Durable(tuple(range(2000)))])
    assert not worn(journal)
    assert journal.length < 10_000
    assert len(read(folder, PATH)) == journal.length


def test_a_clean_end_counts_until_something_follows(folder: SimFolder, journal: Journal) -> None:
    journal.append(Clean((1, 2, 3)))
    contents = read_journal(folder, PATH)
    assert contents is not None
    assert contents.times_ns == (1, 2, 3)
    journal.append(Written((1,)))
    contents = read_journal(folder, PATH)
    assert contents is not None
    assert contents.times_ns is None


def test_no_journal_and_a_foreign_one_are_none(folder: SimFolder) -> None:
    assert read_journal(folder, PATH) is None
    write(folder, PATH, b"")
    assert read_journal(folder, PATH) is None
    folder.remove(PATH)
    write(folder, PATH, b"hello" * 1000)
    assert read_journal(folder, PATH) is None
