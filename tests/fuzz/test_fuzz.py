"""A slice of the fuzzing as a test, the corpus, and whether the fuzzer itself is any good."""

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from peer.ids import RequestId
from peer.wire.framing import FrameReader
from peer.wire.requests import Answer, OpenRequests
from peer.wire.session import Session
from tests.fuzz import run as fuzzing
from tests.fuzz.grammar import FIELDS, INPUTS, INTEGER_MAX, INTEGER_MIN, pack, spoil_fields
from tests.fuzz.run import (
    CALL_S_MAX,
    CORPUS,
    GROWTH_BYTES_MAX,
    Finding,
    corpus,
    fuzz,
    load,
    run_one,
    save,
    slowest_call,
)
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch
from tests.pure.wire_helpers import EXAMPLES, fields_of

FRAMES = int(os.environ.get("FUZZ_FRAMES", "45000"))


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    target, data = load(path)
    assert run_one(target, data, Watch())[1] is None


def test_corpus_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    for data in (b"", bytes(range(256))):
        path = save(Finding("codec", data, "two\nlines"), tmp_path)
        assert load(path) == ("codec", data)
    assert {load(path)[0] for path in corpus()} == set(TARGETS), f"{CORPUS} has something for every target"


def test_a_short_run_is_clean_and_looks_around() -> None:
    report = fuzz(3000, seed=1)
    assert report.findings == []
    assert sum(len(endings) for endings in report.endings.values()) > 100, "it only scratches the surface"
    for target, endings in report.endings.items():
        assert endings & {"clean end", "accepted", "Hello", "Request", "Data"}, (
            f"no good input ever reached {target}"
        )


@pytest.mark.slow
def test_ten_seconds_of_frames() -> None:
    """`make fuzz`, `python -m tests.fuzz --frames 1000000`, is the same for longer, and has its eye on the
    time of each call."""
    report = fuzz(FRAMES, seed=2)
    assert report.findings == []
    assert report.growth_bytes <= GROWTH_BYTES_MAX


def test_a_call_is_as_slow_as_at_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hinders one call now and then is not the fault of its input; what is slow each time is."""
    hindered = iter([2.0, 1.0, CALL_S_MAX / 2])

    def run(target: str, data: bytes, watch: Watch) -> tuple[str, None]:
        watch.slowest_s = next(hindered)
        return "", None

    monkeypatch.setattr(fuzzing, "run_one", run)
    assert slowest_call("wire", b"", 3.0) == CALL_S_MAX / 2
    hindered = iter([2.0, 1.0, 4.0, 5.0, 6.0])
    assert slowest_call("wire", b"", 3.0) == 1.0


def test_the_same_seed_makes_the_same_inputs() -> None:
    one, other = ([make(Random(5)) for make in INPUTS.values() for _ in range(20)] for _ in range(2))
    assert one == other
    assert fuzz(300, seed=3).endings == fuzz(300, seed=3).endings


def test_the_grammar_knows_every_kind_and_field() -> None:
    for message in EXAMPLES:
        fields = fields_of(message)
        assert set(FIELDS[fields["kind"]](Random(0))) == fields.keys() - {"kind"}


def test_spoiling_says_only_what_can_be_said() -> None:
    """One more than the largest integer once ended a run of a million in the fuzzer itself."""
    for edge in (INTEGER_MIN, INTEGER_MAX):
        for seed in range(200):
            pack(spoil_fields(Random(seed), {"kind": "ping", "number": edge}))


def _keep_memory(*_: Any) -> None:
    """Give nothing back."""


def _take_data_in_any_order(
    self: OpenRequests, request: RequestId, offset: int, total: int, _: int
) -> Answer:
    answer = self.get(request)
    self._current = request
    answer.total = total
    return answer


def _forget_early_payload(self: FrameReader) -> None:
    self._start = self._end


@pytest.mark.parametrize(
    ("target", "owner", "name", "bug"),
    [
        ("wire", Session, "_give_back", _keep_memory),
        ("wire", OpenRequests, "begin_data", _take_data_in_any_order),
        ("framing", FrameReader, "_take_early_payload", _forget_early_payload),
    ],
)
def test_planted_bugs_are_found(
    target: str, owner: type, name: str, bug: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero findings mean something only if there are some when there is something to find."""
    monkeypatch.setattr(owner, name, bug)
    assert fuzz(20_000, seed=4, targets=(target,), findings_max=1).findings
