"""Rate meters and limits, in virtual time."""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from itertools import groupby
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from peer.errors import LocalProtocolError
from peer.limits import (
    LIMIT_BURST_S,
    LIMIT_CATCH_UP_S,
    LIMIT_CYCLE_S,
    LIMIT_QUANTUM_BYTES_MIN,
    LIMIT_QUANTUM_S,
    LIMIT_TURN_S,
    RATE_SPAN_S,
)
from peer.swarm.rates import RateLimiter, RateMeter

MBIT = 125_000
KIB = 1024


def test_a_constant_rate_is_shown_from_the_first_second() -> None:
    meter = RateMeter(100.0)
    for i in range(1, 101):
        meter.add(10_000, 100.0 + i * 0.01)
        if i >= 10:
            assert meter.rate(100.0 + i * 0.01) == pytest.approx(1_000_000, rel=0.06)
    assert meter.total_bytes == 1_000_000


def test_a_meter_forgets_what_is_past() -> None:
    meter = RateMeter(0.0)
    for i in range(1, 1001):
        meter.add(1000, i * 0.01)
    assert meter.rate(10.0) == pytest.approx(100_000, rel=0.01)
    assert meter.rate(10.0 + RATE_SPAN_S) == pytest.approx(100_000 / math.e, rel=0.04)
    assert meter.rate(100.0) < 1


def test_the_first_byte_does_not_look_infinitely_fast() -> None:
    meter = RateMeter(5.0)
    assert meter.rate(5.0) == 0
    meter.add(1000, 5.0)
    assert meter.rate(5.0) == 20_000


def test_a_clock_that_steps_back_does_no_harm() -> None:
    meter = RateMeter(5.0)
    meter.add(1000, 6.0)
    meter.add(1000, 5.5)
    assert meter.rate(5.0) == meter.rate(6.0) > 0


def test_late_news_counts_as_what_it_is() -> None:
    late, ordered = RateMeter(0.0), RateMeter(0.0)
    for when, count in ((1.0, 500), (3.0, 1000), (4.0, 200)):
        ordered.add(count, when)
    for when, count in ((3.0, 1000), (1.0, 500), (4.0, 200)):
        late.add(count, when)
    assert late.rate(4.0) == pytest.approx(ordered.rate(4.0))
    assert late.total_bytes == 1700


def test_what_flowed_in_before_a_change_came_at_the_rate_of_then() -> None:
    limiter = RateLimiter(1000, 0.0)
    assert not limiter.ask("flow", 100_000, 0.0)
    assert limiter.next_wake(0.0) == pytest.approx(LIMIT_QUANTUM_S)
    limiter.set_rate(1_000_000, 0.01)
    assert limiter.grants(0.01) == []
    assert limiter.next_wake(0.01) == pytest.approx(0.01 + LIMIT_QUANTUM_S, rel=0.01)


def test_a_group_may_have_the_only_limit() -> None:
    limiter = RateLimiter()
    assert limiter.group_rate("share") is None
    assert limiter.quantum_bytes("share") is None
    limiter.set_group_rate("share", 10 * MBIT, 0.0)
    assert limiter.group_rate("share") == 10 * MBIT
    assert limiter.quantum_bytes("share") == int(10 * MBIT * LIMIT_QUANTUM_S)
    assert limiter.quantum_bytes("other") is None


def test_what_was_saved_while_nobody_asked_is_there_when_somebody_does() -> None:
    limiter = RateLimiter(MBIT, 0.0)
    assert limiter.ask("flow", int(MBIT * LIMIT_BURST_S), 10.0)
    assert not limiter.ask("flow", 10, 10.0)


def test_the_wait_is_counted_from_now() -> None:
    limiter = RateLimiter(1000, 0.0)
    assert not limiter.ask("flow", 100_000, 0.0)
    assert limiter.next_wake(LIMIT_QUANTUM_S / 2) == pytest.approx(LIMIT_QUANTUM_S)


def test_a_group_that_waits_for_its_own_limit_keeps_nobody_from_waking() -> None:
    limiter = RateLimiter(1000, 0.0)
    limiter.set_group_rate("slow", 1, 0.0)
    assert not limiter.ask("first", 100, 0.0, "slow")
    assert limiter.grants(1.0) == ["first"], "and has a debt of a hundred seconds"
    assert not limiter.ask("first", 100, 1.0, "slow")
    while limiter.ask("second", 100, 1.0, "fast"):
        pass
    wake = limiter.next_wake(1.0)
    assert wake is not None
    assert wake == pytest.approx(1.0 + LIMIT_QUANTUM_S, abs=LIMIT_QUANTUM_S)
    assert limiter.grants(wake + 0.001) == ["second"]


