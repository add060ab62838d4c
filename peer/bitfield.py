"""Sets of pieces as big integers, one bit a piece.

A large share's sets are cut into *blocks* of `PICKER_BLOCK_PIECES`, so that touching one piece stays cheap,
while questions about whole sets are a few operations on numbers: 500,000 pieces take some tens of
microseconds. They travel as bytes; the first piece is the highest bit of the first byte.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from peer.limits import PICKER_BLOCK_PIECES

BLOCK_SHIFT: Final = PICKER_BLOCK_PIECES.bit_length() - 1
BLOCK_MASK: Final = PICKER_BLOCK_PIECES - 1
BIT: Final = tuple(1 << i for i in range(PICKER_BLOCK_PIECES))

_BLOCK_BYTES: Final = PICKER_BLOCK_PIECES // 8
_FULL: Final = (1 << PICKER_BLOCK_PIECES) - 1
_REVERSED: Final = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
"""Turns bytes as they travel into those of a little-endian number, and back."""

Block = tuple[int, int]
"""Some pieces: the number of their block, and one bit a piece."""


def in_blocks(pieces: Iterable[int]) -> Iterable[Block]:
    """Pieces, one by one, as sets."""
    blocks: dict[int, int] = {}
    for piece in pieces:
        at = piece >> BLOCK_SHIFT
        if at in blocks:
            blocks[at] |= BIT[piece & BLOCK_MASK]
        else:
            blocks[at] = BIT[piece & BLOCK_MASK]
    return blocks.items()


_BITS_OF = tuple(tuple(bit for bit in range(8) if value & (0x80 >> bit)) for value in range(256))
"""For each value of a byte the positions of its set bits, in ascending order."""


class Bitfield:
    """A mutable set of the numbers 0 to size - 1, with its size fixed.

    ``blocks``: the set as numbers, to be read only; piece i of a block is its bit i.
    """

    __slots__ = ("_count", "_size", "blocks")
    __hash__ = None  # type: ignore[assignment]  # mutable
    __iter__ = None  # `for piece in bits` would be ambiguous: say indices() or missing()

    def __init__(self, size: int, *, full: bool = False) -> None:
        if size < 0:
            raise ValueError(f"a bitfield cannot have {size} bits")
        self._size = size
        self._count = 0
        self.blocks = [0] * -(-size // PICKER_BLOCK_PIECES)
        if full:
            self.fill()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, size: int) -> "Bitfield":
        """Read what `to_bytes` made. Raises ValueError for a wrong length or for bits set beyond the last."""
        made = cls(size)
        if len(data) != (size + 7) // 8:
            raise ValueError(f"a bitfield of {size} pieces has {(size + 7) // 8} bytes, not {len(data)}")
        if size % 8 and data[-1] & (0xFF >> (size % 8)):
            raise ValueError("a bitfield has bits set beyond its last piece")
        numbers = bytes(data).translate(_REVERSED)
        cuts = range(0, len(numbers), _BLOCK_BYTES)
        made._become([int.from_bytes(numbers[at : at + _BLOCK_BYTES], "little") for at in cuts])
        return made

    def to_bytes(self) -> bytes:
        """As it travels: first piece in the highest bit, spare bits zero."""
        return _bytes_of(self.blocks, self._size)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> bool:
        """Whether the number is in the set. Raises IndexError outside 0 to size - 1."""
        if not 0 <= index < self._size:
            self._check(index)
        return self.blocks[index >> BLOCK_SHIFT] & BIT[index & BLOCK_MASK] != 0

    def __contains__(self, index: object) -> bool:
        return (
            isinstance(index, int)
            and 0 <= index < self._size
            and self.blocks[index >> BLOCK_SHIFT] & BIT[index & BLOCK_MASK] != 0
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self._size == other._size and self.blocks == other.blocks

    def __repr__(self) -> str:
        return f"<Bitfield {self._count} of {self._size}>"

    @property
    def count(self) -> int:
        """How many are in the set."""
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count == self._size

    @property
    def is_empty(self) -> bool:
        return self._count == 0

    def add(self, index: int) -> bool:
        """Put it in; False if it was there. Raises IndexError outside 0 to size - 1."""
        if not 0 <= index < self._size:
            self._check(index)
        at, bit = index >> BLOCK_SHIFT, BIT[index & BLOCK_MASK]
        if self.blocks[at] & bit:
            return False
        self.blocks[at] |= bit
        self._count += 1
        return True

    def add_blocks(self, news: Iterable[Block]) -> Sequence[Block]:
        """Put these in; their indexes have been checked. Those that were not there."""
        fresh: list[Block] = []
        for at, pieces in news:
            before = self.blocks[at]
            missing = pieces & ~before
            if missing:
                self.blocks[at] = before | missing
                self._count += missing.bit_count()
                fresh.append((at, missing))
        return fresh

    def discard(self, index: int) -> bool:
        """Take it out; False if it was not there. Raises IndexError outside 0 to size - 1."""
        if not self[index]:
            return False
        self.blocks[index >> BLOCK_SHIFT] ^= BIT[index & BLOCK_MASK]
        self._count -= 1
        return True

    def fill(self) -> None:
        """Put everything in."""
        if self._size:
            self.blocks = [_FULL] * len(self.blocks)
            self.blocks[-1] >>= -self._size % PICKER_BLOCK_PIECES
        self._count = self._size

    def clear(self) -> None:
        """Take everything out."""
        self.blocks = [0] * len(self.blocks)
        self._count = 0

    def copy(self) -> "Bitfield":
        made = Bitfield(0)
        made._size, made._count, made.blocks = self._size, self._count, self.blocks.copy()
        return made

    def indices(self) -> Iterator[int]:
        """The numbers in the set, ascending. A snapshot: the set may change meanwhile."""
        return _bits_of(self.to_bytes())

    def missing(self) -> Iterator[int]:
        """The numbers not in the set, ascending. A snapshot: the set may change meanwhile."""
        return self.missing_from(Bitfield(self._size, full=True))

    def missing_from(self, other: "Bitfield") -> Iterator[int]:
        """What the other holds and this does not, ascending. A snapshot."""
        missing = [theirs & ~ours for ours, theirs in self._beside(other)]
        return _bits_of(_bytes_of(missing, self._size))

    def has_any_missing_from(self, other: "Bitfield") -> bool:
        """Whether the other holds something that this lacks."""
        if self.is_full or other.is_empty:
            self._beside(other)
            return False
        return any(theirs & ~ours for ours, theirs in self._beside(other))

    def count_missing_from(self, other: "Bitfield") -> int:
        """How many the other holds that this lacks."""
        return sum((theirs & ~ours).bit_count() for ours, theirs in self._beside(other))

    def intersects(self, other: "Bitfield") -> bool:
        """Whether both hold something in common."""
        return any(theirs & ours for ours, theirs in self._beside(other))

    def update(self, other: "Bitfield") -> None:
        """Put in everything that the other holds."""
        self._become([ours | theirs for ours, theirs in self._beside(other)])

    def difference_update(self, other: "Bitfield") -> None:
        """Take out everything that the other holds."""
        self._become([ours & ~theirs for ours, theirs in self._beside(other)])

    def intersection_update(self, other: "Bitfield") -> None:
        """Keep only what the other holds as well."""
        self._become([ours & theirs for ours, theirs in self._beside(other)])

    def check_invariants(self) -> None:
        """For tests: the count is right and no spare bit is set."""
        full = Bitfield(self._size, full=True)
        assert not any(ours & ~all_ for ours, all_ in self._beside(full))
        assert sum(block.bit_count() for block in self.blocks) == self._count

    def _beside(self, other: "Bitfield") -> Iterable[tuple[int, int]]:
        """Our blocks, each with the other's."""
        if self._size != other._size:
            raise ValueError(f"bitfields of {self._size} and {other._size} pieces have nothing in common")
        return zip(self.blocks, other.blocks, strict=True)

    def _become(self, blocks: list[int]) -> None:
        self.blocks = blocks
        self._count = sum(block.bit_count() for block in blocks)

    def _check(self, index: int) -> None:
        if not 0 <= index < self._size:
            raise IndexError(f"piece {index} of a bitfield of {self._size}")


def _bytes_of(blocks: Iterable[int], size: int) -> bytes:
    """As they travel."""
    data = b"".join([block.to_bytes(_BLOCK_BYTES, "little") for block in blocks])
    return data[: (size + 7) // 8].translate(_REVERSED)


def _bits_of(data: bytes) -> Iterator[int]:
    table = _BITS_OF
    for position, value in enumerate(data):
        if value:
            base = position * 8
            for bit in table[value]:
                yield base + bit
