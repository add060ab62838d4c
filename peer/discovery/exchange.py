"""Peer exchange: connected peers tell each other whom else they are connected to.

So a swarm finds itself from one address, with or without a tracker. Each side tells soon after a link opens
and then only news, at an interval. Only peers that we are connected to are told, never what others told us:
an address that nobody has reached spreads one hop at most, so this cannot be made to flood a victim. What is
told to us is hearsay: the peer book decides what of it may be dialled, and how often.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from peer.errors import ByeCode
from peer.ids import Address, LinkId
from peer.limits import (
    EXCHANGE_EARLY_MAX,
    EXCHANGE_FIRST_S,
    EXCHANGE_GAP_S,
    EXCHANGE_INTERVAL_S,
    EXCHANGE_TOLD_MAX,
    PEERS_PER_MESSAGE_MAX,
)
from peer.link import Link
from peer.swarm.peerbook import PeerBook
from peer.wire.codec import can_travel
from peer.wire.messages import Peers


@dataclass(slots=True)
class _Talk:
    """What was said on one link, both ways. Times in seconds."""

    next_at: float
    told: set[Address] = field(default_factory=set)
    told_of: int = 0
    """Everybody of so many arrivals (`PeerBook.arrivals`)."""
    heard: int = 0
    heard_at: float = float("-inf")
    owed: float = 1.0
    """Tellings of the other side that are listened to yet: as many as it can have sent and a network have
    held up, less what has come."""


class Exchange:
    """Tells and listens for one member."""

    def __init__(self, book: PeerBook, links: Mapping[LinkId, Link]) -> None:
        self._book = book
        self._links = links
        self._talks: dict[LinkId, _Talk] = {}
        self._next_at = float("-inf")
        """Until then there is nothing to do for those with whom there is talk."""

    def tick(self, now: float) -> None:
        """Called often: tell whoever is due something that it has not been told."""
        if now < self._next_at and len(self._links) == len(self._talks):
            return
        soonest = float("inf")
        for link in self._links.values():
            talk = self._talks.get(link.id) or self._talk(link)
            if now >= talk.next_at:
                talk.next_at = now + EXCHANGE_INTERVAL_S
                self._tell(link, talk)
            soonest = min(soonest, talk.next_at)
        self._next_at = soonest

    def heard(self, link: Link, now: float) -> bool:
        """The link tells peers: whether to listen. One that tells too often is ignored, then closed. Not one
        whose tellings a slow network, or this machine, has held up, so that they come all at once: it has
        sent no more than there was time for since it came."""
        talk = self._talk(link)
        owed = talk.owed + (now - max(talk.heard_at, link.since)) / EXCHANGE_GAP_S
        talk.owed = max(min(owed, EXCHANGE_EARLY_MAX) - 1, -1.0)
        talk.heard_at = now
        talk.heard += 1
        if talk.heard > EXCHANGE_EARLY_MAX + (now - link.since) / EXCHANGE_GAP_S:
            link.close(ByeCode.PROTOCOL, "tells peers too often")
        return talk.owed >= 0

    def left(self, link: Link) -> None:
        """The link is gone."""
        self._talks.pop(link.id, None)

    def _talk(self, link: Link) -> _Talk:
        talk = self._talks.get(link.id)
        if talk is None:
            talk = self._talks[link.id] = _Talk(link.since + EXCHANGE_FIRST_S)
            self._next_at = min(self._next_at, talk.next_at)
        return talk

    def _tell(self, link: Link, talk: _Talk) -> None:
        arrivals = self._book.arrivals
        if talk.told_of == arrivals:
            return
        if len(talk.told) > EXCHANGE_TOLD_MAX:
            talk.told.clear()
        news = tuple(
            peer
            for peer in self._book.tell(EXCHANGE_TOLD_MAX, but=link.id)
            if peer.address not in talk.told and can_travel(peer.address.host)
        )
        if len(news) <= PEERS_PER_MESSAGE_MAX:
            talk.told_of = arrivals
        if news:
            news = news[:PEERS_PER_MESSAGE_MAX]
            talk.told.update(peer.address for peer in news)
            link.connection.send(Peers(news))