def test_who_waits_behind_a_large_question_does_not_wake_before_it() -> None:
    limiter = RateLimiter(1000, 0.0)
    assert not limiter.ask("large", 1000, 0.0, "one")
    assert not limiter.ask("small", 1, 0.0, "two")
    assert limiter.next_wake(0.0) == pytest.approx(LIMIT_QUANTUM_S)


def test_what_is_given_back_was_never_used() -> None:
    """Who is granted ten times as much as it sends is asked back as often as its bytes are worth."""
    limiter, sent = RateLimiter(100_000, 0.0), Counter[str]()

    def use(flow: str, now: float) -> None:
        used = 100 if flow == "frugal" else 1000
        limiter.refund(flow, 1000 - used)
        sent[flow] += used

    for flow in ("frugal", "greedy"):
        limiter.ask(flow, 1000, 0.0)
    for step in range(1, 2001):
        for granted in limiter.grants(step / 100):
            assert isinstance(granted, str)
            use(granted, step / 100)
            while limiter.ask(granted, 1000, step / 100):
                use(granted, step / 100)
    assert sent["frugal"] == pytest.approx(sent["greedy"], rel=0.05)
    assert sum(sent.values()) == pytest.approx(20 * 100_000, rel=0.02)


def test_a_refund_of_who_has_left_is_no_trouble() -> None:
    limiter = RateLimiter(1000, 0.0)
    limiter.ask("a", 100, 5.0)
    limiter.withdraw("a")
    limiter.refund("a", 100)
    assert limiter.ask("b", int(1000 * LIMIT_BURST_S), 5.0)


class Crowd:
    """Flows that ask again as soon as they are granted, and a timer that is a little late."""

    def __init__(self, limiter: RateLimiter, late_s: float = 0.0, seed: int = 1) -> None:
        self.limiter = limiter
        self.rng = Random(seed)
        self.late_s = late_s
        self.now = 0.0
        self.sizes: dict[Hashable, Callable[[], int]] = {}
        self.groups: dict[Hashable, Hashable] = {}
        self.asked: dict[Hashable, int] = {}
        self.log: list[tuple[float, Hashable, int]] = []
        self.wakes = 0

    def join(self, flow: Hashable, size: Callable[[], int], group: Hashable = None) -> None:
        self.sizes[flow] = size
        self.groups[flow] = group
        self.ask(flow)

    def ask(self, flow: Hashable) -> None:
        if flow in self.sizes:
            size = self.asked[flow] = self.sizes[flow]()
            if self.limiter.ask(flow, size, self.now, self.groups[flow]):
                self.granted(flow)

    def granted(self, flow: Hashable) -> None:
        self.log.append((self.now, flow, self.asked[flow]))
        self.ask(flow)

    def run(self, until: float) -> None:
        while (wake := self.limiter.next_wake(self.now)) is not None:
            assert wake > self.now
            late = wake + self.rng.random() * self.late_s
            if late > until:
                break
            self.now = late
            self.wakes += 1
            for flow in self.limiter.grants(self.now):
                self.granted(flow)
            self.limiter.check_invariants()
        self.now = until

    def total(self, flow: Hashable = None, begin: float = 0.0, end: float = math.inf) -> int:
        return sum(n for at, who, n in self.log if begin <= at < end and flow in {None, who})

    def rates_over(self, span: float, begin: float, end: float) -> list[float]:
        """The rate over every window of this span that begins with a grant or just after one."""
        starts = [at for at, _, _ in self.log if begin <= at and at + span <= end]
        rates = []
        for start in starts:
            for edge in (start, math.nextafter(start, math.inf)):
                rates.append(self.total(begin=edge, end=edge + span) / span)
        return rates


@pytest.mark.parametrize("late_s", [0.0, 0.01, 0.04])
@pytest.mark.parametrize("rate", [50_000, 4 * MBIT, 100_000_000])
def test_a_limit_is_exact_within_2_percent_over_5_seconds(rate: int, late_s: float) -> None:
    limiter = RateLimiter(rate)
    crowd = Crowd(limiter, late_s)
    quantum = limiter.quantum_bytes()
    assert quantum is not None
    for flow in range(8):
        crowd.join(flow, lambda: quantum)
    crowd.run(8.0)
    assert crowd.total(end=5.0) == pytest.approx(5 * rate, rel=0.02)
    rates = crowd.rates_over(5.0, 1.0, 8.0)
    assert rates
    assert max(rates) <= 1.02 * rate
    assert min(rates) >= 0.98 * rate


