"""Token buckets: never more than the rate and what was saved, and memory for so many keys only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.bucket import ROUNDING, Bucket, Buckets


@given(
    st.floats(0.1, 1000),
    st.integers(1, 500),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20)), max_size=50),
)
def test_no_more_than_the_rate_and_what_was_saved(
    rate: float, burst: int, visits: list[tuple[float, int]]
) -> None:
    bucket, now, taken = Bucket(rate, burst, 0.0), 0.0, 0
    for pause, wanted in visits:
        now += pause
        taken += sum(bucket.take(now) for _ in range(wanted))
        assert taken <= burst + rate * now + (taken + 1) * ROUNDING


def test_who_waits_as_long_as_it_says_gets_one() -> None:
    bucket, now = Bucket(30, 2, 0.0), 0.0
    for _ in range(100):
        now += bucket.wait(now)
        assert bucket.take(now)
    assert now == pytest.approx(98 / 30)


def test_what_was_spent_beyond_what_was_there_is_waited_for_first() -> None:
    bucket = Bucket(2, 10, 0.0)
    bucket.spend(15, 0.0)
    assert bucket.wait(0.0) == pytest.approx(3.0)
    assert bucket.take(3.0)
    assert not bucket.take(3.0)


def test_keys_have_nothing_to_do_with_each_other() -> None:
    buckets = Buckets(1, 1, 10)
    assert buckets.of("a", 0.0).take(0.0)
    assert not buckets.of("a", 0.0).take(0.0)
    assert buckets.of("b", 0.0).take(0.0)


def test_who_was_not_seen_for_longest_is_forgotten() -> None:
    buckets = Buckets(1, 1, 3)
    for key in ("a", "b", "c", "a", "d"):
        buckets.of(key, 0.0).take(0.0)
    assert len(buckets) == 3
    assert not buckets.of("a", 0.0).take(0.0), "seen after b"
    assert buckets.of("b", 0.0).take(0.0), "forgotten: it begins anew"
