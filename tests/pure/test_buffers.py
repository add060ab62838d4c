"""Lent memory comes back, is used again, and is never in two hands."""

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.buffers import BufferPool
from peer.errors import LocalProtocolError
from peer.limits import BUFFER_POOL_BYTES_MAX, MANIFEST_BYTES_MAX


def test_a_buffer_has_exactly_the_length_asked_for_and_is_used_again() -> None:
    pool = BufferPool()
    first = pool.acquire(1000)
    memory = first.obj
    assert len(first) == 1000
    pool.release(first)
    second = pool.acquire(1024)
    assert second.obj is memory
    assert len(second) == 1024
    assert pool.statistics().allocated == 1
    assert pool.statistics().reused == 1


def test_a_view_that_was_given_back_is_dead() -> None:
    pool = BufferPool()
    view = pool.acquire(10)
    pool.release(view)
    with pytest.raises(ValueError, match="released"):
        view[0] = 1
    with pytest.raises(LocalProtocolError, match="before"):
        pool.release(view)


def test_the_same_memory_is_not_taken_back_twice_by_another_view() -> None:
    pool = BufferPool()
    view = pool.acquire(16)
    part = view[2:4]
    pool.release(view)
    with pytest.raises(LocalProtocolError, match="not on loan"):
        pool.release(part)


def test_foreign_memory_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        BufferPool().release(memoryview(b"not ours"))


def test_an_empty_view_is_nothing_to_give_back() -> None:
    pool = BufferPool()
    pool.release(memoryview(b""))
    pool.release(memoryview(b""))
    assert pool.statistics().kept_bytes == 0


@pytest.mark.parametrize("size", [0, -1])
def test_no_buffer_without_bytes(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        BufferPool().acquire(size)


def test_what_is_used_now_displaces_what_was_used_before() -> None:
    pool = BufferPool(kept_bytes_max=4096)
    for view in [pool.acquire(1024) for _ in range(4)]:
        pool.release(view)
    assert pool.statistics().kept_bytes == 4096
    pool.release(pool.acquire(4096))
    pool.check_invariants()
    pool.acquire(4096)
    assert pool.statistics().reused == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), max_size=60))
def test_books_balance(steps: list[tuple[bool, int]]) -> None:
    pool = BufferPool(kept_bytes_max=10_000)
    lent: list[tuple[memoryview, int]] = []
    for number, (give_back, size) in enumerate(steps):
        if give_back and lent:
            view, mark = lent.pop(size % len(lent))
            assert view[0] == view[-1] == mark % 256, "somebody else wrote into a lent buffer"
            pool.release(view)
        else:
            view = pool.acquire(size)
            assert len(view) == size
            view[0] = view[-1] = number % 256
            lent.append((view, number))
        pool.check_invariants()
        assert len({id(view.obj) for view, _ in lent}) == len(lent)
    for view, _ in lent:
        pool.release(view)
    pool.check_invariants()
    assert pool.statistics().lent_bytes == 0
    assert pool.statistics().kept_bytes <= 10_000


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="how much memory is in use, as Linux tells it"
)
def test_what_is_announced_and_never_sent_takes_no_memory() -> None:
    """Two hundred peers, each with the first byte of a manifest of 32 MiB, took 6 GiB."""

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    pool = BufferPool()
    before = resident_bytes()
    views = [pool.acquire(MANIFEST_BYTES_MAX) for _ in range(16)]
    for view in views:
        view[0] = 1
    assert resident_bytes() - before < MANIFEST_BYTES_MAX
    assert pool.statistics().lent_bytes == 16 * MANIFEST_BYTES_MAX
    for view in views:
        pool.release(view)
    pool.check_invariants()
    assert pool.statistics().kept_bytes <= BUFFER_POOL_BYTES_MAX
