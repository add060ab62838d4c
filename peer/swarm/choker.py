"""Whom to serve. Pure policy: views of the peers go in, the links that are served come out.

A node serves a bounded number of links at once, its *slots*. Few slots mean that pieces arrive whole sooner
and can be passed on sooner; too few leave the uplink idle between requests. While leeching most slots go to
those that give us most (Cohen 2003: who gives gets), so a free rider can only have what is left over; the
others are *optimistic*: they rotate through the rest, newcomers first, to find better partners and to give
the newly come their first pieces. While seeding there is nothing to reciprocate: slots rotate so that
everybody is served evenly, least served first.

How many slots: enough that a slot carries a piece in SLOT_PIECE_S when all are in use, given what the
uplink is known to do, within SLOTS_MIN and SLOTS_MAX. If that leaves the uplink below UPLINK_FULL_SHARE of
its limit, or if no limit is known, a slot more is tried now and then, and kept if the uplink as a whole
went faster (the technique of libtorrent's rate-based choker and of uTorrent: open a slot while the uplink
is not full).

`round` is called every CHOKE_ROUND_S and gives all slots anew. Between rounds `refill` gives free slots
away as soon as somebody is interested, lost interest or left; it never takes one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from peer.ids import LinkId
from peer.limits import (
    CHOKE_ROUND_EARLY_S,
    CHOKE_ROUND_S,
    CHOKE_ROUNDS_EARLY,
    OPTIMISTIC_S,
    PROBE_GAIN_SHARE,
    SLOT_PIECE_S,
    SLOTS_FIRST,
    SLOTS_MAX,
    SLOTS_MIN,
    UPLINK_FULL_SHARE,
)

OPTIMISTIC_SHARE = 4
"""One slot in so many is optimistic while leeching."""

PROBE_ROUNDS_MAX = 12
"""Longest pause, in rounds, between two slots opened only to try."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """What a choking decision may know of one connected peer.

    interested: it wants something that we have. received_rate: bytes a second from it to us. sent_bytes: what
    this node (by its id, over all its links) got from us. snubs: we wait for data and nothing comes.
    """

    link: LinkId
    interested: bool
    received_rate: float = 0.0
    sent_bytes: int = 0
    joined_at: float = 0.0
    snubs: bool = False


@dataclass(frozen=True, slots=True)
class UplinkView:
    """rate: bytes a second that all links together send. limit: what was set for it, None if nothing was."""

    rate: float = 0.0
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class ChokerStatistics:
    slots: int
    unchoked: int
    optimistic: int
    rounds: int


class Choker:
    """The slots of one share on one node."""

    def __init__(self, rng: Random, piece_bytes: int, *, slots_max: int = SLOTS_MAX) -> None:
        """piece_bytes: size of a piece. slots_max: never serve more links at once."""
        self._rng = rng
        self._piece_bytes = piece_bytes
        self._slots_max = max(1, slots_max)
        self._slots = min(SLOTS_FIRST, self._slots_max)
        self._unchoked: dict[LinkId, float] = {}  # since when
        self._optimistic: dict[LinkId, float] = {}  # since when; a part of the unchoked
        self._tried: dict[LinkId, float] = {}  # when a link last had an optimistic slot
        self._extra = 0
        self._probing: float | None = None  # the uplink's rate before the slot that is on trial
        self._probe_wait = 1
        self._probe_rounds = 0
        self._capacity = 0.0
        self._rounds = 0

    @property
    def slots(self) -> int:
        """How many links are served at most."""
        return self._slots

    def round(
        self,
        now: float,
        peers: Sequence[PeerView],
        seeding: bool,
        uplink: UplinkView | None = None,
    ) -> tuple[LinkId, ...]:
        """Give all slots anew. The links to serve until the next round; all others are choked."""
        self._rounds += 1
        if uplink is not None:
            self._resize(uplink, sum(peer.interested for peer in peers))
        self._forget({peer.link for peer in peers if peer.interested}, {peer.link for peer in peers})
        wanting = [peer for peer in peers if peer.interested]
        chosen = self._spread(now, wanting) if seeding else self._reciprocate(now, wanting)
        self._unchoked = {link: self._unchoked.get(link, now) for link in chosen}
        return tuple(self._unchoked)

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        """Give free slots away now; nobody that is interested loses one. The links to serve from now on."""
        present = {peer.link for peer in peers}
        self._forget({peer.link for peer in peers if peer.interested}, present)
        waiting = [peer for peer in peers if peer.interested and peer.link not in self._unchoked]
        waiting.sort(key=self._newest_claim if not seeding else self._least_served)
        for peer in waiting[: max(0, self._slots - len(self._unchoked))]:
            self._unchoked[peer.link] = now
            if not seeding and not peer.received_rate:
                self._optimistic[peer.link] = self._tried[peer.link] = now
        return tuple(self._unchoked)

    on_interested = refill

    def next_round(self, now: float) -> float:
        """When `round` is due after one at ``now``."""
        return now + (CHOKE_ROUND_EARLY_S if self._rounds <= CHOKE_ROUNDS_EARLY else CHOKE_ROUND_S)

    def statistics(self) -> ChokerStatistics:
        return ChokerStatistics(self._slots, len(self._unchoked), len(self._optimistic), self._rounds)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        assert len(self._unchoked) <= self._slots
        assert set(self._optimistic) <= set(self._unchoked)
        assert 1 <= self._slots <= self._slots_max

    # --- whom

    def _reciprocate(self, now: float, wanting: list[PeerView]) -> list[LinkId]:
        """Most slots to the fastest givers, the rest to those whose turn it is."""
        by_link = {peer.link: peer for peer in wanting}
        lucky_count = max(1, self._slots // OPTIMISTIC_SHARE)
        lucky = [
            link for link, since in self._optimistic.items() if link in by_link and now - since < OPTIMISTIC_S
        ]
        givers = [peer for peer in wanting if peer.received_rate > 0 and not peer.snubs]
        givers.sort(key=lambda peer: (-peer.received_rate, self._rng.random()))
        fastest = [peer.link for peer in givers[: self._slots - lucky_count]]
        chosen = dict.fromkeys(fastest)
        lucky = [link for link in lucky if link not in chosen][:lucky_count]
        chosen.update(dict.fromkeys(lucky))
        rest = sorted((peer for peer in wanting if peer.link not in chosen), key=self._newest_claim)
        for peer in rest[: self._slots - len(chosen)]:
            chosen[peer.link] = None
            lucky.append(peer.link)
            self._tried[peer.link] = now
        self._optimistic = {link: self._optimistic.get(link, now) for link in lucky}
        return list(chosen)

    def _spread(self, now: float, wanting: list[PeerView]) -> list[LinkId]:
        """Least served first; a slot is kept for at least a round's worth so that pieces are finished."""
        self._optimistic = {}
        ranked = sorted(wanting, key=self._least_served)
        return [peer.link for peer in ranked[: self._slots]]

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
        self._tried = {link: since for link, since in self._tried.items() if link in present}

    # --- how many

    def _resize(self, uplink: UplinkView, interested_count: int) -> None:
        if uplink.limit is not None:
            self._capacity = uplink.limit
        else:
            self._capacity = max(uplink.rate, 0.9 * self._capacity)
        if not self._capacity:
            return
        base = max(SLOTS_MIN, math.ceil(self._capacity * SLOT_PIECE_S / self._piece_bytes))
        self._probe(uplink, interested_count > self._slots)
        self._slots = max(1, min(base + self._extra, self._slots_max))

    def _probe(self, uplink: UplinkView, somebody_waits: bool) -> None:
        """Try a slot more while the uplink may not be full; give it up if it brought nothing."""
        if self._probing is not None:
            if uplink.rate > self._probing * (1 + PROBE_GAIN_SHARE):
                self._probe_wait = 1
            else:
                self._extra -= 1
                self._probe_wait = min(2 * self._probe_wait, PROBE_ROUNDS_MAX)
            self._probing = None
            self._probe_rounds = 0
        self._probe_rounds += 1
        full = uplink.limit is not None and uplink.rate >= UPLINK_FULL_SHARE * uplink.limit
        if somebody_waits and not full and self._probe_rounds >= self._probe_wait:
            self._probing = uplink.rate
            self._extra += 1
