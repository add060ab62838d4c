"""Station 4: what happens to clients that arrive faster than they are accepted."""

import socket
import time
from contextlib import ExitStack
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Final

from lab.sockets.kernel import counter, setting
from lab.sockets.tour import Log, Station, said

BACKLOGS: Final = (1, 5, 128)
BURST: Final = 40
BURST_QUICK: Final = 20

UNATTENDED_S: Final = 0.3
"""The server is busy elsewhere for so long before it begins to accept."""

LIMIT_S: Final = 3.6
LIMIT_QUICK_S: Final = 1.8
"""A dropped knock is repeated after 1 s: even quick must see the first repetitions."""


def run(log: Log) -> str:
    burst = BURST_QUICK if log.quick else BURST
    limit_s = LIMIT_QUICK_S if log.quick else LIMIT_S
    limit = setting("net/core/somaxconn")
    if limit:
        log.fact("largest backlog that the kernel allows", int(limit))
    told = []
    for backlog in BACKLOGS:
        before = counter("ListenOverflows")
        entered, waits, refused = crowd(backlog, burst, limit_s)
        after = counter("ListenOverflows")
        late = sum(wait > UNATTENDED_S + 0.5 for wait in waits)
        slowest = max(waits, default=0.0)
        saw = f"{entered} let in at once, {burst - entered} knock on; {refused} refused"
        log.step("kernel", f"listen({backlog}), {burst} clients, nobody accepts", saw)
        saw = (
            f"{len(waits)} of {burst} served within {limit_s} s, {late} of them only after a repeated knock;"
            f" the slowest after {slowest:.2f} s"
        )
        drops = "" if before is None or after is None else f"{after - before} knocks dropped"
        log.step("server", f"accept() after {UNATTENDED_S} s", saw, drops)
        log.data.append(
            {
                "backlog": backlog,
                "clients": burst,
                "let_in": entered,
                "refused": refused,
                "served": len(waits),
                "repeated_knocks": late,
                "slowest_s": round(slowest, 3),
                "waits_s": ", ".join(f"{wait:.3f}" for wait in sorted(waits)),
            }
        )
        told.append(f"backlog {backlog}: {entered} of {burst} at once")
        log.fact(f"let in with backlog {backlog}", entered)
    log.fact("refused", sum(row["refused"] for row in log.data))
    refusal = _closed_port()
    log.step("client", "connect() where nobody listens", refusal)
    return (
        f"The kernel takes clients in before the program does ({'; '.join(told)}). Who finds the queue"
        " full is not told so: the knock is dropped, and the client's kernel repeats it after 1 s and"
        " then at growing intervals; each time only as many get in as the queue holds. A refusal"
        f" ({refusal.partition(':')[0]}) means something else: nobody listens there."
    )


def crowd(backlog: int, burst: int, limit_s: float) -> tuple[int, list[float], int]:
    """(clients let in before anybody accepts, seconds until each served one was answered, refused).

    A client speaks as soon as its kernel calls it connected. It must: when many knock at the same instant,
    some are told that they are in while the queue has no room for them, and only what they say reminds the
    server.
    """
    refused = 0
    with ExitStack() as stack, DefaultSelector() as selector:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        listener.setblocking(False)
        started = time.monotonic()
        clients: list[socket.socket] = []
        for _ in range(burst):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            refused += client.connect_ex(listener.getsockname()) not in IN_PROGRESS
            clients.append(client)
        time.sleep(UNATTENDED_S)
        entered = sum(map(_is_connected, clients))
        selector.register(listener, EVENT_READ)
        for client in clients:
            selector.register(client, EVENT_WRITE)
        waits: list[float] = []
        while len(waits) < burst:
            left = started + limit_s - time.monotonic()
            ready = selector.select(max(0.0, left))
            if left <= 0 and not ready:  # what has come by then counts, however late we look
                break
            for key, event in ready:
                if key.fileobj is listener:
                    conn = stack.enter_context(listener.accept()[0])
                    conn.sendall(b"!")
                elif isinstance(key.fileobj, socket.socket):
                    if event == EVENT_WRITE:
                        key.fileobj.sendall(b"?")
                        selector.modify(key.fileobj, EVENT_READ)
                    else:
                        waits.append(time.monotonic() - started)
                        selector.unregister(key.fileobj)
    return entered, waits, refused


IN_PROGRESS: Final = (0, 36, 115)
"""What connect_ex says of a connection under way: done, EINPROGRESS of macOS, of Linux."""


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def _closed_port() -> str:
    with socket.socket() as taken:  # bound and not listening: certainly nobody is there
        taken.bind(("127.0.0.1", 0))
        try:
            socket.create_connection(taken.getsockname(), 2).close()
        except OSError as error:
            return said(error)
    return "connected to itself"


STATION = Station(
    4,
    "The queue",
    "Clients arrive faster than the server accepts them. Who waits, who is refused, and for how long?",
    run,
)
