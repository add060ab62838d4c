"""How often this node has sent each piece, and what nobody else can give. Pure.

A *first copy* is a piece that this node has not sent, sendings under way included, and that no other
connected peer is known to hold: the scarcest bytes of a swarm, since nobody but this node can bring them in.
"""

from array import array
from collections.abc import Callable, Container

from peer.ids import PieceIndex


class Copies:
    """The sendings of one share by this node."""

    __slots__ = ("_available", "_from", "_sent", "_under_way", "first", "repeats")

    def __init__(self, piece_count: int, available: Callable[[PieceIndex], int]) -> None:
        """available: how many connected peers are known to hold a piece."""
        self._available = available
        self._sent = array("I", bytes(4 * piece_count))
        self._under_way: dict[PieceIndex, int] = {}
        self._from = 0  # before this one there is no first copy, unless a peer has left since
        self.first = 0
        """Pieces sent whole for the first time."""
        self.repeats = 0
        """Pieces sent whole again, to anybody."""

    def __getitem__(self, piece: PieceIndex) -> int:
        """How often it was sent whole, sendings under way included."""
        return self._sent[piece] + self._under_way.get(piece, 0)

    @property
    def unsent(self) -> int:
        """Pieces that were never sent whole."""
        return len(self._sent) - self.first

    def is_first(self, piece: PieceIndex) -> bool:
        """Whether sending it now would be a first copy."""
        return not self._sent[piece] and piece not in self._under_way and not self._available(piece)

    def is_coming(self, piece: PieceIndex) -> bool:
        """Whether another connected peer has it, or is being sent it by us."""
        return piece in self._under_way or self._available(piece) > 0

    def first_left(self, have: Container[int]) -> bool:
        """Whether there is a first copy among the pieces that we have.

        In doubt, not: each piece is looked at once, in order, and none beyond the first that we do not have.
        It matters to those who have everything.
        """
        while self._from < len(self._sent):
            piece = PieceIndex(self._from)
            if piece not in have:
                return False
            if self.is_first(piece):
                return True
            self._from += 1
        return False

    def begin(self, piece: PieceIndex) -> None:
        """It is being sent to somebody."""
        self._under_way[piece] = self._under_way.get(piece, 0) + 1

    def cut(self, piece: PieceIndex) -> None:
        """A sending that was begun goes no further."""
        self._lay_down(piece)
        self._look_from(piece)

    def finish(self, piece: PieceIndex) -> None:
        """A sending that was begun is complete."""
        self._lay_down(piece)
        if self._sent[piece]:
            self.repeats += 1
        else:
            self.first += 1
        self._sent[piece] += 1

    def take_back(self, piece: PieceIndex) -> None:
        """What was counted as complete was not."""
        self._sent[piece] -= 1
        if self._sent[piece]:
            self.repeats -= 1
        else:
            self.first -= 1
            self._look_from(piece)

    def check_invariants(self, under_way: dict[PieceIndex, int]) -> None:
        """For tests: the books agree with each other, and with what is under way."""
        assert under_way == self._under_way
        assert sum(1 for count in self._sent if count) == self.first
        assert sum(self._sent) == self.first + self.repeats

    def _look_from(self, piece: PieceIndex) -> None:
        """It may be a first copy again. Where it is not, all from there on would be looked at for nothing, as
        often as somebody asks for it and cancels that."""
        if piece < self._from and self.is_first(piece):
            self._from = piece

    def _lay_down(self, piece: PieceIndex) -> None:
        count = self._under_way.pop(piece) - 1
        if count:
            self._under_way[piece] = count
