"""Do not wake for a part of a TLS record: on a slow link a record of 16 KiB comes as a dozen packets.

OpenSSL gives nothing before a record is whole, so each wake-up before that is for nothing; a getter in a
swarm of 30 peers of 4 Mbit/s had 23,000 of them a minute. While a link is seen to be slow, the gate looks
at the header of the next record (`MSG_PEEK`: 5 bytes that hold its length, RFC 8446 section 5.1) and has
the kernel call only when all of it is there (`SO_RCVLOWAT`, which a closed or broken connection and a full
receive window override). OpenSSL must then be called for whole records only, or it would hold a part that
is no longer in the kernel's count; so the gate begins and ends at record boundaries. On fast links records
come whole, and the two system calls for each would cost bulk transfers some percent: there it stays open.

Who reads a payload knows how much of it is still to come, and what OpenSSL has decrypted can wait for the
rest: the gate opens when there is a record's worth more. So a chunk of 32 KiB, which comes as three records,
is taken in two reads, its header with the first record and then the rest, instead of three or four.

Where the link's rate is known and low the gate does not have the kernel call, but asks for a nap until the
rest should be there. For while `SO_RCVLOWAT` is not reached, Linux acknowledges every second packet; without
it, and with what has come left unread, only what is read, or once in 40 ms (`__tcp_ack_snd_check` in its
net/ipv4/tcp_input.c). Acknowledgements share the uplink with what a peer sends
(docs/decisions/uplink-queue.md).
"""

import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

from peer.limits import NAP_STEP_S

HEADER_BYTES = 5
"""Type, version, length."""

RECORD_BYTES_MAX = HEADER_BYTES + (1 << 14) + 256
"""The longest record of TLS 1.3. What claims to be longer is an error that OpenSSL shall find."""

RECORD_BYTES_MIN = HEADER_BYTES + 1 + 16
"""The shortest: a content type, sealed."""

SLOW_WAITS = 3
"""A record that takes so many wake-ups comes over a slow link. Two may be chance."""

LARGE_BYTES = 8192
"""A shorter record that comes whole says nothing about the link."""

RECORD_PAYLOAD_MAX = 1 << 14

SURE_BYTES_MAX = RECORD_PAYLOAD_MAX + 1024
"""So much of a payload is waited for at once: a record's worth, as everywhere, and the little that a frame's
header has pushed into one more. Much more, and a slow peer would look like one that has stopped."""

QUICK_RECORDS = 4
"""So many large records on end that came whole: the link is slow no more."""

NAP_S_MAX = 0.1
"""Of a nap. What came within a longer one would be late."""

NAP_BYTES = 48 * 1024
"""No nap is longer than it takes for as many to come: less than the smallest receive window (64 KiB)."""

NAP_S_MIN = NAP_STEP_S / 2
"""A shorter one would be a longer one: the link is fast."""


