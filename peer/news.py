"""Which pieces we hold from now on: told to every link, soon, and many in one message."""

from collections.abc import Mapping

import trio

from peer.alarm import Alarm
from peer.ids import LinkId, PieceIndex
from peer.limits import NEWS_DELAY_S
from peer.link import Link


class News:
    """Gathers new pieces for all links of a member. A link that sends something anyway takes its news along
    (`Link.flush_news`); the others are told when the delay is over, because each message costs a packet."""

    def __init__(self, links: Mapping[LinkId, Link], alarm: Alarm) -> None:
        self._links = links
        self._alarm = alarm
        self._due = False

    def held(self, piece: PieceIndex) -> None:
        """We hold one more piece."""
        for link in self._links.values():
            link.news(piece)
        if not self._due:
            self._due = True
            self._alarm.at(trio.current_time() + NEWS_DELAY_S, self._tell)

    def _tell(self) -> None:
        self._due = False
        for link in self._links.values():
            link.flush_news()
