"""One link as a source of pieces: what was asked of it, how fast it is, how much more to ask.

How much to ask. The remote side must never run dry while we still want something; everything beyond that ties
pieces to a link before it is known who could give them soonest. So the pipeline is a *time*: bytes asked for
and not yet here are kept at `PIPELINE_S` (plus the link's own latency) of the rate that this link showed
while something was asked of it. Two brakes at the start: nothing is known of a new link, so it is asked
`PIPELINE_PIECES_START` pieces; and a first burst (a shaper's bucket, a socket buffer) looks like an enormous
rate, so the pipeline grows by at most one piece for each that arrives, which doubles it each round trip.

Near the end of the download that is too much for a slow link: `swarm/endgame.py`, `Outlook.left_to_faster`.
"""

from math import exp, inf

from peer.ids import LinkId, PieceIndex
from peer.limits import (
    ENDING_TRUST_S,
    LINK_RATE_FOLD_S,
    LINK_RATE_MEMORY_S,
    PIPELINE_LATENCY_S_MAX,
    PIPELINE_PIECES_START,
    PIPELINE_S,
    PROBE_AFTER_S,
    PROBE_S,
    REQUEST_TIMEOUT_S,
)


class Asked:
    """One request for one piece on one link, open until its last byte, its rejection, or the link's end."""

    __slots__ = (
        "asked_at",
        "begun_at",
        "due_at",
        "length",
        "live",
        "piece",
        "received",
        "supplier",
        "withdrawn",
    )

    def __init__(self, supplier: "Supplier", piece: PieceIndex, length: int, now: float) -> None:
        self.supplier = supplier
        self.piece = piece
        self.length = length
        self.received = 0
        self.asked_at = now
        self.begun_at = inf
        self.due_at: float | None = None  # when it should be complete, by what was known when it was asked
        self.live = True  # we count on the answer
        self.withdrawn = False  # we have cancelled it

    @property
    def remaining(self) -> int:
        return self.length - self.received


Flight = list[Asked]
"""The live requests for one piece, earliest first; emptied when the piece is no longer in flight."""


