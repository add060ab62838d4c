"""How long may the news of a verified piece wait, link by link? Pure.

In a swarm of n peers every piece makes n messages of news for every peer that gets it, and a message of 40
bytes costs a packet, its acknowledgement, and a wake-up on either side: told within NEWS_DELAY_S, 30 peers of
4 Mbit/s spent 4 % of their uplinks and half of their processor time on news. But news rides for nothing on
whatever is sent on the link anyway (a chunk, a request), and is not needed at once by everybody:

* a link that does not want us yet learns soon that it could (NEWS_DELAY_S, or where our pieces come more
  seldom about when the next one does, at most NEWS_DELAY_SLOW_S), and so does one that could ask us for a
  piece at once, being served and having nothing open with us;
* while nobody waits for anything that we have, and the sockets have had the time to send what they took,
  NEWS_OFFERS of these are told at once, and not again within NEWS_DELAY_S: an idle uplink looks for work, for
  which one of them is enough;
* one that wants us but has to wait anyway (it is choked, or its requests stand in our queue) is told with
  what comes next on the link, an unchoke for one, at the latest after NEWS_WAITING_S: its count of copies,
  by which it chooses rarest first, is that old;
* for one that holds those pieces too it is bookkeeping (NEWS_KNOWN_S).

Where our pieces come seldom, those two would be a message for every few: then they wait for the next
NEWS_GATHERED, at most NEWS_LATEST_S.

BitTorrent clients send each have at once, or never to those that hold the piece; then counts go wrong.
"""

from typing import Final, TypeVar

from peer.ids import PieceIndex
from peer.limits import (
    NEWS_DELAY_S,
    NEWS_DELAY_SLOW_S,
    NEWS_GATHERED,
    NEWS_KNOWN_S,
    NEWS_LATEST_S,
    NEWS_WAITING_S,
)

T = TypeVar("T")

PACE_WEIGHT: Final = 0.1
"""Of the last gap between two pieces in what is taken for the usual one."""


class Pace:
    """How fast our pieces come."""

    __slots__ = ("_at", "gap")

    def __init__(self, now: float) -> None:
        self.gap = 0.0
        """Seconds from one piece to the next, of late."""
        self._at = now

    def piece(self, now: float) -> None:
        """One more has come."""
        gap = min(now - self._at, 2 * NEWS_DELAY_SLOW_S)  # one long pause says little
        self.gap += PACE_WEIGHT * (gap - self.gap)
        self._at = now


def told_within(*, known: bool, can_wait: bool, pace: float = 0.0) -> float:
    """Seconds. known: it holds the piece. can_wait: it wants us, but is choked or has requests open here.
    pace: seconds from one of our pieces to the next of late, since news that waits for no other news waits
    for nothing."""
    if known or can_wait:
        return min(max(NEWS_KNOWN_S if known else NEWS_WAITING_S, NEWS_GATHERED * pace), NEWS_LATEST_S)
    return min(max(NEWS_DELAY_S, pace), NEWS_DELAY_SLOW_S)


def in_turn(could: list[T], piece: PieceIndex, most: int) -> list[T]:
    """At most so many of those that could use a piece: others for another piece."""
    start = piece % len(could) if len(could) > most else 0
    return (could + could)[start : start + most] if start else could[:most]
