"""What one link was sent whole, and whether it asks for the same again too often. Pure."""

from peer.ids import PieceIndex
from peer.limits import REPEATS_FREE, REPEATS_PER_S, REPEATS_SHARE


class Served:
    """The complete answers of one link, the manifest's among them."""

    __slots__ = ("_again", "_repeats", "_since", "answers", "bits")

    def __init__(self, piece_count: int, now: float) -> None:
        self.bits = bytearray((piece_count + 7) // 8)
        """A bit for each piece that was sent."""
        self.answers = 0
        self._repeats = 0
        self._again = False  # the last piece had been sent before
        self._since = now

    def finish(self, piece: PieceIndex | None) -> None:
        """An answer is complete. piece: None for the manifest."""
        self.answers += 1
        if piece is None:
            return
        at, bit = piece >> 3, 1 << (piece & 7)
        self._again = bool(self.bits[at] & bit)
        self._repeats += self._again
        self.bits[at] |= bit

    def take_back(self, piece: PieceIndex) -> None:
        """The last answer, which was this piece, was not sent after all."""
        self.answers -= 1
        if self._again:  # so it was one repeat less, and is as sent as it was
            self._repeats -= 1
        else:
            self.bits[piece >> 3] &= ~(1 << (piece & 7))

    def too_often(self, piece: PieceIndex, now: float) -> bool:
        """Whether this piece has been sent, and others again and again: nobody honest does that."""
        if not self.bits[piece >> 3] & 1 << (piece & 7):
            return False
        patience = REPEATS_FREE + int((now - self._since) * REPEATS_PER_S)
        return self._repeats >= patience + self.answers // REPEATS_SHARE
