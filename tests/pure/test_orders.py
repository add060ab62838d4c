"""Orders of pieces that one can ask for instead of rarest first."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from peer.bitfield import Bitfield
from peer.cli.get import ORDER_NAMES
from peer.ids import LinkId, PieceIndex
from peer.swarm.orders import ORDERS, InOrderPicker, RandomPicker
from peer.swarm.picker import Picker

LINK = LinkId(1)


def bitfield(pieces: set[int], count: int) -> Bitfield:
    bits = Bitfield(count)
    for piece in pieces:
        bits.add(PieceIndex(piece))
    return bits


SETS = st.integers(1, 300).flatmap(
    lambda count: st.tuples(st.just(count), *(st.sets(st.integers(0, count - 1)) for _ in range(2)))
)


def test_the_command_line_offers_what_there_is() -> None:
    assert set(ORDER_NAMES) == set(ORDERS)
    assert ORDERS[ORDER_NAMES[0]] is Picker


@given(SETS)
def test_in_order_is_the_first_that_is_needed_and_there(case: tuple[int, set[int], set[int]]) -> None:
    count, needed, held = case
    picker = InOrderPicker(count, bitfield(needed, count), Random(1))
    picker.join(LINK)
    picker.set_bits(LINK, bitfield(held, count))
    assert picker.choose(LINK) == min(needed & held, default=None)
    assert picker.choose_any(LINK) == min(needed & held, default=None)


@given(SETS, st.integers(0, 100))
def test_random_is_any_that_is_needed_and_there(case: tuple[int, set[int], set[int]], seed: int) -> None:
    count, needed, held = case
    picker = RandomPicker(count, bitfield(needed, count), Random(seed))
    picker.join(LINK)
    picker.set_bits(LINK, bitfield(held, count))
    chosen = picker.choose(LINK)
    assert (chosen in needed & held) if needed & held else chosen is None
