"""What textbooks claim about the six, each held against one figure.  PURE.

A claim names the one number that decides it, higher meaning truer, and two thresholds: from `confirmed_from`
on it is confirmed, up to `refuted_to` it is refuted, between them nothing can be said. The thresholds are
ratios and shares with a wide gap, so that a busy machine blurs a verdict rather than turning it. A verdict
that is not the same in three repetitions out of three is reported as *not visible here*.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any, Final

REPETITIONS: Final = 3
"""How often a verdict must come out the same."""

OTHERS: Final = ("process", "thread", "select", "select+pool", "trio")
SHARED: Final = ("thread", "select", "select+pool", "trio")
"""Those whose clients all live in one process."""


class Verdict(StrEnum):
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_VISIBLE = "not visible here"


class NotMeasuredError(Exception):
    """The figure needs a run that was not made, or that failed."""


class Rows:
    """The rows of one repetition, and the servers' sizes in statements."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], statements: Mapping[str, int]) -> None:
        self._rows = rows
        self._statements = statements

    def value(self, server: str, workload: str, key: str) -> float:
        """One number; of the crowds, the largest one's. Raises NotMeasuredError."""
        matching = [r for r in self._rows if r["server"] == server and r["workload"] == workload]
        largest = max(matching, key=lambda r: int(r["clients"]), default=None)
        if largest is None or largest.get(key) is None:
            raise NotMeasuredError(f"{workload} with {server}")
        return float(largest[key])

    def ratio(self, above: str, below: str, workload: str, key: str) -> float:
        over, under = self.value(above, workload, key), self.value(below, workload, key)
        if not over and not under:
            raise NotMeasuredError(f"{workload} with {above} and {below}: both too small")
        return over / under if under else float("inf")

    def share(self, server: str, workload: str, part: str, whole: str) -> float:
        """Of one run. Raises NotMeasuredError where there was nothing to have a share of."""
        of = self.value(server, workload, whole)
        if not of:
            raise NotMeasuredError(f"{workload} with {server}: {whole.replace('_', ' ')} 0")
        return self.value(server, workload, part) / of

    def servers(self, workload: str) -> list[str]:
        return sorted({r["server"] for r in self._rows if r["workload"] == workload})

    def statements(self, server: str) -> int:
        if server not in self._statements:
            raise NotMeasuredError(server)
        return self._statements[server]


