"""How far a download is: the state of a piece, and what came of the bytes."""

from dataclasses import dataclass
from enum import IntEnum


class PieceState(IntEnum):
    """Where a piece stands; it is in exactly one of these."""

    NOT_WANTED = 0
    WANTED = 1
    """Nobody is asked for it."""
    IN_FLIGHT = 2
    """One link is asked for it, near the end perhaps a few."""
    VERIFYING = 3
    """Its bytes are here and being checked and stored."""
    HAVE = 4


@dataclass(slots=True)
class Received:
    """Bytes that came, and what came in vain. partial: of answers that broke off, or could not be stored.
    corrupt: of pieces that did not verify. (What came twice is counted by the endgame.)"""

    total: int = 0
    partial: int = 0
    corrupt: int = 0
