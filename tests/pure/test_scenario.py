"""The scenario language: what it means, and one clear line for each mistake."""

import contextlib
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.simulate.scenario import Arrivals, Behaviour, Group, World, parse
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


def test_arrivals_at_random_are_so_many_on_average() -> None:
    group = Group(count=4000, every=2.0, joins_at=100, arrivals=Arrivals.POISSON)
    times = group.times(Random(1))
    assert times == sorted(times)
    assert times[0] > 100
    assert times[-1] == pytest.approx(100 + 8000, rel=0.05)
    assert Group(count=3, every=2.0, joins_at=1).times(Random(1)) == [1, 3, 5]
