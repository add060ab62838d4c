"""`lab simulate`: whole nodes from a scenario, the same each time, never faster than theory."""

from pathlib import Path

import pytest

from lab.simulate.report import SeedRun, result
from lab.simulate.scenario import parse
from lab.simulate.small import simulate

LARGE = {"thousand", "open"}  # for another world
SCENARIOS = sorted(
    path
    for path in (Path(__file__).parents[2] / "lab" / "scenarios").glob("*.toml")
    if path.stem not in LARGE
)


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_each_scenario_that_comes_with_the_lab(path: Path) -> None:
    text = (
        path.read_text(encoding="utf-8")
        .replace('"4MiB"', '"512KiB"')
        .replace('dies_at = "4s"', 'dies_at = "1s"')
    )
    scenario = parse(text)
    outcome = simulate(scenario, 1)
    assert outcome.wrong == 0
    assert outcome.last is not None, "everybody completes"
    bound = scenario.bound()
    assert bound is not None
    assert outcome.last >= bound
    assert simulate(scenario, 1).trace_hash == outcome.trace_hash
    assert simulate(scenario, 2).trace_hash != outcome.trace_hash
    lines = result(scenario, [SeedRun(1, outcome)]).summary
    assert outcome.trace_hash in lines[0]


def test_who_never_completes_is_counted() -> None:
    origin = '[origin]\nup = "80kbit"\ndies_at = "1s"\n'
    scenario = parse(f'[share]\nsize = "256KiB"\n{origin}[[peers]]\ncount = 2\nup = "1mbit"')
    outcome = simulate(scenario, 1)
    assert outcome.last is None
    assert "2 of 2 peers never completed" in result(scenario, [SeedRun(1, outcome)]).summary[0]
