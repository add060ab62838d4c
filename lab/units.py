"""Rates, sizes, counts and times as people write and read them, in bits.  PURE.

Networks count in bits, so the lab does; `peer.units` counts in bytes, as files do.
"""

import re
from typing import Final

from peer import units
from peer.errors import UsageError

_SIZE: Final = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<prefix>[kmgt]?i?)(?P<unit>B|bit|)", re.I
)

_PREFIXES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def parse_rate(text: str) -> float:
    """Bits per second, read as every command of the project reads rates. Raises UsageError."""
    try:
        return 8.0 * units.parse_rate(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def parse_size(text: str) -> float:
    """Bits, from ``32MiB``, ``1GB``, ``15Gbit`` or a bare number of bytes. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip()) if len(text) <= 40 else None
    scale = _PREFIXES.get(match["prefix"].lower()) if match else None
    if match is None or scale is None:
        raise UsageError(f"{text[:40]!r} is not a size: write 32MiB, 1GB or 15Gbit")
    if match["unit"] == "b":
        raise UsageError(
            f"{text!r} may mean bits or bytes: write {text.strip()[:-1]}bit or {text.strip()[:-1]}B"
        )
    return float(match["number"]) * scale * (1 if match["unit"].lower() == "bit" else 8)


def parse_counts(text: str) -> list[int]:
    """``1-8,10,20-100:20``: numbers, ranges, ranges with a step; sorted, each once, at least 1."""
    counts: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?\s*", part)
        if not match:
            raise UsageError(f"{text!r} is not a list of counts: write 1-8,10,20-100:20")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        step = int(match[3]) if match[3] else 1
        if first < 1 or last < first or step < 1:
            raise UsageError(f"{part.strip()!r} is not a count or an ascending range: at least 1")
        if (last - first) // step > COUNTS_MAX:
            raise UsageError(f"{part.strip()!r} names too many counts: at most {COUNTS_MAX}, give a step")
        counts.update(range(first, last + 1, step))
    return sorted(counts)


COUNTS_MAX: Final = 10_000
"""Points of one curve: more cannot be seen."""


def seconds(value: float) -> str:
    """``0.4 ms``, ``12.3 s``, ``5 min 20 s``, ``1.25 h``, ``5.8 d``: for reading, about three digits."""
    # What rounds to a thousand of a unit is written as one of the next: 1 s, not 1e+03 ms.
    for below, scale, unit in ((0.9995e-3, 1e-6, "µs"), (0.9995, 1e-3, "ms"), (120, 1, "s")):
        if abs(value) < below:
            return f"{value / scale:.3g} {unit}"
    if value < 7200:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    return f"{value / 3600:.3g} h" if value < 2 * 86400 else f"{value / 86400:,.1f} d"


def rate(bits_per_s: float) -> str:
    """``4 Mbit/s``: decimal prefixes, as link rates are sold."""
    return f"{_prefixed(bits_per_s)}bit/s"


def size(bits: float) -> str:
    """``32 MiB`` where it is a round binary number of bytes, else decimal ``1.8 GB``."""
    whole = bits / 8
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if scale <= whole < 8192 * scale and whole % (scale / 4) == 0:
            return f"{whole / scale:g} {unit}"
    return f"{_prefixed(whole)}B"


def _prefixed(value: float) -> str:
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}"
    return f"{value:.4g} "
