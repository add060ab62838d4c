"""Every moment of a short transfer: cancelled there, or crashed there, the next run completes."""

import os

import pytest

from tests.chaos.exhaustive import cancel_at, images_of_a_transfer, resume_on, steps_of_a_transfer
from tests.chaos.planted import leak_on_cancel
from tests.chaos.violation import Violation

SEEDS = range(1, 1 + int(os.environ.get("EXHAUSTIVE_SEEDS", "1")))
"""Orders in which trio runs its tasks."""

POWER_SEEDS = 2 * len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole_node", [False, True], ids=["the fetch", "the node"])
def test_cancelled_at_every_step(seed: int, whole_node: bool) -> None:
    steps = steps_of_a_transfer(seed)
    assert steps > 100
    for step in range(1, steps + 1):
        cancel_at(seed, step, whole_node=whole_node)


def test_a_leak_in_a_cancellation_would_be_seen() -> None:
    steps = steps_of_a_transfer(1)
    with leak_on_cancel(), pytest.raises(Violation, match="has not closed"):
        cancel_at(1, steps * 2 // 3, whole_node=True)


def test_crashed_after_every_storage_operation() -> None:
    images = images_of_a_transfer(1)
    assert len(images) > 30
    for number, (_, disk) in enumerate(images):
        resume_on(1, disk, None)
        for seed in range(POWER_SEEDS):
            resume_on(1, disk, 1000 * number + seed)
