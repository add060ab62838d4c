"""What a download looks like from outside: the state of a piece, and a snapshot of the whole."""

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


@dataclass(frozen=True, slots=True)
class DownloadStatistics:
    """A snapshot. Counts are of pieces or links unless they end in bytes; asks and withdrawals are of
    requests.

    duplicate_bytes: received for requests that were withdrawn. partial_bytes: of answers that broke off.
    corrupt_bytes: of pieces that did not verify. wasted_bytes: these together.
    """

    pieces: int
    have: int
    open: int
    in_flight: int
    verifying: int
    links: int
    links_unchoked: int
    links_hungry: int
    links_silent: int
    requests: int
    asks: int
    withdrawals: int
    received_bytes: int
    duplicate_bytes: int
    partial_bytes: int
    corrupt_bytes: int
    finished: bool

    @property
    def wasted_bytes(self) -> int:
        return self.duplicate_bytes + self.partial_bytes + self.corrupt_bytes
