"""Reports say what was measured, also when a figure is no number."""

import json
import math

from lab.report import finite


def test_a_ratio_to_nothing_measurable_is_null_and_breaks_no_report() -> None:
    """Once a median of 0 s made a ratio infinite, and results.json could not be written."""
    data = {"ratio": math.inf, "rows": [(1.5, math.nan), [2]], "name": "inf"}
    assert json.loads(json.dumps(finite(data), allow_nan=False)) == {
        "ratio": None,
        "rows": [[1.5, None], [2]],
        "name": "inf",
    }
