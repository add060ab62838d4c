"""What is known of each piece of a share that is being fetched. Pure.

    held      its bytes are in place: they may be served and count towards completion
    proven    held, and hashed by this run (or verified and written by it)
    durable   held, and synced to the medium: a failing sync or a power loss cannot take it
    doubtful  perhaps in place: must be hashed before it is held

A recorded piece is a hint until proven (RELIABILITY, decision 5): what an earlier run recorded as durable is
held but not proven, and nothing is completed before all of it is proven.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from peer.bitfield import Bitfield
from peer.ids import PieceIndex


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts of pieces."""

    held: int
    proven: int
    durable: int
    doubtful: int


class Ledger:
    """Four sets of pieces and the transitions between them. Not for several threads at once."""

    def __init__(self, piece_count: int) -> None:
        self.held = Bitfield(piece_count)
        self.proven = Bitfield(piece_count)
        self.durable = Bitfield(piece_count)
        self.doubtful = Bitfield(piece_count)

    def recorded(self, piece: PieceIndex, *, sure: bool) -> None:
        """An earlier run left it: synced and its files as they were (sure), or only perhaps there."""
        if piece in self.held:
            return
        if sure:
            self.held.add(piece)
            self.durable.add(piece)
            self.doubtful.discard(piece)
        else:
            self.doubtful.add(piece)

    def wrote(self, piece: PieceIndex) -> None:
        """Its verified bytes have been written."""
        self.held.add(piece)
        self.proven.add(piece)
        self.doubtful.discard(piece)

    def proved(self, piece: PieceIndex) -> None:
        """Its bytes have been read and are right. Without effect on a piece dropped meanwhile."""
        if piece in self.doubtful or piece in self.held:
            self.wrote(piece)

    def dropped(self, piece: PieceIndex) -> bool:
        """Its bytes are not there or not right. Returns whether anything was thought of it."""
        known = self.held.discard(piece) or self.doubtful.discard(piece)
        self.proven.discard(piece)
        self.durable.discard(piece)
        return known

    def adopted(self, piece: PieceIndex) -> None:
        """It lies in files that were found complete and right, and that we never write to."""
        self.wrote(piece)
        self.durable.add(piece)

    def undurable(self) -> tuple[PieceIndex, ...]:
        """Held pieces that a power loss could take."""
        return tuple(PieceIndex(piece) for piece in self.durable.missing_from(self.held))

    def unproven(self) -> tuple[PieceIndex, ...]:
        """Held pieces that this run has not hashed."""
        return tuple(PieceIndex(piece) for piece in self.proven.missing_from(self.held))

    def synced(self, pieces: Iterable[PieceIndex]) -> None:
        """These are durable now, those that were dropped meanwhile aside."""
        for piece in pieces:
            if piece in self.held:
                self.durable.add(piece)

    def lose(self) -> tuple[PieceIndex, ...]:
        """A sync failed: drop everything held that is not durable, and return it."""
        lost = self.undurable()
        for piece in lost:
            self.dropped(piece)
        return lost

    def standing(self) -> Standing:
        return Standing(self.held.count, self.proven.count, self.durable.count, self.doubtful.count)

    def check_invariants(self) -> None:
        """For tests."""
        assert not self.held.has_any_missing_from(self.proven), "proven but not held"
        assert not self.held.has_any_missing_from(self.durable), "durable but not held"
        assert not self.held.intersects(self.doubtful), "both held and doubtful"
