"""How close the policies come to the fluid bound when only scheduling can lose time: the bars of the project.

The real picker, download, upload and choking policies of every node, over modelled uplinks (swarm_model.py).
"""

import pytest

from tests.pure.swarm_model import SwarmModel

MBIT = 1e6 / 8
ORIGIN = 40 * MBIT
FILE_BYTES = 512 * 64 * 1024

SCENARIOS = [
    pytest.param([4 * MBIT] * 10, 1.04, id="10 peers"),
    pytest.param([4 * MBIT] * 30, 1.06, id="30 peers"),
    pytest.param([2 * MBIT, 8 * MBIT] * 10, 1.08, id="20 mixed peers"),
]


@pytest.mark.parametrize(("ups", "bar"), SCENARIOS)
def test_a_swarm_ends_close_to_the_bound(ups: list[float], bar: float) -> None:
    outcome = SwarmModel(ups, origin=ORIGIN, seed=1).run()
    assert len(outcome.done) == len(ups)
    assert 1.0 <= outcome.ratio <= bar, "never below the bound, which nobody can beat"
    assert max(outcome.wasted) <= 0.01
    fluid_share = ORIGIN * outcome.bound / FILE_BYTES
    assert outcome.origin_bytes <= 1.15 * fluid_share


def test_free_riders_cost_no_more_than_theory_charges() -> None:
    """Three of twenty give (next to) nothing: the bar is 5 % beyond what the bound itself loses."""
    without = SwarmModel([4 * MBIT] * 20, origin=ORIGIN, seed=1).run()
    with_them = SwarmModel([4 * MBIT] * 17 + [1.0] * 3, origin=ORIGIN, seed=1).run()
    charged = with_them.bound / without.bound
    assert charged > 1.1
    assert max(with_them.done[:17]) <= 1.05 * charged * max(without.done)
    assert max(with_them.wasted) <= 0.01


def test_the_same_seed_gives_the_same_run() -> None:
    one, other = (SwarmModel([4 * MBIT] * 5, origin=ORIGIN, seed=7, pieces=64).run() for _ in range(2))
    assert one == other
