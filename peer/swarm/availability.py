"""How many connected peers hold each piece, for who serves and wants to know what is rare. Pure."""

from collections.abc import Iterable

from peer.bitfield import BIT, BLOCK_MASK, BLOCK_SHIFT, Bitfield, Block
from peer.ids import PieceIndex
from peer.swarm.piecesets import add_to, count_in, subtract_from


class Availability:
    """Counts by piece. A peer that holds everything is counted in one number, so seeds cost nothing."""

    def __init__(self, piece_count: int) -> None:
        self._planes: list[list[int]] = [[] for _ in Bitfield(piece_count).blocks]
        self._complete = 0

    def __call__(self, piece: PieceIndex) -> int:
        return self._complete + count_in(self._planes[piece >> BLOCK_SHIFT], BIT[piece & BLOCK_MASK])

    def join(self, pieces: Bitfield) -> None:
        """A peer is connected and holds these."""
        if pieces.is_full:
            self._complete += 1
        else:
            self._count(pieces)

    def gain(self, gained: Iterable[Block], pieces: Bitfield) -> None:
        """A connected peer holds these as well: ``pieces`` is all that it holds now."""
        for at, block in gained:
            add_to(self._planes[at], block)
        if pieces.is_full:
            self._uncount(pieces)
            self._complete += 1

    def lose(self, piece: PieceIndex, pieces: Bitfield) -> None:
        """A connected peer holds this one no longer: ``pieces`` is what it still holds."""
        if pieces.count + 1 == len(pieces):
            self._complete -= 1
            self._count(pieces)
        else:
            subtract_from(self._planes[piece >> BLOCK_SHIFT], BIT[piece & BLOCK_MASK])

    def leave(self, pieces: Bitfield) -> None:
        """The peer is gone."""
        if pieces.is_full:
            self._complete -= 1
        else:
            self._uncount(pieces)

    def _count(self, pieces: Bitfield) -> None:
        for planes, block in zip(self._planes, pieces.blocks, strict=True):
            add_to(planes, block)

    def _uncount(self, pieces: Bitfield) -> None:
        for planes, block in zip(self._planes, pieces.blocks, strict=True):
            if block:
                subtract_from(planes, block)
