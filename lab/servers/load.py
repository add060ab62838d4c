"""The load: many clients in one process of their own, so that the server's figures are the server's.

The same engine for every server: one loop over all clients, each of which asks, waits for the whole answer,
thinks, and asks again (a closed loop). It is cheap on purpose; it must not be what is measured.
"""

import heapq
import math
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Final

RECEIVE_BYTES: Final = 1 << 20

PART_S: Final = 10.0
"""For the server to end a conversation that its client has ended."""


@dataclass(slots=True)
class Client:
    """One client's plan and how far it is.

    requests: how many in all, None: until the time is over. think_s: mean pause between two. reconnect: a new
    connection for each. keep_open: stay connected when done.
    """

    request: bytes
    requests: int | None = 1
    think_s: float = 0.0
    start_after_s: float = 0.0
    reconnect: bool = False
    keep_open: bool = False
    conn: socket.socket | None = None
    asked_at: float = 0.0
    head: bytearray = field(default_factory=bytearray)
    missing: int = -1  # bytes of the answer still to come; -1: its first line is not whole yet
    answered: int = 0
    failed: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)  # asked at, answered at
    received: int = 0
    writing: bool = False
    in_flight: bool = False  # asked and not answered, also when the run ends so

    @property
    def done(self) -> bool:
        return self.requests is not None and self.answered + self.failed >= self.requests


class Engine:
    """Runs clients against one address."""

    def __init__(self, address: tuple[str, int], seed: int) -> None:
        self.address = address
        self.rng = Random(seed)
        self.selector = DefaultSelector()
        self.scratch = bytearray(RECEIVE_BYTES)
        self.agenda: list[tuple[float, int, Client]] = []
        self.order = 0
        self.answered_at = 0.0

    def run(self, clients: Sequence[Client], limit_s: float, stuck_s: float = math.inf) -> float:
        """Run until all are done, the limit is reached, or nobody was answered for `stuck_s`; the seconds
        that it took.

        A client without a number of requests ends with the others.
        """
        started = self.answered_at = time.perf_counter()
        end = started + limit_s
        for client in clients:
            self._later(client, started + client.start_after_s)
        counted = [client for client in clients if client.requests is not None]
        while not counted or not all(client.done for client in counted):
            now = time.perf_counter()
            if now >= end:
                break
            self._start_due(now)
            stuck = self.answered_at + stuck_s
            until = min(self.agenda[0][0] if self.agenda else end, stuck, end)
            ready = self.selector.select(max(0.0, until - time.perf_counter()))
            if not ready and now >= stuck:  # what came while this process had to wait counts
                break
            for key, _ in ready:
                self._ready(key.data)
        seconds = time.perf_counter() - started
        self.agenda.clear()
        for client in clients:
            if client.conn and not client.keep_open:
                self._close(client)
        return seconds

    def part(self, clients: Sequence[Client]) -> None:
        """End conversations that were kept open, and hear from the server that it has ended them too."""
        for client in clients:
            if (conn := client.conn) is not None:
                self.selector.unregister(conn)
                client.conn = None
                with conn, suppress(OSError):
                    conn.settimeout(PART_S)
                    conn.shutdown(socket.SHUT_WR)
                    while conn.recv_into(self.scratch):
                        pass

    def _later(self, client: Client, due: float) -> None:
        self.order += 1
        heapq.heappush(self.agenda, (due, self.order, client))

    def _start_due(self, now: float) -> None:
        while self.agenda and self.agenda[0][0] <= now:
            self._ask(heapq.heappop(self.agenda)[2])

    def _ask(self, client: Client) -> None:
        client.asked_at = time.perf_counter()
        client.in_flight = True
        if client.conn is None:
            client.conn = socket.socket()
            client.conn.setblocking(False)
            with suppress(BlockingIOError):
                client.conn.connect(self.address)
            client.writing = True
            self.selector.register(client.conn, EVENT_WRITE, client)
        else:
            self._send(client)

    def _send(self, client: Client) -> None:
        assert client.conn is not None
        client.missing = -1
        client.head.clear()
        try:
            client.conn.send(client.request)
        except OSError:
            self._fail(client)

    def _ready(self, client: Client) -> None:
        conn = client.conn
        if conn is None:
            return
        if client.writing:
            client.writing = False
            self.selector.modify(conn, EVENT_READ, client)
            self._send(client)
            return
        try:
            count = conn.recv_into(self.scratch)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._fail(client)
            return
        client.received += count
        if client.missing >= 0:
            client.missing -= count
        else:
            client.head += memoryview(self.scratch)[:count]
            client.missing = _missing_after(client.head)
        if client.missing == 0:
            self._answered(client)

    def _answered(self, client: Client) -> None:
        now = self.answered_at = time.perf_counter()
        client.spans.append((client.asked_at, now))
        client.answered += 1
        client.in_flight = False
        self._next(client, now)

    def _fail(self, client: Client) -> None:
        client.failed += 1
        client.in_flight = False
        self._close(client)
        if client.requests is not None:  # an endless client that is refused would spin
            self._next(client, time.perf_counter())

    def _next(self, client: Client, now: float) -> None:
        if client.done:
            if not client.keep_open:
                self._close(client)
            return
        if client.reconnect:
            self._close(client)
        pause = self.rng.uniform(0.5, 1.5) * client.think_s
        if pause:
            self._later(client, now + pause)
        else:
            self._ask(client)

    def _close(self, client: Client) -> None:
        if client.conn is not None:
            self.selector.unregister(client.conn)
            client.conn.close()
            client.conn = None


def _missing_after(head: bytearray) -> int:
    """Bytes of the answer still to come after what `head` holds; -1 where its first line is not whole."""
    end = head.find(b"\n") + 1
    if not end:
        return -1
    words = head[:end].split()
    length = int(words[1]) if words[0] == b"OK" else 0
    return max(0, length - (len(head) - end))
