"""Let the kernel fill its packets while the parts of one frame are handed to it (`TCP_CORK`, tcp(7)).

OpenSSL makes a system call for each record of 16 KiB, and without a cork each goes through the network stack
by itself, its last packet half full. With it a frame of 1 MiB leaves in a sixth as many pieces: a tenth less
processor time on both sides of loopback (`benchmarks/transport.py`). Linux only; elsewhere nothing happens.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CORK = getattr(socket, "TCP_CORK", None)


@contextmanager
def corked(sock: socket.socket) -> Iterator[None]:
    """Until the end of this block only full packets leave; then the rest does, at once."""
    _set(sock, True)
    try:
        yield
    finally:
        _set(sock, False)


def _set(sock: socket.socket, on: bool) -> None:
    if CORK is not None:
        with suppress(OSError):  # closed, or not TCP
            sock.setsockopt(socket.IPPROTO_TCP, CORK, on)
