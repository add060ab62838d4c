"""Places where a simulation may force what is rare in life: a short read, an early time-out, a small window.

What happens once in a million transfers is not tested by transferring a thousand times. At each `Point` the
code asks whether it shall take the rare way now, which must be as right as the usual one (FoundationDB's
BUGGIFY: Zhou et al., SIGMOD 2021). Outside a simulation the answer is no, at the price of one call:

    limit = 1 if buggify(Point.SHORT_READ) else limit

A simulation arms the points with a generator of its own. In one run only some of them are live, so that what
one of them breaks is not hidden by what another prevents.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from random import Random
from typing import Final

LIVE_SHARE: Final = 0.35
"""How likely a point is live in a run."""


class Point(Enum):
    """The rare ways: a name, and the probability that it is taken where it is live."""

    SHORT_READ = "short-read", 0.3
    """`Connection` reads a few bytes: a frame arrives in pieces."""

    SMALL_CHUNK = "small-chunk", 0.25
    """`Outflow` sends a small part of a piece."""

    NO_ROOM = "no-room", 0.5
    """`Intake` makes the readers wait although there is room. (It is asked twice before one waits.)"""

    EARLY_SAVE = "early-save", 0.25
    """`Intake` makes every piece durable at once."""

    LATE_SAVE = "late-save", 0.25
    """`Intake` makes nothing durable for long."""

    REWRITE_JOURNAL = "rewrite-journal", 0.25
    """`Journal` is rewritten although it is short."""

    EARLY_DIAL_TIMEOUT = "early-dial-timeout", 0.1
    """`Dialler` gives up soon."""

    SMALL_WINDOW = "small-window", 0.25
    """`Member` lets the other side have two requests open."""

    CHOKE_ALL = "choke-all", 0.15
    """`Choking` serves nobody until the next round."""

    NEWS_ONE_BY_ONE = "news-one-by-one", 0.25
    """`Link` tells every piece in a message of its own."""

    SYNC_EVERYTHING = "sync-everything", 0.25
    """`Places` and `Landing` sync the whole file system instead of each folder."""

    DROP_FILES = "drop-files", 0.2
    """`OpenFiles` keeps nothing open."""


class Armed:
    """The points of one run. fired: how often each rare way was taken."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._live = frozenset(point for point in Point if rng.random() < LIVE_SHARE)
        self.fired: Counter[Point] = Counter()

    def fires(self, point: Point) -> bool:
        if point not in self._live or self._rng.random() >= point.value[1]:
            return False
        self.fired[point] += 1
        return True


_armed: Armed | None = None


def buggify(point: Point) -> bool:
    """Whether to take the rare way now. Never outside a simulation."""
    return _armed is not None and _armed.fires(point)


@contextmanager
def armed(rng: Random) -> Iterator[Armed]:
    """While inside, points fire. For simulations, which run on one thread; not nested."""
    global _armed  # noqa: PLW0603 - the one switch of the process
    _armed = made = Armed(rng)
    try:
        yield made
    finally:
        _armed = None
