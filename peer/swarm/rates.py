"""How fast something goes, and how fast it may go. Pure: time is an argument.

A `RateMeter` turns bytes into a smoothed rate. A `RateLimiter` decides when a flow (one direction of one
link) may move its next bytes: one object for each direction of a node, with a limit for the node and one
for each group (share), either of which may be absent.

The limiter is a token bucket with a queue in front of it. The queue is start-time fair (Goyal, Vin, Cheng
1996): each question carries a start tag, the virtual time at which it would begin if every flow had an
equal share; the lowest tag is granted first. A flow that asks for a lot at once is therefore asked back
less often, and bytes are shared evenly whatever the sizes of the questions. Deficit round robin does the
same for queues of packets; here a flow has one question at a time and asks again when it was granted, which
a tag survives and a deficit counter does not.

What is shared in this way are *turns*, not bytes side by side: a question that ``continues`` what its flow
has begun keeps the tag with which that began, so it goes before whoever has not begun: for LIMIT_TURN_S at
most, and less where so many wait that a round of turns would take longer than LIMIT_CYCLE_S. Of n pieces that
share a rate all arrive at the end; one after the other they arrive on average in little more than half the
time, and each can be passed on from then on. In the long run every flow has the same share either way.

A small bucket is smooth but loses what a late timer leaves lying; a large one is exact but bursts. So there
are two depths: while nobody waits, tokens are kept for LIMIT_BURST_S only; while somebody waits, lateness
is ours and not the flow's, and is made good up to LIMIT_CATCH_UP_S.

Use, for a writer: wait until the socket is ready; ``ask`` for at most ``quantum_bytes``; wait for the
grant; choose what to send; ``refund`` what was not used. For a reader: read at most ``quantum_bytes``,
``ask`` for what came, and read on when that is granted. One task sleeps until ``next_wake`` and passes on
``grants``.
"""

import heapq
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

from peer.errors import LocalProtocolError
from peer.limits import (
    LIMIT_BURST_S,
    LIMIT_CATCH_UP_S,
    LIMIT_CYCLE_S,
    LIMIT_QUANTUM_BYTES_MIN,
    LIMIT_QUANTUM_S,
    LIMIT_TURN_S,
    LIMIT_WAKE_S,
    RATE_LEAST_SPAN_S,
    RATE_SPAN_S,
)


class RateMeter:
    """Bytes in, smoothed bytes a second out.

    Both the bytes and the time that they took are decayed with the time constant ``span_s``, so a constant
    rate is shown exactly from the start and not only after the span has passed.
    """

    __slots__ = ("_begun", "_bytes", "_seen", "_span", "total_bytes")

    def __init__(self, now: float, span_s: float = RATE_SPAN_S) -> None:
        self._span = span_s
        self._begun = now
        self._seen = now
        self._bytes = 0.0
        self.total_bytes = 0

    def add(self, nbytes: int, now: float) -> None:
        """Count bytes that have moved by then. Late news (a time before the last call's) counts as old."""
        if now >= self._seen:
            self._decay(now)
            self._bytes += nbytes
        else:
            self._bytes += nbytes * math.exp((now - self._seen) / self._span)
        self.total_bytes += nbytes

    def rate(self, now: float) -> float:
        """Bytes a second."""
        if now > self._seen:
            self._decay(now)
        span = self._span * -math.expm1((self._begun - self._seen) / self._span)
        return self._bytes / (span if span > RATE_LEAST_SPAN_S else RATE_LEAST_SPAN_S)

    def _decay(self, now: float) -> None:
        self._bytes *= math.exp((self._seen - now) / self._span)
        self._seen = now


