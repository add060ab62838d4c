"""What clients do to a server: one function a workload, run in a process of its own by `measure`.

``python -m lab.servers.jobs`` reads one job as a JSON line from stdin and answers with one JSON line. A job
may stop half-way to be measured (`pause`): it then writes ``{"paused": true}`` and waits for a line.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeAlias

from lab.parent import end_with_parent
from lab.servers.load import Client, Engine

Facts: TypeAlias = dict[str, Any]
Job: TypeAlias = dict[str, Any]
Address: TypeAlias = tuple[str, int]

STUCK_S: Final = 3.0
"""A client alone that is not answered for so long never will be, on a busy machine neither."""

CALLER_S: Final = 10.0
"""A caller that is not answered for so long gives up. Who never will be is told so sooner, by a closed
connection."""

SETTLE_S: Final = 0.05
"""Time for the server to take a connection in."""


def crowd(engine: Engine, job: Job) -> Facts:
    """`clients` at once, each asks `requests` times for `request`, thinking `think_s` between two."""
    clients = _clients(job, job["clients"], requests=job["requests"], think_s=job.get("think_s", 0.0))
    seconds = engine.run(clients, job["limit_s"])
    return summary(clients, seconds)


def idle(engine: Engine, job: Job) -> Facts:
    """`busy` clients alone; then `idle` others connect, ask once and stay silent; then the busy ones again.

    Pauses when the idle ones are connected.
    """
    busy = _clients(job, job["clients"], requests=job["requests"], keep_open=True)
    alone = summary(busy, engine.run(busy, job["limit_s"]))
    engine.part(busy)
    time.sleep(2 * SETTLE_S)
    pause()  # the state to compare with
    waiting = _clients(job, job["idle"], requests=1, keep_open=True)
    for client in waiting[:2]:  # where the second is not served beside the first, the others need not try
        engine.run([client], STUCK_S)
    served = waiting[1].answered > 0
    if served:
        engine.run(waiting[2:], job["limit_s"])
    connected = sum(client.answered for client in waiting)
    pause()
    busy = _clients(job, job["clients"], requests=job["requests"])
    beside = summary(busy, engine.run(busy, job["limit_s"] if served else STUCK_S))
    for client in waiting:
        if client.conn:
            client.conn.close()
    return beside | {
        "idle_asked": job["idle"],
        "idle_connected": connected,
        "alone_per_second": alone["per_second"],
        "alone_answered": alone["answered"],
    }


def silent(engine: Engine, job: Job) -> Facts:
    """One client connects, says nothing and waits to be spoken to; the others ask, until none was answered
    for `stuck_s`.

    Then it speaks after all: was the conversation only waiting for somebody to begin?
    """
    with socket.create_connection(engine.address) as mute:
        time.sleep(SETTLE_S)
        others = _clients(job, job["clients"], requests=job["requests"])
        started = time.perf_counter()
        seconds = engine.run(others, job["limit_s"], job["stuck_s"])
        time.sleep(max(0.0, job["stuck_s"] - seconds))
        heard = _pending(mute)
        waited = time.perf_counter() - started
        mute.settimeout(job["limit_s"] + 2)
        mute.sendall(job["request"].encode() + b"\n")
        answered = bool(mute.recv(65536))
    return summary(others, seconds) | {
        "silent_heard_bytes": heard,
        "silent_waited_s": waited,
        "silent_answered_after_speaking": answered,
    }


def crash(engine: Engine, job: Job) -> Facts:
    """Bystanders are connected and served; one client makes its handler fail; who is still served?"""
    bystanders = [Caller(engine.address) for _ in range(job["bystanders"])]
    before = sum(caller.ask(job["request"]) for caller in bystanders)
    with Caller(engine.address) as culprit:
        culprit.ask(job["poison"])
    time.sleep(SETTLE_S)
    after = sum(caller.ask(job["request"]) for caller in bystanders)
    for caller in bystanders:
        caller.close()
    newcomers = 0
    for _ in range(job["clients"]):
        with suppress(OSError), Caller(engine.address) as caller:
            newcomers += caller.ask(job["request"])
    return {
        "asked": job["clients"],
        "answered": newcomers,
        "bystanders_before": before,
        "bystanders_after": after,
    }


def heavy(engine: Engine, job: Job) -> Facts:
    """`clients` ask small things on fresh connections; after a while one asks for `poison`, a heavy thing.

    stall_share: how long the middle one of the small requests that met the heavy one waited, as a share of
    its time: near 1 where everybody had to wait for it, near 0 where nobody noticed.
    """
    light = _clients(job, job["clients"], requests=None, think_s=job["think_s"], reconnect=True)
    lazy = Client(_line(job["poison"]), requests=1, start_after_s=job["after_s"])
    seconds = engine.run([*light, lazy], job["limit_s"])
    now = time.perf_counter()
    facts = summary(light, seconds)
    if not lazy.spans:
        return facts | {"heavy_s": None, "stall_share": None}
    begin, end = lazy.spans[0]
    waits = [span for client in light for span in client.spans]
    waits += [(client.asked_at, now) for client in light if client.in_flight]
    met = sorted(b - a for a, b in waits if a < end and b > begin)
    quiet = sorted(b - a for a, b in waits if b <= begin)
    return facts | {
        "heavy_s": end - begin,
        "met": len(met),
        "stall_max_s": met[-1] if met else 0.0,
        "stall_share": percentile(met, 0.5) / (end - begin) if met else 0.0,
        "before_p50_ms": percentile(quiet, 0.5) * 1e3 if quiet else None,
    }


def hits(engine: Engine, job: Job) -> Facts:
    """`clients` count `requests` hits each, all at once; then one asks how many there were."""
    clients = _clients(job, job["clients"], requests=job["requests"])
    seconds = engine.run(clients, job["limit_s"])
    facts = summary(clients, seconds)
    with Caller(engine.address) as caller:
        counted = int(caller.body("HITS small") or -1)
    return facts | {"hits_sent": facts["answered"], "hits_counted": counted}


JOBS: Final[dict[str, Callable[[Engine, Job], Facts]]] = {
    job.__name__: job for job in (crowd, idle, silent, crash, heavy, hits)
}


def summary(clients: Sequence[Client], seconds: float) -> Facts:
    """Counts, rate and latencies of these clients together."""
    waits = sorted(end - start for client in clients for start, end in client.spans)
    answered = len(waits)
    asked = sum(client.requests or len(client.spans) for client in clients)
    facts: Facts = {
        "asked": asked,
        "answered": answered,
        "answered_share": answered / asked if asked else None,
        "failed": sum(client.failed for client in clients),
        "seconds": seconds,
        "per_second": answered / seconds,
        "received_bytes": sum(client.received for client in clients),
    }
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
        facts[name] = percentile(waits, share) * 1e3 if waits else None
    return facts


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of an ascending, non-empty sequence."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def pause() -> None:
    print(json.dumps({"paused": True}), flush=True)
    sys.stdin.readline()


def _clients(job: Job, count: int, **plan: Any) -> list[Client]:
    return [Client(_line(job["request"]), **plan) for _ in range(count)]


def _line(request: str) -> bytes:
    return request.encode() + b"\n"


class Caller:
    """One client in blocking calls, for the jobs that go step by step."""

    def __init__(self, address: Address, timeout_s: float = CALLER_S) -> None:
        self.conn = socket.create_connection(address, timeout_s)
        self.reader = self.conn.makefile("rb")

    def body(self, request: str) -> bytes | None:
        """The answer's body, None where there is no answer."""
        try:
            self.conn.sendall(_line(request))
            words = self.reader.readline(128).split()
            return self.reader.read(int(words[1])) if words and words[0] == b"OK" else None
        except OSError:
            return None

    def ask(self, request: str) -> bool:
        """Whether an answer came."""
        return self.body(request) is not None

    def close(self) -> None:
        self.reader.close()
        self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pending(conn: socket.socket) -> int:
    """Bytes that have arrived and not been read."""
    conn.setblocking(False)
    try:
        return len(conn.recv(65536, socket.MSG_PEEK))
    except BlockingIOError:
        return 0
    finally:
        conn.setblocking(True)


def main() -> None:
    end_with_parent(os.getppid())
    job = json.loads(sys.stdin.readline())
    engine = Engine((job["host"], job["port"]), job["seed"])
    print(json.dumps(JOBS[job["job"]](engine, job)), flush=True)


if __name__ == "__main__":
    main()
