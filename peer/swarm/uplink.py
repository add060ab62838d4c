"""Is the uplink full? Pure. We cannot ask it, but we can see what all links together have moved lately.

Bytes are counted when a socket is ready *again* after a chunk, which is when it has taken it: counted when
handed out, the buffers that swallow the first chunks of every link would look like a fast uplink.
"""

import math

from peer.limits import UPLINK_FULL_SHARE
from peer.swarm.rates import RateMeter

SPAN_S = 1.0
"""Smoothing of the sum of all links: long against a chunk (CHUNK_S), or each would show as a tooth of a saw;
short enough to see after a tenth of a second that nothing moves."""

PEAK_FADES_S = 20.0
"""How fast the recent best is forgotten (time constant): others may have taken a part of the uplink."""


class UplinkGauge:
    """The rate of all links together, and the best that it has lately been."""

    __slots__ = ("_meter", "_peak", "_peak_at")

    def __init__(self) -> None:
        self._meter: RateMeter | None = None
        self._peak = 0.0
        self._peak_at = 0.0

    def add(self, nbytes: int, now: float) -> None:
        """Some socket has taken so much."""
        if self._meter is None:
            # As if it had been idle for a span: a first chunk must not be taken for a rate.
            self._meter = RateMeter(now - SPAN_S, SPAN_S)
        self._meter.add(nbytes, now)
        self._peak = max(self._meter.rate(now), self.peak(now))
        self._peak_at = now

    def rate(self, now: float) -> float:
        """Bytes a second, now."""
        return 0.0 if self._meter is None else self._meter.rate(now)

    def peak(self, now: float) -> float:
        """The best rate of late, in bytes a second."""
        return self._peak * math.exp(min(0.0, self._peak_at - now) / PEAK_FADES_S)

    def is_full(self, now: float) -> bool:
        """Whether it runs about as fast as it ever did of late; false before anything is known."""
        return self._meter is not None and self.rate(now) >= UPLINK_FULL_SHARE * self.peak(now)
