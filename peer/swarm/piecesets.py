"""Sets of pieces as big integers, one bit a piece (`peer.bitfield`), and counts of pieces as stacks of such
sets.

A stack of *planes* counts how often each piece of a block is held: ``planes[k]`` is the set of pieces whose
count has bit k set, so a whole set is added by a binary addition with carry.
"""

from collections.abc import Iterable
from random import Random

from peer.bitfield import Block
from peer.limits import PICKER_BLOCK_PIECES


def cut_into_blocks(mask: int) -> Iterable[Block]:
    """A set of pieces as one number, however large the share is, as sets of blocks."""
    if mask >> PICKER_BLOCK_PIECES:
        full = (1 << PICKER_BLOCK_PIECES) - 1
        count = -(-mask.bit_length() // PICKER_BLOCK_PIECES)
        cut = [(at, mask >> at * PICKER_BLOCK_PIECES & full) for at in range(count)]
        return [(at, block) for at, block in cut if block]
    return ((0, mask),)


def bits_of(mask: int) -> list[int]:
    """Positions of the set bits, ascending. For tests and rare events: linear in the bits."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def random_bit(mask: int, rng: Random) -> int:
    """Position of one set bit, each with the same probability. The mask must not be empty."""
    count = mask.bit_count()
    if count == 1:
        return mask.bit_length() - 1
    rank = int(rng.random() * count)
    at = 0
    width = 1 << (mask.bit_length() - 1).bit_length()
    while width > 1:
        width >>= 1
        low = mask & ((1 << width) - 1)
        below = low.bit_count()
        if rank < below:
            mask = low
        else:
            rank -= below
            mask >>= width
            at += width
    return at


def add_to(planes: list[int], carry: int) -> None:
    """Count one more for each piece of the set."""
    for k, plane in enumerate(planes):
        planes[k] = plane ^ carry
        carry &= plane
        if not carry:
            return
    if carry:
        planes.append(carry)


def subtract_from(planes: list[int], borrow: int) -> None:
    """Count one less for each piece of the set; each must have been counted."""
    for k, plane in enumerate(planes):
        difference = plane ^ borrow
        planes[k] = difference
        borrow &= difference
        if not borrow:
            break
    while planes and not planes[-1]:
        planes.pop()


def count_in(planes: list[int], bit: int) -> int:
    """How often the one piece of this set is counted."""
    count, one = 0, 1
    for plane in planes:
        if plane & bit:
            count += one
        one += one
    return count


def least_held(planes: list[int], candidates: int) -> tuple[int, int]:
    """The candidates with the lowest count, and that count."""
    availability = 0
    for k in range(len(planes) - 1, -1, -1):
        low = candidates & ~planes[k]
        if low:
            candidates = low
        else:
            availability |= 1 << k
    return candidates, availability