def test_a_limit_is_exact_for_a_single_flow_after_idling() -> None:
    limiter = RateLimiter(4 * MBIT)
    crowd = Crowd(limiter, 0.005)
    crowd.now = 100.0  # nobody has asked for long: the bucket is full, and small
    crowd.join("one", lambda: 16 * KIB)
    crowd.run(105.0)
    assert crowd.total() == pytest.approx(5 * 4 * MBIT, rel=0.02)


def test_a_limit_is_smooth() -> None:
    rate = 4 * MBIT
    limiter = RateLimiter(rate)
    crowd = Crowd(limiter, 0.002)
    for flow in range(4):
        crowd.join(flow, lambda: 16 * KIB)
    crowd.run(3.0)
    for at, _, _ in crowd.log:
        assert crowd.total(begin=at, end=at + 0.2) <= 0.2 * rate + 2 * 16 * KIB
    pauses = [b[0] - a[0] for a, b in zip(crowd.log, crowd.log[1:], strict=False)]
    assert max(pauses) <= 16 * KIB / rate + 0.005


def test_eight_links_share_evenly_within_5_percent_whatever_the_size_of_their_chunks() -> None:
    rate = 4 * MBIT
    limiter = RateLimiter(rate)
    crowd = Crowd(limiter, 0.003)
    rng = Random(7)
    for flow in range(8):
        crowd.join(flow, lambda flow=flow: rng.randrange(1, 1 + (flow + 1) * 3 * KIB))  # type: ignore[misc]
    crowd.run(20.0)
    shares = [crowd.total(flow) / crowd.total() for flow in range(8)]
    assert max(shares) <= 1.05 / 8
    assert min(shares) >= 0.95 / 8
    begin = [crowd.total(flow, 10.0, 15.0) for flow in range(8)]
    assert max(begin) <= 1.1 * min(begin)


def test_a_link_that_comes_late_gets_its_share_and_no_more() -> None:
    crowd = Crowd(RateLimiter(800_000))
    crowd.join("old", lambda: 8000)
    crowd.run(5.0)
    crowd.join("new", lambda: 8000)
    crowd.run(10.0)
    assert crowd.total("new", 5.0, 10.0) == pytest.approx(2_000_000, rel=0.03)


def test_a_link_that_leaves_while_it_waits_leaves_its_share_to_others() -> None:
    crowd = Crowd(RateLimiter(800_000))
    crowd.join("stays", lambda: 8000)
    crowd.join("goes", lambda: 8000)
    crowd.run(5.0)
    crowd.limiter.withdraw("goes")
    del crowd.sizes["goes"]
    crowd.run(10.0)
    assert crowd.total("stays", 5.0, 10.0) == pytest.approx(4_000_000, rel=0.02)
    assert crowd.limiter.statistics().waiting == 1


def test_a_share_keeps_to_its_own_limit_and_others_take_the_rest() -> None:
    limiter = RateLimiter(1_000_000)
    limiter.set_group_rate("small", 200_000, 0.0)
    crowd = Crowd(limiter, 0.002)
    for i in range(4):
        crowd.join(("small", i), lambda: 4000, "small")
    crowd.join(("large", 0), lambda: 16_000, "large")
    crowd.run(10.0)
    small = sum(crowd.total(("small", i), 5.0, 10.0) for i in range(4))
    assert small == pytest.approx(1_000_000, rel=0.02)
    assert crowd.total(("large", 0), 5.0, 10.0) == pytest.approx(4_000_000, rel=0.02)


def test_a_share_may_be_limited_where_the_node_is_not() -> None:
    limiter = RateLimiter()
    limiter.set_group_rate("small", 200_000, 0.0)
    assert limiter.unlimited("large")
    assert not limiter.unlimited("small")
    crowd = Crowd(limiter)
    crowd.join("a", lambda: 4000, "small")
    assert limiter.ask("b", 10**9, 0.0, "large")
    crowd.run(5.0)
    assert crowd.total("a") == pytest.approx(1_000_000, rel=0.02)


def test_no_limit_costs_nothing_and_remembers_nothing() -> None:
    limiter = RateLimiter()
    assert limiter.unlimited()
    assert limiter.quantum_bytes() is None
    assert all(limiter.ask("a", 10**12, 0.0) for _ in range(10))
    assert limiter.next_wake(0.0) is None
    assert limiter.grants(1.0) == []
    assert limiter.statistics().granted_bytes == 0


