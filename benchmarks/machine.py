"""What every benchmark prints first, and how two sides are compared on a noisy machine."""

import os
import platform
import statistics
from collections.abc import Sequence
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


def ratio_line(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None = None) -> str:
    """The median of the pairwise ratios ours/theirs, with its spread and the bar it is held against."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    median = statistics.median(ratios)
    verdict = "" if bar is None else f"  bar {bar:g}: {'met' if median <= bar else 'MISSED'}"
    return f"{name}: median ratio {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f}){verdict}"
