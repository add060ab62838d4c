"""The workloads: what is asked of each server, how often, and what of it goes into a row.  PURE."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ONE_BY_ONE: Final = "sequential"
"""The server that can hold one client only: nobody else can be connected and served meanwhile."""

SMALL_BYTES: Final = 1024

SPARE_DESCRIPTORS: Final = 64
"""Beside its clients' sockets a process has a listener, pipes, an epoll, the interpreter's own."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the workloads are. Everything is bounded, in count and in time (limit_s each).

    crowd: numbers of clients; crowd_requests: of all of them together. idle, busy: connections that wait and
    clients that work. silent_s: whoever waits so long while nobody is answered waits for ever. heavy_s: about
    how long the heavy request takes on this machine.
    """

    crowd: tuple[int, ...] = (1, 10, 100, 1000)
    crowd_requests: int = 8000
    intermittent: int = 200
    think_s: float = 0.05
    intermittent_limit_s: float = 2.0
    large: int = 4
    large_bytes: int = 128 << 20
    idle: int = 1000
    busy: int = 50
    busy_requests: int = 80
    silent_s: float = 2.0
    heavy_s: float = 0.6
    hits: int = 50
    limit_s: float = 30.0


FULL: Final = Scale()
QUICK: Final = Scale(
    crowd=(1, 30, 300),
    crowd_requests=2400,
    intermittent=60,
    think_s=0.02,
    intermittent_limit_s=0.6,
    large_bytes=64 << 20,
    silent_s=1.5,
    heavy_s=0.3,
    hits=25,
    limit_s=30.0,
)


@dataclass(frozen=True, slots=True)
class Run:
    """One job against one server. `job` goes to `jobs`; `clients` is how many are connected at once at
    most."""

    workload: str
    server: str
    clients: int
    job: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"{self.workload} ({self.clients})" if self.workload == "crowd" else self.workload

    @property
    def descriptors(self) -> int:
        """What the server needs at most, and the load as well."""
        return self.clients + SPARE_DESCRIPTORS


TITLES: Final = {
    "crowd": "many clients at once, small requests",
    "intermittent": "many clients that think between small requests",
    "large": "few clients, large continuous transfers",
    "idle": "many idle connections beside a few busy clients",
    "silent": "one client that connects and says nothing",
    "crash": "one client whose handler kills its process",
    "exception": "one client whose handler raises",
    "heavy C": "one heavy request, computed in C",
    "heavy Python": "one heavy request, computed in Python",
    "hits": "all count hits in one shared counter",
}


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast this machine works off the heavy requests: units a second."""

    sums_per_s: float
    counts_per_s: float


def files(run: Run, scale: Scale) -> dict[str, int]:
    """What the server must hold for this run: names and sizes."""
    names = {"small": SMALL_BYTES, "medium": 1 << 20}
    return names | {"large": scale.large_bytes} if run.workload == "large" else names


def runs(scale: Scale, speed: Speed, servers: tuple[str, ...], workloads: tuple[str, ...]) -> Iterator[Run]:
    """Every run of one repetition, workload by workload: a slow spell of the machine meets all six."""
    for workload in workloads:
        for clients, job in _jobs(workload, scale, speed):
            for server in servers:
                own = job
                if server == ONE_BY_ONE and "bystanders" in job:
                    own = job | {"bystanders": 0}
                yield Run(workload, server, clients, own)


def _jobs(workload: str, scale: Scale, speed: Speed) -> list[tuple[int, dict[str, Any]]]:
    """(clients connected at once, job) of a workload."""
    base: dict[str, Any] = {"request": "GET small", "limit_s": scale.limit_s}
    if workload == "crowd":
        return [
            (n, base | {"job": "crowd", "clients": n, "requests": max(1, scale.crowd_requests // n)})
            for n in scale.crowd
        ]
    plans: dict[str, Callable[[Scale, Speed], tuple[int, dict[str, Any]]]] = {
        "intermittent": _intermittent,
        "large": _large,
        "idle": _idle,
        "silent": _silent,
        "crash": lambda scale, _: _crash("CRASH"),
        "exception": lambda scale, _: _crash("FAIL"),
        "heavy C": lambda scale, speed: _heavy("SUM medium", speed.sums_per_s * scale.heavy_s),
        "heavy Python": lambda scale, speed: _heavy("COUNT", speed.counts_per_s * scale.heavy_s),
        "hits": lambda scale, _: (8, {"job": "hits", "requests": scale.hits, "request": "HIT small"}),
    }
    clients, job = plans[workload](scale, speed)
    return [(clients, base | {"clients": clients} | job)]


def _intermittent(scale: Scale, _: Speed) -> tuple[int, dict[str, Any]]:
    limit_s = scale.intermittent_limit_s
    return scale.intermittent, {"job": "crowd", "requests": 5, "think_s": scale.think_s, "limit_s": limit_s}


def _large(scale: Scale, _: Speed) -> tuple[int, dict[str, Any]]:
    return scale.large, {"job": "crowd", "requests": 3, "request": "GET large"}


def _idle(scale: Scale, _: Speed) -> tuple[int, dict[str, Any]]:
    job = {"job": "idle", "clients": scale.busy, "requests": scale.busy_requests, "idle": scale.idle}
    return scale.idle + scale.busy, job


def _silent(scale: Scale, _: Speed) -> tuple[int, dict[str, Any]]:
    return 11, {"job": "silent", "clients": 10, "requests": 5, "stuck_s": scale.silent_s}


def _crash(poison: str) -> tuple[int, dict[str, Any]]:
    return 6, {"job": "crash", "clients": 5, "bystanders": 5, "poison": poison}


def _heavy(verb: str, units: float) -> tuple[int, dict[str, Any]]:
    poison = f"{verb} {max(1, round(units))}"
    return 11, {"job": "heavy", "clients": 10, "think_s": 0.01, "after_s": 0.1, "poison": poison}


def row(
    run: Run,
    repetition: int,
    facts: Mapping[str, Any],
    usage: Mapping[str, float] | None,
    footprints: list[tuple[int | None, int, int]],
) -> dict[str, Any]:
    """The row of results.json for one run.

    usage: CPU seconds and context switches of the server, None where it died. footprints: (memory in bytes,
    processes, threads) at each pause of the job.
    """
    found: dict[str, Any] = {
        "workload": run.workload,
        "server": run.server,
        "clients": run.clients,
        "repetition": repetition,
        "survived": usage is not None,
        **facts,
    }
    if usage and facts.get("answered"):
        total = facts["answered"] + facts.get("idle_connected", 0) + facts.get("alone_answered", 0)
        found["cpu_s"] = usage["cpu_s"]
        found["cpu_us_per_request"] = usage["cpu_s"] / total * 1e6
        found["switches_per_request"] = usage["switches"] / total
    if facts.get("received_bytes") and facts.get("seconds"):
        found["megabytes_per_s"] = facts["received_bytes"] / facts["seconds"] / 1e6
    if len(footprints) == 2:
        (before, _, _), (after, processes, threads) = footprints
        connected = facts.get("idle_connected", 0)
        found["processes"], found["threads"] = processes, threads
        if before is not None and after is not None and connected > 1:
            found["memory_kib_per_connection"] = max(0.0, (after - before) / connected / 1024)
        if facts.get("per_second") and facts.get("alone_per_second"):
            found["slowdown_by_idle"] = facts["alone_per_second"] / facts["per_second"]
    return found
