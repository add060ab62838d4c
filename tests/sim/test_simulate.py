"""`lab simulate`: whole nodes from a scenario, the same each time, never faster than theory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.large.run import simulate as simulate_large
from lab.simulate.outcome import Outcome
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


LATE = """
[share]
size = "64KiB"
[origin]
up = "1mbit"
[[peers]]
[[peers]]
"""


@pytest.mark.parametrize("play", [simulate, simulate_large])
@pytest.mark.parametrize(
    "late", ['joins_at = "20m"', 'crashes_at = "10ms"\nreturns_at = "20m"'], ids=["joins", "returns"]
)
def test_whoever_comes_late_is_waited_for(play: Callable[..., Outcome], late: str) -> None:
    outcome = play(parse(LATE + late), 1)
    assert len(outcome.members) == 2
    assert outcome.last is not None, "everybody completes"
    assert 1200 < outcome.last < 1210


@pytest.mark.parametrize("play", [simulate, simulate_large])
def test_a_slow_origin_is_waited_for_where_uplinks_have_no_limit(play: Callable[..., Outcome]) -> None:
    outcome = play(parse(LATE.replace("64KiB", "1MiB").replace("1mbit", "16kbit")), 1)
    assert outcome.last is not None, "everybody completes"
    assert outcome.last > (1 << 20) / 2000


@pytest.mark.parametrize("play", [simulate, simulate_large])
def test_a_power_loss_strikes_who_is_there(play: Callable[..., Outcome]) -> None:
    outcome = play(parse(LATE + 'count = 2\nevery = "1m"\ncrashes_at = "10ms"'), 1)
    assert [member.done is None for member in outcome.members] == [False, True, False]


def test_where_nobody_came_nobody_was_the_last() -> None:
    over = parse('ends_at = "1s"\n' + LATE.replace("[[peers]]", "", 1) + 'joins_at = "2s"')
    assert simulate_large(over, 1).last is None


@pytest.mark.parametrize("play", [simulate, simulate_large])
def test_what_the_origin_sent_to_those_who_never_completed_counts(play: Callable[..., Outcome]) -> None:
    died = LATE.replace("64KiB", "1MiB").replace('up = "1mbit"', 'up = "1mbit"\ndies_at = "4s"')
    outcome = play(parse(died), 1)
    assert outcome.last is None
    sent = sum(member.origin_bytes for member in outcome.members)
    assert 0.8 * 4e6 / 8 < sent < 1.1 * 4e6 / 8, "most of what its uplink carries in four seconds"


@pytest.mark.parametrize("play", [simulate, simulate_large])
def test_what_the_origin_sent_before_a_power_loss_counts(play: Callable[..., Outcome]) -> None:
    alone = LATE.replace("[[peers]]", "", 1).replace("64KiB", "1MiB")
    outcome = play(parse(alone + 'crashes_at = "4s"\nreturns_at = "5s"'), 1)
    assert outcome.members[0].origin_bytes >= 1 << 20
