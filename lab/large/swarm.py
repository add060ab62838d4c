"""The large world: who is there, who knows whom, and the run of it all.

The tracker is modelled: whoever comes is told of the origin and of some peers that are there, at random, and
again when it has lost links. Whom to dial is the peer book's to say. Two complete peers part, as nodes do.
"""

from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Final

from lab.large.agenda import Agenda
from lab.large.peers import Access, Link, Peer, Share, node_id, number_of
from lab.large.transfer import Transfer
from lab.simulate.policies import LOTTERY, Chosen, by_name
from lab.simulate.rule import Candidate
from peer.bitfield import Bitfield
from peer.ids import LinkId
from peer.swarm.known import Source
from peer.swarm.peerbook import LinkView, Welcome

NEIGHBOURS: Final = 20
"""Links that a peer looks for; it takes in as many again."""

HANDSHAKE_TRIPS: Final = 4
"""One-way trips from a dial to hello: TCP, TLS 1.3, hello."""

TRACKER_S: Final = 30.0
"""A peer that has lost links asks the tracker again at most so often."""

ORIGIN_LINKS: Final = 200
"""The origin takes more links than others: as many as a node does."""


class Swarm:
    """A world of peers that share one thing. Make it, `add` peers (also while it runs), `run` it."""

    def __init__(
        self,
        share: Share,
        seed: int,
        *,
        neighbours: int = NEIGHBOURS,
        policies: Chosen | None = None,
    ) -> None:
        self.share = share
        self.agenda = Agenda()
        self.transfer = Transfer(self.agenda, share, self._finished)
        self.peers: list[Peer] = []
        self.present: list[Peer] = []
        self.rng = Random(seed)
        self._place: dict[int, int] = {}  # of each peer in `present`
        self._neighbours = neighbours
        self._policies = policies or by_name({})
        self._tracker = self._policies.of_the_tracker()
        self._lengths = share.lengths()
        self._origin_gave: dict[int, int] = {}
        self.callbacks: list[Callable[[Peer], None]] = []
        """Called with each peer that is complete."""

    # --- coming and going

    def add(
        self,
        access: Access,
        *,
        have: Bitfield | None = None,
        origin: bool = False,
        introduced: bool = True,
    ) -> Peer:
        """A peer comes, now. origin: it has everything and takes in many. introduced: by the tracker."""
        bits = Bitfield(self.share.pieces, full=origin) if have is None else have
        peer = Peer(
            len(self.peers) + 1,
            access,
            self.share,
            self._lengths,
            bits,
            self.rng,
            self.agenda.now,
            neighbours=ORIGIN_LINKS // 2 if origin else self._neighbours,
            policies=self._policies.of_a_node(),
        )
        self.peers.append(peer)
        self._place[peer.number] = len(self.present)
        self.present.append(peer)
        for piece in bits.indices():
            self.transfer.copies[piece] += 1
        now = self.agenda.now
        if introduced and not origin:
            self.agenda.at(now + 4 * access.latency, self._introduce, peer)
        if access.up:
            self.agenda.at(now, self.transfer.choke_round, peer)
        return peer

    def remove(self, peer: Peer) -> None:
        """It goes, with all its links."""
        if not peer.present:
            return
        peer.present = False
        for link in list(peer.links.values()):
            self.part(link)
        place = self._place.pop(peer.number)
        last = self.present.pop()
        if last is not peer:
            self.present[place] = last
            self._place[last.number] = place
        for piece in peer.download.bits.indices():
            self.transfer.copies[piece] -= 1

    def run(self, until: float = inf) -> None:
        """Until the agenda is stopped or that time has come."""
        self.agenda.run(until)

    def origin_gave(self, peer: Peer) -> int:
        """Bytes that this peer has from the first that was added."""
        link = peer.links.get(self.peers[0].number)
        now = link.received_bytes if link is not None else 0
        return now + self._origin_gave.get(peer.number, 0)

    # --- links

    def link(self, one: Peer, two: Peer) -> bool:
        """Connect two peers, if both books agree. Whether they did."""
        now = self.agenda.now
        if two.number in one.links or not (one.present and two.present):
            one.book.failed(two.address, now)
            return False
        numbers = (node_id(one.number), node_id(two.number))
        id_of_two, id_of_one = LinkId(two.number), LinkId(one.number)
        welcome = two.book.connected(id_of_one, numbers[0], now, remote=one.address, listens=one.address.port)
        if not isinstance(welcome, Welcome):
            one.book.rest(two.address, now)
            return False
        mine = one.book.connected(id_of_two, numbers[1], now, remote=two.address, dialled=two.address)
        if not isinstance(mine, Welcome):
            two.book.disconnected(id_of_one, now, clean=True)
            return False
        self.transfer.connect(one, two)
        return True

    def part(self, link: Link) -> None:
        """Close a connection, with a goodbye."""
        now = self.agenda.now
        one, two = link.owner, link.other
        self.transfer.disconnect(link)
        for side in (link, link.mirror):
            if side.other is self.peers[0]:
                self._origin_gave[side.owner.number] = (
                    self._origin_gave.get(side.owner.number, 0) + side.received_bytes
                )
        for me, other in ((one, two), (two, one)):
            me.book.disconnected(LinkId(other.number), now, clean=True)
            if me.present and not me.finished:
                self._look_around(me)

    def _introduce(self, peer: Peer) -> None:
        """The tracker tells a peer of others."""
        if not peer.present:
            return
        now = self.agenda.now
        origin = self.peers[0]
        told = [origin] if origin.present else []
        told += self._told(peer, max(1, self._neighbours // 2) + 1)
        for other in dict.fromkeys(told):
            if other is not peer:
                peer.book.add(other.address, Source.TRACKER, now, informant="10.255.0.1")
        self._dial(peer)

    def _told(self, newcomer: Peer, count: int) -> list[Peer]:
        """Peers that the tracker names."""
        if self._tracker is None:
            return self.rng.sample(self.present, min(count, len(self.present)))
        some = self.rng.sample(self.present, min(LOTTERY * count, len(self.present)))
        pieces = self.share.pieces
        offered = [
            Candidate(p.number, p.download.bits.count / pieces, len(p.links))
            for p in some
            if p is not newcomer
        ]
        chosen = self._tracker(offered, min(count, len(offered)), self.rng)
        return [self.peers[one.number - 1] for one in chosen]

    def _dial(self, peer: Peer) -> None:
        if not peer.present:
            return
        now = self.agenda.now
        for dial in peer.book.next_dials(now):
            other = self.peers[number_of(dial.address) - 1]
            trip = peer.access.latency + other.access.latency
            self.agenda.at(now + HANDSHAKE_TRIPS * trip, self._dialled, peer, other)

    def _dialled(self, peer: Peer, other: Peer) -> None:
        if peer.present and not self.link(peer, other):
            self._look_around(peer)

    def _look_around(self, peer: Peer) -> None:
        """It has lost a link, or not got one: after a while it asks the tracker for more."""
        if not peer.maintenance and not peer.finished:
            peer.maintenance = True
            self.agenda.at(self.agenda.now + TRACKER_S, self._look_now, peer)

    def _look_now(self, peer: Peer) -> None:
        peer.maintenance = False
        if peer.present and not peer.finished and len(peer.links) < max(2, self._neighbours // 2):
            self._introduce(peer)
            self._look_around(peer)

    # --- ends

    def _finished(self, peer: Peer) -> None:
        now = self.agenda.now
        views = [LinkView(link.id, True, True, link.other.finished) for link in peer.links.values()]
        # At the end of what is under way: its commands may still name these links.
        self.agenda.at(now, self._part_all, peer, peer.book.surplus(views, now))
        for callback in self.callbacks:
            callback(peer)

    def _part_all(self, peer: Peer, links: Sequence[int]) -> None:
        for number in links:
            link = peer.links.get(number)
            if link is not None:
                self.part(link)
