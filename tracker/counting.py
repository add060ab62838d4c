"""Counts by key, in plain dicts: a key that has none takes no memory. Pure."""

from typing import TypeVar

K = TypeVar("K")


def count_up(counts: dict[K, int], key: K) -> None:
    """One more."""
    counts[key] = counts.get(key, 0) + 1


def count_down(counts: dict[K, int], key: K) -> None:
    """One less of a key that has some."""
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
