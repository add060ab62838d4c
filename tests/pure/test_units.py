"""Rates, times and sizes as people write them."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.units import format_bytes, format_duration, format_rate, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("500GiB", 500 * 2**30), ("2TB", 2 * 10**12), ("0B", 0), ("1.5 kB", 1500), ("7b", 7), (" 1KiB ", 1024)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "-1B", "5bit", "1e3B", "\u0661GB", "1iB", "9" * 40 + "B", "GB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write for example"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("4mbit", 500_000),
        ("500kbit", 62_500),
        ("500Kbit", 62_500),
        ("8bit", 1),
        ("1bit", 1),  # a rate that is not zero stays one
        ("1MB", 1_000_000),
        ("1MiB", 1_048_576),
        ("800kB", 800_000),
        ("800KB", 800_000),
        ("1kibit", 128),
        ("1.5 MB/s", 1_500_000),
        ("100B", 100),
        ("10gbit", 1_250_000_000),
        ("0", 0),
        ("0mbit", 0),
        (" 2Mbit ", 250_000),
    ],
)
def test_rates_are_read_as_tc_reads_them(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "mbit", "-1mbit", "1e3mbit", "1xbit", "nan", "inf", "4 m bit", "٤mbit"])
def test_nonsense_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["1mb", "1mbps", "10b", "1Mb/s"])
def test_a_unit_that_people_read_in_two_ways_is_refused_with_both(text: str) -> None:
    with pytest.raises(ValueError, match=r"bits or bytes: write \d+m?M?bit or \d+m?M?B"):
        parse_rate(text)


def test_a_bare_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write 4000bit .* or 4000B"):
        parse_rate("4000")


def test_a_rate_beyond_all_networks_is_a_slip() -> None:
    with pytest.raises(ValueError, match="faster than any network"):
        parse_rate("99999999999tbit")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1d2h3m4s", 93_784.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("90", 90.0),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1m1h", "5m5m", "1h30", "1y", "1 h", "ten minutes", "1s ago"]
)
def test_nonsense_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


def test_a_duration_of_centuries_is_refused() -> None:
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration("9999999d")


def outcome(parse: Callable[[str], float], text: str) -> float | str:
    try:
        return parse(text)
    except ValueError as error:
        return str(error)


@given(st.text(max_size=40))
def test_whatever_is_typed_gives_a_number_or_a_sentence(text: str) -> None:
    for parse in (parse_rate, parse_duration):
        found = outcome(parse, text)
        if isinstance(found, str):
            assert found.startswith(repr(text))
            assert found.isprintable()
        else:
            assert 0 <= found < math.inf


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (32 << 20, "32.0 MiB"), ((1 << 30) - 1, "1.0 GiB")],
)
def test_sizes_are_shown_in_powers_of_1024(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0 B/s"), (999.6, "1.0 kB/s"), (500_000, "500.0 kB/s"), (1.2e9, "1.2 GB/s"), (999_960, "1.0 MB/s")],
)
def test_rates_are_shown_in_powers_of_1000(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.7, "1m00s"),
        (90, "1m30s"),
        (7500, "2h05m"),
        (273_600, "3d04h"),
        (math.inf, "?"),
        (-1, "?"),
    ],
)
def test_durations_are_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**12))
def test_what_tc_would_print_is_read_back(rate: int) -> None:
    assert parse_rate(f"{rate}B") == rate
    assert parse_rate(f"{rate * 8}bit") == rate
