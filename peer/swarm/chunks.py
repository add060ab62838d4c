"""What `Upload` says when it is asked what to send on a link, or to send it no more."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from peer.ids import PieceIndex, RequestId


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each chunk makes one
class Chunk:
    """Send this now: a slice of one answer. piece: None for the manifest. total: length of the answer."""

    request: RequestId
    piece: PieceIndex | None
    offset: int
    length: int
    total: int

    @property
    def last(self) -> bool:
        """Whether the answer ends with this chunk."""
        return self.offset + self.length == self.total


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is something to send, but others need the uplink more: ask again at ``until``."""

    until: float


class Idle(Enum):
    """There is nothing to send on this link until the next `asked`."""

    IDLE = "idle"


IDLE = Idle.IDLE

NextChunk: TypeAlias = Chunk | Deferred | Idle


class Cancelled(Enum):
    """What a cancel met. The first two are to be answered with ``Reject(CANCELLED)``."""

    WAITING = "waiting"
    """Nothing of the answer was sent."""
    BEGUN = "begun"
    """A part of the answer was sent; no more of it comes."""
    UNKNOWN = "unknown"
    """The answer is finished or was never asked for: say nothing."""
