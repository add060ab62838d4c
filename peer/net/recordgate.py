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
"""

import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

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


class RecordGate:
    """The gate of one socket. ``slow``: whether it is in use."""

    __slots__ = (
        "_holds_part", "_in_parts", "_lowat", "_pending", "_quick", "_socket", "_waits", "_woken", "slow",
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
        self.slow = False

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
        self._waits = 0

    def left_open(self) -> None:
        """OpenSSL was asked and had to wait: it may hold a part of a record now."""
        self._holds_part = True
        self._pending = 0
        self._set(1)

    def is_open(self, sure: int) -> bool:
        """Whether OpenSSL may read now. If not: wait until the socket is readable, and ask again.

        sure: so many bytes will certainly come, what OpenSSL has decrypted included; 0 if nobody knows.
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
        if there < enough and not (self._woken and self._lowat == enough):
            self._set(enough)
            self._woken = False
            self._in_parts = self._in_parts or there < length > RECORD_BYTES_MIN
            return False
        # Woken with less than was asked for, there is an end, an error, or no more room: not ours to know.
        self._woken = False
        if not self._pending:
            self._judge(length)
        return True

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
