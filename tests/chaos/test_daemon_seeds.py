"""A daemon under commands and faults from seeds; `python -m tests.chaos.daemon --seeds 0:1000` plays more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from peer.daemon.resident import Resident
from peer.daemon.shelf import Shelf
from tests.chaos.daemon_plan import draw
from tests.chaos.daemon_play import play

SEEDS = 40
BATCH = 10
TRIES = 60


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_seeds(first: int) -> None:
    for seed in range(first, first + BATCH):
        outcome = play(draw(seed))
        if outcome.failure is not None:
            pytest.fail(f"python -m tests.chaos.daemon --seed {seed}   # {outcome.failure}", pytrace=False)


def test_a_seed_is_the_same_run_again() -> None:
    assert play(draw(5)).digest == play(draw(5)).digest


@contextmanager
def pause_not_recorded(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is closed, and that is all."""

    async def pause(self: Resident) -> None:
        self.record = self.record.__class__(**{**_fields(self.record), "paused": True})
        self._changed(self.record)
        await self.close()

    patch.setattr(Resident, "pause", pause)
    yield


@contextmanager
def known_before_it_is_kept(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new record is put on the shelf and not made durable: its folder's names are never synced."""
    real = Shelf._write

    def write(self: Shelf, *arguments: Any) -> None:
        folder = self._folder
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(type(folder), "sync_folder", lambda *_: None)
            real(self, *arguments)

    patch.setattr(Shelf, "_write", write)
    yield


@contextmanager
def removed_from_memory_alone(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The record stays on the shelf."""
    patch.setattr(Shelf, "remove", lambda self, share: None)
    yield


@contextmanager
def open_when_forgotten(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is removed goes on."""

    async def retire(self: Resident) -> None:
        self.removed = True

    patch.setattr(Resident, "retire", retire)
    yield


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


@pytest.mark.makes_a_bug
@pytest.mark.parametrize(
    "bug", [pause_not_recorded, known_before_it_is_kept, removed_from_memory_alone, open_when_forgotten]
)
def test_a_planted_bug_is_found(bug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with bug(monkeypatch):
        for seed in range(TRIES):
            if play(draw(seed)).failure is not None:
                return
    raise AssertionError(f"{TRIES} seeds, and not found")