class _Bucket:
    """Tokens (bytes) that flow in at ``rate``; may be in debt after a grant larger than its depth."""

    __slots__ = ("_tokens", "_updated", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = 0.0
        self._updated = now

    def update(self, now: float, waited_for: bool) -> None:
        """Let tokens flow in; the depth depends on whether somebody waited since the last update."""
        if now > self._updated:
            depth = self.rate * (LIMIT_CATCH_UP_S if waited_for else LIMIT_BURST_S)
            self._tokens = min(self._tokens + self.rate * (now - self._updated), max(depth, self._tokens))
            self._updated = now

    def change(self, rate: float, now: float, waited_for: bool) -> None:
        """Another rate from now on; neither saved tokens nor debt weigh more than they would under it."""
        self.update(now, waited_for)
        self.rate = rate
        depth = rate * LIMIT_CATCH_UP_S
        self._tokens = min(max(self._tokens, -depth), depth)

    def wait_s(self, nbytes: int) -> float:
        """Seconds from the last update until so many bytes may pass: 0 = now, inf = never at this rate."""
        missing = min(nbytes, self.rate * LIMIT_QUANTUM_S) - self._tokens
        if self.rate > 0:
            # Sums of floats: a billionth of a token too few is enough.
            return max(0.0, missing / self.rate) if missing > 1e-6 else 0.0
        return math.inf

    def take(self, nbytes: int) -> None:
        self._tokens -= nbytes


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """rate: bytes a second or None. waiting: questions not granted. granted_bytes: under a limit, ever."""

    rate: float | None
    waiting: int
    granted_bytes: int


@dataclass(slots=True)
class _Question:
    flow: Hashable
    group: Hashable
    nbytes: int


_Place: TypeAlias = tuple[tuple[float, bool], int, Hashable]
"""In a queue: tag of the turn, and whether it has still to begin; number of the question; its flow."""


@dataclass(slots=True)
class _Flow:
    """finish: the tag at which its last turn ends. turn: the tag at which that began. used: bytes of it."""

    finish: float = 0.0
    turn: float = 0.0
    used: int = 0


class RateLimiter:
    """When each flow may go on: at most ``rate`` in sum, each group at most its own, flows evenly."""

    def __init__(self, rate: float | None = None, now: float = 0.0) -> None:
        """rate: bytes a second; None is no limit, 0 lets nothing pass."""
        self._node = None if rate is None else _Bucket(_checked(rate), now)
        self._buckets: dict[Hashable, _Bucket] = {}
        self._queues: dict[Hashable, list[_Place]] = {}
        self._questions: dict[Hashable, tuple[int, _Question]] = {}
        self._flows: dict[Hashable, _Flow] = {}  # those that were granted something of late
        self._virtual = 0.0
        self._counter = 0
        self._granted_bytes = 0

    @property
    def rate(self) -> float | None:
        """The node's limit."""
        return None if self._node is None else self._node.rate

    def set_rate(self, rate: float | None, now: float) -> None:
        """Change the node's limit; questions that wait are measured by the new one."""
        self._node = self._changed(self._node, rate, now, bool(self._questions))

    def set_group_rate(self, group: Hashable, rate: float | None, now: float) -> None:
        """Change one group's limit; None forgets the group."""
        bucket = self._changed(self._buckets.pop(group, None), rate, now, bool(self._queues.get(group)))
        if bucket is not None:
            self._buckets[group] = bucket

    def group_rate(self, group: Hashable) -> float | None:
        """The group's own limit, None for none."""
        bucket = self._buckets.get(group)
        return None if bucket is None else bucket.rate

    def unlimited(self, group: Hashable = None) -> bool:
        """Whether nothing limits this group, so that a caller may skip the whole question."""
        return self._node is None and group not in self._buckets

    def quantum_bytes(self, group: Hashable = None) -> int | None:
        """The most to ask for at once so that limits stay exact and smooth; None where there is no limit."""
        if self._node is None and group not in self._buckets:
            return None  # as usual; asked at every read and every chunk
        return max(LIMIT_QUANTUM_BYTES_MIN, int(self._least_rate(group) * LIMIT_QUANTUM_S))

    def _least_rate(self, group: Hashable) -> float:
        """The tighter of the two limits; infinite without any."""
        rates = [bucket.rate for bucket in (self._node, self._buckets.get(group)) if bucket is not None]
        return min(rates, default=math.inf)

    def ask(
        self, flow: Hashable, nbytes: int, now: float, group: Hashable = None, *, continues: bool = False
    ) -> bool:
        """May this flow move so many bytes now? False: it waits, and `grants` will name it once.

        continues: they belong to what its last grant began, so it is still this flow's turn. A flow asks one
        question at a time (LocalProtocolError). More than `quantum_bytes` is granted late or early as a whole
        and paid off afterwards: exact in the long run, less smooth.
        """
        if self.unlimited(group) and not self._questions:
            return True
        if flow in self._questions:
            raise LocalProtocolError(f"flow {flow!r} asks again before it was granted")
        self._update(now)
        tag, begins = self._tag(flow, nbytes, group, continues)
        self._counter += 1
        self._questions[flow] = (self._counter, _Question(flow, group, nbytes))
        heapq.heappush(self._queues.setdefault(group, []), ((tag, begins), self._counter, flow))
        if self._head() == flow and self._wait_s(flow) <= 0:
            self._grant(flow)
            return True
        return False

    def withdraw(self, flow: Hashable) -> None:
        """The flow no longer waits, or is gone: forget it."""
        self._questions.pop(flow, None)
        self._flows.pop(flow, None)

    def refund(self, flow: Hashable, nbytes: int, group: Hashable = None) -> None:
        """Of its last grant this flow has not used so much."""
        for bucket in (self._node, self._buckets.get(group)):
            if bucket is not None:
                bucket.take(-nbytes)
        if flow in self._flows:
            self._flows[flow].finish -= nbytes
            self._flows[flow].used -= nbytes
        self._granted_bytes -= nbytes

    def grants(self, now: float) -> list[Hashable]:
        """The waiting flows that may go on now, fairest first. Each is named once."""
        self._update(now)
        granted: list[Hashable] = []
        while (flow := self._head(now_only=True)) is not None:
            self._grant(flow)
            granted.append(flow)
        return granted

    def next_wake(self, now: float) -> float | None:
        """When to call `grants` next; None while nobody waits or nothing will ever pass."""
        if not self._questions:
            return None
        self._update(now)
        soonest = math.inf
        for flow in self._heads():
            soonest = min(soonest, self._wait_s(flow))
            if not self._group_blocks(flow):
                break  # those behind it wait for it
        return None if soonest == math.inf else now + max(soonest, LIMIT_WAKE_S)

    def statistics(self) -> LimiterStatistics:
        return LimiterStatistics(self.rate, len(self._questions), self._granted_bytes)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        queued = {(number, flow) for queue in self._queues.values() for _, number, flow in queue}
        for flow, (number, question) in self._questions.items():
            assert (number, flow) in queued
            assert question.flow == flow
        assert all(self._queues.values()), "an empty queue is kept"

    def _tag(self, flow: Hashable, nbytes: int, group: Hashable, continues: bool) -> tuple[float, bool]:
        """The virtual time at which the question's turn begins, and whether it is the first of that turn."""
        state = self._flows.get(flow)
        if state is None:
            return self._virtual, True
        turn_s = min(LIMIT_TURN_S, LIMIT_CYCLE_S / (len(self._questions) + 1))
        if continues and state.used + nbytes <= self._least_rate(group) * turn_s:
            return state.turn, False
        return max(self._virtual, state.finish), True

    def _update(self, now: float) -> None:
        if self._node is not None:
            self._node.update(now, bool(self._questions))
        for group, bucket in self._buckets.items():
            bucket.update(now, group in self._queues)

    def _wait_s(self, flow: Hashable) -> float:
        question = self._questions[flow][1]
        node = 0.0 if self._node is None else self._node.wait_s(question.nbytes)
        bucket = self._buckets.get(question.group)
        return node if bucket is None else max(node, bucket.wait_s(question.nbytes))

    def _heads(self) -> list[Hashable]:
        """The first flow of each group, lowest tag first; drops what was withdrawn."""
        heads: list[_Place] = []
        for group in list(self._queues):
            queue = self._queues[group]
            while queue and self._questions.get(queue[0][2], (0,))[0] != queue[0][1]:
                heapq.heappop(queue)
            if queue:
                heads.append(queue[0])
            else:
                del self._queues[group]
        return [flow for _, _, flow in sorted(heads, key=lambda head: head[:2])]

    def _head(self, now_only: bool = False) -> Hashable | None:
        """The fairest flow whose group lets it pass.

        The node's bucket is not gone round: a large question at the head waits for its tokens, or small ones
        would overtake it for ever. A group's bucket is: its questions wait for their own limit.
        """
        for flow in self._heads():
            if not self._group_blocks(flow):
                return flow if not now_only or self._wait_s(flow) <= 0 else None
        return None

    def _group_blocks(self, flow: Hashable) -> bool:
        question = self._questions[flow][1]
        bucket = self._buckets.get(question.group)
        return bucket is not None and bucket.wait_s(question.nbytes) > 0

    def _grant(self, flow: Hashable) -> None:
        _, question = self._questions.pop(flow)
        queue = self._queues[question.group]
        (tag, begins), _, _ = heapq.heappop(queue)
        if not queue:
            del self._queues[question.group]
        self._virtual = max(self._virtual, tag)
        state = self._flows.setdefault(flow, _Flow())
        if begins:
            state.finish, state.used = tag, 0
        state.turn = tag
        state.finish += question.nbytes
        state.used += question.nbytes
        self._granted_bytes += question.nbytes
        for bucket in (self._node, self._buckets.get(question.group)):
            if bucket is not None:
                bucket.take(question.nbytes)
        if len(self._flows) > 2 * len(self._questions) + 1024:
            self._flows = {key: state for key, state in self._flows.items() if state.finish > self._virtual}

    @staticmethod
    def _changed(bucket: _Bucket | None, rate: float | None, now: float, waited: bool) -> _Bucket | None:
        if rate is None:
            return None
        if bucket is None:
            return _Bucket(_checked(rate), now)
        bucket.change(_checked(rate), now, waited)
        return bucket


def _checked(rate: float) -> float:
    if not (rate >= 0 and math.isfinite(rate)):
        raise ValueError(f"a rate limit is at least 0 bytes a second, not {rate}")
    return rate
