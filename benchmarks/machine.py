"""What every benchmark prints first, and how two sides are compared on a noisy machine."""

import os
import platform
import ssl
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

QUIET_S, QUIET_SHARE, QUIET_MAX_S = 1.0, 0.15, 60.0
"""Thirty getters that wait keep two slow processors busy for a few hundredths; others' work may never end."""


def describe(*packages: str) -> str:
    """One line about this machine and the versions that matter."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    found = [" ".join(ssl.OPENSSL_VERSION.split()[:2])]  # some are several times as fast as others
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return (
        f"# {os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


@dataclass(frozen=True, slots=True)
class Processors:
    """What all processors have done since the machine was started, in ticks."""

    total: int
    idle: int
    stolen: int
    """Given to other guests of the host while there was work here: what was measured then is not ours."""

    @classmethod
    def now(cls) -> "Processors":
        """As it stands; zeros where the system does not tell."""
        try:
            with open("/proc/stat", encoding="ascii") as stat:
                # user nice system idle iowait irq softirq steal; guests are counted in the first two
                ticks = [int(word) for word in stat.readline().split()[1:9]]
        except OSError:
            return cls(0, 0, 0)
        return cls(sum(ticks), ticks[3] + ticks[4], ticks[7])

    def shares_since(self) -> tuple[float, float] | None:
        """Of the time since this was taken: busy for us; taken by the host. None where nobody tells."""
        now = Processors.now()
        total = now.total - self.total
        if not total:
            return None
        stolen = (now.stolen - self.stolen) / total
        return 1 - (now.idle - self.idle) / total - stolen, stolen

    def since(self) -> str:
        """A few words about the time since this was taken."""
        shares = self.shares_since()
        if shares is None:
            return "processors unknown"
        busy, stolen = shares
        return f"processors {busy:.0%} busy, {stolen:.0%} taken by the host"


def await_quiet() -> bool:
    """Until the processors have had next to nothing to do for QUIET_S. False: not within QUIET_MAX_S."""
    deadline = time.monotonic() + QUIET_MAX_S
    while time.monotonic() < deadline:
        before = Processors.now()
        time.sleep(QUIET_S)
        shares = before.shares_since()
        if shares is None or shares[0] < QUIET_SHARE:
            return True
    return False


def ratio_line(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None = None) -> str:
    """The median of the pairwise ratios ours/theirs, with its spread and the bar it is held against."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    median = statistics.median(ratios)
    verdict = "" if bar is None else f"  bar {bar:g}: {'met' if median <= bar else 'MISSED'}"
    return f"{name}: median ratio {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}){verdict}"
