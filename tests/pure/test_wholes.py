"""The running hash of whole files: whatever the order, threads and troubles, it is the file's or none."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import StorageError
from peer.ids import FileIndex, PieceIndex
from peer.store.layout import Layout
from peer.store.wholes import Wholes

PIECE = 16
LARGE = bytes(range(100))  # seven pieces, the last one short
SMALL = b"small"
LAYOUT = Layout(PIECE, [len(LARGE), len(SMALL)])
PIECES = [LARGE[at : at + PIECE] for at in range(0, len(LARGE), PIECE)]
FILE = FileIndex(0)


class Disk:
    """What was written, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None

    def read(self, piece: PieceIndex, buffer: memoryview) -> None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        buffer[:] = PIECES[piece]


def give(wholes: Wholes, number: int) -> None:
    wholes.written(PieceIndex(number), memoryview(PIECES[number]))


def test_in_order_nothing_is_read_again() -> None:
    disk = Disk()
    wholes = Wholes(LAYOUT, disk.read)
    for number in range(len(PIECES)):
        give(wholes, number)
    assert wholes.digest(FILE) == blake3(LARGE).digest()
    assert disk.reads == 0


@given(st.permutations(range(len(PIECES))))
def test_in_any_order_each_piece_is_read_at_most_once(order: list[int]) -> None:
    disk = Disk()
    wholes = Wholes(LAYOUT, disk.read)
    for number in order:
        give(wholes, number)
    assert wholes.digest(FILE) == blake3(LARGE).digest()
    assert disk.reads < len(PIECES)


@given(st.lists(st.sampled_from(range(len(PIECES))), max_size=20))
def test_what_did_not_all_come_by_has_no_hash(numbers: list[int]) -> None:
    wholes = Wholes(LAYOUT, Disk().read)
    for number in numbers:  # a piece may be written again after a failed sync
        give(wholes, number)
    whole = set(numbers) == set(range(len(PIECES)))
    assert wholes.digest(FILE) == (blake3(LARGE).digest() if whole else None)


@pytest.mark.parametrize("error", [OSError(5, "bad block"), StorageError("gone")])
def test_what_cannot_be_read_again_has_no_hash(error: Exception) -> None:
    disk = Disk()
    wholes = Wholes(LAYOUT, disk.read)
    disk.error = error
    for number in (1, 0, *range(2, len(PIECES))):
        give(wholes, number)
    assert wholes.digest(FILE) is None
    disk.error = None
    assert wholes.digest(FILE) == blake3(LARGE).digest()


def test_small_files_are_left_to_others() -> None:
    wholes = Wholes(LAYOUT, Disk().read)
    wholes.written(PieceIndex(LAYOUT.piece_count - 1), memoryview(SMALL))
    assert wholes.digest(FileIndex(1)) is None


def test_threads_may_write_at_once() -> None:
    for _ in range(20):
        wholes = Wholes(LAYOUT, Disk().read)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(partial(give, wholes), range(len(PIECES))))
        assert wholes.digest(FILE) == blake3(LARGE).digest()
