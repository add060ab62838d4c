"""A set of pieces as bits, the way it travels: the first piece is the highest bit of the first byte.

Single pieces are touched in a bytearray; questions about whole sets go through Python's big integers, which
handle 500,000 bits in some tens of microseconds.
"""

from collections.abc import Iterator

_BITS_OF = tuple(tuple(bit for bit in range(8) if value & (0x80 >> bit)) for value in range(256))
"""For each value of a byte the positions of its set bits, in ascending order."""


class Bitfield:
    """A mutable set of the numbers 0 to size - 1, with its size fixed."""

    __slots__ = ("_bits", "_count", "_size")
    __hash__ = None  # type: ignore[assignment]  # mutable
    __iter__ = None  # `for piece in bits` would be ambiguous: say indices() or missing()

    def __init__(self, size: int, *, full: bool = False) -> None:
        if size < 0:
            raise ValueError(f"a bitfield cannot have {size} bits")
        self._size = size
        self._count = 0
        self._bits = bytearray((size + 7) // 8)
        if full:
            self.fill()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, size: int) -> "Bitfield":
        """Read what `to_bytes` made. Raises ValueError for a wrong length or for bits set beyond the last."""
        made = cls(size)
        if len(data) != len(made._bits):
            raise ValueError(f"a bitfield of {size} pieces has {len(made._bits)} bytes, not {len(data)}")
        made._bits[:] = data
        if size % 8 and made._bits[-1] & (0xFF >> (size % 8)):
            raise ValueError("a bitfield has bits set beyond its last piece")
        made._count = made._number().bit_count()
        return made

    def to_bytes(self) -> bytes:
        """As it travels: first piece in the highest bit, spare bits zero."""
        return bytes(self._bits)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> bool:
        """Whether the number is in the set. Raises IndexError outside 0 to size - 1."""
        self._check(index)
        return bool(self._bits[index >> 3] & (0x80 >> (index & 7)))

    def __contains__(self, index: object) -> bool:
        return (
            isinstance(index, int)
            and 0 <= index < self._size
            and bool(self._bits[index >> 3] & (0x80 >> (index & 7)))
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self._size == other._size and self._bits == other._bits

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
        at, bit = index >> 3, 0x80 >> (index & 7)
        if self._bits[at] & bit:
            return False
        self._bits[at] |= bit
        self._count += 1
        return True

    def discard(self, index: int) -> bool:
        """Take it out; False if it was not there. Raises IndexError outside 0 to size - 1."""
        if not self[index]:
            return False
        self._bits[index >> 3] &= ~(0x80 >> (index & 7)) & 0xFF
        self._count -= 1
        return True

    def fill(self) -> None:
        """Put everything in."""
        if self._size:
            self._bits[:] = b"\xff" * len(self._bits)
            self._bits[-1] &= (0xFF00 >> (self._size % 8 or 8)) & 0xFF
        self._count = self._size

    def clear(self) -> None:
        """Take everything out."""
        self._bits[:] = bytes(len(self._bits))
        self._count = 0

    def copy(self) -> "Bitfield":
        made = Bitfield(0)
        made._size, made._count, made._bits = self._size, self._count, bytearray(self._bits)
        return made

    def indices(self) -> Iterator[int]:
        """The numbers in the set, ascending. A snapshot: the set may change meanwhile."""
        return _bits_of(bytes(self._bits))

    def missing(self) -> Iterator[int]:
        """The numbers not in the set, ascending. A snapshot: the set may change meanwhile."""
        return self.missing_from(Bitfield(self._size, full=True))

    def missing_from(self, other: "Bitfield") -> Iterator[int]:
        """What the other holds and this does not, ascending. A snapshot."""
        return _bits_of((other._number() & ~self._number_like(other)).to_bytes(len(self._bits), "big"))

    def has_any_missing_from(self, other: "Bitfield") -> bool:
        """Whether the other holds something that this lacks."""
        if self.is_full or other.is_empty:
            self._number_like(other)
            return False
        return bool(other._number() & ~self._number_like(other))

    def count_missing_from(self, other: "Bitfield") -> int:
        """How many the other holds that this lacks."""
        return (other._number() & ~self._number_like(other)).bit_count()

    def intersects(self, other: "Bitfield") -> bool:
        """Whether both hold something in common."""
        return bool(other._number() & self._number_like(other))

    def update(self, other: "Bitfield") -> None:
        """Put in everything that the other holds."""
        self._become(self._number_like(other) | other._number())

    def difference_update(self, other: "Bitfield") -> None:
        """Take out everything that the other holds."""
        self._become(self._number_like(other) & ~other._number())

    def intersection_update(self, other: "Bitfield") -> None:
        """Keep only what the other holds as well."""
        self._become(self._number_like(other) & other._number())

    def check_invariants(self) -> None:
        """For tests: the count is right and no spare bit is set."""
        assert Bitfield.from_bytes(self._bits, self._size)._count == self._count

    def _number(self) -> int:
        return int.from_bytes(self._bits, "big")

    def _number_like(self, other: "Bitfield") -> int:
        if self._size != other._size:
            raise ValueError(f"bitfields of {self._size} and {other._size} pieces have nothing in common")
        return self._number()

    def _become(self, number: int) -> None:
        self._bits[:] = number.to_bytes(len(self._bits), "big")
        self._count = number.bit_count()

    def _check(self, index: int) -> None:
        if not 0 <= index < self._size:
            raise IndexError(f"piece {index} of a bitfield of {self._size}")


def _bits_of(data: bytes) -> Iterator[int]:
    table = _BITS_OF
    for position, value in enumerate(data):
        if value:
            base = position * 8
            for bit in table[value]:
                yield base + bit
