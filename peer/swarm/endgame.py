"""The end of a download: what to do with a link that has room when every piece it holds is in flight
elsewhere.

The last pieces decide when the last peer is done. Which link will be free first cannot be known when they are
asked for, so they are bound late:

* A slow link is not given a piece that faster ones would have brought before it, together with all that is
  still open and all that they were asked for (`Outlook.left_to_faster`): to each task the machine that ends
  it soonest, as in list scheduling. (Ibarra and Kim, "Heuristic Algorithms for Scheduling Independent Tasks
  on Nonidentical Processors", 1977.) Else slow links sit on the last pieces while fast ones have nothing
  left to do, and taking these back costs.
* A piece that has *not begun* to arrive may be asked of a second link that is expected to end it sooner. The
  requests are tied: when one begins to be answered the others are withdrawn, and next to nothing is sent
  twice as long as the links choose late what they send. (Dean and Barroso, "The Tail at Scale", 2013.)
* A piece that *has begun* is asked again only of a link that would end it several times sooner, from scratch.
  When that link begins, whichever is expected later is withdrawn.

What arrives twice is bounded: `ENDGAME_WASTE_PERMILLE` of what has arrived may be thrown away. A duplicate
request counts, from the moment it is made until it is closed, with what duplicates have cost so far (much,
where sockets hold much that no cancel can call back), and the nearer the bound, the more a duplicate must
gain. Only the latest pieces are worth it: one that will be here before them does not end the download sooner.
While a link holds a piece that is still open, no piece in flight decides the end: then a duplicate only keeps
a link from idling, and may cost `ENDGAME_EARLY_SHARE` of the bound. (Not where pieces are wanted in an order:
there each is waited for.)

The bound does not hold for the *rescue* of a piece from a link that would need very long for it: only what
that link sent is lost, which is little, and whether a download ends must not hang on a budget that hostile
links can use up (two hundred links that send a byte a second did), nor on what the slow link makes us think
of one that has not answered yet.

Not done: asking everybody for everything, as BitTorrent's first endgame did; letting two answers run side by
side to see which comes first; keeping the last pieces back until a link is idle (measured: slower); ties
without a bound while they prove cheap (measured: no sooner in whole nodes); sparing duplicates while others
still lack much, whose uplink they take (measured in shaped namespaces: 10 peers fetch 0.1 % twice instead of
0.4 and are done 0.1 % sooner, 30 at the same time; it would make each wait for its last piece); doubling the
last few pieces without a bound (measured there: no sooner).
"""

from collections.abc import Collection, Iterable, Mapping
from heapq import nlargest
from itertools import islice
from math import inf

from peer.ids import LinkId, PieceIndex
from peer.limits import (
    ENDGAME_ASKS_MAX,
    ENDGAME_BEGUN_S,
    ENDGAME_EARLY_SHARE,
    ENDGAME_FRESH_S,
    ENDGAME_LATE_SHARE,
    ENDGAME_LATEST_MAX,
    ENDGAME_LOOKS_MAX,
    ENDGAME_TAKE_GAIN,
    ENDGAME_TICK_S,
    ENDGAME_TIE_GAIN,
    ENDGAME_TIE_S,
    ENDGAME_WASTE_PERMILLE,
    ENDING_FASTER,
    ENDING_LINKS,
    ENDING_PIECES,
    ENDING_SHARE,
    RESCUE_GAIN,
    RESCUE_S,
)
from peer.swarm.policies import PiecePolicy
from peer.swarm.supplier import Asked, Flight, Supplier

_PRIOR_RACES = 4
_PRIOR_SHARE = 1.0
"""Before anything is known a duplicate request is taken to cost a whole piece, as it does on slow links,
where a piece fits into what no cancel can call back; this counts as so many races."""


def expected_end(asked: Asked, now: float, guess: float) -> float:
    """Seconds until this answer is complete, as far as one can know; inf where nothing is to be expected.

    ``guess`` is the rate of a link that has shown none.
    """
    supplier = asked.supplier
    if supplier.silent:
        return inf
    if asked.received:
        # Where pieces are sent in turns, the link's rate counts its waits as well: at the first byte after a
        # wait of two seconds it would say hours, and the piece would be rescued from a link that is well.
        since = now - asked.begun_at
        own = asked.received / since if since >= ENDGAME_BEGUN_S else guess
        return asked.remaining / max(supplier.rate_now(now), own)
    due = asked.due_at
    if due is None:
        due = asked.asked_at + supplier.outstanding / guess
    # What is late will be later still: after the time that it should have taken, as long again. And however
    # fast the link was when it was asked, its own bytes take their time at the rate of now.
    own = supplier.seconds_for(asked.remaining, now, inf)
    return max(due - now, now - due, own)


