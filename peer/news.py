"""Which pieces we hold from now on: told to every link, when it needs them, and many in one message."""

from collections.abc import Callable, Mapping

import trio

from peer.alarm import Alarm
from peer.ids import LinkId, PieceIndex
from peer.limits import NEWS_DELAY_S, NEWS_DELAY_SLOW_S
from peer.link import Link
from peer.swarm.telling import told_within

PACE_WEIGHT = 0.1
"""Of the last gap between two pieces in what is taken for the usual one."""


class News:
    """Gathers new pieces for all links of a member. A link that sends something anyway takes its news along
    (`Link.flush_news`); the others are told when it is time (`told_within`).

    ``waiting``: whether requests of this link are open here.
    """

    def __init__(self, links: Mapping[LinkId, Link], alarm: Alarm, waiting: Callable[[LinkId], bool]) -> None:
        self._links = links
        self._alarm = alarm
        self._waiting = waiting
        self._next = float("inf")
        self._held_at = trio.current_time()
        self._pace = 0.0
        """Seconds from one new piece to the next, of late."""

    def held(self, piece: PieceIndex) -> None:
        """We hold one more piece."""
        now = trio.current_time()
        gap = min(now - self._held_at, 2 * NEWS_DELAY_SLOW_S)  # one long pause says little
        self._pace += PACE_WEIGHT * (gap - self._pace)
        self._held_at = now
        at_once = now + NEWS_DELAY_S
        soonest = self._next
        for link in self._links.values():
            # What makes no difference is not asked: this is done for every link and piece.
            if link.news_due > at_once:
                link.news_due = min(link.news_due, now + self._within(link, piece, link.news_due - now))
                soonest = min(soonest, link.news_due)
            link.news.append(piece)
        self._set(soonest)

    def _within(self, link: Link, piece: PieceIndex, at_most: float) -> float:
        """How long the link can do without the news, if that is not more than ``at_most``."""
        wants_us, served = link.wants_us, link.served
        waiting = wants_us and served and self._waiting(link.id)
        pace = self._pace
        within = told_within(known=False, wants_us=wants_us, served=served, waiting=waiting, pace=pace)
        if within < at_most and link.pieces is not None and piece in link.pieces:
            within = told_within(known=True, wants_us=wants_us, served=served, waiting=waiting)
        return within

    def _set(self, when: float) -> None:
        if when < self._next:
            self._next = when
            self._alarm.at(when, self._tell)

    def _tell(self) -> None:
        now = trio.current_time()
        if now < self._next:  # an alarm that was set before a sooner one
            return
        self._next = float("inf")
        soonest = float("inf")
        for link in self._links.values():
            due = link.news_due
            if due <= now:
                link.flush_news()
            elif due < soonest:
                soonest = due
        if soonest < float("inf"):
            self._set(soonest)
