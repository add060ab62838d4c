"""Reports say what was measured, also when a figure is no number."""

import json
import math
import warnings
from io import StringIO
from pathlib import Path

import pytest

from lab import bounds_report, screen
from lab.bounds import OpenSwarm
from lab.commands.common import Output
from lab.figures import LIGHT
from lab.report import Column, Result, Table, finite
from lab.scale import report as scale_report
from lab.scale.plan import Conditions, Point


def test_a_ratio_to_nothing_measurable_is_null_and_breaks_no_report() -> None:
    """Once a median of 0 s made a ratio infinite, and results.json could not be written."""
    data = {"ratio": math.inf, "rows": [(1.5, math.nan), [2]], "name": "inf"}
    assert json.loads(json.dumps(finite(data), allow_nan=False)) == {
        "ratio": None,
        "rows": [[1.5, None], [2]],
        "name": "inf",
    }


def test_a_ratio_to_nothing_measurable_is_null_on_stdout_too(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("ratios", "Ratios", (), [{"ratio": math.inf}])
    Output(as_json=True, folder=None, quick=False).finish(Result("lab x", "A title", {}, [table]))
    assert json.loads(capsys.readouterr().out)["rows"] == [{"table": "ratios", "ratio": None}]


def test_the_curves_of_one_peer_alone_are_seen() -> None:
    """A single point of a dashed line shows nothing at all."""
    pytest.importorskip("matplotlib")
    import numpy as np
    from matplotlib.figure import Figure

    links = bounds_report.Links(8e6, 1e6, 1e5, None)
    swarm = OpenSwarm(0.04, 0.002, 0.00125, 0.001, 0.001, 1.0)
    scale = Conditions(file_bytes=8 << 20, origin_up=2e6, peer_up=2e5)
    point = Point("peer-to-peer", 1, 4.0, 5.0, 5.0, 5.0, 8 << 20, 0.0)
    plots = bounds_report.result(links, [1], [1], swarm).plots[:1] + scale_report.result(scale, [point]).plots
    for plot in plots:
        plot.draw(figure := Figure(), LIGHT)
        dashed = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == "--"]
        assert dashed, plot.name
        assert all(np.size(line.get_xdata()) > 1 for line in dashed)


def test_large_ratios_are_written_out() -> None:
    links = bounds_report.Links(8e6, 1e6, 1e5, None)
    swarm = OpenSwarm(0.04, 0.002, 0.00125, 0.001, 0.001, 1.0)
    found = bounds_report.result(links, [1_000_000], [1], swarm)
    assert "100,001 times faster" in found.summary[0]
    assert found.tables[0].cells()[0][-1] == "100,001 x"


@pytest.mark.parametrize("title", ["costs $5 \\foo and $10 {", "网络 😀", 25 * "longword"])
def test_any_title_can_be_drawn(title: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from lab import figures

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figures.save(figures.Plot("any", title, title, lambda figure, _: None), tmp_path)
    assert len(drawn) == 4


class NarrowTerminal(StringIO):
    """A terminal, by the word of it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_too_narrow_for_a_table_folds_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 20 columns there was a line of dashes, and no figure."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "dumb")
    columns = [Column(f"k{number}", f"heading-{number}") for number in range(9)]
    table = Table("wide", "Wide", tuple(columns), [{column.key: f"cell-{column.key}" for column in columns}])
    screen.show(Result("lab x", "A title", {}, [table]), out := NarrowTerminal())
    for column in columns:
        assert column.title in out.getvalue()
        assert f"cell-{column.key}" in out.getvalue()