class Outlook:
    """What all links together say of any one: worked out once where a tick asks for each that is idle."""

    def __init__(self, suppliers: Mapping[LinkId, Supplier], piece_bytes: int) -> None:
        self._suppliers = suppliers
        self._piece_bytes = piece_bytes
        self._seen_at = (-1.0, 0)
        self._seen = (0.0, 0)
        self._fastest: list[Supplier] = []
        self._fastest_at = -inf

    def left_to_faster(self, supplier: Supplier, piece: PieceIndex, picker: PiecePolicy, now: float) -> bool:
        """Whether faster links should bring this open piece, and all others, before this link would.

        False while far from the end, for a piece that no faster link could be asked for, and for the fastest.
        Which links are fastest is as of a moment ago: it is asked for with every piece.
        """
        if not supplier.rate or picker.needed_count > ENDING_PIECES * len(self._suppliers):
            return False
        if now - self._fastest_at >= ENDGAME_TICK_S / 2:
            self._fastest = nlargest(ENDING_LINKS, self._suppliers.values(), key=_rate)
            self._fastest_at = now
        rate = 0.0
        outstanding = 0
        takes = False
        for other in self._fastest:
            if other.rate >= ENDING_FASTER * supplier.rate and other.is_counted_on(now):
                rate += other.rate
                outstanding += other.outstanding
                takes = takes or (picker.holds(other.link, piece) and piece not in other.asks)
        if not takes:
            return False
        left = (outstanding + picker.open_count * self._piece_bytes) / rate
        return (supplier.outstanding + self._piece_bytes) / supplier.rate > ENDING_SHARE * left

    def guess(self) -> float:
        """The rate of a link that has shown none: the others' average, or else a piece a second."""
        rates = [s.rate for s in self._suppliers.values() if s.rate]
        return sum(rates) / len(rates) if rates else float(self._piece_bytes)

    def at(self, now: float, asks: int, in_flight: int) -> tuple[float, int]:
        """The guess, and the requests beyond the first for a piece. asks: how many were ever made."""
        if self._seen_at != (now, asks):
            # Withdrawn ones too may still be answered; none is where none ever was for a while.
            due = sum(
                [
                    len(s.asks)
                    for s in self._suppliers.values()
                    if not s.silent and (s.rate or now - s.heard_at < ENDGAME_FRESH_S)
                ]
            )
            self._seen_at, self._seen = (now, asks), (self.guess(), max(0, due - in_flight))
        return self._seen


class Endgame:
    """Which pieces are worth a second request, within the bound of what may be thrown away."""

    def __init__(self, piece_bytes: int) -> None:
        self.duplicate_bytes = 0  # received for requests that were withdrawn
        self.withdrawals = 0
        self._piece_bytes = piece_bytes
        self._ranked: list[tuple[float, Flight]] = []
        self._ranked_at = -inf

    @staticmethod
    def may_help(supplier: Supplier) -> bool:
        """Who has not answered yet is no help for others' pieces."""
        return not (supplier.silent or (supplier.asks and not supplier.rate))

    def late_piece(
        self,
        supplier: Supplier,
        picker: PiecePolicy,
        flights: Collection[Flight],
        now: float,
        *,
        guess: float,
        doubled: int,
        received_bytes: int,
    ) -> PieceIndex | None:
        """The piece in flight that this link should be asked for as well, or None.

        doubled: requests beyond the first for a piece now, those included that were withdrawn and may still
        be answered. received_bytes: by the whole download so far.
        """
        if not flights or not self.may_help(supplier):
            return None
        spent = self._spent(doubled, received_bytes)
        if picker.takes_hints and picker.has_open_held():
            spent /= ENDGAME_EARLY_SHARE
        latest = 0.0
        for _, flight in self._rank(flights, now, guess):
            if not flight:
                continue  # landed since they were ranked
            first = flight[0]
            if first.piece in supplier.asks or not picker.holds(supplier.link, first.piece):
                continue
            end = min(expected_end(asked, now, guess) for asked in flight)
            latest = max(latest, end)
            if end < ENDGAME_LATE_SHARE * latest:
                return None
            # Requests at links that have answered nothing yet cost nothing, and must not stand in the way.
            proven = sum(bool(asked.supplier.rate) and not asked.supplier.silent for asked in flight)
            if proven >= ENDGAME_ASKS_MAX or now - flight[-1].asked_at < ENDGAME_TIE_S:
                continue
            begun = any(asked.received for asked in flight)
            gain = (ENDGAME_TAKE_GAIN if begun else ENDGAME_TIE_GAIN) / (1 - spent) if spent < 1 else inf
            if end >= RESCUE_S:
                if (
                    not supplier.rate
                ):  # idle, and nothing is known of it: the others' rates must not speak for it
                    return first.piece
                gain = min(gain, RESCUE_GAIN)
            if supplier.seconds_for(supplier.outstanding + first.length, now, guess) * gain < end:
                return first.piece
        return None

    def losers(self, flight: Flight, now: float, guess: float) -> Flight:
        """Which requests for a piece to withdraw when one has begun to be answered."""
        ends = [expected_end(asked, now, guess) for asked in flight]
        best = min(i for i in range(len(flight)) if flight[i].received)
        for i, asked in enumerate(flight):
            if asked.received and ends[i] < ends[best]:
                best = i
        # A link that has not begun may be so much faster that it is still worth waiting for.
        return [
            asked
            for i, asked in enumerate(flight)
            if i != best and (asked.received or ends[i] * ENDGAME_TAKE_GAIN >= ends[best])
        ]

    def _spent(self, doubled: int, received_bytes: int) -> float:
        """The part of the bound that is used up, with what is under way."""
        allowed = received_bytes * ENDGAME_WASTE_PERMILLE // 1000 + self._piece_bytes
        prior = _PRIOR_RACES * _PRIOR_SHARE * self._piece_bytes
        usual = (self.duplicate_bytes + prior) / (self.withdrawals + _PRIOR_RACES)
        return (self.duplicate_bytes + doubled * usual) / allowed

    def _rank(self, flights: Collection[Flight], now: float, guess: float) -> Iterable[tuple[float, Flight]]:
        """The latest pieces first, as of a moment ago: ranking is dear where much is in flight."""
        if now - self._ranked_at >= ENDGAME_TICK_S / 2:
            ranked = [
                (min(expected_end(asked, now, guess) for asked in flight), flight)
                for flight in islice(flights, ENDGAME_LOOKS_MAX)
            ]
            ranked.sort(key=_end, reverse=True)
            del ranked[ENDGAME_LATEST_MAX:]
            self._ranked, self._ranked_at = ranked, now
        return self._ranked


def _rate(supplier: Supplier) -> float:
    return supplier.rate


def _end(entry: tuple[float, Flight]) -> float:
    return entry[0]
