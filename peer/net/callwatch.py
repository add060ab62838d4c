"""An end to calls of OpenSSL that go on for as long as the other side feeds them.

One read of OpenSSL takes record after record until one of them holds data. Messages of TLS itself hold none,
and of key updates there may be any number: whoever sends them as fast as they can be worked off keeps the
call, and with it the event loop, from ever coming back. The standard library has no way to switch that off
(SSL_MODE_AUTO_RETRY). So a thread looks at how long a call has taken, and pulls the socket from under one
that takes too long: its descriptor becomes a socket whose other side is closed, and OpenSSL finds the end.
Merely to shut the socket down would leave what the kernel has received, some seconds' worth of key updates.

Too long is processor time, not the clock's, where the system tells them apart: on a machine where others have
the processors a call stands still for as long as they like, and whoever is at its other end has done nothing.

The thread lives while there are streams; a call costs two assignments.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock, Thread, get_ident

from peer.limits import TLS_CALL_LOOKS, TLS_CALL_S


class CallWatch:
    """Watches the calls of one event loop, of which there is one at a time at most."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._streams = 0
        self._thread: Thread | None = None
        self._clock = _processor_clock()
        self._calls = 0
        self._calling: socket.socket | None = None
        self._cut: socket.socket | None = None
        self._seen = self._looks = 0
        self._worked = 0.0

    def opened(self) -> None:
        """There is one more socket. Called by the thread that is going to call OpenSSL."""
        with self._lock:
            self._streams += 1
            if self._thread is None:
                self._clock = _processor_clock()
                self._thread = Thread(target=self._watch, name="calls of OpenSSL", daemon=True)
                self._thread.start()

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
        # In this order: where the count is still the same, the socket is that of the same call.
        sock, calls, now = self._calling, self._calls, self._clock()
        if sock is None or calls != self._seen:
            self._seen, self._looks, self._worked = calls, 0, now
            return
        self._looks += 1
        if self._looks >= TLS_CALL_LOOKS and now - self._worked >= TLS_CALL_S / 2:
            with suppress(OSError):  # no descriptor left: at the next look
                self._cut_off(sock)

    def _cut_off(self, sock: socket.socket) -> None:
        dead, other = socket.socketpair()
        other.close()
        with dead:
            self._cut = sock
            os.dup2(dead.fileno(), sock.fileno(), inheritable=False)


def _processor_clock() -> Callable[[], float]:
    """Seconds that this thread has had of a processor; of the clock where nobody tells (macOS)."""
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    return time.monotonic if clock_of is None else partial(time.clock_gettime, clock_of(get_ident()))
