"""Memory for payload: lent, given back, lent again.

A piece of some MiB would otherwise be allocated for every arriving piece, and touching fresh pages costs as
much as receiving into them. The pool keeps what comes back, up to a bound; it never refuses and never waits:
how much is lent at once is bounded by those who borrow (one answer at a time on each connection).

A large one is memory that the system gives when it is written to and not before: the other side says how long
its answer will be, and shall not take our memory by saying so.

It holds no reference to what is lent, so a buffer that an error path forgets is merely collected.
"""

import mmap
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from peer.errors import LocalProtocolError
from peer.limits import BUFFER_POOL_BYTES_MAX, BUFFER_UNTOUCHED_BYTES_MIN

_Memory: TypeAlias = bytearray | mmap.mmap


class Buffers(Protocol):
    """Lends memory."""

    def acquire(self, size: int) -> memoryview:
        """A writable view of exactly ``size`` bytes; what is in them is undefined."""

    def release(self, view: memoryview) -> None:
        """Give back the view that `acquire` returned, exactly once. It cannot be used any more (slices of it
        still can: let none of them live). An empty view is ignored."""


@dataclass(frozen=True, slots=True)
class BufferStatistics:
    """lent, kept: bytes. allocated, reused: how often `acquire` needed new memory, and how often not."""

    lent_bytes: int
    kept_bytes: int
    allocated: int
    reused: int


class BufferPool:
    """Buffers for reuse, in sizes of powers of two so that a short last piece takes a common one."""

    def __init__(self, kept_bytes_max: int = BUFFER_POOL_BYTES_MAX) -> None:
        self._kept_bytes_max = kept_bytes_max
        self._kept: dict[int, dict[int, _Memory]] = {}
        """By capacity; there by identity, which tells at once whether a buffer is kept already."""
        self._kept_bytes = 0
        self._lent_bytes = 0
        self._allocated = 0
        self._reused = 0

    def acquire(self, size: int) -> memoryview:
        """As `Buffers.acquire`. Raises LocalProtocolError for a size that is not positive."""
        if size <= 0:
            raise LocalProtocolError(f"a buffer of {size} bytes makes no sense")
        capacity = 1 << (size - 1).bit_length()
        kept = self._kept.get(capacity)
        if kept:
            _, memory = kept.popitem()
            self._kept_bytes -= capacity
            self._reused += 1
        else:
            memory = _fresh(capacity)
            self._allocated += 1
        self._lent_bytes += capacity
        return memoryview(memory)[:size]

    def release(self, view: memoryview) -> None:
        """As `Buffers.release`. Raises LocalProtocolError for a view that is not on loan."""
        try:
            if not view.nbytes:
                return
            memory = view.obj
        except ValueError:
            raise LocalProtocolError("this buffer was given back before") from None
        if not isinstance(memory, bytearray | mmap.mmap) or self._is_kept(memory):
            raise LocalProtocolError("this buffer is not on loan from this pool")
        view.release()  # a late use of it now fails instead of writing into somebody else's piece
        self._lent_bytes -= len(memory)
        self._keep(memory)

    def _is_kept(self, memory: _Memory) -> bool:
        return id(memory) in self._kept.get(len(memory), ())

    def _keep(self, memory: _Memory) -> None:
        capacity = len(memory)
        for size, others in self._kept.items():  # what is used now is likelier to be used next
            while others and size != capacity and self._kept_bytes + capacity > self._kept_bytes_max:
                others.popitem()
                self._kept_bytes -= size
        if self._kept_bytes + capacity <= self._kept_bytes_max:
            self._kept.setdefault(capacity, {})[id(memory)] = memory
            self._kept_bytes += capacity

    def statistics(self) -> BufferStatistics:
        """A snapshot. ``lent_bytes`` counts what was never given back for ever."""
        return BufferStatistics(self._lent_bytes, self._kept_bytes, self._allocated, self._reused)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not balance."""
        memories = [memory for kept in self._kept.values() for memory in kept.values()]
        assert self._kept_bytes == sum(map(len, memories)) <= self._kept_bytes_max
        assert all(id(memory) == key for kept in self._kept.values() for key, memory in kept.items())
        assert all(len(memory) == size for size, kept in self._kept.items() for memory in kept.values())
        assert self._lent_bytes >= 0


def _fresh(capacity: int) -> _Memory:
    """New memory. A `bytearray` is filled with zeros, which takes all of it at once."""
    if capacity < BUFFER_UNTOUCHED_BYTES_MIN:
        return bytearray(capacity)
    return mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