def test_a_limit_changes_while_flows_wait() -> None:
    limiter = RateLimiter(1_000_000)
    crowd = Crowd(limiter)
    for flow in range(3):
        crowd.join(flow, lambda: 5000)
    crowd.run(5.0)
    limiter.set_rate(100_000, 5.0)
    crowd.run(10.0)
    assert crowd.total(begin=5.0, end=10.0) == pytest.approx(500_000, rel=0.03)
    limiter.set_rate(2_000_000, 10.0)
    crowd.run(15.0)
    assert crowd.total(begin=10.0, end=15.0) == pytest.approx(10_000_000, rel=0.02)


def test_lifting_a_limit_lets_everybody_go() -> None:
    limiter = RateLimiter(10)
    assert not limiter.ask("a", 5000, 0.0)
    assert not limiter.ask("b", 5000, 0.0)
    limiter.set_rate(None, 1.0)
    assert limiter.grants(1.0) == ["a", "b"]
    assert limiter.ask("a", 5000, 1.0)


def test_a_limit_of_nothing_lets_nothing_pass_until_it_is_raised() -> None:
    limiter = RateLimiter(0)
    assert not limiter.ask("a", 1, 0.0)
    assert limiter.next_wake(0.0) is None
    assert limiter.grants(1000.0) == []
    limiter.set_rate(1000, 1000.0)
    wake = limiter.next_wake(1000.0)
    assert wake is not None
    assert wake == pytest.approx(1000.001)
    assert limiter.grants(wake) == ["a"]


def test_debt_from_a_fast_time_does_not_freeze_a_slow_one() -> None:
    limiter = RateLimiter(1e9)
    assert not limiter.ask("a", 10**9, 0.0)  # far more than a quantum: granted early, paid off later
    assert limiter.grants(0.06) == ["a"]
    limiter.set_rate(10_000, 0.06)
    assert not limiter.ask("a", 100, 0.06)
    wake = limiter.next_wake(0.06)
    assert wake is not None
    assert wake <= 0.06 + 0.01 + LIMIT_CATCH_UP_S + 1e-9


def test_what_was_not_used_is_given_back() -> None:
    limiter = RateLimiter(100_000)
    assert limiter.grants(1.0) == []
    assert limiter.ask("a", 5000, 1.0)
    assert not limiter.ask("b", 5000, 1.0)
    limiter.refund("a", 5000)
    assert limiter.grants(1.0) == ["b"]
    assert limiter.statistics().granted_bytes == 5000


def test_two_questions_of_one_flow_are_our_mistake() -> None:
    limiter = RateLimiter(1000)
    assert not limiter.ask("a", 100, 0.0)
    with pytest.raises(LocalProtocolError):
        limiter.ask("a", 100, 0.0)


@pytest.mark.parametrize("rate", [-1, math.inf, math.nan])
def test_a_rate_must_be_a_number(rate: float) -> None:
    with pytest.raises(ValueError, match="rate limit"):
        RateLimiter(rate)
    with pytest.raises(ValueError, match="rate limit"):
        RateLimiter(5).set_rate(rate, 0.0)


def test_the_quantum_follows_the_tighter_limit() -> None:
    limiter = RateLimiter(10_000_000)
    limiter.set_group_rate("g", 1_000_000, 0.0)
    assert limiter.quantum_bytes("g") == 50_000
    assert limiter.quantum_bytes() == 500_000
    assert RateLimiter(10).quantum_bytes() == LIMIT_QUANTUM_BYTES_MIN


def test_a_large_question_is_not_overtaken_for_ever_by_small_ones() -> None:
    limiter = RateLimiter(100_000)
    crowd = Crowd(limiter)
    crowd.join("large", lambda: 50_000)
    for i in range(5):
        crowd.join(i, lambda: 500)
    crowd.run(10.0)
    assert crowd.total("large") == pytest.approx(1_000_000 / 6, rel=0.35)
    assert crowd.wakes <= len(crowd.log)  # nobody polls while it saves up


def send_pieces(rate: int, piece_bytes: int, chunk_bytes: int, flows: int, until: float) -> list[Hashable]:
    """Whose chunk each was, where every flow sends piece after piece."""
    limiter = RateLimiter(rate)
    sent = dict.fromkeys(range(flows), 0)
    log: list[Hashable] = []
    asking: list[Hashable] = list(sent)
    now = 0.0
    while now < until:
        granted = [flow for flow in asking if limiter.ask(flow, chunk_bytes, now, continues=bool(sent[flow]))]  # type: ignore[index]
        if not granted:
            wake = limiter.next_wake(now)
            assert wake is not None
            now = wake
            granted = limiter.grants(now)
        for flow in granted:
            log.append(flow)
            sent[flow] = (sent[flow] + chunk_bytes) % piece_bytes  # type: ignore[index]
        asking = granted
    return log


