"""What decides about the six servers: the protocol, the runs, the claims and their verdicts."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.figures import LIGHT, spread
from lab.servers.claims import CLAIMS, NotMeasuredError, Rows, Verdict, judge
from lab.servers.jobs import JOBS, percentile
from lab.servers.library import REQUEST_BYTES_MAX, HandlerError, Library
from lab.servers.plots import plots
from lab.servers.roster import SERVERS
from lab.servers.size import statements
from lab.servers.tables import medians
from lab.servers.workloads import FULL, QUICK, TITLES, Run, Speed, files, row, runs

CLAIM = {claim.key: claim for claim in CLAIMS}
SIZES = {"thread": 10, "select": 60, "trio": 25}


def measured_row(server: str, workload: str, **facts: Any) -> dict[str, Any]:
    return {"server": server, "workload": workload, "clients": 10, "repetition": 1} | facts


# --- the protocol


def test_the_protocol() -> None:
    library = Library({"a": b"hello", "b": b""})
    assert b"".join(library.answer(b"GET a\n")) == b"OK 5\nhello"
    assert b"".join(library.answer(b"GET b\n")) == b"OK 0\n"
    assert b"".join(library.answer(b"HIT a\n")) == b"OK 1\n1"
    assert b"".join(library.answer(b"HIT a\n")) == b"OK 1\n2"
    assert b"".join(library.answer(b"HITS a\n")) == b"OK 1\n2"
    assert b"".join(library.answer(b"COUNT 7\n")) == b"OK 1\n7"
    assert len(b"".join(library.answer(b"SUM a 3\n"))) == len("OK 128\n") + 128
    with pytest.raises(HandlerError):
        library.answer(b"FAIL\n")
    with pytest.raises(HandlerError):
        library.answer(b"GET a")


@pytest.mark.parametrize(
    "request_line",
    [b"\n", b"get a\n", b"GET\n", b"GET a b\n", b"GET ../a\n", b"GET \xff\n", b"SUM a x\n", b"COUNT -1\n"],
)
def test_what_makes_no_sense_is_refused(request_line: bytes) -> None:
    (answer,) = Library({"a": b"hello"}).answer(request_line)
    assert answer.startswith(b"NO ")
    assert answer.endswith(b"\n")


@given(st.binary(max_size=REQUEST_BYTES_MAX).filter(lambda line: b"\n" not in line and b"CRASH" not in line))
def test_any_line_gets_an_answer_or_a_handler_error(line: bytes) -> None:
    if line.startswith((b"SUM", b"COUNT")):
        line = line[:8]  # ask for nothing heavy
    try:
        answer = Library({"a": b"x"}).answer(line + b"\n")
    except HandlerError:
        return
    assert answer[0].startswith((b"OK ", b"NO "))


# --- the runs


@pytest.mark.parametrize("scale", [FULL, QUICK], ids=["full", "quick"])
def test_every_workload_is_run_against_every_server(scale: Any) -> None:
    plan = list(runs(scale, Speed(1000, 1e7), tuple(SERVERS), tuple(TITLES)))
    assert {(r.workload, r.server) for r in plan} == {(w, s) for w in TITLES for s in SERVERS}
    assert {r.job["job"] for r in plan} <= JOBS.keys()
    assert all(r.job["limit_s"] > 0 for r in plan)
    assert {r.clients for r in plan if r.workload == "crowd"} == set(scale.crowd)
    assert {r.clients for r in plan if r.workload == "idle"} == {1050}
    assert all("large" in files(r, scale) for r in plan if r.workload == "large")
    # Only one client fits into the sequential server.
    assert {r.job["bystanders"] for r in plan if r.workload == "crash" and r.server == "sequential"} == {0}


def test_a_row_of_an_idle_run() -> None:
    run = Run("idle", "select", 102, {})
    facts = {
        "answered": 40,
        "alone_answered": 40,
        "idle_connected": 100,
        "per_second": 50.0,
        "alone_per_second": 100.0,
    }
    found = row(run, 2, facts, {"cpu_s": 0.18, "switches": 360}, [(10_000, 1, 1), (10_000 + 102_400, 1, 1)])
    assert found["memory_kib_per_connection"] == 1
    assert found["slowdown_by_idle"] == 2
    assert found["cpu_us_per_request"] == pytest.approx(1000)
    assert found["switches_per_request"] == 2
    assert found["survived"]
    assert not row(run, 2, {"answered": 0}, None, [])["survived"]


def test_the_median_of_repetitions() -> None:
    rows = [
        measured_row("trio", "crowd", p50_ms=v, survived=True) | {"repetition": n}
        for n, v in enumerate((9, 1, 2))
    ]
    (merged,) = medians(rows)
    assert merged["p50_ms"] == 2
    assert merged["survived"] is True


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5), (0.99, 10), (0.0, 1), (1.0, 10), (0.05, 1), (0.11, 2)]
)
def test_percentile(share: float, expected: int) -> None:
    assert percentile(list(range(1, 11)), share) == expected


# --- the verdicts


def three(server: str, workload: str, *values: Mapping[str, Any]) -> list[Rows]:
    return [Rows([measured_row(server, workload, **facts)], SIZES) for facts in values]


def test_a_verdict_needs_three_that_agree() -> None:
    claim = CLAIM["silent"]
    stuck, served = {"answered_share": 0.0}, {"answered_share": 1.0}
    assert judge(claim, three("sequential", "silent", stuck, stuck, stuck)).verdict is Verdict.CONFIRMED
    assert judge(claim, three("sequential", "silent", served, served, served)).verdict is Verdict.REFUTED
    mixed = judge(claim, three("sequential", "silent", stuck, stuck, served))
    assert mixed.verdict is Verdict.NOT_VISIBLE
    assert mixed.reason == "the repetitions disagree"
    two = judge(claim, three("sequential", "silent", stuck, stuck))
    assert two.verdict is Verdict.NOT_VISIBLE
    assert two.reason == "2 of 3 repetitions"
    between = {"answered_share": 0.3}
    assert (
        judge(claim, three("sequential", "silent", between, between, between)).reason == "too close to call"
    )


def test_what_was_not_measured_is_not_visible() -> None:
    judged = judge(CLAIM["silent"], three("thread", "silent", {}, {}, {}))
    assert judged.verdict is Verdict.NOT_VISIBLE
    assert judged.reason.startswith("not measured")
    with pytest.raises(NotMeasuredError):
        Rows([], {}).statements("thread")


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.key for claim in CLAIMS])
def test_every_claim_has_a_gap_and_survives_empty_rows(claim: Any) -> None:
    assert claim.confirmed_from > claim.refuted_to
    assert claim.verdict(claim.confirmed_from) is Verdict.CONFIRMED
    assert claim.verdict(claim.refuted_to) is Verdict.REFUTED
    judged = judge(claim, [Rows([], {})] * 3)
    assert judged.verdict is Verdict.NOT_VISIBLE


def test_what_was_nothing_has_no_share() -> None:
    """One server that answers nobody must not end the report of all the others."""
    nobody = [crash("process", 0, 0) | {"bystanders_before": 0}, hits("process", 0, 0)]
    for key in ("isolated", "ipc"):
        judged = judge(CLAIM[key], [Rows(nobody, {})] * 3)
        assert judged.verdict is Verdict.NOT_VISIBLE
        assert judged.reason.startswith("not measured")
    idle = [measured_row(server, "idle", memory_kib_per_connection=0.0) for server in ("process", "thread")]
    assert judge(CLAIM["memory"], [Rows(idle, {})] * 3).verdict is Verdict.NOT_VISIBLE


@pytest.mark.parametrize("crowds", [[], [measured_row("trio", "crowd", cpu_us_per_request=9.0)]])
def test_the_figure_of_costs_shows_what_was_measured(crowds: list[dict[str, Any]]) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    rows = [
        measured_row("sequential", "idle", per_second=None),
        measured_row("trio", "idle", per_second=5.0, memory_kib_per_connection=0.0),
    ]
    (plot,) = plots([*rows, *crowds], FULL, 3)
    plot.draw(figure := Figure(), LIGHT)
    memory, *others = figure.axes
    assert {len(axes.patches) for axes in figure.axes} == {2}, "the names at the left are those of all panels"
    assert len(others) == 1 + len(crowds), "no panel without anything on it"
    assert ("crowd of" in plot.caption) == bool(crowds)
    assert [text.get_text() for text in memory.texts] == ["none", "0"], "too little to see is not none"


def test_the_largest_crowd_decides() -> None:
    rows = Rows(
        [
            measured_row("process", "crowd", cpu_us_per_request=1.0) | {"clients": 1},
            measured_row("process", "crowd", cpu_us_per_request=8.0) | {"clients": 100},
            measured_row("select", "crowd", cpu_us_per_request=2.0) | {"clients": 100},
        ],
        SIZES,
    )
    assert CLAIM["scheduling"].measure(rows) == 4


def hits(server: str, sent: int, counted: int) -> dict[str, Any]:
    return measured_row(server, "hits", hits_sent=sent, hits_counted=counted)


def test_hits_decide_about_sharing_and_races() -> None:
    rows = Rows(
        [hits("process", 100, 0), hits("thread", 100, 30), hits("select", 100, 100), hits("trio", 100, 100)],
        {},
    )
    assert CLAIM["ipc"].verdict(CLAIM["ipc"].measure(rows)) is Verdict.CONFIRMED
    assert CLAIM["races"].measure(rows) == pytest.approx(0.7)
    assert CLAIM["shared"].verdict(CLAIM["shared"].measure(rows)) is Verdict.CONFIRMED
    assert CLAIM["no-races"].verdict(CLAIM["no-races"].measure(rows)) is Verdict.CONFIRMED
    # That no update was lost proves nothing.
    lucky = Rows([hits("thread", 100, 100)], {})
    assert CLAIM["races"].verdict(CLAIM["races"].measure(lucky)) is Verdict.NOT_VISIBLE


def crash(server: str, answered: int, after: int) -> dict[str, Any]:
    return measured_row(
        server, "crash", asked=5, answered=answered, bystanders_before=5, bystanders_after=after
    )


def test_a_crash_decides_about_isolation() -> None:
    dead = [crash(server, 0, 0) for server in ("thread", "select", "select+pool", "trio")]
    rows = Rows([crash("process", 5, 5), *dead], {})
    assert CLAIM["isolated"].measure(rows) == 1
    assert CLAIM["one-fate"].measure(rows) == 1
    assert CLAIM["isolated"].measure(Rows([crash("process", 5, 0)], {})) == 0


def test_one_thread_means_one_thread() -> None:
    facts = {"idle_connected": 1000, "idle_asked": 1000, "answered_share": 1.0}
    claim = CLAIM["one-thread"]
    assert claim.measure(Rows([measured_row("select", "idle", threads=1, **facts)], {})) == 1
    assert claim.measure(Rows([measured_row("select", "idle", threads=2, **facts)], {})) == 0


def test_the_code_is_as_complex_as_they_say() -> None:
    sizes = statements()
    assert sizes.keys() == SERVERS.keys()
    assert sizes["sequential"] < sizes["thread"] < sizes["trio"] < sizes["select"] < sizes["select+pool"]


# --- names beside curves


@given(st.lists(st.floats(0, 500), max_size=8), st.floats(1, 30))
def test_names_are_spread_apart_and_stay_in_order(wanted: list[float], gap: float) -> None:
    wanted = sorted(wanted)
    placed = spread(wanted, gap)
    assert all(b - a >= gap * (1 - 1e-6) for a, b in itertools.pairwise(placed))
    if all(b - a >= gap for a, b in itertools.pairwise(wanted)):
        assert placed == pytest.approx(wanted)
    if wanted:  # moved no further than needed: the middle stays
        assert sum(placed) == pytest.approx(sum(wanted), abs=1e-6 * len(wanted) + 1e-6)
