"""The points of peer/buggify.py: each is taken within some seeds, none outside a simulation."""

from collections import Counter
from itertools import count
from random import Random

from peer.buggify import Point, armed, buggify
from tests.chaos.plan import Fault, draw
from tests.chaos.play import play

SEEDS_MAX = 40


def test_nothing_is_forced_outside_a_simulation() -> None:
    assert not any(buggify(point) for point in Point for _ in range(1000))


def test_points_fire_while_armed_and_not_after() -> None:
    fired: Counter[Point] = Counter()
    for seed in range(50):
        with armed(Random(seed)) as points:
            for point in Point:
                assert buggify(point) in {True, False}
        fired.update(points.fired)
    assert 0 < fired.total() < 50 * len(Point)
    assert not any(buggify(point) for point in Point)


def test_every_point_is_taken_within_some_seeds() -> None:
    taken: set[Point] = set()
    seeds = (seed for seed in count() if Fault.BUGGIFY in draw(seed).faults)
    for _ in range(SEEDS_MAX):
        outcome = play(draw(next(seeds)))
        assert outcome.failure is None
        taken.update(outcome.fired)
        if len(taken) == len(Point):
            return
    raise AssertionError(f"never taken: {[point.value[0] for point in Point if point not in taken]}")