def test_a_piece_that_has_begun_goes_before_those_that_have_not() -> None:
    log = send_pieces(4 * MBIT, 64 * KIB, 16 * KIB, flows=4, until=10.0)
    turns = [log[at : at + 4] for at in range(0, len(log) - 4, 4)]
    assert all(len(set(turn)) == 1 for turn in turns), "pieces go whole"
    assert all(
        {turn[0] for turn in turns[at : at + 4]} == {0, 1, 2, 3} for at in range(0, len(turns) - 4, 4)
    ), "everybody has a turn"


def test_a_turn_ends_before_others_wait_for_long() -> None:
    """A piece of ten seconds is sent side by side with others."""
    rate = 128 * KIB
    log = send_pieces(rate, 10 * rate, 4 * KIB, flows=4, until=60.0)
    lengths = [len(list(same)) for _, same in groupby(log)]
    assert max(lengths) * 4 * KIB <= LIMIT_TURN_S * rate
    counts = Counter(log)
    assert max(counts.values()) - min(counts.values()) <= LIMIT_TURN_S * rate / (4 * KIB)


def test_where_many_wait_each_has_a_turn_before_it_looks_dead() -> None:
    log = send_pieces(64 * KIB, 128 * KIB, 2 * KIB, flows=40, until=60.0)
    last = dict.fromkeys(range(40), 0)
    for at, flow in enumerate(log):
        assert isinstance(flow, int)
        waited_s = (at - last[flow]) * 2 * KIB / (64 * KIB)
        assert waited_s < 1.5 * LIMIT_CYCLE_S
        last[flow] = at


class LimiterMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order: never more than allowed, never stuck, books in order."""

    flows = st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        self.limiter = RateLimiter(1000.0)
        self.now = 0.0
        self.allowed = 0.0  # what may have been granted at most, by the rates that held
        self.waiting: dict[int, int] = {}
        self.granted = 0
        self.largest = 0

    def note(self, flow: Hashable, nbytes: int) -> None:
        self.granted += nbytes
        self.largest = max(self.largest, nbytes)

    @rule(
        flow=flows, nbytes=st.integers(1, 5000), group=st.sampled_from([None, "g"]), continues=st.booleans()
    )
    def ask(self, flow: int, nbytes: int, group: str | None, continues: bool) -> None:
        if flow not in self.waiting:
            if self.limiter.ask(flow, nbytes, self.now, group, continues=continues):
                self.note(flow, nbytes)
            else:
                self.waiting[flow] = nbytes

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.allowed += seconds * (self.limiter.rate or 0)

    @rule()
    def grant(self) -> None:
        for flow in self.limiter.grants(self.now):
            assert isinstance(flow, int)
            self.note(flow, self.waiting.pop(flow))

    @rule(flow=flows)
    def withdraw(self, flow: int) -> None:
        self.limiter.withdraw(flow)
        self.waiting.pop(flow, None)

    @rule(rate=st.sampled_from([0.0, 100.0, 1000.0, 100_000.0]))
    def change(self, rate: float) -> None:
        # Debt beyond the new depth is forgiven: that is at most what one grant overdrew.
        self.allowed += self.largest
        self.limiter.set_rate(rate, self.now)

    @rule(rate=st.sampled_from([None, 500.0]))
    def change_group(self, rate: float | None) -> None:
        self.limiter.set_group_rate("g", rate, self.now)

    @precondition(lambda self: self.waiting and self.limiter.rate)
    @rule()
    def everybody_is_served_in_the_end(self) -> None:
        for _ in range(500):
            wake = self.limiter.next_wake(self.now)
            if wake is None:
                break
            self.wait(wake - self.now)
            self.grant()
        assert not self.waiting

    @invariant()
    def never_too_much(self) -> None:
        self.limiter.check_invariants()
        assert self.limiter.statistics().waiting == len(self.waiting)
        assert self.limiter.statistics().granted_bytes == self.granted
        assert self.granted <= self.allowed + self.largest + 1


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_depths_are_what_the_exactness_needs() -> None:
    assert LIMIT_BURST_S + LIMIT_QUANTUM_S <= 0.1
