"""A download on a disk that loses power, fails, lies and fills up: rows 1 to 5 of RELIABILITY's fault list.

Checked after every fault: I1, a completed file is what the link names; I2, no piece is held whose bytes are
not there; and that what was made durable is not fetched again.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import pytest

from peer.errors import LocalProtocolError, StorageError, StorageFullError
from peer.ids import PieceIndex
from peer.limits import KIB
from peer.sim.disk import HARMLESS, Done, Operation, SimDisk
from peer.sim.files import SimFolder
from peer.sim.medium import SECTOR_BYTES
from peer.store.incoming import IncomingStore, open_incoming
from tests.store_kit import (
    NAME,
    Share,
    assert_held_is_true,
    expected_tree,
    fetch,
    finish,
    lies_there,
    missing,
    random_share,
    recorded,
    resume,
    set_of,
    tree,
)

SEEDS = range(int(os.environ.get("CRASH_SEEDS", "2")))
"""Power losses tried after each operation."""

SHARE = random_share(
    1,
    {
        ("large",): 26 * 16 * KIB,
        ("sub", "ragged"): 12 * 16 * KIB + 5000,
        **{("small", f"{n % 4}", f"{n:02}"): 4000 + 71 * n for n in range(64)},
        ("empty",): 0,
    },
    folders=[("hollow",)],
    executable=[("large",)],
)
"""64 pieces: of two large files, and of many small ones."""

SMALL = random_share(
    2,
    {
        ("a",): 16 * KIB * 2 + 100,
        ("b", "c"): 5000,
        ("b", "d"): 9000,
        ("e",): 0,
        ("f",): 16 * KIB,
        ("g",): 6000,
        ("h", "i"): 13000,
    },
    folders=[("j", "k")],
)


def disk_and_folder() -> tuple[SimDisk, SimFolder]:
    disk = SimDisk()
    return disk, SimFolder(disk, ("downloads",))


def again(disk: SimDisk) -> SimFolder:
    return SimFolder(disk, ("downloads",))


def shuffled(share: Share = SHARE) -> list[PieceIndex]:
    pieces = list(share.pieces())
    Random(3).shuffle(pieces)
    return pieces


@dataclass(frozen=True)
class Image:
    """A disk after an operation. durable: the pieces that were in a finished checkpoint by then."""

    done: Done
    disk: SimDisk
    durable: frozenset[int]
    hints: int


class Story:
    """A download from start to end on a disk that is photographed after every operation.

    before: files put at the target by hand. wanted: what is fetched, all by default.
    """

    def __init__(
        self,
        share: Share,
        *,
        wanted: Iterable[tuple[str, ...]] | None = None,
        before: Iterable[tuple[str, ...]] = (),
    ) -> None:
        assert isinstance(share, Share)
        self.share = share
        self.wanted = None if wanted is None else [share.file(*path) for path in wanted]
        self.images: list[Image] = []
        self._durable: set[int] = set()
        self._hints = 0
        disk, folder = disk_and_folder()
        for path in before:
            folder.make_folder((NAME, *path)[:-1])
            folder.create((NAME, *path)).write(share.files[path], 0)
        folder.sync_everything()
        disk.observer = lambda done: self._keep(disk, done)
        self._run(resume(folder, share, self.wanted))
        assert tree(folder) == self.expected
        assert disk.open_files == 0

    @property
    def expected(self) -> dict[tuple[str, ...], bytes | None]:
        return expected_tree(self.share, self.wanted)

    def _keep(self, disk: SimDisk, done: Done) -> None:
        self._hints += done.operation is Operation.WRITE and done.path.endswith("journal")
        if done.operation not in HARMLESS:
            self.images.append(Image(done, disk.copy(), frozenset(self._durable), self._hints))

    def _run(self, store: IncomingStore) -> None:
        rng = Random(4)
        until = 3
        for piece in shuffled(self.share):
            if piece not in store.wanted or piece in store.held:
                continue
            store.write_piece(piece, self.share.piece(piece))
            until -= 1
            if not until:
                until = rng.choice((1, 2, 12))
                pending = set_of(store.held)
                store.checkpoint()
                self._durable |= pending
        store.complete()
        store.leave()
        store.close()

    def check(self, disk: SimDisk, durable: frozenset[int], context: str, *, to_the_end: bool) -> None:
        """What the next run finds is true, and enough."""
        folder = again(disk)
        landed = folder.kind((NAME,)) is not None
        assert landed or durable <= recorded(folder), f"{context}: the journal lost durable pieces"
        store = resume(folder, self.share, self.wanted)
        needed = durable & set_of(store.wanted)
        assert needed <= set_of(store.held), f"{context}: durable pieces were lost"
        assert_held_is_true(store, self.share)
        if not to_the_end:
            store.abandon()
            return
        finish(store, self.share)
        assert tree(folder) == self.expected, context
        assert disk.open_files == 0


WHOLE = Story(SHARE)
assert SHARE.layout.piece_count == 64


@pytest.mark.parametrize("part", range(4))
def test_power_loss_after_every_operation(part: int) -> None:
    for number, image in enumerate(WHOLE.images):
        if number % 4 != part:
            continue
        for seed in SEEDS:
            disk = image.disk.copy()
            disk.crash(1000 * number + seed)
            context = f"{image.done}, seed {1000 * number + seed}"
            WHOLE.check(disk, image.durable, context, to_the_end=seed == 0)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param({}, id="whole"),
        pytest.param({"wanted": [("a",), ("g",)]}, id="some files"),
        pytest.param({"wanted": [("b", "c"), ("e",), ("f",)]}, id="a small and an empty file"),
        pytest.param({"before": [("a",), ("b", "d")]}, id="into a folder with good files"),
        pytest.param({"before": [("g",)], "wanted": [("b", "c"), ("g",)]}, id="some, some are there"),
    ],
)
def test_power_loss_after_every_operation_of_other_stories(story: dict[str, list[tuple[str, ...]]]) -> None:
    """From there the same command completes, and then a run that wants everything."""
    told = Story(SMALL, **story)
    for number, image in enumerate(told.images):
        for seed in SEEDS:
            disk = image.disk.copy()
            disk.crash(1000 * number + seed)
            context = f"{image.done}, seed {1000 * number + seed}"
            told.check(disk, image.durable, context, to_the_end=True)
            finish(resume(again(disk), SMALL), SMALL)
            assert tree(again(disk)) == expected_tree(SMALL), context


def test_kill_after_every_operation() -> None:
    """The cache survives a kill: nothing that was written whole is fetched again."""
    for image in WHOLE.images[::3]:
        disk = image.disk.copy()
        disk.kill()
        store = resume(again(disk), SHARE)
        assert image.durable <= set_of(store.held), image.done
        assert store.standing().held >= min(image.hints - 8, 64) or image.durable
        assert_held_is_true(store, SHARE)
        store.abandon()


@pytest.mark.parametrize("seed", range(12))
def test_a_second_power_loss_while_resuming(seed: int) -> None:
    rng = Random(seed)
    image = rng.choice(WHOLE.images)
    disk, durable = image.disk.copy(), image.durable
    for _ in range(6):
        disk.crash(rng.randrange(1 << 30))
        assert durable <= recorded(again(disk)) or again(disk).kind((NAME,)) is not None
        store = resume(again(disk), SHARE)
        assert durable <= set_of(store.held)
        assert_held_is_true(store, SHARE)
        before = set_of(store.held)
        fetch(store, SHARE, missing(store)[:5])
        if rng.random() < 0.5:
            store.checkpoint()
            durable = frozenset(set_of(store.held))
        assert before <= set_of(store.held)
    disk.crash(rng.randrange(1 << 30))
    WHOLE.check(disk, durable, f"seed {seed}", to_the_end=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_disk_that_lies_about_syncs_never_makes_a_wrong_file(seed: int) -> None:
    """I2 cannot hold on such a disk; I1 does, because nothing is completed that this run has not hashed."""
    disk, folder = disk_and_folder()
    disk.sync_lies = True
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, shuffled()[:40])
    store.checkpoint()
    disk.crash(seed)
    folder = again(disk)
    store = resume(folder, SHARE)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


SYNCS = [image.done.operation for image in WHOLE.images]


@pytest.mark.parametrize(
    ("operation", "nth"),
    [
        (operation, nth)
        for operation in (Operation.SYNC, Operation.SYNC_FOLDER, Operation.SYNC_EVERYTHING)
        for nth in range(1, SYNCS.count(operation) + 1)
    ],
)
def test_failing_sync(operation: Operation, nth: int) -> None:
    """Row 3: after a failed sync nothing is held that a fresh read without the cache does not prove, and what
    later checkpoints say is true again."""
    disk, folder = disk_and_folder()
    disk.fail(errno.EIO, operation, nth=nth)
    said: list[str] = []
    store: IncomingStore | None = None
    for _ in range(3):
        try:
            store = store or resume(folder, SHARE)
            for count, piece in enumerate(missing(store), start=1):
                store.write_piece(piece, SHARE.piece(piece))
                if count % 10 == 0 or count < 3:
                    store.checkpoint()
                    assert not said or check_durable(disk, store)
            store.complete()
            store.leave()
            break
        except StorageError as error:
            said.append(str(error))
            if store is not None:
                assert not set(store.take_lost()) & set_of(store.held)
                probe = disk.copy()
                probe.drop_caches()
                assert all(
                    lies_there(again(probe), SHARE, PieceIndex(piece)) for piece in store.held.indices()
                ), "something is held only by the cache"
    assert len(said) <= 1
    assert all("input/output" in line for line in said)
    assert store is not None
    store.close()
    assert tree(folder) == expected_tree(SHARE)


def check_durable(disk: SimDisk, store: IncomingStore) -> bool:
    """Just after a checkpoint a power loss takes nothing."""
    image = disk.copy()
    image.crash(disk.operations)
    WHOLE.check(image, frozenset(set_of(store.held)), "after a checkpoint", to_the_end=False)
    return True


def test_lost_pieces_do_not_pass_for_found_after_a_kill() -> None:
    """The cache still shows bytes that a failed sync did not save: the journal must not point at them."""
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, range(20))
    disk.fail(errno.EIO, Operation.SYNC)
    with pytest.raises(StorageError):
        store.checkpoint()
    assert set(store.take_lost()) == set(range(20))
    assert not store.take_lost()
    disk.kill()
    store = resume(again(disk), SHARE)
    assert not set_of(store.held)


def test_pieces_found_again_after_a_kill_are_made_durable() -> None:
    disk, folder = disk_and_folder()
    fetch(open_incoming(folder, NAME, SHARE.manifest), SHARE, range(0, 64, 3))
    disk.kill()
    store = resume(again(disk), SHARE)
    assert set_of(store.held) == set(range(0, 64, 3))
    assert store.standing().durable == 0
    store.checkpoint()
    assert store.standing().durable == 22
    for seed in SEEDS:
        image = disk.copy()
        image.crash(seed)
        WHOLE.check(image, frozenset(range(0, 64, 3)), f"seed {seed}", to_the_end=False)


def test_nothing_is_completed_that_this_run_has_not_hashed() -> None:
    _, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE)
    store.close()
    store = open_incoming(folder, NAME, SHARE.manifest)
    assert store.held.is_full
    assert len(store.unproven) == SHARE.layout.piece_count
    with pytest.raises(LocalProtocolError):
        store.complete()
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_pieces_that_land_during_a_failing_sync_are_written_again() -> None:
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, range(4))

    def meanwhile(done: Done) -> None:
        if done.operation is Operation.WRITE and done.path.endswith("large") and not disk.open_files > 99:
            disk.observer = None
            disk.fail(errno.EIO, Operation.SYNC)
            with pytest.raises(StorageError):
                store.checkpoint()

    disk.observer = meanwhile
    fetch(store, SHARE, [7])
    assert set(store.take_lost()) == {0, 1, 2, 3}
    assert set_of(store.held) == {7}
    store.checkpoint()
    disk.drop_caches()
    assert_held_is_true(store, SHARE)


@pytest.mark.parametrize("capacity_sectors", [1, 3, 8, 20, 100, 150, 200, 220, 250])
def test_full_disk_pauses_and_goes_on(capacity_sectors: int) -> None:
    """Row 4: whatever the moment, a full disk is a StorageFullError, and with room again all goes on."""
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    disk.capacity_bytes = (disk.used_sectors + capacity_sectors) * SECTOR_BYTES
    said = []
    for piece in shuffled():
        try:
            store.write_piece(piece, SHARE.piece(piece))
            store.checkpoint()
        except StorageFullError as error:
            said.append(str(error))
            if len(said) < 3:
                assert_held_is_true(store, SHARE)
    assert said
    assert all("disk is full" in line for line in said)
    held = set_of(store.held)
    disk.capacity_bytes = 1 << 40
    assert not store.take_lost()
    fetch(store, SHARE)
    assert held <= set_of(store.held)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


@pytest.mark.parametrize("nth", range(1, 200, 7))
def test_no_space_at_the_nth_operation(nth: int) -> None:
    disk, folder = disk_and_folder()
    disk.fail(errno.ENOSPC, Operation.WRITE, nth=nth, times=3)
    disk.fail(errno.ENOSPC, Operation.CREATE, nth=nth // 2 + 1)
    disk.fail(errno.EDQUOT, Operation.SYNC, nth=nth // 9 + 1)
    store: IncomingStore | None = None
    for _ in range(12):
        try:
            if store is None:
                store = resume(folder, SHARE)
            for piece in missing(store):
                store.write_piece(piece, SHARE.piece(piece))
                if piece % 10 == 0:
                    store.checkpoint()
            store.complete()
            store.leave()
            break
        except StorageFullError:
            continue
    assert store is not None
    store.close()
    assert tree(folder) == expected_tree(SHARE)


def test_resuming_on_a_full_disk_needs_no_room() -> None:
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE)
    store.close()
    disk.capacity_bytes = disk.used_sectors * SECTOR_BYTES
    store = open_incoming(folder, NAME, SHARE.manifest)
    assert store.held.is_full
    disk.capacity_bytes = 1 << 40  # completing it makes a folder
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)


@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE, Operation.OPEN, Operation.LOOK])
def test_input_output_errors_are_told_and_nothing_is_believed(operation: Operation) -> None:
    """Row 5, and the same of every other operation."""
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, range(50))
    store.close()
    said = []
    for seed in range(30):
        image = disk.copy()
        image.fail_randomly(errno.EIO, operation, 0.05, seed)
        try:
            store = resume(again(image), SHARE)
            finish(store, SHARE)
        except StorageError as error:
            said.append(str(error))
        image.heal()
        image.kill()
        store = resume(again(image), SHARE)
        assert_held_is_true(store, SHARE)
        finish(store, SHARE)
        assert tree(again(image)) == expected_tree(SHARE)
    assert said
    assert all("input/output" in line for line in said)


def test_an_unreadable_piece_is_dropped_by_check() -> None:
    disk, folder = disk_and_folder()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, range(5))
    disk.fail(errno.EIO, Operation.READ)
    assert not store.check(PieceIndex(2))
    assert set_of(store.held) == {0, 1, 3, 4}
    assert store.take_lost() == (2,)
    with pytest.raises(StorageError):
        store.slices(PieceIndex(2), 0, 1)
    assert not store.still_good(PieceIndex(2))
    assert not store.check(PieceIndex(2)) or PieceIndex(2) in store.held


def test_the_share_of_one_file_survives_as_well() -> None:
    share = Share({(): Random(2).randbytes(5 * 16 * KIB + 77)})
    disk, folder = disk_and_folder()
    images: list[tuple[SimDisk, int]] = []
    count = 0

    def keep(done: Done) -> None:
        if done.operation not in HARMLESS:
            images.append((disk.copy(), count))

    disk.observer = keep
    store = open_incoming(folder, NAME, share.manifest)
    for piece in share.pieces():
        store.write_piece(piece, share.piece(piece))
        store.checkpoint()
        count += 1
    store.complete()
    store.leave()
    store.close()
    for image, durable in images:
        for seed in range(6):
            crashed = image.copy()
            crashed.crash(seed)
            store = resume(again(crashed), share)
            assert store.standing().held >= durable
            assert_held_is_true(store, share)
            finish(store, share)
            assert tree(again(crashed)) == expected_tree(share)
