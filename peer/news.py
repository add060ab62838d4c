"""Which pieces we hold from now on: told to every link, when it needs them, and many in one message."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

import trio

from peer.alarm import Alarm
from peer.ids import LinkId, PieceIndex
from peer.limits import NEWS_DELAY_S, NEWS_OFFERS
from peer.link import Link
from peer.swarm.telling import Pace, in_turn, told_within


class News:
    """Gathers new pieces for all links of a member. A link that sends something anyway takes its news along
    (`Link.flush_news`); the others are told when it is time (`told_within`), and some of them at once while
    the uplink has nothing to do (`in_turn`).

    ``waiting``: whether requests of this link are open here. ``idle``: whether the uplink has nothing to do.
    """

    def __init__(
        self,
        links: Mapping[LinkId, Link],
        alarm: Alarm,
        *,
        waiting: Callable[[LinkId], bool],
        idle: Callable[[], bool],
    ) -> None:
        self._links = links
        self._alarm = alarm
        self._waiting = waiting
        self._idle = idle
        self._pace = Pace(trio.current_time())
        self._offered_at = -inf

    def held(self, piece: PieceIndex) -> None:
        """We hold one more piece."""
        now = trio.current_time()
        self._pace.piece(now)
        soon = now + told_within(known=False, can_wait=False, pace=self._pace.gap)
        later = now + told_within(known=False, can_wait=True, pace=self._pace.gap)
        offers = self._offers(now)
        could: list[Link] = []
        at_leisure = now + told_within(known=True, can_wait=True, pace=self._pace.gap)
        due: dict[float, list[Link]] = {}
        for link in self._links.values():  # for every piece: no call that makes no difference
            link.news.append(piece)
            before = link.news_due
            if before <= soon and not offers:
                continue
            can_wait = link.wants_us and (link.choked or self._waiting(link.id))
            when = later if can_wait else soon
            if (when < before or offers) and link.pieces is not None and link.pieces[piece]:
                when = at_leisure
            elif offers and not can_wait:
                could.append(link)
            if when < before:
                link.news_due = when
                due.setdefault(when, []).append(link)
        if could:
            self._offered_at = now
            due[now] = in_turn(could, piece, offers)
            for link in due[now]:
                link.news_due = now
        for when, links in due.items():
            self._alarm.at(when, partial(self._tell, links))

    def _offers(self, now: float) -> int:
        """How many links are told at once."""
        return NEWS_OFFERS if now - self._offered_at >= NEWS_DELAY_S and self._idle() else 0

    def _tell(self, links: list[Link]) -> None:
        """These were due by now, unless something has gone to them since, and their news with it."""
        now = trio.current_time()
        for link in links:
            if link.news_due <= now:
                link.flush_news()
