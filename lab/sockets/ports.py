"""Station 7: why a server has a well-known port and a client need not."""

import os
import socket
from contextlib import suppress
from typing import Final

from lab.sockets.kernel import address, setting
from lab.sockets.tour import Log, Station, said

TRACKER_PORT: Final = 7700
PEER_PORT: Final = 7701
PRIVILEGED_PORT: Final = 1007
"""Below 1024 and assigned to nobody."""


def run(log: Log) -> str:
    for service in ("ssh", "domain", "http", "https"):
        with suppress(OSError):
            log.step(
                "everybody", f"getservbyname({service!r})", f"port {socket.getservbyname(service, 'tcp')}"
            )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = listener.getsockname()
        with socket.create_connection(where, 5) as client, listener.accept()[0]:
            log.step(
                "client", "connect(), without bind()", f"the kernel gave it {address(client.getsockname())}"
            )
            log.fact("client's port, chosen by the kernel", client.getsockname()[1])
        taken = not log.attempt("server", f"a second server on port {where[1]}", lambda: _serve(where[1]))
        log.fact("a port belongs to one", taken)
    _privileged(log)
    for name, port in (("tracker", TRACKER_PORT), ("peer", PEER_PORT)):
        log.step("client", f"is a {name} on port {port}?", _knock(port))
    try:
        with (
            socket.create_server(("127.0.0.1", PEER_PORT)) as listener,
            socket.create_connection(("127.0.0.1", PEER_PORT), 5),
            listener.accept()[0] as conn,
        ):
            saw = f"found by its number alone, by a client from {address(conn.getpeername())}"
            log.step("server", f"listen on {PEER_PORT}", saw)
    except OSError as error:
        log.remark(f"port {PEER_PORT} is somebody's already ({said(error)}): a peer of yours may be running")
    log.fact("tracker's port", TRACKER_PORT)
    log.fact("peer's port", PEER_PORT)
    return (
        "A client must know the server's port before a word is spoken, so it is agreed beforehand (22,"
        f" 80, 443; ours {TRACKER_PORT} and {PEER_PORT}). The server learns the client's from the"
        " connection itself, so any free one will do."
    )


def _privileged(log: Log) -> None:
    """Ports below 1024 are the system's: may we have one?"""
    lowest = setting("net/ipv4/ip_unprivileged_port_start")
    if lowest:
        log.fact("lowest port for everybody", int(lowest))
    allowed = log.attempt("server", f"bind(port {PRIVILEGED_PORT})", lambda: _serve(PRIVILEGED_PORT))
    if not allowed:
        log.remark(f"port {PRIVILEGED_PORT} is not for this user: servers below 1024 need a privilege")
    elif os.geteuid() == 0:
        log.remark("root may have any port; an ordinary user would be told EACCES below 1024")
    log.fact("may have a privileged port", allowed)


def _serve(port: int) -> None:
    socket.create_server(("127.0.0.1", port)).close()


def _knock(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError as error:
        return f"{said(error)}: none is running here"
    return "somebody answers"


STATION = Station(
    7,
    "Well-known ports",
    "The server's port has to be known in advance. Why not the client's?",
    run,
)
