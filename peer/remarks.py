"""What a mirror says of listings that it leaves out. Pure: time is an argument.

Each is told once, however often trackers show it, and no more of them than people read: who lies makes keys
and names by the thousand, each of them new. What was not told is counted, and the count told with the next.
"""

from peer.bucket import Bucket
from peer.limits import MIRROR_REMARKS_BURST, MIRROR_REMARKS_PER_S

TOLD_MAX = 10_000
"""Listings that are remembered as told: 2 MiB."""


class Remarks:
    """See the module. Times in seconds, of one clock."""

    def __init__(self, now: float) -> None:
        self._budget = Bucket(MIRROR_REMARKS_PER_S, MIRROR_REMARKS_BURST, now)
        self._told: dict[bytes, None] = {}
        """By signature, the latest last."""
        self._untold = 0

    def on(self, signature: bytes, line: str, now: float) -> str | None:
        """The line to say of a listing; None where it was said, or too many others were just now."""
        if signature in self._told:
            return None
        self._told[signature] = None
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        if not self._budget.take(now):
            self._untold += 1
            return None
        if self._untold:
            line, self._untold = f"{line}; so were {self._untold} before it, not named here", 0
        return line
