"""When members and names are forgotten: a timer wheel, because each has its time and all of them keep moving.

A heap would keep an entry for every announce and cost a logarithm; an ordered dict needs one time span for
all, but the interval that members are told depends on how busy the tracker is. Here an item lies in the
bucket of its deadline, ``EXPIRY_GRAIN_S`` wide; to move it is two dict operations. Within a bucket the order
does not matter, which is also why `popitem` (from the end, never past tombstones) is the way out.
"""

from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """What can be forgotten. Both belong to the wheel: nobody else changes them."""

    deadline: float
    bucket: int | None


Item = TypeVar("Item", bound=Timed)


class Wheel(Generic[Item]):
    """What can be forgotten, in buckets of ``grain`` seconds."""

    def __init__(self, grain: float) -> None:
        self._grain = grain
        self._buckets: dict[int, dict[Item, None]] = {}
        self._first = 0
        """The lowest bucket, or an empty one below it: looked for again only when it has run dry."""

    def put(self, item: Item, deadline: float) -> None:
        """Forget it at ``deadline``, whatever was said before."""
        self.discard(item)
        item.deadline = deadline
        item.bucket = bucket = int(deadline // self._grain)
        if not self._buckets or bucket < self._first:
            self._first = bucket
        self._buckets.setdefault(bucket, {})[item] = None

    def discard(self, item: Item) -> None:
        if item.bucket is None:
            return
        del self._buckets[item.bucket][item]
        self._drop_if_empty(item.bucket)
        item.bucket = None

    def pop_due(self, now: float) -> Item | None:
        """Take out an item whose whole bucket is over, so at most one grain after its time."""
        bucket = self._lowest()
        if bucket is None or (bucket + 1) * self._grain > now:
            return None
        return self._pop(bucket)

    def pop_soonest(self) -> Item | None:
        """Take out the item, or one of those, whose time is over first."""
        bucket = self._lowest()
        return None if bucket is None else self._pop(bucket)

    def _lowest(self) -> int | None:
        if not self._buckets:
            return None
        if self._first not in self._buckets:
            self._first = min(self._buckets)
        return self._first

    def _pop(self, bucket: int) -> Item:
        item, _ = self._buckets[bucket].popitem()
        self._drop_if_empty(bucket)
        item.bucket = None
        return item

    def _drop_if_empty(self, bucket: int) -> None:
        if not self._buckets[bucket]:
            del self._buckets[bucket]

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def check_invariants(self) -> None:
        assert all(self._buckets.values()), "an empty bucket stayed"
        assert not self._buckets or self._first <= min(self._buckets)
        for bucket, items in self._buckets.items():
            for item in items:
                assert item.bucket == bucket == int(item.deadline // self._grain)
