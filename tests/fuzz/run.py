"""Runs the targets on generated inputs, and keeps count."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz.grammar import INPUTS
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch, resident_bytes

CORPUS: Final = Path(__file__).parent / "corpus"

CALL_S_MAX: Final = 0.050
"""A call may block an event loop no longer than this."""

GROWTH_BYTES_MAX: Final = 16 * 2**20
"""Between the first tenth of a run and its end."""

TIMED_AGAIN: Final = 5
"""How often a call that seemed too slow is timed again: it is as slow as at its best. What is counted as its
time may hold a collection of garbage, pages that the system had to find, or a neighbour of this machine."""

WEIGHTS: Final = {"wire": 8, "codec": 6, "framing": 2, "manifest": 2, "magnet": 2}
"""How often each target is run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that made a target raise, or be slow."""

    target: str
    data: bytes
    what: str

    @property
    def name(self) -> str:
        return f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}"


@dataclass(slots=True)
class Report:
    """What a run has seen. frames: read whole, or refused."""

    frames: int = 0
    inputs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TARGETS, 0))
    endings: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in TARGETS})
    findings: list[Finding] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: Finding | None = None
    growth_bytes: int = 0

    @property
    def good(self) -> bool:
        return not self.findings and self.slowest_s <= CALL_S_MAX and self.growth_bytes <= GROWTH_BYTES_MAX


def run_one(target: str, data: bytes, watch: Watch) -> tuple[str, Finding | None]:
    """One input: how it ended, and what is wrong about that."""
    try:
        return TARGETS[target](data, watch), None
    except Exception as error:
        return "", Finding(target, data, f"{type(error).__name__}: {error}")


def slowest_call(target: str, data: bytes, first_s: float) -> float:
    """The time of the slowest call for an input, which took so long at first: where that is too long, of the
    processor, at its best."""
    best_s = first_s
    for _ in range(TIMED_AGAIN):
        if best_s <= CALL_S_MAX:
            break
        watch = Watch(exact=True)
        run_one(target, data, watch)
        best_s = min(best_s, watch.slowest_s)
    return best_s


def fuzz(
    frames: int,
    seed: int,
    targets: tuple[str, ...] = tuple(TARGETS),
    *,
    findings_max: int = 20,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run until that many frames were read. Everything but the time and the memory follows from the seed."""
    report, rng = Report(), Random(seed)
    weights = [WEIGHTS[name] for name in targets]
    early_bytes: int | None = None
    while report.frames < frames and len(report.findings) < findings_max:
        [target] = rng.choices(targets, weights)
        data = INPUTS[target](rng)
        watch = Watch()
        ending, finding = run_one(target, data, watch)
        report.inputs[target] += 1
        report.frames += max(1, watch.frames)
        report.endings[target].add("".join(c for c in ending if not c.isdigit()))
        if finding is not None:
            report.findings.append(finding)
        if watch.slowest_s > report.slowest_s and (
            (took_s := slowest_call(target, data, watch.slowest_s)) > report.slowest_s
        ):
            report.slowest_s = took_s
            report.slowest = Finding(target, data, f"{took_s * 1000:.1f} ms")
        if early_bytes is None and report.frames >= frames // 10:
            early_bytes = resident_bytes()
        if sum(report.inputs.values()) % 10_000 == 0:
            progress(report)
    report.growth_bytes = resident_bytes() - (early_bytes or 0)
    return report


# --- the corpus: one file an input, in hexadecimal, so that a person can read what it is about


def load(path: Path) -> tuple[str, bytes]:
    """The target and the input of a corpus file. Lines that begin with # say what it is."""
    lines = path.read_text(encoding="utf-8").splitlines()
    digits = "".join(line for line in lines if not line.startswith("#"))
    return path.name.split("-")[0], bytes.fromhex(digits)


def save(finding: Finding, folder: Path = CORPUS) -> Path:
    """Keep an input for ever."""
    path = folder / f"{finding.name}.hex"
    digits = finding.data.hex()
    lines = [
        f"# {finding.what}".replace(os.linesep, " "),
        *(digits[i : i + 96] for i in range(0, len(digits), 96)),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def corpus(folder: Path = CORPUS) -> list[Path]:
    return sorted(folder.glob("*.hex"))
