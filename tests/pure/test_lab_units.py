"""Rates, sizes, counts and times as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import units
from peer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("4mbit", 4e6),
        ("500kbit", 5e5),
        ("1MB", 8e6),
        ("1.5gbit", 1.5e9),
        (" 2 Mbit ", 2e6),
        ("0", 0),
        ("64KiB", 64 * 1024 * 8),
        ("8bit", 8),
        ("0mbit", 0),
    ],
)
def test_rate(text: str, bits: float) -> None:
    assert units.parse_rate(text) == bits


@pytest.mark.parametrize(("text", "bits"), [("32MiB", 2**28), ("1GB", 8e9), ("15Gbit", 15e9), ("100", 800)])
def test_size(text: str, bits: float) -> None:
    assert units.parse_size(text) == bits


@pytest.mark.parametrize(
    "text", ["", "fast", "-4mbit", "4", "4 furlongs", "1e9bit", "nanbit", "4mbit\n5", "4mmbit", "1mb"]
)
def test_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match=r"not a rate|no unit|may mean"):
        units.parse_rate(text)


@pytest.mark.parametrize("text", ["", "big", "-1GB", "1e9", "3 apples", "1KiKiB", "GB"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        units.parse_size(text)
    with pytest.raises(UsageError, match="15Gbit or 15GB"):
        units.parse_size("15Gb")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("5", [5]),
        ("1-4", [1, 2, 3, 4]),
        ("1,5-15:5", [1, 5, 10, 15]),
        ("3,1,3", [1, 3]),
        ("1-10:4", [1, 5, 9]),
    ],
)
def test_counts(text: str, counts: list[int]) -> None:
    assert units.parse_counts(text) == counts


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "5-1", "1-2:0", "a", "1,,2", "1-999999999", "9999999999", "1.5"]
)
def test_no_counts(text: str) -> None:
    with pytest.raises(UsageError):
        units.parse_counts(text)


@given(st.text(max_size=50))
def test_nothing_but_usage_errors(text: str) -> None:
    for parse in (units.parse_rate, units.parse_size, units.parse_counts):
        with suppress(UsageError):
            parse(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0000125, "12.5 µs"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (360, "6 min"),
        (2800, "46 min 40 s"),
        (0.0009996, "1 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert units.seconds(value) == text
    assert units.seconds(12600) == "3.5 h"
    assert units.seconds(5_000_000) == "57.9 d"


def test_rates_and_sizes_are_shown_as_they_are_written() -> None:
    assert units.rate(4e6) == "4 Mbit/s"
    assert units.size(2**28) == "32 MiB"
    assert units.size(1.8e9 * 8) == "1.8 GB"
    assert units.size(80) == "10 B"
