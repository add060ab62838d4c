"""A fluid model of access links: what a node's rate limiter makes of an uplink. Pure.

An answer under way is a *flow*. As in `peer.swarm.rates`, an uplink that can send a piece in LIMIT_TURN_S
sends one at a time, and the links that have something to send wait in a line for their turn. Slower ones send
side by side: all flows progress at the same rate, the uplink's over their number. A virtual clock, the
bytes that each flow has been given since the beginning, turns this into a heap: a flow of n bytes that begins
at virtual time V ends at V + n, whatever comes and goes meanwhile. So a start, an end and a cut cost O(log
flows of this uplink), and nobody else's flows are touched.

A downlink is a bucket: a flow begins only when the downlink has room for it, and books its bytes, so that
what has come in by any time is never more than the rate allows. Who finds it taken waits in line, as a sender
does whose receiver's window is closed, and the uplink goes to others meanwhile. This is simpler than max-min
fairness, where a change at one link moves the rates of flows everywhere; the price is that a slow receiver
takes pieces one after the other rather than side by side. No bound can be beaten.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

from peer.ids import PieceIndex
from peer.limits import LIMIT_TURN_S

SLACK_BYTES: Final = 1e-3
"""Sums of floats: a flow that lacks less than this has ended."""


BOOKED_AHEAD_S: Final = 0.1
"""A downlink takes on a flow so long before it is through with what it has, so that it never falls idle."""


class Flow:
    """One answer under way. link: the sender's side of where it goes. length: bytes of it in all."""

    __slots__ = (
        "begun_at", "ends_at", "length", "link", "live", "not_before", "piece", "reported", "reported_at",
    )  # fmt: skip

    def __init__(self, link: Any, piece: PieceIndex, length: int, now: float) -> None:
        self.link = link
        self.piece = piece
        self.length = length
        self.begun_at = now
        self.not_before = now  # when the receiver's downlink can be through with it
        self.ends_at = inf  # in the uplink's virtual time
        self.live = True
        self.reported = 0  # bytes that the receiver has been told of
        self.reported_at = now


class Uplink:
    """One node's sending side. Rates in bytes a second; times must not fall from call to call."""

    __slots__ = ("_at", "_heap", "_sent", "_sequence", "_virtual", "count", "count_max", "line", "rate")

    def __init__(self, rate: float, now: float = 0.0, piece_bytes: float = inf) -> None:
        """rate: 0 sends nothing, ever. piece_bytes: of the usual flow."""
        self.rate = rate
        self.count = 0
        self.count_max = 1 if piece_bytes <= rate * LIMIT_TURN_S else inf
        """Flows under way at once, at most."""
        self.line: dict[Any, None] = {}
        """Who would like to begin a flow, and waits for a turn: a set, first come first."""
        self._heap: list[tuple[float, int, Flow]] = []
        self._virtual = 0.0
        self._at = now
        self._sent = 0.0
        self._sequence = 0

    @property
    def has_room(self) -> bool:
        """Whether another flow may begin."""
        return self.count < self.count_max

    def start(self, flow: Flow, nbytes: float, now: float) -> None:
        """The flow has so many bytes to send from now on."""
        self._advance(now)
        self._sequence += 1
        flow.ends_at = self._virtual + nbytes
        heappush(self._heap, (flow.ends_at, self._sequence, flow))
        self.count += 1

    def cut(self, flow: Flow, now: float) -> int:
        """The flow goes no further. Whole bytes that were sent of it."""
        self._advance(now)
        sent = self._progress(flow)
        flow.live = False
        self.count -= 1
        return sent

    def progress(self, flow: Flow, now: float) -> int:
        """Whole bytes sent of a live flow by now, at most its length."""
        self._advance(now)
        return self._progress(flow)

    def sent(self, now: float) -> float:
        """All bytes that this uplink has carried by now."""
        self._advance(now)
        return self._sent

    def next_end(self) -> float:
        """When the next flow ends if nothing changes; inf while nothing is under way."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heappop(heap)
        if not heap or not self.rate:
            return inf
        return self._at + max(0.0, heap[0][0] - self._virtual) * self.count / self.rate

    def take_ended(self, now: float) -> list[Flow]:
        """The flows that have ended by now, in order."""
        self._advance(now)
        ended: list[Flow] = []
        heap = self._heap
        while heap and (not heap[0][2].live or heap[0][0] - self._virtual <= self._slack(now)):
            flow = heappop(heap)[2]
            if flow.live:
                flow.live = False
                self.count -= 1
                ended.append(flow)
        return ended

    def _slack(self, now: float) -> float:
        """What rounding of the clock and of the virtual time can hide."""
        return SLACK_BYTES + self.rate * now * 1e-15

    def _progress(self, flow: Flow) -> int:
        return max(0, min(flow.length, int(flow.length - (flow.ends_at - self._virtual))))

    def _advance(self, now: float) -> None:
        passed = now - self._at
        if passed > 0:
            if self.count:
                given = passed * self.rate
                self._virtual += given / self.count
                self._sent += given
            self._at = now


class Downlink:
    """One node's receiving side. ``waiting``: who would like to begin a flow, first come first."""

    __slots__ = ("_booked_until", "alarm", "rate", "waiting")

    def __init__(self, rate: float | None) -> None:
        """rate: bytes a second, None for no limit."""
        self.rate = rate
        self.waiting: deque[Any] = deque()
        self.alarm = False  # a look at who waits has been arranged
        self._booked_until = 0.0

    def free_at(self, now: float) -> float:
        """When a flow may begin: now, if there is room."""
        return max(now, self._booked_until - BOOKED_AHEAD_S)

    def book(self, nbytes: int, now: float) -> float:
        """A flow begins. When its last byte can be here at the earliest."""
        if self.rate is None:
            return now
        self._booked_until = max(self._booked_until, now) + nbytes / self.rate
        return self._booked_until
