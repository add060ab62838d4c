"""The tables of `lab servers`."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lab.report import Column, Table
from lab.servers.claims import Judgement
from lab.servers.workloads import TITLES


def medians(rows: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row for each workload, server and number of clients: the middle of its repetitions."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["server"], row["clients"]), []).append(row)
    for (workload, server, clients), members in groups.items():
        merged: dict[str, Any] = {"workload": workload, "server": server, "clients": clients}
        for key in members[0].keys() - {*merged, "repetition"}:
            known = [member[key] for member in members if member.get(key) is not None]
            if known and all(isinstance(value, bool) for value in known):
                merged[key] = all(known)
            elif known:
                merged[key] = median(known)
        yield merged


def values_of(judgement: Judgement) -> str:
    return " / ".join(three(value) for value in judgement.values)


def claims_table(judgements: Sequence[Judgement]) -> Table:
    rows = [
        {
            "claim": j.claim.key,
            "about": j.claim.about,
            "text": j.claim.text,
            "verdict": str(j.verdict),
            "reason": j.reason,
            "figure": j.claim.figure,
            "value": median(j.values) if j.values else None,
            "values": values_of(j) or None,
            "thresholds": f">= {three(j.claim.confirmed_from)}, <= {three(j.claim.refuted_to)}",
            "verdict_text": f"{j.verdict}{f' ({j.reason})' if j.reason else ''}",
        }
        for j in judgements
    ]
    columns = (
        Column("about", "server"),
        Column("text", "claim"),
        Column("verdict_text", "verdict"),
        Column("figure", "decided by"),
        Column("values", "measured"),
        Column("thresholds", "confirmed, refuted"),
    )
    note = (
        "A verdict counts if three repetitions out of three agree; each one's figure stands under measured."
    )
    return Table("claims", "What the textbooks claim", columns, rows, note)


def load_table(middle: Sequence[dict[str, Any]]) -> Table:
    keys = ("answered_share", "per_second", "p50_ms", "p99_ms", "megabytes_per_s", "cpu_us_per_request")
    rows = [
        {
            "workload": row["workload"],
            "clients": row["clients"],
            "server": row["server"],
            **{key: row.get(key) for key in (*keys, "switches_per_request", "memory_kib_per_connection")},
        }
        for row in middle
        if row["workload"] in ("crowd", "intermittent", "large", "idle")
    ]
    columns = (
        Column("workload", "workload"),
        Column("clients", "clients", lambda n: f"{n:,}"),
        Column("server", "server"),
        Column("answered_share", "answered", lambda s: f"{s:.0%}"),
        Column("per_second", "requests/s", lambda v: f"{v:,.0f}"),
        Column("p50_ms", "p50, ms", three),
        Column("p99_ms", "p99, ms", three),
        Column("megabytes_per_s", "MB/s", lambda v: f"{v:,.0f}"),
        Column("cpu_us_per_request", "CPU, µs a request", three),
        Column("switches_per_request", "switches a request", three),
        Column("memory_kib_per_connection", "KiB a connection", three),
    )
    note = " · ".join(f"{name}: {TITLES[name]}" for name in ("crowd", "intermittent", "large", "idle"))
    return Table("load", "Under load (median of the repetitions)", columns, rows, note)


def trouble_rows(middle: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a server: what the others noticed of each kind of trouble."""
    by_server: dict[str, dict[str, Any]] = {}
    for row in middle:
        mine = by_server.setdefault(row["server"], {"server": row["server"]})
        match row["workload"]:
            case "silent":
                mine["silent_answered_share"] = row.get("answered_share")
            case "crash" | "exception" as name:
                mine[f"{name}_served_share"] = row["answered"] / row["asked"]
            case "heavy C" | "heavy Python" as name:
                mine[f"{name.replace(' ', '_').lower()}_stall_share"] = row.get("stall_share")
            case "hits":
                mine["hits_sent"], mine["hits_counted"] = row.get("hits_sent"), row.get("hits_counted")
    return [row for row in by_server.values() if len(row) > 1]


def trouble_table(middle: Sequence[dict[str, Any]]) -> Table:
    columns = (
        Column("server", "server"),
        Column("silent_answered_share", "served beside a silent client", _percent),
        Column("crash_served_share", "served after a crash", _percent),
        Column("exception_served_share", "served after an exception", _percent),
        Column("heavy_c_stall_share", "stalled by a heavy request in C", _percent),
        Column("heavy_python_stall_share", "... in Python", _percent),
        Column("hits_sent", "hits sent", lambda v: f"{v:,.0f}"),
        Column("hits_counted", "hits counted", lambda v: f"{v:,.0f}"),
    )
    note = "Stalled: the wait of the middle one of those that met the heavy request, as a share of its time."
    return Table("trouble", "When one client makes trouble", columns, trouble_rows(middle), note)


def size_table(statements: Mapping[str, int]) -> Table:
    rows = [{"server": name, "statements": count} for name, count in statements.items()]
    columns = (Column("server", "server"), Column("statements", "statements"))
    return Table(
        "size", "How much code it takes", columns, rows, "Without the protocol; lab/servers/*_server.py"
    )


def runs_table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        Column("workload", "workload"),
        Column("server", "server"),
        Column("clients", "clients", lambda n: f"{n:,}"),
        Column("repetition", "repetition"),
        Column("answered", "answered", lambda v: f"{v:,}"),
        Column("seconds", "seconds", three),
        Column("per_second", "requests/s", lambda v: f"{v:,.0f}"),
        Column("p99_ms", "p99, ms", three),
    )
    return Table("runs", "Every single run", columns, rows, shown=False)


def _percent(value: float) -> str:
    return f"{value:.0%}"


def three(value: float) -> str:
    """About three digits, without exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
