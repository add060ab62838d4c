"""Whom to serve. Pure policy: views of the peers go in, the links that are served come out.

A node serves a bounded number of links at once, its *slots*. Few slots mean that pieces arrive whole sooner
and can be passed on sooner; too few leave the uplink idle between requests. While leeching most slots go to
those that give us most (Cohen 2003: who gives gets), so a free rider can only have what is left over; the
others are *optimistic*: they rotate through the rest, newcomers first, to find better partners and to give
the newly come their first pieces. While seeding there is nothing to reciprocate: slots rotate so that
everybody is served evenly, least served first.

How many slots there are is `Slots`' to say. They are meant to be busy: a link that has one and asks for
nothing (what it lacks is coming from elsewhere) keeps it, and another is served beside it, up to as many
again. Near the end of a swarm most have little to ask for, those who lack more could have the uplink, and
without this it stood idle for an eighth of the last three seconds (30 peers of 4 Mbit/s behind an origin of
40, shaped namespaces).

`round` is called every CHOKE_ROUND_S and gives all slots anew. Between rounds `refill` gives free slots
away as soon as somebody is interested, lost interest or left, or a slot runs dry; it never takes one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from peer.ids import LinkId
from peer.limits import (
    CHOKE_ROUND_EARLY_S,
    CHOKE_ROUND_S,
    CHOKE_ROUNDS_EARLY,
    DRY_SLOT_S,
    OPTIMISTIC_S,
    SLOTS_MAX,
)
from peer.swarm.slots import Slots, UplinkView

OPTIMISTIC_SHARE = 4
"""One slot in so many is optimistic while leeching."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each round makes many
class PeerView:
    """What a choking decision may know of one connected peer.

    interested: it wants something that we have. received_rate: bytes a second from it to us, and
    received_bytes: all that it gave us. sent_bytes: what it got from us. snubs: we wait for data and nothing
    comes. dry: we serve it, and it has asked for nothing of late.
    """

    link: LinkId
    interested: bool
    received_rate: float = 0.0
    sent_bytes: int = 0
    joined_at: float = 0.0
    snubs: bool = False
    received_bytes: int = 0
    dry: bool = False


@dataclass(frozen=True, slots=True)
class ChokerStatistics:
    slots: int
    unchoked: int
    optimistic: int
    rounds: int


def round_after(now: float, rounds: int, slots: Slots) -> float:
    """When the next round is due, after so many: sooner while little is known, or slots are on trial."""
    soon = rounds <= CHOKE_ROUNDS_EARLY or slots.on_trial
    return now + (CHOKE_ROUND_EARLY_S if soon else CHOKE_ROUND_S)


