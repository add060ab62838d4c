"""Station 3: the listening socket is not the connected one."""

import socket
import time
from typing import Final

from lab.sockets.kernel import address, connections, states
from lab.sockets.tour import Log, Station

GONE_S: Final = 10.0
"""A machine that is busy with other connections may take a moment for the last packet of ours."""


def run(log: Log) -> str:
    listener = socket.socket()  # without SO_REUSEADDR, so that the rule shows
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    where = listener.getsockname()
    port = where[1]
    log.step(
        "server", "socket, bind, listen", f"descriptor {listener.fileno()} on {address(where)}", states(port)
    )
    first = socket.create_connection(where, 5)
    conn, _ = listener.accept()
    saw = f"a second descriptor, {conn.fileno()}, on the same {address(conn.getsockname())}"
    log.step("server", "accept()", saw, states(port))
    log.fact("listening descriptor", listener.fileno())
    log.fact("connected descriptor", conn.fileno())
    log.fact("both on port", port)
    log.attempt("server", "recv(listening socket)", lambda: listener.recv(1))
    first.sendall(b"hello")
    log.step("server", "recv(connected socket)", f"{conn.recv(100)!r}")
    second = socket.create_connection(where, 5)
    other, _ = listener.accept()
    saw = f"descriptor {other.fileno()}: listening goes on beside the first conversation"
    log.step("server", "accept()", saw, states(port))
    listener.close()
    log.step("server", "close(listening socket)", "the two conversations live on", states(port))
    conn.sendall(b"still here")
    log.step("client", "recv()", f"{first.recv(100)!r}")
    refused = not log.attempt(
        "client", "a third client: connect()", lambda: socket.create_connection(where, 2).close()
    )
    log.fact("third client refused", refused)
    taken = not log.attempt("server", f"a new server: bind(port {port})", lambda: _bind(port))
    log.fact("port taken while connections live", taken)
    for sock in (first, second):  # the clients say goodbye first: TIME_WAIT is theirs
        sock.close()
    for sock in (conn, other):
        sock.recv(1)
        sock.close()
    log.step("both", "close() everything", "all four ends closed, clients first", states(port))
    _wait_until_gone(port)
    free = log.attempt("server", f"a new server: bind(port {port})", lambda: _bind(port))
    log.fact("port free afterwards", free)
    return (
        "accept makes a new socket for each client; the listening one only listens. Closing it ends no"
        " conversation, and the port stays taken until the last of them is closed as well. (Servers that"
        " restart set SO_REUSEADDR, so that connections still in TIME_WAIT do not keep them from their"
        " port.)"
    )


def _wait_until_gone(port: int) -> None:
    """Until the kernel has heard the last goodbye of the server's ends, as far as it lets us see them."""
    until = time.monotonic() + GONE_S
    while any(end.local_port == port for end in connections(port)) and time.monotonic() < until:
        time.sleep(0.01)


def _bind(port: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


STATION = Station(
    3,
    "Two kinds of socket",
    "accept gives back a socket. Is it the one that was listening? And which of them holds the port?",
    run,
)
