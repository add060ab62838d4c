"""How many connected peers hold each piece, for who serves and wants to know what is rare. Pure."""

from array import array
from collections.abc import Iterable

from peer.bitfield import Bitfield
from peer.ids import PieceIndex


class Availability:
    """Counts by piece. A peer that holds everything is counted in one number, so seeds cost nothing."""

    def __init__(self, piece_count: int) -> None:
        self._counts = array("H", bytes(2 * piece_count))
        self._complete = 0

    def __call__(self, piece: PieceIndex) -> int:
        return self._counts[piece] + self._complete

    def join(self, pieces: Bitfield) -> None:
        """A peer is connected and holds these."""
        if pieces.is_full:
            self._complete += 1
        else:
            for piece in pieces.indices():
                self._counts[piece] += 1

    def gain(self, gained: Iterable[PieceIndex], pieces: Bitfield) -> None:
        """A connected peer holds these as well: ``pieces`` is all that it holds now."""
        for piece in gained:
            self._counts[piece] += 1
        if pieces.is_full:
            for held in pieces.indices():
                self._counts[held] -= 1
            self._complete += 1

    def lose(self, piece: PieceIndex, pieces: Bitfield) -> None:
        """A connected peer holds this one no longer: ``pieces`` is what it still holds."""
        if pieces.count + 1 == len(pieces):
            self._complete -= 1
            for held in pieces.indices():
                self._counts[held] += 1
        else:
            self._counts[piece] -= 1

    def leave(self, pieces: Bitfield) -> None:
        """The peer is gone."""
        if pieces.is_full:
            self._complete -= 1
        else:
            for piece in pieces.indices():
                self._counts[piece] -= 1
