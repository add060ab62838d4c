"""Rates, times and sizes as people write them. Pure.

Rates are read as `tc` reads them: ``bit`` units are bits a second, prefixes k, m, g are powers of 1000, and
ki, mi, gi powers of 1024. Units that end in B are bytes a second. Where people disagree on what a unit
means (``mb``, ``mbps``: bits for most, bytes for `tc`) it is refused with both ways to say it, never
guessed.

Shown are sizes in powers of 1024 (pieces and memory are), rates in powers of 1000 (networks are).
"""

import math
import re

_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_PREFIXES |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

_RATE = re.compile(
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<prefix>[kmgt]?i?)(?P<unit>bits?|b|bps)?(?:/s)?", re.I
)
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<prefix>[kmgt]?i?)B", re.I)
_TIME = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ms|s|m|h|d)")
_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

RATE_MAX = 10**13
"""Bytes a second that nobody means; larger ones are a slip."""

SECONDS_MAX = 100 * 365 * 86_400.0


def parse_rate(text: str) -> int:
    """``4mbit``, ``500kbit``, ``1MB``, ``1MiB``, ``0`` as bytes a second.

    Raises ValueError with a sentence for the user.
    """
    match = _RATE.fullmatch(text.strip()) if text.isascii() and len(text) <= 32 else None
    if match is None:
        raise ValueError(f"{text!r} is not a rate: write for example 4mbit, 500kbit or 1MB (bytes a second)")
    number, prefix, unit = match["number"], match["prefix"], match["unit"] or ""
    if prefix.lower() not in _PREFIXES:
        raise ValueError(f"{text!r} is not a rate: the prefixes are k, m, g, t and Ki, Mi, Gi, Ti")
    value = float(number)
    if not unit:
        if value == 0 and not prefix:
            return 0
        raise ValueError(
            f"{text!r} has no unit: write {number}{prefix}bit for bits or {number}{prefix}B for bytes"
        )
    if unit.lower() == "bps" or unit == "b":
        raise ValueError(f"{text!r} may mean bits or bytes: write {number}{prefix}bit or {number}{prefix}B")
    rate = value * _PREFIXES[prefix.lower()] / (1 if unit == "B" else 8)
    if rate > RATE_MAX:
        raise ValueError(f"{text!r} is faster than any network: at most {format_rate(RATE_MAX)}")
    return max(1, round(rate)) if value else 0


def parse_size(text: str) -> int:
    """``500GiB``, ``2TB``, ``0B`` as bytes. Raises ValueError with a sentence for the user."""
    match = _SIZE.fullmatch(text.strip()) if text.isascii() and len(text) <= 32 else None
    if match is None or match["prefix"].lower() not in _PREFIXES:
        raise ValueError(f"{text!r} is not a size: write for example 500GiB or 2TB")
    return round(float(match["number"]) * _PREFIXES[match["prefix"].lower()])


def parse_duration(text: str) -> float:
    """``90s``, ``10m``, ``1h30m``, ``500ms`` as seconds; a bare number is seconds.

    Raises ValueError with a sentence for the user.
    """
    plain = text.strip().lower()
    trouble = ValueError(f"{text!r} is not a time: write for example 90s, 10m or 1h30m")
    if not plain.isascii() or len(plain) > 32:
        raise trouble
    if re.fullmatch(r"\d+(?:\.\d*)?|\.\d+", plain):
        plain += "s"
    seconds, position, smallest = 0.0, 0, math.inf
    while position < len(plain) or not position:
        match = _TIME.match(plain, position)
        if match is None or _SECONDS[match["unit"]] >= smallest:
            raise trouble
        smallest = _SECONDS[match["unit"]]
        seconds += float(match["number"]) * smallest
        position = match.end()
    if seconds > SECONDS_MAX:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def format_bytes(count: float) -> str:
    """``0 B``, ``1023 B``, ``1.0 KiB``, ``32.0 MiB``."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def format_rate(rate: float) -> str:
    """Bytes a second: ``0 B/s``, ``500.0 kB/s``, ``1.2 GB/s``."""
    return _scaled(rate, 1000, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"))


def format_duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``1m30s``, ``2h05m``, ``3d04h``; what is not finite is ``?``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    value = max(0.0, value)
    index = 0
    # 999.95 would be printed as 1000.0 of the smaller unit.
    while index + 1 < len(units) and value >= step - (0.05 if index else 0.5):
        value /= step
        index += 1
    return f"{value:.1f} {units[index]}" if index else f"{value:.0f} {units[0]}"
