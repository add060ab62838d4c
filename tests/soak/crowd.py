"""A crowd of hostile connections: silent, garbage, half a handshake, in turn. A process of its own.

usage: python -m tests.soak.crowd HOST PORT COUNT

Holds up to `HELD_MAX` at once, the oldest goes for a new one; ends when so many were made.
"""

import random
import selectors
import socket
import ssl
import sys
from collections import deque
from contextlib import suppress

HELD_MAX = 2000
WAITING_MAX = 200
"""Connections that the other side's queue has not taken yet."""


def client_hello() -> bytes:
    """The first flight of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["manyhands/1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def crowd(host: str, port: int, count: int) -> int:
    """Make so many connections; return how many were taken by the other side."""
    rng = random.Random(1)
    hello = client_hello()
    behaviours = (b"", rng.randbytes(300), b"\0\0\0\1\xc1", hello, hello[: len(hello) // 2])
    selector = selectors.DefaultSelector()
    held: deque[socket.socket] = deque()
    made = taken = waiting = 0
    while taken < count:
        while made < count and waiting < WAITING_MAX:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((host, port))
            selector.register(connection, selectors.EVENT_WRITE)
            made, waiting = made + 1, waiting + 1
        ready = selector.select(10)
        if not ready:
            break  # nobody takes them any more
        for key, _ in ready:
            connection = key.fileobj  # type: ignore[assignment]
            selector.unregister(connection)
            waiting -= 1
            taken += 1
            with suppress(OSError):
                connection.send(behaviours[taken % len(behaviours)])
            held.append(connection)
            if len(held) > HELD_MAX:
                held.popleft().close()
    for connection in held:
        connection.close()
    return taken


if __name__ == "__main__":
    print(crowd(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
