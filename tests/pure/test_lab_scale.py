"""What `lab scale` plans, holds against theory, and keeps."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.commands.scale import _keep, _known
from lab.localswarm import first_link
from lab.scale.plan import Conditions, Mode, Point, plan
from lab.scale.report import described, result
from peer.errors import UsageError

LINKS = Conditions(file_bytes=8 << 20, origin_up=2e6, peer_up=2e5)


def point(mode: Mode, peers: int, efficiency: float = 0.9) -> Point:
    bound = LINKS.bound(mode, peers)
    return Point(mode.value, peers, bound, bound / efficiency, bound, bound, LINKS.file_bytes, 0.0)


@given(st.integers(1, 100))
def test_the_bounds_are_kurose_and_ross(peers: int) -> None:
    first = LINKS.first_copy()
    assert LINKS.bound(Mode.CLIENT_SERVER, peers) == pytest.approx(peers * first)
    fluid = peers * LINKS.file_bytes / (LINKS.origin_up + peers * LINKS.peer_up)
    assert LINKS.bound(Mode.SWARM, peers) == pytest.approx(max(first, fluid))


def test_nobody_but_the_origin_serves_in_client_server() -> None:
    assert LINKS.uplinks(Mode.CLIENT_SERVER, 3) == [0, 0, 0]


def test_mixed_uplinks_and_free_riders() -> None:
    mixed = Conditions(1000, 100, 10, mixed=True, free_riders=1)
    assert mixed.uplinks(Mode.SWARM, 4) == [0, 15, 5, 15]
    assert described(mixed) == ["uplinks of half and one and a half in turn", "1 free riders"]


def test_somebody_is_there_from_the_beginning_whatever_n_is() -> None:
    late = Conditions(1000, 100, 10, late=3)
    assert [late.come_late(Mode.SWARM, peers) for peers in (1, 2, 3, 4, 8)] == [0, 1, 2, 3, 3]
    assert late.come_late(Mode.CLIENT_SERVER, 8) == 0, "the switches change the swarm only"
    for conditions in (late, LINKS):
        (table,) = result(conditions, [point(Mode.SWARM, 4)]).tables
        assert ("but those that come late" in table.note) == bool(conditions.late)


@pytest.mark.parametrize(
    ("conditions", "counts", "names"),
    [
        (Conditions(1000, 0, 10), [1], "--origin-up"),
        (Conditions(1000, 10, 0), [1], "--peer-up"),
        (Conditions(0, 10, 10), [1], "--file"),
        (Conditions(1000, 10, 10), [0], "--peers"),
        (Conditions(1000, 10, 10, free_riders=2), [1, 2], "--free-riders"),
        (Conditions(1000, 10, 10, late=3), [1, 2], "--late"),
    ],
)
def test_impossible_parameters_are_named(conditions: Conditions, counts: list[int], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        conditions.check(counts)


def test_the_plan_measures_each_point_once() -> None:
    todo = list(plan([4, 1, 4]))
    assert todo == [(Mode.SWARM, 1), (Mode.CLIENT_SERVER, 1), (Mode.SWARM, 4), (Mode.CLIENT_SERVER, 4)]


def test_the_report_says_when_a_point_is_below_its_bound() -> None:
    good = [point(mode, peers) for mode in Mode for peers in (1, 8)]
    assert not any("BELOW" in line for line in result(LINKS, good).summary)
    bad = [*good, point(Mode.SWARM, 16, efficiency=1.01)]
    assert any("BELOW" in line and "N = 16" in line for line in result(LINKS, bad).summary)


def test_what_was_measured_is_kept_for_the_same_conditions_only(tmp_path: Path) -> None:
    _keep(tmp_path, LINKS, point(Mode.SWARM, 2))
    with (tmp_path / "points.jsonl").open("a") as file:
        file.write('{"cut off')
    assert set(_known(tmp_path, LINKS)) == {("peer-to-peer", 2)}
    assert not _known(tmp_path, Conditions(1, 2e6, 2e5))
    assert not _known(None, LINKS)


def test_the_clock_begins_with_the_first_link(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    assert first_link(trace) is None
    lines = [
        {"t": 0, "event": "begin", "wall": 1000.0},
        {"t": 0.25, "event": "link"},
        {"t": 9, "event": "link"},
    ]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines[:1]) + '{"t": 0.2')
    assert first_link(trace) is None
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert first_link(trace) == 1000.25


def names_in(peers: int, *modes: Mode) -> list[tuple[str, float]]:
    """What is written into the first figure, and how high, in pixels."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    from lab.figures import LIGHT

    plot = result(LINKS, [point(mode, peers) for mode in modes]).plots[0]
    plot.draw(figure := Figure(dpi=100), LIGHT)
    (axes,) = figure.axes
    found = [child for child in axes.get_children() if isinstance(child, Annotation)]
    return [
        (text.get_text(), float(axes.transData.transform(text.xy)[1]) + text.get_position()[1] * 100 / 72)
        for text in found
    ]


def test_a_bound_without_a_measurement_has_a_name_too() -> None:
    """The line of the server stood nameless beside a swarm that was measured alone."""
    assert {name.partition("\n")[2] for name, _ in names_in(10, Mode.SWARM)} > {"(the bound)"}


def test_two_names_at_one_point_do_not_cover_each_other() -> None:
    (_, first), (_, second) = names_in(1, Mode.SWARM, Mode.CLIENT_SERVER)
    assert abs(first - second) >= 2 * 0.19 * 100 - 1