class Choker:
    """The slots of one share on one node."""

    def __init__(self, rng: Random, piece_bytes: int, *, slots_max: int = SLOTS_MAX) -> None:
        """piece_bytes: size of a piece. slots_max: never serve more links at once."""
        self._rng = rng
        self._slots = Slots(piece_bytes, slots_max)
        self._unchoked: dict[LinkId, float] = {}  # since when
        self._optimistic: dict[LinkId, float] = {}  # since when; a part of the unchoked
        self._tried: dict[LinkId, float] = {}  # when a link last had an optimistic slot
        self._rounds = 0

    @property
    def slots(self) -> int:
        """How many links are served at most."""
        return self._slots.count

    @property
    def has_free_slot(self) -> bool:
        """Whether `refill` would serve one more that is interested."""
        return len(self._unchoked) < self._slots.count

    def serves(self, link: LinkId) -> bool:
        """Whether the link has a slot."""
        return link in self._unchoked

    def round(
        self,
        now: float,
        peers: Sequence[PeerView],
        seeding: bool,
        uplink: UplinkView | None = None,
    ) -> tuple[LinkId, ...]:
        """Give all slots anew. The links to serve until the next round; all others are choked."""
        self._rounds += 1
        wanting = [peer for peer in peers if peer.interested]
        self._forget({peer.link for peer in wanting}, {peer.link for peer in peers})
        if uplink is not None:
            self._slots.resize(uplink, len(self._unchoked), len(wanting))
        chosen = self._spread(now, wanting) if seeding else self._reciprocate(now, wanting)
        before = self._unchoked
        self._unchoked = {link: before.get(link, now) for link in chosen}
        self._give_free_slots(now, wanting, seeding, before)
        return tuple(self._unchoked)

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        """Give free slots away now; nobody that is interested loses one. The links to serve from now on."""
        present = {peer.link for peer in peers}
        self._forget({peer.link for peer in peers if peer.interested}, present)
        self._give_free_slots(now, [peer for peer in peers if peer.interested], seeding, {})
        return tuple(self._unchoked)

    on_interested = refill

    def next_round(self, now: float) -> float:
        """When `round` is due after one at ``now``."""
        return round_after(now, self._rounds, self._slots)

    def statistics(self) -> ChokerStatistics:
        return ChokerStatistics(self.slots, len(self._unchoked), len(self._optimistic), self._rounds)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        assert len(self._unchoked) <= 2 * self.slots
        assert set(self._optimistic) <= set(self._unchoked)
        assert self.slots >= 1

    # --- whom

    def _give_free_slots(
        self, now: float, wanting: list[PeerView], seeding: bool, before: Mapping[LinkId, float]
    ) -> None:
        """To those who wait longest or got least, but first to those who were served ``before``: they may be
        in the middle of something."""
        dry = sum(peer.dry and now - self._unchoked.get(peer.link, now) >= DRY_SLOT_S for peer in wanting)
        free = self.slots - len(self._unchoked) + min(dry, self.slots)
        if free <= 0:
            return
        waiting = [peer for peer in wanting if peer.link not in self._unchoked]
        waiting.sort(key=self._newest_claim if not seeding else self._least_served)
        if before:
            waiting.sort(key=lambda peer: peer.link not in before)
        for peer in waiting[:free]:
            self._unchoked[peer.link] = before.get(peer.link, now)
            if not seeding and not peer.received_rate:
                self._optimistic[peer.link] = self._tried[peer.link] = now

    def _reciprocate(self, now: float, wanting: list[PeerView]) -> list[LinkId]:
        """Most slots to the fastest givers, one in OPTIMISTIC_SHARE to those whose turn it is. What is left,
        because too few give just now, goes to who gave most before."""
        lucky_count = max(1, self.slots // OPTIMISTIC_SHARE)
        givers = [peer for peer in wanting if peer.received_rate > 0 and not peer.snubs]
        givers.sort(key=lambda peer: (-peer.received_rate, self._rng.random()))
        chosen = dict.fromkeys(peer.link for peer in givers[: self.slots - lucky_count])
        rest = sorted((peer for peer in wanting if peer.link not in chosen), key=self._newest_claim)
        lucky = [peer.link for peer in rest if now - self._optimistic.get(peer.link, -inf) < OPTIMISTIC_S]
        lucky = [*lucky, *(peer.link for peer in rest if peer.link not in lucky)][:lucky_count]
        for link in lucky:
            if link not in self._optimistic or now - self._optimistic[link] >= OPTIMISTIC_S:
                self._optimistic[link] = self._tried[link] = now
        self._optimistic = {link: self._optimistic[link] for link in lucky}
        chosen.update(dict.fromkeys(lucky))
        rest = [peer for peer in rest if peer.link not in chosen]
        rest.sort(key=lambda peer: (peer.snubs, -peer.received_bytes, self._rng.random()))
        chosen.update(dict.fromkeys(peer.link for peer in rest[: self.slots - len(chosen)]))
        return list(chosen)

    def _spread(self, now: float, wanting: list[PeerView]) -> list[LinkId]:
        """Least served first; a slot is kept for at least a round's worth so that pieces are finished."""
        self._optimistic = {}
        ranked = sorted(wanting, key=self._least_served)
        return [peer.link for peer in ranked[: self.slots]]

    def _newest_claim(self, peer: PeerView) -> tuple[bool, float, float, float]:
        """Who never had an optimistic slot comes first, the newest of them; then who waits longest."""
        tried = self._tried.get(peer.link)
        if tried is None:
            return (peer.snubs, -1.0, -peer.joined_at, self._rng.random())
        return (peer.snubs, tried, 0.0, self._rng.random())

    def _least_served(self, peer: PeerView) -> tuple[int, float]:
        return (peer.sent_bytes, self._rng.random())

    def _forget(self, interested: set[LinkId], present: set[LinkId]) -> None:
        self._unchoked = {link: since for link, since in self._unchoked.items() if link in interested}
        self._optimistic = {link: since for link, since in self._optimistic.items() if link in interested}
        if not self._tried.keys() <= present:
            self._tried = {link: since for link, since in self._tried.items() if link in present}
