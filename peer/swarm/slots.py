"""How many links to serve at once. Pure.

Enough that a slot carries a piece in SLOT_PIECE_S when all are in use, given what the uplink can do: its
limit if one was set, else the best of late that it has done for several links at once (what it did for one
link says more about that link). While neither is known, SLOTS_FIRST.

That may be too few: when every receiver is slower than the uplink, or the best of late is not the best. So
now and then there is a trial of one round. Up: if somebody waits for a slot and the uplink is below
UPLINK_FULL_SHARE of its limit, or no limit is known, more are opened, and stay if the uplink as a whole went
faster. Not where links run dry: then it is not that the receivers are slow, but that they ask for little. (At
the end of a download uplinks pause, and many wait for the last pieces: nodes that opened slots for that sent
one piece to twenty at once, and nobody could pass it on.) Down: if slots were added that way some are closed,
and stay closed if it did not go slower. What was right is tried again at once, twice as far; what was wrong
is undone, then the other way has its turn, after an ever longer pause. In doubt there are fewer slots, so
noise does not add up to many. (libtorrent's rate-based choker and uTorrent open a slot while the uplink is
not full; neither knows when to close it.)
"""

import math
from dataclasses import dataclass

from peer.limits import (
    CHOKE_ROUNDS_EARLY,
    PROBE_GAIN_SHARE,
    SLOT_PIECE_S,
    SLOTS_FIRST,
    SLOTS_MAX,
    SLOTS_MIN,
    SLOTS_MIN_LIMITED,
    UPLINK_FULL_SHARE,
)

PAUSE_ROUNDS_MAX = 12
"""Longest pause, in rounds, between two trials."""

DRY_SHARE = 0.25
"""Links run dry if more than this share of the answers leaves one without a request. Next to none does where
receivers are slow, since they ask ahead; nearly all do at the end of a download."""

CAPACITY_FADE = 0.95
"""What is left each round of a best rate that is not reached any more."""


@dataclass(frozen=True, slots=True)
class UplinkView:
    """rate: bytes a second that all links together send. limit: what was set for it, None if nothing was.
    answers: pieces sent so far; ran_dry: those after which their link had asked for nothing more."""

    rate: float = 0.0
    limit: float | None = None
    answers: int = 0
    ran_dry: int = 0


class Slots:
    """The number of slots of one share, adapted round by round."""

    def __init__(self, piece_bytes: int, slots_max: int = SLOTS_MAX) -> None:
        self.count = min(SLOTS_FIRST, max(1, slots_max))
        self._piece_bytes = piece_bytes
        self._max = max(1, slots_max)
        self._capacity = 0.0
        self._answers = 0
        self._ran_dry = 0
        self._rounds = 0
        self._rounds_busy = 0
        self._extra = 0
        self._trial = 0  # slots that were opened (or closed: negative) to see what happens
        self._rate_before = 0.0
        self._direction = 1
        self._step = 1
        self._pause = 1
        self._paused = 0

    @property
    def on_trial(self) -> bool:
        """Whether the next round should come soon, to judge the slots that were opened or closed."""
        return self._trial != 0

    def resize(self, uplink: UplinkView, served: int, wanting: int) -> None:
        """A round is over: ``served`` links had a slot, ``wanting`` would like one in the next."""
        self._rounds += 1
        self._rounds_busy = self._rounds_busy + 1 if served >= min(SLOTS_MIN, self._max) else 0
        before = self._capacity
        dry = self._runs_dry(uplink)
        if uplink.limit is not None:
            self._capacity = uplink.limit
        elif self._rounds_busy >= 2:
            self._capacity = max(uplink.rate, CAPACITY_FADE * before)
        elif before:
            self._capacity = max(uplink.rate, before)
        if not self._capacity:
            return
        least = SLOTS_MIN if uplink.limit is None else SLOTS_MIN_LIMITED
        base = max(least, math.ceil(self._capacity * SLOT_PIECE_S / self._piece_bytes))
        self._judge(uplink)
        # What changes during the first rounds changes by itself.
        if self._rounds > CHOKE_ROUNDS_EARLY and not self._trial:
            full = uplink.limit is not None and uplink.rate >= UPLINK_FULL_SHARE * uplink.limit
            self._try(uplink, up=wanting > base + self._extra and not full and not dry)
        self.count = max(1, min(base + self._extra, self._max))

    def _runs_dry(self, uplink: UplinkView) -> bool:
        """Whether links often had nothing more to ask for when they had got what they asked for."""
        answers, ran_dry = uplink.answers - self._answers, uplink.ran_dry - self._ran_dry
        self._answers, self._ran_dry = uplink.answers, uplink.ran_dry
        return ran_dry > DRY_SHARE * answers

    def _judge(self, uplink: UplinkView) -> None:
        """What did the slots on trial change?"""
        if not self._trial:
            return
        gain = uplink.rate - self._rate_before
        enough = PROBE_GAIN_SHARE * self._rate_before
        if gain > enough if self._trial > 0 else gain >= -enough:
            self._step = min(2 * self._step, self._max)
            self._pause = 1
        else:
            self._extra -= self._trial
            self._direction = -self._direction
            self._step = 1
            self._pause = min(2 * self._pause, PAUSE_ROUNDS_MAX)
        self._trial = 0
        self._paused = 0

    def _try(self, uplink: UplinkView, *, up: bool) -> None:
        """Begin a trial, if it is time for one."""
        self._paused += 1
        if self._paused < self._pause:
            return
        down = self._extra > 0
        if up and (self._direction > 0 or not down):
            self._trial = min(self._step, self._max - self._extra)
            self._direction = 1
        elif down:
            self._trial = -min(self._step, self._extra)
            self._direction = -1
        self._extra += self._trial
        self._rate_before = uplink.rate
