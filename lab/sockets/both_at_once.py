"""Station 8: who is client, who is server? A peer is both, in the same second."""

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from lab.sockets.actor import PATIENCE_S, Actor
from lab.sockets.kernel import address
from lab.sockets.tour import Log, Station, Step

PIECES: Final = tuple(f"piece {number} of the file".encode() for number in range(4))
WHOLE: Final = hashlib.sha256(b"".join(PIECES)).hexdigest()


class TinyPeer:
    """Forty lines of peer: serves the pieces it has in one thread, fetches the others in another."""

    def __init__(self, listener: socket.socket, has: set[int], other: tuple[str, int]) -> None:
        self.listener = listener
        self.other = other
        self.pieces = {number: PIECES[number] for number in has}
        self.diary: list[tuple[float, str, str]] = []

    def serve(self) -> None:
        """As a server: wait to be asked."""
        conn, peer = self.listener.accept()
        self.note("server", f"accept(): {address(peer)} dials me at {address(conn.getsockname())}")
        with conn, conn.makefile("rb") as requests:
            for line in requests:
                number = int(line)
                conn.sendall(self.pieces[number] + b"\n")
                self.note("server", f"sends piece {number}")

    def fetch(self) -> None:
        """As a client: dial and ask."""
        with socket.create_connection(self.other, 5) as conn, conn.makefile("rb") as answers:
            self.note("client", f"connect(): from {address(conn.getsockname())} I dial {address(self.other)}")
            for number in range(len(PIECES)):
                if number not in self.pieces:
                    conn.sendall(f"{number}\n".encode())
                    self.pieces[number] = answers.readline().removesuffix(b"\n")
                    self.note("client", f"receives piece {number}")

    def note(self, role: str, what: str) -> None:
        self.diary.append((time.monotonic(), role, what))

    def life(self) -> Iterator[tuple[str, str]]:
        yield "listen", f"process {os.getpid()} waits at {address(self.listener.getsockname())}"
        server = threading.Thread(target=self.serve, daemon=True)
        server.start()
        self.fetch()
        server.join(PATIENCE_S)
        digest = hashlib.sha256(b"".join(self.pieces[number] for number in sorted(self.pieces))).hexdigest()
        yield "serve and fetch", json.dumps({"diary": self.diary, "digest": digest})


def run(log: Log) -> str:
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        ann = TinyPeer(a, {0, 1}, b.getsockname())
        bob = TinyPeer(b, {2, 3}, a.getsockname())
        with Actor(log, "ann", ann.life) as first, Actor(log, "bob", bob.life) as second:
            first.do()
            second.do()
            first.go()
            second.go()
            stories = {"ann": json.loads(first.heard()), "bob": json.loads(second.heard())}
    # The diaries stand in the log as what they tell, not as the lines that carried them.
    log.steps = [step for step in log.steps if step.call == "listen"]
    for name, story in stories.items():
        for at, role, what in story["diary"]:
            log.steps.append(Step(at - log.began, name, f"as {role}", what))
    log.steps.sort(key=lambda step: step.at_s)
    for name, story in stories.items():
        log.fact(f"{name} has the whole file", story["digest"] == WHOLE)
    events = [(at, role) for at, role, _ in stories["ann"]["diary"]]
    span = max(at for at, _ in events) - min(at for at, _ in events)
    log.fact("ann was client and server within, ms", round(span * 1000, 2))
    log.fact("ann's roles", ", ".join(sorted({role for _, role in events})))
    return (
        "In each conversation one side dialled (the client) and one side waited (the server): client and"
        f" server are roles in a conversation, not programs. Ann played both within {span * 1000:.1f} ms,"
        " and so did Bob: that is a peer, and what every `peer` of this project does."
    )


STATION = Station(
    8,
    "Both at once",
    "In a file-sharing session, who is the client and who the server?",
    run,
)
