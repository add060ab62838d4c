"""When members and names are forgotten: a timer wheel, because each has its time and all of them keep moving.

A heap would keep an entry for every announce and cost a logarithm; an ordered dict needs one time span for
all, but the interval that members are told depends on how busy the tracker is. Here a member lies in the
bucket of its deadline, ``EXPIRY_GRAIN_S`` wide; to move it is two dict operations. Within a bucket the order
does not matter, which is also why `popitem` (from the end, never past tombstones) is the way out.
"""

from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """What can be forgotten. Both belong to the wheel: nobody else changes them."""

    deadline: float
    bucket: int | None


Member = TypeVar("Member", bound=Timed)


class Wheel(Generic[Member]):
    """Members in buckets of ``grain`` seconds."""

    def __init__(self, grain: float) -> None:
        self._grain = grain
        self._buckets: dict[int, dict[Member, None]] = {}
        self._first = 0
        """The lowest bucket, or an empty one below it: looked for again only when it has run dry."""

    def put(self, member: Member, deadline: float) -> None:
        """Forget this member at ``deadline``, whatever was said before."""
        self.discard(member)
        member.deadline = deadline
        member.bucket = bucket = int(deadline // self._grain)
        if not self._buckets or bucket < self._first:
            self._first = bucket
        self._buckets.setdefault(bucket, {})[member] = None

    def discard(self, member: Member) -> None:
        if member.bucket is None:
            return
        del self._buckets[member.bucket][member]
        self._drop_if_empty(member.bucket)
        member.bucket = None

    def pop_due(self, now: float) -> Member | None:
        """Take out a member whose whole bucket is over, so at most one grain after its time."""
        bucket = self._lowest()
        if bucket is None or (bucket + 1) * self._grain > now:
            return None
        return self._pop(bucket)

    def pop_soonest(self) -> Member | None:
        """Take out the member, or one of those, whose time is over first."""
        bucket = self._lowest()
        return None if bucket is None else self._pop(bucket)

    def _lowest(self) -> int | None:
        if not self._buckets:
            return None
        if self._first not in self._buckets:
            self._first = min(self._buckets)
        return self._first

    def _pop(self, bucket: int) -> Member:
        member, _ = self._buckets[bucket].popitem()
        self._drop_if_empty(bucket)
        member.bucket = None
        return member

    def _drop_if_empty(self, bucket: int) -> None:
        if not self._buckets[bucket]:
            del self._buckets[bucket]

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def check_invariants(self) -> None:
        assert all(self._buckets.values()), "an empty bucket stayed"
        assert not self._buckets or self._first <= min(self._buckets)
        for bucket, members in self._buckets.items():
            for member in members:
                assert member.bucket == bucket == int(member.deadline // self._grain)
