"""An end to calls of OpenSSL that go on for as long as the other side feeds them.

One read of OpenSSL takes record after record until one of them holds data. Messages of TLS itself hold none,
and of key updates there may be any number: whoever sends them as fast as they can be worked off keeps the
call, and with it the event loop, from ever coming back. The standard library has no way to switch that off
(SSL_MODE_AUTO_RETRY). So a thread looks at how long a call has taken, and pulls the socket from under one
that takes too long: its descriptor becomes a socket whose other side is closed, and OpenSSL finds the end.
Merely to shut the socket down would leave what the kernel has received, some seconds' worth of key updates.

Time alone proves nothing: where others have the processors, a call stands still for as long as they like, and
on a virtual machine even its own processor's clock goes on meanwhile. So it is looked at what the call has
taken from the socket: a call that is not fed takes one record. Elsewhere than on Linux nobody tells that, and
time must do.

The thread lives while there are streams; a call costs two assignments.
"""

import fcntl
import os
import socket
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from threading import Lock, Thread
from typing import Final

from peer.limits import TLS_CALL_BYTES, TLS_CALL_LOOKS, TLS_CALL_S

_INFO: Final = getattr(socket, "TCP_INFO", None)
_BYTES_RECEIVED: Final = Struct("128x Q")
"""`tcpi_bytes_received` of `struct tcp_info` (linux/tcp.h); since Linux 4.1."""


def bytes_taken(sock: socket.socket) -> int | None:
    """How many bytes were ever read from a TCP socket; None where nobody tells. Raises OSError."""
    if _INFO is None:
        return None
    (received,) = _BYTES_RECEIVED.unpack(sock.getsockopt(socket.IPPROTO_TCP, _INFO, _BYTES_RECEIVED.size))
    unread = int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
    return int(received) - unread


class CallWatch:
    """Watches the calls of one event loop, of which there is one at a time at most."""

    def __init__(self, taken: Callable[[socket.socket], int | None] = bytes_taken) -> None:
        """taken: what was ever read from a socket, in bytes."""
        self._taken = taken
        self._lock = Lock()
        self._streams = 0
        self._thread: Thread | None = None
        self._calls = 0
        self._calling: socket.socket | None = None
        self._cut: socket.socket | None = None
        self._seen = self._looks = 0
        self._before: int | None = None

    def opened(self) -> None:
        """There is one more socket. Called by the thread that is going to call OpenSSL."""
        with self._lock:
            self._streams += 1
            if self._thread is None:
                thread = Thread(target=self._watch, name="calls of OpenSSL", daemon=True)
                with suppress(RuntimeError):  # no thread to be had: the next socket tries again
                    thread.start()
                    self._thread = thread

    def close(self, sock: socket.socket) -> None:
        """Close a socket, but never while its descriptor is being replaced: it could be another's by then."""
        with self._lock:
            self._streams -= 1
            sock.close()

    def begin(self, sock: socket.socket) -> None:
        """A call begins that reads from the socket."""
        self._calls += 1
        self._calling = sock

    def end(self) -> None:
        """It is over."""
        self._calling = None

    def has_cut(self, sock: socket.socket) -> bool:
        """Whether the latest socket that was cut off is this one."""
        return self._cut is sock

    def _watch(self) -> None:
        while True:
            time.sleep(TLS_CALL_S / TLS_CALL_LOOKS)
            with self._lock:
                if not self._streams:
                    self._thread = None
                    return
                self._look()

    def _look(self) -> None:
        # In this order: where the count is still the same, the socket is that of the same call. The bytes may
        # be those of a later call: then the next look finds another one, and begins anew.
        sock, calls = self._calling, self._calls
        if sock is None:
            return
        with suppress(OSError):  # no descriptor left to cut it off with: at the next look
            taken = self._taken(sock)
            if calls != self._seen:
                self._seen, self._looks, self._before = calls, 0, taken
                return
            self._looks += 1
            # While it was looked, this call may have come back, and what was taken is the next ones'.
            is_same = self._calls == calls and self._calling is sock
            if is_same and self._looks >= TLS_CALL_LOOKS and _is_fed(self._before, taken):
                self._cut_off(sock)

    def _cut_off(self, sock: socket.socket) -> None:
        dead, other = socket.socketpair()
        other.close()
        with dead:
            self._cut = sock
            os.dup2(dead.fileno(), sock.fileno(), inheritable=False)


def _is_fed(before: int | None, taken: int | None) -> bool:
    return before is None or taken is None or taken - before >= TLS_CALL_BYTES
