"""Whole swarms under faults from seeds. `make soak` plays ten thousand; one that fails prints its line."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from peer.greeting import welcome
from tests.chaos import crowd
from tests.chaos.outcome import Outcome
from tests.chaos.plan import draw
from tests.chaos.play import play

ROOT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("CHAOS_SEEDS", "200"))
BATCH = 20
KNOWN = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def check(seed: int) -> Outcome:
    outcome = play(draw(seed))
    if outcome.failure is not None:
        pytest.fail(f"python -m tests.chaos --seed {seed}   # {outcome.failure}", pytrace=False)
    return outcome


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_seeds(first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        check(seed)


@pytest.mark.parametrize(("marked", "played"), [(1, [1, 2]), (7, [0, 1, 2]), (3, [0, 1, 2])])
def test_a_mark_of_a_longer_run_skips_nothing(
    marked: int, played: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice of 500 seeds after an interrupted run of 10,000 played none, and passed."""
    seen: list[int] = []

    def play_batch(first: int, last: int) -> crowd.Batch:
        seen.extend(range(first, last))
        return crowd.Batch(first, last, (), {}, 0.0)

    monkeypatch.setattr(crowd, "_play", play_batch)
    monkeypatch.setattr(crowd, "ProcessPoolExecutor", ThreadPoolExecutor)
    (tmp_path / "mark").write_text(str(marked))
    assert crowd.play_many(0, 3, jobs=1, mark=tmp_path / "mark") == 0
    assert seen == played
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("seed", [seed for seed in KNOWN if seed >= SEEDS])
def test_seeds_that_have_failed_before(seed: int) -> None:
    check(seed)


@pytest.mark.makes_a_bug
def test_a_bug_that_a_node_survives_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([ZeroDivisionError])

    async def broken(*arguments: Any) -> Any:
        for error in errors:
            raise error
        return await welcome(*arguments)

    monkeypatch.setattr("peer.node.welcome", broken)
    outcome = play(draw(3))
    assert outcome.kind == "bug"
    assert "ZeroDivisionError" in str(outcome.failure)


@pytest.mark.parametrize("seed", [3, 44])
def test_a_seed_is_the_same_run_in_another_process(seed: int) -> None:
    here = check(seed).digest
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(seed), "--digest"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(seed), here]
    assert check(seed).digest == here
