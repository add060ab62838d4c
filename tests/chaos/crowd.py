"""Thousands of seeds on all cores, with a mark of how far it got, and some of them twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from tests.chaos.plan import draw
from tests.chaos.play import play
from tests.chaos.violation import Violation

BATCH: Final = 50
TWICE_EVERY: Final = 100
"""One seed in so many is played again, in another process with another PYTHONHASHSEED."""

REAL_S: Final = 120
"""A seed that takes longer than this, in real time, has hung."""

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of some seeds. failures: seed and one line. digests: of those to be played twice."""

    first: int
    last: int
    failures: tuple[tuple[int, str], ...]
    digests: dict[int, str]
    virtual_s: float


def play_many(first: int, last: int, *, jobs: int, mark: Path | None) -> int:
    """Play the seeds [first, last); give the number of failures. mark: a file that remembers how far it got,
    to go on from there."""
    failures = 0
    if mark is not None and mark.exists():
        reached = int(mark.read_text())
        if first < reached < last:  # else it is of another run: a longer one would leave nothing to play
            first = reached
            print(f"going on at seed {first}", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        for batch in pool.map(_play, *zip(*_batches(first, last), strict=True)):
            for seed, text in batch.failures:
                print(f"python -m tests.chaos --seed {seed}   # {text}", flush=True)
            failures += len(batch.failures) + _compare(batch)
            if mark is not None:
                mark.write_text(str(batch.last))
            if batch.last % 1000 == 0:
                print(f"{batch.last} seeds, {failures} failures", flush=True)
    if mark is not None:
        mark.unlink(missing_ok=True)
    print(f"seeds {first} to {last - 1}: {failures} failures", flush=True)
    return failures


def _batches(first: int, last: int) -> Iterator[tuple[int, int]]:
    for start in range(first, last, BATCH):
        yield start, min(start + BATCH, last)


def _play(first: int, last: int) -> Batch:
    signal.signal(signal.SIGALRM, _too_long)
    failures, digests, seconds = [], {}, 0.0
    for seed in range(first, last):
        signal.alarm(REAL_S)
        outcome = play(draw(seed))
        signal.alarm(0)
        seconds += outcome.seconds
        if outcome.failure is not None:
            failures.append((seed, outcome.failure))
        if seed % TWICE_EVERY == 0:
            digests[seed] = outcome.digest
    return Batch(first, last, tuple(failures), digests, seconds)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Violation("hang", f"took more than {REAL_S} s of real time")


def _compare(batch: Batch) -> int:
    failures = 0
    for seed, digest in batch.digests.items():
        again = elsewhere(seed, hash_seed=seed % 1000 + 1)
        if again != digest:
            failures += 1
            print(
                f"python -m tests.chaos --seed {seed} --digest   # {digest} here, {again} there", flush=True
            )
    return failures


def elsewhere(seed: int, hash_seed: int) -> str:
    """The trace hash of a seed in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(seed), "--digest"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[1]
