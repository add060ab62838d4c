"""How much the kernel may hold of a stream that the network has not taken: as little as the rate allows.

The writer chooses what to send when there is room again, so the queue below it is how old its choice is when
it leaves: on a slow uplink with several streams, long queues make every choice, cancel and goodbye a second
late. On a fast link a short queue costs a wake-up for every few packets. `TCP_NOTSENT_LOWAT` sets it (what is
in flight, sent and not acknowledged, is not counted); here it follows the stream's own rate, so that the
queue is about as long in *time* on every link. Measured on loopback, plain TCP: 16 KiB instead of 4 MiB costs
1.7 times the processor time of sender and receiver.
"""

import math
import socket
from contextlib import suppress

import trio

from peer.limits import UNSENT_BYTES, UNSENT_BYTES_MAX, UNSENT_BYTES_MIN, UNSENT_S, UNSENT_SAMPLE_S
from peer.net.congestion import CongestionControl

LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def unsent_bytes_for(rate: float) -> int:
    """The queue for a stream of that many bytes a second: a power of two within the limits."""
    wanted = rate * UNSENT_S
    if wanted <= UNSENT_BYTES_MIN:
        return UNSENT_BYTES_MIN
    return min(UNSENT_BYTES_MAX, 1 << math.ceil(math.log2(wanted)))


class SendQueue:
    """Sets one socket's limit from what it is told was sent, and has its path looked at as often."""

    __slots__ = ("_congestion", "_count", "_since", "_socket", "limit")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._count = 0
        self._since = -math.inf
        self.limit = 0
        self._set(UNSENT_BYTES)
        self._congestion = CongestionControl(sock)

    def sent(self, count: int) -> None:
        """Note what the kernel took. An idle stream counts as a slow one: it needs no long queue."""
        self._count += count
        now = trio.current_time()
        seconds = now - self._since
        if seconds < UNSENT_SAMPLE_S:
            return
        self._congestion.look()
        if not math.isinf(seconds):
            self._set(unsent_bytes_for(self._count / seconds))
        self._count, self._since = 0, now

    def _set(self, limit: int) -> None:
        if LOWAT is not None and limit != self.limit:
            self.limit = limit
            with suppress(OSError):  # closed, or not TCP
                self._socket.setsockopt(socket.IPPROTO_TCP, LOWAT, limit)