class Supplier:
    """One link, as the download sees it. Times are seconds, sizes bytes, rates bytes a second."""

    __slots__ = (
        "_fold_at",
        "_fresh",
        "_seconds",
        "_weighted",
        "alive_at",
        "asks",
        "choked",
        "choked_at",
        "depth",
        "elsewhere",
        "expelled",
        "gone",
        "heard_at",
        "hinted",
        "interested",
        "laggard",
        "latency",
        "link",
        "live_count",
        "outstanding",
        "probed_at",
        "rate",
        "received_bytes",
        "rests_until",
        "silent",
        "target",
        "window",
    )

    def __init__(self, link: LinkId, window: int, now: float) -> None:
        self.link = link
        self.window = window
        self.choked = True
        self.choked_at = now
        self.interested = False
        self.expelled = False
        self.gone = False
        self.silent = False
        self.laggard = False  # a piece had to be rescued from it, and none has come whole since
        self.rests_until = -inf
        self.elsewhere: list[PieceIndex] = []  # pieces left to others for now, at its word
        self.hinted = 0  # all that it ever said that of, one bit a piece
        self.asks: dict[PieceIndex, Asked] = {}  # in the order of asking; withdrawn ones stay until answered
        self.live_count = 0
        self.outstanding = 0  # bytes of live asks that have not arrived
        self.depth = PIPELINE_PIECES_START
        self.heard_at = now
        self.probed_at = self.alive_at = -inf
        self.latency = inf
        self.rate = 0.0  # 0: not known
        self.target = 0.0
        self.received_bytes = 0
        self._fold_at = now
        self._fresh = 0
        self._weighted = 0.0
        self._seconds = 0.0

    def has_room(self, now: float) -> bool:
        """Whether one more piece should be asked of this link, if there is one."""
        if self.choked or self.expelled or len(self.asks) >= self.window or now < self.rests_until:
            return False
        if self.silent or self.laggard:
            return not self.asks  # one at a time, and only after it has answered for all before
        if not self.live_count:
            return True
        if self.live_count >= self.depth:
            return False
        return self.outstanding < self.target if self.rate else self.live_count < PIPELINE_PIECES_START

    def is_counted_on(self, now: float) -> bool:
        """Whether it brings something now, or would be asked at once if there were anything."""
        if self.gone or self.expelled or self.choked or self.silent or self.laggard:
            return False
        return now - self.heard_at < ENDING_TRUST_S if self.live_count else self.has_room(now)

    def ask(self, piece: PieceIndex, length: int, now: float) -> Asked:
        """Open a request."""
        if not self.live_count:
            self._fold_at = now  # time without work does not count against it
            self._fresh = 0
            self.heard_at = now
        asked = self.asks[piece] = Asked(self, piece, length, now)
        self.live_count += 1
        self.outstanding += length
        if self.rate:
            asked.due_at = now + self.outstanding / self.rate
        return asked

    def got(self, asked: Asked, count: int, now: float) -> None:
        """Bytes of an answer came."""
        if not asked.received:
            asked.begun_at = now
            if asked.live:
                self.latency = min(self.latency, now - asked.asked_at)
        asked.received += count
        self.received_bytes += count
        self.heard_at = now
        self.silent = False
        self._fresh += count
        if asked.live:
            self.outstanding -= count
        if now - self._fold_at >= LINK_RATE_FOLD_S:
            self._fold(now)

    def complete(self, now: float) -> None:
        """A piece came in whole: the pipeline may grow."""
        self.laggard = False
        self._fold(now)
        if self.rate and self.live_count >= self.depth < self.window:
            self.depth += 1

    def release(self, asked: Asked) -> None:
        """We do not want this answer any more; the request stays open until the remote side closes it."""
        if asked.live:
            asked.live = False
            self.live_count -= 1
            self.outstanding -= asked.remaining

    def revive(self, asked: Asked) -> None:
        """The answer that we had given up comes after all."""
        asked.live = True
        self.live_count += 1
        self.outstanding += asked.remaining

    def close(self, asked: Asked) -> None:
        """The request is answered or rejected."""
        self.release(asked)
        del self.asks[asked.piece]

    def seconds_for(self, count: int, now: float, guess: float) -> float:
        """How long this many bytes will take, at its own rate or, where that is not known, at ``guess``."""
        return count / (self.rate_now(now) or guess)

    def rate_now(self, now: float) -> float:
        """The rate with the present silence counted in; 0 if not known."""
        if not self.live_count:
            return self.rate
        seconds, weighted = self._seconds + now - self._fold_at, self._weighted + self._fresh
        return weighted / seconds if weighted and seconds else 0.0

    def is_overdue(self, now: float) -> bool:
        """Whether something was asked and nothing has come for too long, or it seems that nobody is there."""
        if not self.asks:
            return False
        unanswered = self.probed_at > self._known_at
        return now - self.heard_at >= REQUEST_TIMEOUT_S or (unanswered and now - self.probed_at >= PROBE_S)

    def wants_probe(self, now: float) -> bool:
        """Whether to find out if anybody is there."""
        if not self.asks or self.silent or self.probed_at > self._known_at:
            return False
        return now - self._known_at >= PROBE_AFTER_S

    @property
    def _known_at(self) -> float:
        """When it last was there for certain."""
        return max(self.heard_at, self.alive_at)

    def check_invariants(self) -> None:
        """For tests: the counts agree with the requests."""
        asks = self.asks.values()
        assert len(asks) <= self.window
        assert self.live_count == sum(asked.live for asked in asks)
        assert self.outstanding == sum(asked.remaining for asked in asks if asked.live)
        assert not (self.expelled and asks)
        for asked in asks:
            assert 0 <= asked.received <= asked.length
            assert not (asked.live and asked.withdrawn)

    def _fold(self, now: float) -> None:
        passed = now - self._fold_at
        if passed < 0:
            return  # 0: what came in the moment of the last fold counts too
        decay = exp(-passed / LINK_RATE_MEMORY_S)
        self._weighted = self._weighted * decay + self._fresh
        self._seconds = self._seconds * decay + passed
        self._fold_at = now
        self._fresh = 0
        if not self._seconds:
            return
        self.rate = self._weighted / self._seconds
        self.target = self.rate * (PIPELINE_S + min(self.latency, PIPELINE_LATENCY_S_MAX))