class RecordGate:
    """The gate of one socket. ``slow``: whether it is in use."""

    __slots__ = (
        "_holds_part", "_in_parts", "_lowat", "_pending", "_quick", "_rate", "_seen", "_seen_at", "_socket",
        "_waits", "_woken", "nap", "slow",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lowat = 1
        self._waits = 0
        self._quick = 0
        self._woken = False
        self._in_parts = False  # the next record: some of it was there before the rest
        self._holds_part = True  # OpenSSL: of a record that it cannot decrypt yet
        self._pending = 0  # with OpenSSL, decrypted
        self._rate = 0.0  # bytes a second, of late, while they came; 0: not known
        self._seen = -1  # so many bytes were there at the last look; -1: they have been read since
        self._seen_at = 0.0
        self.slow = False
        self.nap = 0.0
        """After `is_open` said no: so many seconds are to be slept; 0: the socket is to be waited for."""

    def waited(self) -> None:
        """The socket was waited for once more."""
        self._waits += 1
        self._woken = True

    def took(self, pending: Callable[[], int]) -> None:
        """OpenSSL has given bytes; ``pending()`` more of the same record are with it."""
        self._holds_part = False
        if not (self.slow or self._waits):
            return  # an open gate needs to know only how a record came that was waited for
        self._pending = pending()
        if self._pending:
            return
        if self._waits >= SLOW_WAITS:
            self.slow = True
            self._quick = 0
            self._rate = 0.0
        self._waits = 0

    def left_open(self) -> None:
        """OpenSSL was asked and had to wait: it may hold a part of a record now."""
        self._holds_part = True
        self._pending = 0
        self._seen = -1
        self._set(1)

    def is_open(self, sure: int, now: float) -> bool:
        """Whether OpenSSL may read now. If not: sleep for ``nap``, or where that is 0 wait until the socket
        is readable, and ask again.

        sure: so many bytes will certainly come, what OpenSSL has decrypted included; 0 if nobody knows.
        now: in seconds of any clock that does not jump.
        """
        if not self.slow or self._holds_part:
            return True
        rest = sure - self._pending
        if self._pending and rest <= 0:
            return True
        length, there = self._next_record()
        enough = length
        if length and (self._pending or there >= HEADER_BYTES):
            enough = max(length, self._worth_waiting_for(rest))
        # Woken with less than was asked for, there is an end, an error, or no more room: not ours to know.
        if there < enough and not (self._woken and there < self._lowat):
            self._in_parts = self._in_parts or there < length > RECORD_BYTES_MIN
            self._close(enough, there, now)
            self._woken = False
            return False
        self._measure(there, now)
        self._seen = -1
        self._woken = False
        if not self._pending:
            self._judge(length)
        return True

    def _close(self, enough: int, there: int, now: float) -> None:
        """Choose how to wait for the rest of what is enough."""
        stands = there == self._seen and now - self._seen_at >= NAP_S_MIN
        self._measure(there, now)
        if there != self._seen:
            self._seen, self._seen_at = there, now
        self.nap = 0.0
        if enough <= RECORD_BYTES_MIN:  # for a record to begin; the pause before it is no measure of the link
            self._seen = -1
            self._set(enough)
        elif stands:  # until there is more, however little; this pause is none either
            self._seen = -1
            self._set(there + 1 if self._is_slow_enough else enough)
        elif not self._is_slow_enough:
            self._set(enough)
        else:
            rest = max((enough - there) / self._rate, NAP_STEP_S)
            self.nap = min(rest, NAP_BYTES / self._rate, NAP_S_MAX)
            self._set(RECORD_BYTES_MIN)

    @property
    def _is_slow_enough(self) -> bool:
        """Whether it is known that no nap brings more than a receive window holds."""
        return 0 < NAP_S_MIN * self._rate < NAP_BYTES

    def _measure(self, there: int, now: float) -> None:
        """How fast bytes came since the last look, if they did."""
        if 0 <= self._seen < there and now > self._seen_at:
            rate = (there - self._seen) / (now - self._seen_at)
            self._rate = (self._rate + rate) / 2 if self._rate else rate

    def _worth_waiting_for(self, rest: int) -> int:
        """Of a payload of which so much is still with the kernel or on its way. 0 where nobody knows."""
        if rest > SURE_BYTES_MAX:
            rest = RECORD_PAYLOAD_MAX if self._pending else 0
        return rest + RECORD_BYTES_MIN * -(-rest // RECORD_PAYLOAD_MAX) if rest > 0 else 0

    def _next_record(self) -> tuple[int, int]:
        """Bytes to wait for, and how many are there. Nothing to wait for: OpenSSL should find the trouble."""
        try:
            header = socket.socket.recv(self._socket, HEADER_BYTES, socket.MSG_PEEK)
            if len(header) < HEADER_BYTES:
                return (RECORD_BYTES_MIN if header else 0), len(header)
            length = HEADER_BYTES + int.from_bytes(header[3:])
            if length > RECORD_BYTES_MAX:
                return 0, 0
            count = fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, bytes(4))
            return length, int.from_bytes(count, sys.byteorder)
        except BlockingIOError:
            return RECORD_BYTES_MIN, 0
        except OSError:
            return 0, 0

    def _judge(self, length: int) -> None:
        in_parts, self._in_parts = self._in_parts, False
        if length < LARGE_BYTES:
            return
        self._quick = 0 if in_parts else self._quick + 1
        if self._quick >= QUICK_RECORDS:
            self.slow = False
            self._set(1)

    def _set(self, lowat: int) -> None:
        if lowat != self._lowat:
            self._lowat = lowat
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, lowat)
