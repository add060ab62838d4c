"""What `lab fleet` reads from a tracker's counts."""

import warnings
from pathlib import Path

import pytest

from lab.cli import run
from lab.figures import LIGHT
from lab.fleet.report import result
from lab.fleet.watch import SETTLED_S, Conditions, Watch
from lab.report import write


def watched(*looks: tuple[float, int, int], wanted: int | None = None) -> Watch:
    watch = Watch(wanted)
    for look in looks:
        watch.look(*look)
    return watch


def test_the_clock_runs_from_the_first_downloader() -> None:
    watch = watched((1.0, 1, 0), (2.0, 1, 0), (3.0, 1, 2), (4.0, 2, 1), (5.0, 2, 3), (6.0, 5, 0))
    assert (watch.begun, watch.done, watch.most_at_once) == (3.0, [1.0, 3.0, 3.0, 3.0], 3)


def test_it_is_over_when_nobody_is_left_or_enough_have_it() -> None:
    watch = watched((0.0, 1, 2), (1.0, 2, 1), (2.0, 3, 0))
    assert not watch.over(2.0 + SETTLED_S / 2)
    assert watch.over(2.0 + SETTLED_S)
    assert not watched((0.0, 1, 0)).over(1000.0), "nobody has come yet"
    assert watched((0.0, 3, 2), wanted=2).over(0.0)
    assert not watched((0.0, 3, 2), wanted=3).over(1000.0)


def test_seeders_that_leave_do_not_undo_their_copies() -> None:
    watch = watched((0.0, 1, 2), (1.0, 3, 0), (2.0, 1, 0), (3.0, 4, 0))
    assert watch.done == [1.0, 1.0, 3.0]


def test_bounds_and_report(tmp_path: Path) -> None:
    conditions = Conditions(file_bytes=1 << 20, up=1e5)
    first = (1 << 20) / 1e5
    assert conditions.server_bound(4) == pytest.approx(4 * first)
    assert conditions.swarm_bound(4) == pytest.approx(first)
    watch = watched((0.0, 1, 2), (11.0, 2, 1), (12.0, 3, 0))
    written = write(result(conditions, watch, "tracker:7700"), tmp_path, lambda line: None)
    assert any(path.name == "report.html" for path in written)
    unlimited = result(Conditions(1 << 20, None), watch, "tracker:7700")
    assert len(unlimited.summary) == 1


@pytest.mark.parametrize("peers", [1, 4, 30])
def test_the_figure_counts_mirrors_in_whole_numbers(peers: int) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    watch = watched((0.0, 1, peers), (34.6, 1 + peers, 0))
    [plot] = result(Conditions(1 << 24, 5e5), watch, "tracker:7700").plots
    figure = Figure(figsize=(7, 4))
    plot.draw(figure, LIGHT)
    ticks = figure.axes[0].get_yticks()
    assert [tick for tick in ticks if tick != int(tick)] == []


@pytest.mark.parametrize("up", [None, 1e5])
def test_what_was_there_at_the_first_look_has_no_ratio(up: float | None, tmp_path: Path) -> None:
    """A small file is everywhere before anybody has looked: no time passed that could be divided by."""
    watch = watched((0.0, 1, 0), (1.0, 3, 0))
    assert watch.done == [0.0, 0.0]
    found = result(Conditions(1 << 10, up), watch, "tracker:7700")
    assert "larger --file" in found.summary[-1]
    assert not any("bound / measured" in line for line in found.summary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(found, tmp_path, lambda line: None)


@pytest.mark.parametrize(
    ("option", "value"), [("--up", "0"), ("--up", "0mbit"), ("--timeout", "nan"), ("--file", "0")]
)
def test_what_cannot_be_measured_is_said_at_once(
    option: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.fleet.run.measure", lambda *_: pytest.fail("nothing may be begun"))
    assert run(["fleet", "--tracker", "127.0.0.1:1", option, value]) == 2
    assert option in capsys.readouterr().err
