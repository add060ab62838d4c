"""A bitfield behaves like a set of small numbers, at any size, and reads only what it would write."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from peer.bitfield import Bitfield, in_blocks
from peer.limits import PICKER_BLOCK_PIECES

sizes = st.integers(0, 70) | st.sampled_from([PICKER_BLOCK_PIECES + n for n in (-1, 0, 1)])


@st.composite
def bitfields(draw: st.DrawFn, size: int | None = None) -> tuple[Bitfield, set[int]]:
    count = draw(sizes) if size is None else size
    members = draw(st.sets(st.integers(0, count - 1))) if count else set()
    return make(count, members), members


def make(size: int, members: set[int]) -> Bitfield:
    bits = Bitfield(size)
    for member in members:
        assert bits.add(member)
    return bits


def test_the_first_piece_is_the_highest_bit() -> None:
    bits = make(10, {0, 9})
    assert bits.to_bytes() == b"\x80\x40"
    assert repr(bits) == "<Bitfield 2 of 10>"


@given(bitfields())
def test_bytes_round_trip(made: tuple[Bitfield, set[int]]) -> None:
    bits, members = made
    again = Bitfield.from_bytes(bits.to_bytes(), len(bits))
    assert again == bits
    assert set(again.indices()) == members
    again.check_invariants()


@given(st.binary(max_size=12), sizes)
def test_reading_accepts_exactly_what_writing_makes(data: bytes, size: int) -> None:
    try:
        bits = Bitfield.from_bytes(data, size)
    except ValueError:
        number = int.from_bytes(data, "big")
        assert len(data) != (size + 7) // 8 or number & ((1 << (len(data) * 8 - size)) - 1)
    else:
        assert bits.to_bytes() == data


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17, *(PICKER_BLOCK_PIECES + n for n in (-1, 0, 1))])
def test_full_and_empty(size: int) -> None:
    full, empty = Bitfield(size, full=True), Bitfield(size)
    assert full.is_full
    assert empty.is_empty
    assert full.count == len(full) == size
    assert list(full.indices()) == list(empty.missing()) == list(range(size))
    assert list(empty.indices()) == list(full.missing()) == []
    full.check_invariants()
    full.clear()
    assert full == empty


@given(st.data(), sizes)
def test_questions_about_two_sets(data: st.DataObject, size: int) -> None:
    (mine, my_set), (other, other_set) = data.draw(bitfields(size)), data.draw(bitfields(size))
    assert list(mine.missing_from(other)) == sorted(other_set - my_set)
    assert mine.has_any_missing_from(other) == bool(other_set - my_set)
    assert mine.count_missing_from(other) == len(other_set - my_set)
    assert mine.intersects(other) == bool(my_set & other_set)
    assert (mine == other) == (my_set == other_set)
    for change, expected in (
        (Bitfield.update, my_set | other_set),
        (Bitfield.difference_update, my_set - other_set),
        (Bitfield.intersection_update, my_set & other_set),
    ):
        changed = mine.copy()
        change(changed, other)
        changed.check_invariants()
        assert set(changed.indices()) == expected
    assert set(mine.indices()) == my_set, "a copy does not share its bits"


@pytest.mark.parametrize("index", [-1, -8, 10, 15, 16, 2**70])
def test_numbers_outside_are_refused(index: int) -> None:
    bits = Bitfield(10)
    for operation in (bits.__getitem__, bits.add, bits.discard):
        with pytest.raises(IndexError):
            operation(index)
    assert index not in bits


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have"):
        Bitfield(-1)
    with pytest.raises(ValueError, match="nothing in common"):
        Bitfield(8).has_any_missing_from(Bitfield(9))
    with pytest.raises(ValueError, match="nothing in common"):
        Bitfield(8, full=True).update(Bitfield(9))
    with pytest.raises(TypeError):
        iter(Bitfield(8))
    with pytest.raises(TypeError):
        hash(Bitfield(8))
    assert Bitfield(8) != {1}


def test_walking_is_a_snapshot() -> None:
    bits = Bitfield(100, full=True)
    for index in bits.indices():
        bits.discard(index)
    for index in bits.missing():
        bits.add(index)
    assert bits.is_full


class BitfieldMachine(RuleBasedStateMachine):
    """Any sequence of changes, beside a plain set."""

    @initialize(size=st.integers(1, 40) | st.just(PICKER_BLOCK_PIECES + 3), full=st.booleans())
    def begin(self, size: int, full: bool) -> None:
        self.bits = Bitfield(size, full=full)
        self.model = set(range(size)) if full else set()

    @rule(number=st.integers(0, 10**6))
    def add(self, number: int) -> None:
        index = number % len(self.bits)
        assert self.bits.add(index) == (index not in self.model)
        self.model.add(index)

    @rule(numbers=st.lists(st.integers(0, 10**6), max_size=8))
    def add_many(self, numbers: list[int]) -> None:
        indexes = {number % len(self.bits) for number in numbers}
        fresh = self.bits.add_blocks(in_blocks(indexes))
        assert dict(fresh) == dict(in_blocks(indexes - self.model))
        self.model |= indexes

    @rule(number=st.integers(0, 10**6))
    def discard(self, number: int) -> None:
        index = number % len(self.bits)
        assert self.bits.discard(index) == (index in self.model)
        self.model.discard(index)

    @rule()
    def fill(self) -> None:
        self.bits.fill()
        self.model = set(range(len(self.bits)))

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "bits"):
            return
        self.bits.check_invariants()
        assert self.bits.count == len(self.model)
        assert list(self.bits.indices()) == sorted(self.model)
        size = len(self.bits)
        self.agree_at(range(min(size, 40)))
        self.agree_at(range(max(0, size - 40), size))  # the last of one block and all of the next

    def agree_at(self, indexes: Iterable[int]) -> None:
        assert all(self.bits[i] == (i in self.bits) == (i in self.model) for i in indexes)

    def teardown(self) -> None:
        """Asked one by one, the thousands of a block take longer than all that is done to them."""
        if hasattr(self, "bits"):
            self.agree_at(range(len(self.bits)))


TestBitfieldMachine = BitfieldMachine.TestCase
