"""What a peer holds and its neighbours have not heard of, by the rule of `peer.swarm.telling`.

News goes along with requests, answers and chokes, for nothing. (In a node with whatever else is sent, too;
that is seldom.) For the rest one look at a time is arranged for each peer, not one for each link as in
`peer.news`: soon, for those that could ask for something by it, and later for all.
"""

from collections.abc import Callable

from lab.large.agenda import Agenda
from lab.large.peers import Link, Peer
from peer.ids import PieceIndex
from peer.limits import NEWS_DELAY_S, NEWS_OFFERS
from peer.swarm.commands import Command
from peer.swarm.piecesets import cut_into_blocks
from peer.swarm.telling import in_turn, told_within


class News:
    """The news of all peers of a world. perform: carries out what somebody's download wants after it."""

    __slots__ = ("_agenda", "_perform")

    def __init__(self, agenda: Agenda, perform: Callable[[Peer, list[Command]], None]) -> None:
        self._agenda = agenda
        self._perform = perform

    def held(self, me: Peer, piece: PieceIndex) -> None:
        """It holds one more piece."""
        now = self._agenda.now
        me.held |= 1 << piece
        me.pace.piece(now)
        if now >= me.offers_at and not me.uplink.count and not me.uplink.line:
            me.offers_at = now + NEWS_DELAY_S
            self._agenda.at(now + 2 * me.access.latency, self._offer, me, piece)
        if not me.telling:
            me.telling = True
            delay = told_within(known=False, can_wait=False, pace=me.pace.gap)
            self._agenda.at(now + delay + 2 * me.access.latency, self._tell_soon, me)
        if not me.telling_rest:
            me.telling_rest = True
            delay = told_within(known=False, can_wait=True, pace=me.pace.gap)
            self._agenda.at(now + delay + 2 * me.access.latency, self._tell_rest, me)

    def along(self, link: Link) -> int:
        """What goes along with a message that is sent on the link now, one bit a piece."""
        told, held = link.told, link.owner.held
        if told is held:
            return 0
        link.told = held
        return held & ~told

    def heard(self, link: Link, news: int) -> None:
        """The owner of this side is told what the other holds as well."""
        me = link.owner
        commands = me.download.have_blocks(link.id, cut_into_blocks(news), self._agenda.now)
        if commands:
            self._perform(me, commands)

    def send(self, link: Link) -> None:
        """In a message of its own, now."""
        news = self.along(link)
        if news:
            self._agenda.at(self._agenda.now + link.delay, self._arrives, link.mirror, news)

    def _arrives(self, link: Link, news: int) -> None:
        if link.open:
            self.heard(link, news)

    def _tell(self, link: Link) -> None:
        """In a message of its own, whose trip was waited for with the rest: no event for each."""
        news = self.along(link)
        if news:
            self.heard(link.mirror, news)

    def _offer(self, me: Peer, piece: PieceIndex) -> None:
        """Its uplink is idle: some of those that could use the piece."""
        for link in in_turn(self._ready(me), piece, NEWS_OFFERS):
            self._tell(link)

    def _tell_soon(self, me: Peer) -> None:
        """All that could use it."""
        me.telling = False
        for link in self._ready(me):
            self._tell(link)

    @staticmethod
    def _ready(me: Peer) -> list[Link]:
        """Who does not want us yet, who is served and has nothing open here, and whom we send to anyway."""
        held = me.held
        return [
            link
            for link in me.alert.values()
            if link.told is not held
            and not (link.wants_us and link.flow is None and me.upload.has_work(link.id))
            and held & ~link.told & ~link.other.held
        ]

    def _tell_rest(self, me: Peer) -> None:
        """Those that have to wait anyway, and those that hold these pieces too, if it is time for them."""
        me.telling_rest = False
        held = me.held
        waits = told_within(known=False, can_wait=True, pace=me.pace.gap)
        rests = told_within(known=True, can_wait=True, pace=me.pace.gap)
        for link in me.links.values():
            if link.told is held:
                continue
            if rests <= waits or held & ~link.told & ~link.other.held:
                self._tell(link)
            elif not me.telling_known:
                me.telling_known = True
                self._agenda.at(self._agenda.now + rests - waits, self._tell_known, me)

    def _tell_known(self, me: Peer) -> None:
        """Those that could have told it."""
        me.telling_known = False
        for link in me.links.values():
            self._tell(link)