@dataclass(frozen=True, slots=True)
class Claim:
    """`about` whom; `text` of the claim; `figure` in words; the number and its two thresholds."""

    key: str
    about: str
    text: str
    figure: str
    measure: Callable[[Rows], float]
    confirmed_from: float
    refuted_to: float

    def verdict(self, value: float) -> Verdict:
        if value >= self.confirmed_from:
            return Verdict.CONFIRMED
        return Verdict.REFUTED if value <= self.refuted_to else Verdict.NOT_VISIBLE


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, its verdict, the figure of each repetition, and why nothing can be said where that is so."""

    claim: Claim
    verdict: Verdict
    values: tuple[float, ...]
    reason: str


def judge(claim: Claim, repetitions: Sequence[Rows]) -> Judgement:
    """The verdict over all repetitions: the same in each of at least REPETITIONS, or not visible."""
    try:
        values = tuple(claim.measure(rows) for rows in repetitions)
    except NotMeasuredError as missing:
        return Judgement(claim, Verdict.NOT_VISIBLE, (), f"not measured: {missing}")
    verdicts = {claim.verdict(value) for value in values}
    if len(values) < REPETITIONS:
        reason = f"{len(values)} of {REPETITIONS} repetitions"
    elif len(verdicts) > 1:
        reason = "the repetitions disagree"
    else:
        verdict = verdicts.pop()
        return Judgement(
            claim, verdict, values, "too close to call" if verdict is Verdict.NOT_VISIBLE else ""
        )
    return Judgement(claim, Verdict.NOT_VISIBLE, values, reason)


def _silent(rows: Rows) -> float:
    return 1 - rows.value("sequential", "silent", "answered_share")


def _deadlock(rows: Rows) -> float:
    servers = rows.servers("silent")
    if not servers:
        raise NotMeasuredError("silent")
    stuck = [
        rows.value(server, "silent", "silent_heard_bytes") == 0
        and rows.value(server, "silent", "silent_answered_after_speaking") == 1
        for server in servers
    ]
    return sum(stuck) / len(stuck)


def _survivors(rows: Rows) -> float:
    kept = [
        rows.share("process", "crash", "answered", "asked"),
        rows.share("process", "crash", "bystanders_after", "bystanders_before"),
    ]
    return min(kept)


def _all_lost(rows: Rows) -> float:
    return 1 - max(
        rows.value(server, "crash", "answered") / rows.value(server, "crash", "asked") for server in SHARED
    )


def _large(rows: Rows) -> float:
    """Against the middle one of the others: the best of five would be the luckiest."""
    others = [rows.value(server, "large", "megabytes_per_s") for server in SHARED]
    return rows.value("process", "large", "megabytes_per_s") / median(others)


def _lost_hits(rows: Rows, server: str) -> float:
    return 1 - rows.share(server, "hits", "hits_counted", "hits_sent")


def _one_thread(rows: Rows) -> float:
    """Share of all connections that one single thread served: 0 where it was not one."""
    if rows.value("select", "idle", "threads") != 1:
        return 0.0
    idle = rows.value("select", "idle", "idle_connected") / rows.value("select", "idle", "idle_asked")
    return min(idle, rows.value("select", "idle", "answered_share"))


def _intermittent(rows: Rows) -> float:
    own = rows.value("select", "intermittent", "cpu_us_per_request")
    others = (rows.value(server, "intermittent", "cpu_us_per_request") for server in ("process", "thread"))
    return min(others) / own


def _memory(above: str, below: str) -> Callable[[Rows], float]:
    return lambda rows: rows.ratio(above, below, "idle", "memory_kib_per_connection")


def _cpu(above: str, below: str, workload: str = "crowd") -> Callable[[Rows], float]:
    return lambda rows: rows.ratio(above, below, workload, "cpu_us_per_request")


CLAIMS: Final = (
    Claim(
        "silent",
        "sequential",
        "makes everyone wait behind one silent client",
        "share of the other clients' requests left unanswered",
        _silent,
        0.99,
        0.5,
    ),
    Claim(
        "not-silent",
        "all others",
        "serve everyone beside a silent client",
        "smallest share of the other clients' requests answered",
        lambda rows: min(rows.value(server, "silent", "answered_share") for server in OTHERS),
        0.99,
        0.5,
    ),
    Claim(
        "deadlock",
        "any",
        "two endpoints that both wait to read are a deadlock",
        "share of servers where nothing moved until one side spoke, and then at once",
        _deadlock,
        1.0,
        0.5,
    ),
    Claim(
        "isolated",
        "process",
        "a crash takes one client down, not the server",
        "share of bystanders and newcomers served after a crash",
        _survivors,
        0.99,
        0.5,
    ),
    Claim(
        "one-fate",
        "all in one process",
        "a crash takes everybody down",
        "share of newcomers not served after a crash",
        _all_lost,
        0.99,
        0.5,
    ),
    Claim(
        "large",
        "process",
        "good for large continuous transfers",
        "throughput, process : middle one of those with one process",
        _large,
        0.8,
        0.5,
    ),
    Claim(
        "memory",
        "process",
        "dear in memory",
        "memory of an idle connection, process : thread",
        _memory("process", "thread"),
        3.0,
        1.2,
    ),
    Claim(
        "scheduling",
        "process",
        "dear in scheduling",
        "CPU time of a request in the largest crowd, process : select",
        _cpu("process", "select"),
        2.0,
        1.2,
    ),
    Claim(
        "ipc",
        "process",
        "sharing data needs inter-process communication",
        "share of hits that the server never heard of",
        lambda rows: _lost_hits(rows, "process"),
        0.99,
        0.5,
    ),
    Claim(
        "cheaper",
        "thread",
        "cheaper than a process",
        "CPU time of a request in the largest crowd, process : thread",
        _cpu("process", "thread"),
        1.5,
        1.1,
    ),
    Claim(
        "shared",
        "thread",
        "threads share memory",
        "hits that another connection sees",
        lambda rows: rows.value("thread", "hits", "hits_counted"),
        1.0,
        0.0,
    ),
    Claim(
        "waste",
        "thread",
        "a thread that waits in read() wastes resources",
        "memory of an idle connection, thread : select",
        _memory("thread", "select"),
        3.0,
        1.5,
    ),
    Claim(
        "scale",
        "thread",
        "does not scale to many clients that wait",
        "throughput of the busy clients, alone : beside the idle ones",
        lambda rows: rows.value("thread", "idle", "slowdown_by_idle"),
        2.5,
        1.5,
    ),
    Claim(
        "races",
        "thread",
        "races are possible",
        "share of hits lost by two threads writing the same number",
        lambda rows: _lost_hits(rows, "thread"),
        0.005,
        -1.0,  # that none was seen proves nothing
    ),
    Claim(
        "no-races",
        "select, trio",
        "one thread has no races between two waits",
        "share of hits that were counted",
        lambda rows: 1 - max(_lost_hits(rows, server) for server in ("select", "trio")),
        1.0,
        0.99,
    ),
    Claim(
        "one-thread",
        "select",
        "one thread serves thousands of clients",
        "share of idle connections and busy requests served by one thread",
        _one_thread,
        0.99,
        0.5,
    ),
    Claim(
        "cheap",
        "select",
        "cheap",
        "CPU time of a request in the largest crowd, thread : select",
        _cpu("thread", "select"),
        1.25,
        0.9,
    ),
    Claim(
        "intermittent",
        "select",
        "best for small, intermittent traffic",
        "CPU time of a request, better of process and thread : select",
        _intermittent,
        1.25,
        0.9,
    ),
    Claim(
        "stall",
        "select",
        "one heavy request stalls everybody",
        "wait of the others as a share of the heavy request's time",
        lambda rows: rows.value("select", "heavy C", "stall_share"),
        0.6,
        0.25,
    ),
    Claim(
        "pool",
        "select+pool",
        "... unless a pool takes it",
        "share of the heavy request's time that the others did not wait",
        lambda rows: 1 - rows.value("select+pool", "heavy C", "stall_share"),
        0.75,
        0.5,
    ),
    Claim(
        "complex",
        "select",
        "the code is more complex",
        "statements, select : thread",
        lambda rows: rows.statements("select") / rows.statements("thread"),
        2.0,
        1.2,
    ),
    Claim(
        "straight",
        "trio",
        "gives it back as straight-line code",
        "statements, select : trio",
        lambda rows: rows.statements("select") / rows.statements("trio"),
        1.5,
        1.1,
    ),
)
