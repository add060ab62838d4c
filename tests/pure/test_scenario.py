"""The scenario language: what it means, and one clear line for each mistake."""

import contextlib
from math import inf
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.commands.simulate import SILENT_S, read_scenario
from lab.simulate.report import result
from lab.simulate.scenario import Arrivals, Behaviour, Group, World, parse
from lab.simulate.worlds import work
from peer.errors import UsageError

SMALL = """
[share]
size = "1MiB"
[origin]
up = "8mbit"
[[peers]]
count = 3
up = "800kbit"
"""


def test_defaults_and_units() -> None:
    scenario = parse(SMALL + 'joins_at = "2s"\nstays = "1m"\nlatency = "20s"\nbehaviour = "free-rider"\n')
    assert scenario.size == 1 << 20
    assert scenario.origin.up == 1e6
    assert scenario.groups == (
        Group(count=3, up=1e5, latency=20, joins_at=2, stays=60, behaviour=Behaviour.FREE_RIDER),
    )
    assert scenario.groups[0].given == 0
    assert parse(SMALL).groups[0].stays == inf


def test_the_bound_is_kurose_and_ross() -> None:
    assert parse(SMALL).bound() == pytest.approx(3 * (1 << 20) / (1e6 + 3e5))


def test_the_bound_of_lines_without_a_limit_is_that_of_the_others() -> None:
    no_origin, no_peer = ('up = "8mbit"', 'up = "none"'), ('up = "800kbit"', 'up = "none"')
    assert parse(SMALL.replace(*no_peer)).bound() == pytest.approx((1 << 20) / 1e6)
    assert parse(SMALL.replace(*no_origin)).bound() is None
    assert parse(SMALL.replace(*no_origin) + 'down = "80kbit"').bound() == pytest.approx((1 << 20) / 1e4)
    assert parse('ends_at = "1m"\n' + SMALL).bound() is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a size"),
        ("x", "not TOML"),
        ('[share]\nsize = "1MiB"', "nobody is there"),
        (SMALL.replace("count", "cuont"), "no cuont: did you mean count"),
        (SMALL.replace("[origin]", "[orgin]"), "no orgin: did you mean origin"),
        (SMALL.replace("3", "0"), "at least 1"),
        (SMALL.replace("3", "true"), "at least 1"),
        (SMALL.replace('"1MiB"', "12"), "must be text"),
        (SMALL.replace("800kbit", "0"), "more than zero"),
        (SMALL.replace("800kbit", "quick"), "up = 'quick'"),
        (SMALL + 'behaviour = "mean"', "there are honest, free-rider"),
        (SMALL + 'crashes_at = "5s"\nreturns_at = "4s"', "must come after"),
        (SMALL + 'joins_at = "soon"', "joins_at"),
        ("share = 1", "must be a table"),
        (SMALL + 'joins_at = "9s"\ncrashes_at = "9s"', "must come after joins_at"),
        ("count = " + 5000 * "9", "a number in it is too long"),
        ("peers = " + 5000 * "[", "nested too deep"),
        ('title = "one\\ntwo"\n' + SMALL, "must be one line"),
        (f'title = "{201 * "x"}"\n' + SMALL, "at most 200 characters"),
        ('peers = "many"\n[share]\nsize = "1MiB"', "must be tables"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_none(tmp_path: Path) -> None:
    """It was a character that no TOML begins with."""
    (tmp_path / "scenario.toml").write_text(SMALL, encoding="utf-8-sig")
    assert parse(read_scenario(tmp_path / "scenario.toml")) == parse(SMALL)


@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse(text)


def test_each_world_has_its_limits() -> None:
    with pytest.raises(UsageError, match="too many for whole nodes"):
        parse(SMALL.replace("3", "501")).check(World.SMALL)
    with pytest.raises(UsageError, match="too many for real processes"):
        parse(SMALL.replace("3", "501")).check(World.REAL)
    with pytest.raises(UsageError, match="too many for one core"):
        parse(SMALL.replace("3", "50001")).check(World.LARGE)
    with pytest.raises(UsageError, match="each disk is memory"):
        parse(SMALL.replace("1MiB", "1GiB")).check(World.SMALL)
    with pytest.raises(UsageError, match="pieces are too many"):
        parse(SMALL.replace('"1MiB"', '"1GiB"\npiece = "1KiB"')).check(World.LARGE)
    neighbours = parse(SMALL + "[network]\nneighbours = 5")
    neighbours.check(World.LARGE)
    with pytest.raises(UsageError, match=r"neighbours.* is for --world large"):
        neighbours.check(World.SMALL)


@pytest.mark.parametrize(
    ("keys", "small", "large"),
    [
        ('joins_at = "DAYSd"', "joins_at = 10.0 d: at most 24 h in the small world", "joins_at = 100.0 d"),
        ('every = "DAYSd"', "every = 10.0 d: the last of 3 comes at 20.0 d, at most 24 h", "200.0 d, at"),
        ('crashes_at = "1s"\nreturns_at = "DAYSd"', "returns_at = 10.0 d: at most", "returns_at = 100.0 d"),
    ],
)
def test_virtual_time_has_its_limits(keys: str, small: str, large: str) -> None:
    """Days took minutes of real time, without a word."""
    for days, world, says in (("10", World.SMALL, small), ("100", World.LARGE, large)):
        scenario = parse(SMALL + keys.replace("DAYS", days))
        with pytest.raises(UsageError, match=rf"\[\[peers\]\] number 1: .*{says}") as caught:
            scenario.check(world)
        assert "\n" not in str(caught.value)
    parse(SMALL + keys.replace("DAYS", "10")).check(World.LARGE)
    parse(SMALL + keys.replace("DAYSd", "6h")).check(World.SMALL)


def test_an_end_and_a_slow_line_have_the_same_limits() -> None:
    ended = parse('ends_at = "31d"\n' + SMALL)
    with pytest.raises(UsageError, match=r"ends_at = 31.0 d: at most 30.0 d in the large world"):
        ended.check(World.LARGE)
    with pytest.raises(UsageError, match="ends_at is for --world large"):
        ended.check(World.SMALL)
    parse('ends_at = "1h"\n' + SMALL + 'joins_at = "100d"').check(World.LARGE)  # nobody waits for it
    for line, size, world in (("80bit", "1MiB", World.SMALL), ("8bit", "3MiB", World.LARGE)):
        with pytest.raises(UsageError, match=r"size: on these lines not all can have it before .*, at most"):
            parse(SMALL.replace("8mbit", line).replace("1MiB", size)).check(world)


def test_what_takes_long_is_announced() -> None:
    at_once, later = parse(SMALL), parse(SMALL + 'joins_at = "20h"')
    for world in (World.SMALL, World.LARGE):
        assert work(later, world) > work(at_once, world)
    assert work(later, World.SMALL) > SILENT_S
    away = parse(SMALL + 'every = "8h"\nstays = "1s"')
    assert work(away, World.SMALL) < work(parse(SMALL + 'every = "8h"'), World.SMALL)


def test_the_figure_speaks_of_a_bound_only_where_it_has_one() -> None:
    for text, bounded in (('up = "8mbit"', True), ("", False)):
        scenario = parse(f'[share]\nsize = "1MiB"\n[origin]\n{text}\n[[peers]]\n')
        (plot,) = result(scenario, []).plots
        assert ("Dashed" in plot.caption) == bounded


def test_arrivals_at_random_are_so_many_on_average() -> None:
    group = Group(count=4000, every=2.0, joins_at=100, arrivals=Arrivals.POISSON)
    times = group.times(Random(1))
    assert times == sorted(times)
    assert times[0] > 100
    assert times[-1] == pytest.approx(100 + 8000, rel=0.05)
    assert Group(count=3, every=2.0, joins_at=1).times(Random(1)) == [1, 3, 5]
