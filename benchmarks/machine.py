"""What every benchmark prints first, and how two sides are compared on a noisy machine."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


def describe(*packages: str) -> str:
    """One line about this machine and the versions that matter."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return (
        f"# {os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}{', ' if found else ''}{', '.join(found)}"
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

    def since(self) -> str:
        """A few words about the time since this was taken."""
        now = Processors.now()
        total = now.total - self.total
        if not total:
            return "processors unknown"
        stolen = (now.stolen - self.stolen) / total
        busy = 1 - (now.idle - self.idle) / total - stolen
        return f"processors {busy:.0%} busy, {stolen:.0%} taken by the host"


def ratio_line(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None = None) -> str:
    """The median of the pairwise ratios ours/theirs, with its spread and the bar it is held against."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    median = statistics.median(ratios)
    verdict = "" if bar is None else f"  bar {bar:g}: {'met' if median <= bar else 'MISSED'}"
    return f"{name}: median ratio {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}){verdict}"
