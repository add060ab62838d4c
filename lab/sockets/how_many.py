"""Station 6: how many sockets can one server open, and what stops it?"""

import os
import resource
import socket
import time
from contextlib import ExitStack, suppress
from typing import Final

from lab.sockets.kernel import address, narrow_ports, setting, slab_bytes
from lab.sockets.tour import Log, Station, StationError, said

CONNECTIONS: Final = 4000
CONNECTIONS_QUICK: Final = 500
"""Bounded: both ends are ours, so each connection costs two descriptors and some kernel memory."""

SMALL_LIMIT: Final = 200
"""Descriptors beyond those in use, for running into the limit early."""

FEW_PORTS: Final = 20


def run(log: Log) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log.fact("descriptors allowed, soft", soft)
    log.fact("descriptors allowed, hard", hard)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        _four_names(log, listener)
        stopped = _out_of_descriptors(log, listener, soft, hard)
        opened = _many(log, listener, hard)
        ports = _out_of_ports(log, listener)
    limits = [f"descriptors (after {stopped} with the limit lowered)"]
    if ports:
        limits.append(f"the client's own ports (after {ports} of them)")
    return (
        f"One port served {opened:,} connections at once, for a connection is known by four things:"
        " source address, source port, destination address, destination port. What stops it is not the"
        f" server's port but {', '.join(limits)}, and in the end memory."
    )


def _four_names(log: Log, listener: socket.socket) -> None:
    """Three connections to one port, told apart by where they come from."""
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(listener.getsockname(), 5))
            stack.enter_context(listener.accept()[0])
            saw = f"{address(client.getsockname())} -> {address(client.getpeername())}"
            log.step("client", "connect()", saw)


def _open(listener: socket.socket, most: int) -> tuple[list[socket.socket], OSError | None]:
    """Both ends of up to `most` connections, and what stopped it earlier."""
    ends: list[socket.socket] = []
    try:
        for _ in range(most):
            ends.append(socket.create_connection(listener.getsockname(), 5))
            ends.append(listener.accept()[0])
    except OSError as error:
        return ends, error
    return ends, None


def _close(ends: list[socket.socket]) -> None:
    for end in ends:
        end.close()


def _out_of_descriptors(log: Log, listener: socket.socket, soft: int, hard: int) -> int:
    """Lower our own limit and run into it. How many connections it took."""
    limit = len(os.listdir("/dev/fd")) + SMALL_LIMIT
    if hard != resource.RLIM_INFINITY and limit > hard:
        limit = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        ends, error = _open(listener, SMALL_LIMIT)
        count = len(ends) // 2
        _close(ends)
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if error is None:
        raise StationError("opening more sockets than the limit allows did not fail")
    log.step("kernel", f"limit of {limit} descriptors", f"after {count} connections: {said(error)}")
    log.fact("stopped by", said(error).partition(":")[0])
    return count


def _many(log: Log, listener: socket.socket, hard: int) -> int:
    """As many as we dare, under the highest limit that we may have. How many were open at once."""
    wanted = CONNECTIONS_QUICK if log.quick else CONNECTIONS
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * wanted)), hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = slab_bytes()
    started = time.perf_counter()
    ends, error = _open(listener, wanted)
    seconds = time.perf_counter() - started
    after = slab_bytes()
    count = len(ends) // 2
    _close(ends)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if error:
        log.remark(f"stopped early: {said(error)}; this user may have {allowed} descriptors (ulimit -n)")
    saw = f"{count:,} connections open at once on port {listener.getsockname()[1]}, in {seconds:.2f} s"
    log.step("server", f"limit of {allowed:,} descriptors", saw)
    log.fact("connections at once", count)
    if before is not None and after is not None and after > before and count:
        each = (after - before) / count / 1024
        log.step("kernel", "memory", f"about {each:.1f} KiB for both ends of an idle connection")
        log.fact("kernel memory of a connection, KiB, about", round(each, 1))
    return count


def _out_of_ports(log: Log, listener: socket.socket) -> int:
    """Leave the client few ports to come from, and use them up; then come from another address."""
    text = setting("net/ipv4/ip_local_port_range")
    if not text:
        log.remark("the ports that a client may come from cannot be limited here (needs Linux 6.3)")
        return 0
    first, last = map(int, text.split())
    log.fact("ephemeral ports", last - first + 1)
    used = 0
    with ExitStack() as stack:
        while True:
            client = stack.enter_context(socket.socket())
            if not narrow_ports(client, last - FEW_PORTS + 1, last):
                log.remark("the ports that a client may come from cannot be limited here (needs Linux 6.3)")
                return 0
            try:
                client.connect(listener.getsockname())
            except OSError as error:
                saw = f"after {used} connections: {said(error)}"
                log.step("kernel", f"{FEW_PORTS} ports to come from instead of {last - first + 1:,}", saw)
                log.fact("out of ports", said(error).partition(":")[0])
                break
            stack.enter_context(listener.accept()[0])
            used += 1
        elsewhere = stack.enter_context(socket.socket())
        narrow_ports(elsewhere, last - FEW_PORTS + 1, last)

        def come_from_elsewhere() -> None:
            elsewhere.bind(("127.0.0.2", 0))
            elsewhere.connect(listener.getsockname())

        worked = log.attempt("client", "connect() from 127.0.0.2", come_from_elsewhere)
        log.fact("another source address helps", worked)
    return used


STATION = Station(
    6,
    "How many?",
    "A server has one port. How many clients can it serve at once, and what stops it?",
    run,
)
