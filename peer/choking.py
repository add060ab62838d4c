"""Applies the choker's decisions to a member's links."""

from collections.abc import Callable, Mapping

import trio

from peer.buggify import Point, buggify
from peer.ids import LinkId
from peer.link import Link
from peer.outflow import Outflow
from peer.swarm.accounts import Accounts
from peer.swarm.choker import PeerView
from peer.swarm.policies import ChokePolicy
from peer.swarm.slots import UplinkView


class Choking:
    """Gives the slots of one member: anew every round, and free ones at once."""

    def __init__(
        self,
        choker: ChokePolicy,
        links: Mapping[LinkId, Link],
        outflow: Outflow,
        *,
        seeding: Callable[[], bool],
        limit: Callable[[], float | None],
    ) -> None:
        self.choker = choker
        self._links = links
        self._outflow = outflow
        self._seeding = seeding
        self._limit = limit
        self._next_round = 0.0
        self._accounts = Accounts()

    def tick(self, now: float) -> None:
        """Called often; a round begins when it is due."""
        if now < self._next_round:
            if self._has_dry_slot(now):
                self.changed()
            return
        self._next_round = self.choker.next_round(now)
        sent = self._outflow.statistics()
        uplink = UplinkView(sent.rate, self._limit(), sent.answers, sent.ran_dry)
        served = self.choker.round(now, self._views(now), self._seeding(), uplink)
        self._apply(() if buggify(Point.CHOKE_ALL) else served)

    def changed(self) -> None:
        """A link came, went, or wants something else now: free slots need not wait for the round."""
        now = trio.current_time()
        self._apply(self.choker.refill(now, self._views(now), self._seeding()))

    def wants(self, link: Link, on: bool) -> None:
        """A link wants something of us now, or nothing more."""
        if self.choker.has_free_slot if on else self.choker.serves(link.id):
            self.changed()

    def left(self, link: Link) -> None:
        """A link is gone; its node may come back."""
        self._accounts.close(link.node, link.received_bytes, link.sent_bytes)
        if self.choker.serves(link.id):
            self.changed()

    def _has_dry_slot(self, now: float) -> bool:
        """Whether somebody who is served asks for nothing, while others wait to be served."""
        links = self._links.values()
        return any(link.choked and link.wants_us for link in links) and any(
            link.wants_us and self._is_dry(link, now) for link in links
        )

    def _is_dry(self, link: Link, now: float) -> bool:
        # Under a limit few links share it in turns, and it is busy if any of them asks.
        return not link.choked and self._limit() is None and self._outflow.upload.is_dry(link.id, now)

    def _views(self, now: float) -> list[PeerView]:
        return [self._view(link, now) for link in self._links.values() if link.pieces is not None]

    def _view(self, link: Link, now: float) -> PeerView:
        if not link.wants_us:  # the rest does not matter
            return PeerView(link.id, False)
        before = self._accounts.of(link.node)
        return PeerView(
            link.id,
            link.wants_us,
            link.meter_in.rate(now),
            before.sent_bytes + link.sent_bytes,
            link.since,
            link.snubs(now),
            before.received_bytes + link.received_bytes,
            self._is_dry(link, now),
        )

    def _apply(self, served: tuple[LinkId, ...]) -> None:
        # Who may send nothing serves nobody: whoever is told otherwise asks here, and waits for ever.
        chosen = set(served) if self._limit() != 0 else set[LinkId]()
        for link in list(self._links.values()):
            if link.id in chosen:
                self._outflow.unchoke(link)
            elif not link.choked:
                self._outflow.choke(link)
