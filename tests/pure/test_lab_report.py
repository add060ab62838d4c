"""Reports say what was measured, also when a figure is no number."""

import json
import math
import warnings
from pathlib import Path

import pytest

from lab.commands.common import Output
from lab.report import Result, Table, finite


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


@pytest.mark.parametrize("title", ["costs $5 \\foo and $10 {", "网络 😀", 25 * "longword"])
def test_any_title_can_be_drawn(title: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from lab import figures

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figures.save(figures.Plot("any", title, title, lambda figure, _: None), tmp_path)
    assert len(drawn) == 4
