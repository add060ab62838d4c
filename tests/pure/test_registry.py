"""The tracker's registry: who is told to whom, what is forgotten when, and what gives way at each limit."""

from collections import Counter
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from peer import limits
from peer.ids import Address, NodeId, ShareId
from peer.wire.messages import Announce, Announced, AnnounceEvent, KnownPeer
from tracker.observed import observe
from tracker.registry import Registry, RegistryLimits
from tracker.swarm import Member, Swarm
from tracker.wheel import Wheel

STARTED, PROGRESS, STOPPED = AnnounceEvent.STARTED, AnnounceEvent.PROGRESS, AnnounceEvent.STOPPED
PORT = 7701


def share_id(number: int) -> ShareId:
    return ShareId(number.to_bytes(32, "big"))


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "little"))


SHARE = share_id(1)
ANYBODY = KnownPeer(Address("192.0.2.1", PORT))


class Desk:
    """A registry with a clock and a generator, and short words to announce with."""

    def __init__(self, bounds: RegistryLimits | None = None) -> None:
        self.registry = Registry(bounds)
        self.now = 1000.0
        self.rng = Random(7)

    def announce(
        self,
        node: int,
        *,
        share: ShareId = SHARE,
        host: str | None = None,
        port: int = PORT,
        event: AnnounceEvent = PROGRESS,
        left: int = 1,
        want: int = 50,
        proven: bool = False,
    ) -> Announced:
        message = Announce(1, share, node_id(node), port, event, left, want)
        host = host or f"10.0.0.{node}"
        answer = self.registry.announce(message, host, self.now, self.rng, proven=proven)
        self.registry.check_invariants()
        return answer

    def told(self, node: int, **how: object) -> set[int]:
        """The numbers of the nodes that this asker is told."""
        answer = self.announce(node, **how)  # type: ignore[arg-type]
        assert all(peer.node is not None for peer in answer.peers)
        return {int.from_bytes(peer.node or b"", "little") for peer in answer.peers}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_first_is_told_nobody_and_second_is_told_first(desk: Desk) -> None:
    first = desk.announce(1, event=STARTED)
    assert first == Announced(limits.ANNOUNCE_INTERVAL_S_MIN, 0, 1, ())
    second = desk.announce(2, event=STARTED)
    assert [peer.address for peer in second.peers] == [Address("10.0.0.1", PORT)]
    assert [peer.node for peer in second.peers] == [node_id(1)]
    assert (second.seeders, second.leechers) == (0, 2)


def test_who_has_proved_it_is_not_moved_by_who_only_claims_it(desk: Desk) -> None:
    """A tracker takes plain connections beside encrypted ones: there anybody could be anybody's node."""
    desk.announce(1, proven=True)
    desk.announce(1, host="10.6.6.6")
    desk.announce(1, event=STOPPED)
    desk.announce(1, port=0)
    assert [peer.address for peer in desk.announce(2).peers] == [Address("10.0.0.1", PORT)]
    desk.announce(1, host="10.0.0.7", proven=True)
    assert [peer.address for peer in desk.announce(2).peers] == [Address("10.0.0.7", PORT)]
    desk.announce(2, host="10.6.6.6")
    desk.announce(2, proven=True)
    assert [peer.address for peer in desk.announce(1, proven=True).peers] == [Address("10.0.0.2", PORT)]
    desk.announce(2, event=STOPPED, proven=True)
    assert desk.told(1, proven=True) == set()
    desk.now += 10_000
    desk.announce(1, host="10.0.0.9")
    assert [peer.address for peer in desk.announce(3).peers] == [Address("10.0.0.9", PORT)]


def test_claims_do_not_use_up_what_a_node_may_have_listed() -> None:
    desk = Desk(RegistryLimits(members_per_node=2))
    for number in range(5):
        desk.announce(1, share=share_id(number), host="10.6.6.6")
    for number in range(5, 8):
        desk.announce(1, share=share_id(number), proven=True)
    assert [len(desk.told(2, share=share_id(number))) for number in range(8)] == [1, 1, 0, 0, 0, 1, 1, 0]


def test_seeder_is_told_leechers_only(desk: Desk) -> None:
    desk.announce(1, left=0)
    desk.announce(2, left=0)
    desk.announce(3, left=5)
    assert desk.told(1, left=0) == {3}
    assert desk.told(3, left=5) == {1, 2}
    answer = desk.announce(3, left=5)
    assert (answer.seeders, answer.leechers) == (2, 1)


def test_completing_turns_a_leecher_into_a_seeder(desk: Desk) -> None:
    desk.announce(1, left=5)
    desk.announce(2, left=5)
    assert desk.announce(1, left=0, event=AnnounceEvent.COMPLETED).seeders == 1
    assert desk.told(2) == {1}


def test_swarms_do_not_mix(desk: Desk) -> None:
    desk.announce(1, share=share_id(1))
    assert desk.told(2, share=share_id(2)) == set()


def test_new_address_replaces_the_old_entry(desk: Desk) -> None:
    desk.announce(1)
    desk.announce(1, host="10.9.9.9", port=4000)
    answer = desk.announce(2)
    assert [peer.address for peer in answer.peers] == [Address("10.9.9.9", 4000)]
    assert answer.leechers == 2


def test_stopped_removes_and_is_told_nobody(desk: Desk) -> None:
    desk.announce(1)
    desk.announce(2)
    assert desk.announce(1, event=STOPPED) == Announced(limits.ANNOUNCE_INTERVAL_S_MIN, 0, 1, ())
    assert desk.told(2) == set()
    assert desk.announce(3, event=STOPPED).leechers == 1, "stopping without having started changes nothing"
    desk.announce(2, event=STOPPED)
    assert desk.registry.statistics().swarms == 0


def test_a_peer_that_does_not_listen_is_answered_but_not_listed(desk: Desk) -> None:
    desk.announce(1)
    assert desk.told(2, port=0) == {1}
    assert desk.told(3) == {1}
    desk.announce(1, port=0)
    assert desk.told(3) == set(), "it stopped listening, so its old entry is dead"


def test_want_bounds_the_answer_and_a_message_bounds_want(desk: Desk) -> None:
    for node in range(1, 200):
        desk.announce(node)
    assert len(desk.told(1, want=7)) == 7
    assert desk.told(1, want=0) == set()
    assert len(desk.told(1, want=10_000)) == limits.PEERS_PER_MESSAGE_MAX


def test_every_other_member_is_equally_likely() -> None:
    desk = Desk()
    for node in range(1, 11):
        desk.announce(node, left=node % 2)
    seen: Counter[int] = Counter()
    draws = 2000
    for _ in range(draws):
        seen.update(desk.told(1, want=3))
    assert set(seen) == set(range(2, 11))
    expected = draws * 3 / 9
    assert all(abs(count - expected) < expected * 0.15 for count in seen.values()), seen


def test_silent_member_is_forgotten_after_its_intervals(desk: Desk) -> None:
    desk.announce(1)
    desk.now += limits.MEMBER_INTERVALS * limits.ANNOUNCE_INTERVAL_S_MIN - 0.1
    assert desk.told(2) == {1}
    desk.now += 0.2
    assert desk.told(2) == set(), "not told any more, although its grain is not over"
    desk.now += limits.EXPIRY_GRAIN_S
    assert desk.announce(2).leechers == 1
    assert desk.registry.statistics().expired == 1


def test_reporting_member_stays(desk: Desk) -> None:
    for _ in range(20):
        desk.now += limits.ANNOUNCE_INTERVAL_S_MIN
        desk.announce(1)
    assert desk.told(2) == {1}
    assert desk.registry.statistics().expired == 0


def test_a_leap_of_years_forgets_everybody_in_bounded_steps() -> None:
    desk = Desk(RegistryLimits(swarm_members_per_address=5000))
    for node in range(1, 3 * limits.EXPIRIES_PER_CALL_MAX):
        message = Announce(1, SHARE, node_id(node), PORT, STARTED, 1, 0)
        desk.registry.announce(message, "10.0.0.1", desk.now, desk.rng)
    desk.now += 10 * 365 * 86400
    assert desk.told(5000) == set()
    assert desk.registry.statistics().expired == limits.EXPIRIES_PER_CALL_MAX
    while desk.registry.expire(desk.now):
        desk.registry.check_invariants()
    assert desk.registry.statistics().members == 1


def test_interval_grows_with_the_number_of_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANNOUNCES_PER_S_TARGET", 0.01)
    desk = Desk()
    intervals = [desk.announce(node).interval for node in range(1, 31)]
    assert intervals[0] == 100
    assert intervals[9] == 1000
    assert intervals[-1] == limits.ANNOUNCE_INTERVAL_S_MAX
    desk.now += limits.MEMBER_INTERVALS * limits.ANNOUNCE_INTERVAL_S_MAX - 1
    assert 30 in desk.told(31), "who was told to be silent for long is remembered for long"


def test_wheel_lets_out_whoever_is_due_first_whatever_the_order_of_entry() -> None:
    rng = Random(11)
    wheel: Wheel[Member] = Wheel(8.0)
    members = [Member(SHARE, node_id(n), ANYBODY, "n", seeder=False, loopback=False) for n in range(300)]
    for member in members * 3:  # each is moved twice, also to earlier times
        wheel.put(member, rng.uniform(0, 5000))
        wheel.check_invariants()
    gone = rng.sample(members, 100)
    for member in gone:
        wheel.discard(member)
    out: list[Member] = []
    for now in range(0, 2500, 100):
        while (due := wheel.pop_due(now)) is not None:
            assert now - 100 - 8 <= due.deadline <= now
            out.append(due)
    while (soonest := wheel.pop_soonest()) is not None:
        out.append(soonest)
    buckets = [member.deadline // 8 for member in out]
    assert buckets == sorted(buckets)
    assert len(out) == 200
    assert not {*out} & {*gone}
    wheel.discard(gone[0])
    wheel.check_invariants()


# --- limits: one of each


def test_one_address_cannot_fill_a_swarm() -> None:
    desk = Desk(RegistryLimits(swarm_members_per_address=3))
    desk.announce(100)
    for node in range(1, 20):
        assert desk.told(node, host="10.6.6.6") >= {100}, "unlisted or not, it is told whom to dial"
    assert len(desk.told(100)) == 3
    assert desk.registry.statistics().unlisted == 16
    desk.announce(1, host="10.6.6.6", event=STOPPED)
    desk.announce(50, host="10.6.6.6")
    assert 50 in desk.told(100), "a place that became free is taken"


def test_one_address_cannot_fill_the_table() -> None:
    desk = Desk(RegistryLimits(members_per_address=4))
    for number in range(10):
        desk.announce(number, share=share_id(number), host="10.6.6.6")
    assert desk.registry.statistics().members == 4
    desk.announce(1, share=share_id(99))
    assert desk.registry.statistics().members == 5


def test_an_ipv6_customer_counts_as_one_address() -> None:
    desk = Desk(RegistryLimits(swarm_members_per_address=2))
    for node in range(1, 9):
        desk.announce(node, host=f"2001:db8:0:1::{node:x}")
    assert desk.registry.statistics().members == 2
    desk.announce(9, host="2001:db8:0:2::1")
    assert desk.registry.statistics().members == 3


def test_one_node_cannot_be_everywhere() -> None:
    desk = Desk(RegistryLimits(members_per_node=4))
    for number in range(10):
        desk.announce(1, share=share_id(number), host=f"10.1.1.{number}")
    assert desk.registry.statistics().members == 4


def test_full_swarm_gives_a_random_place() -> None:
    desk = Desk(RegistryLimits(swarm_members=5))
    for node in range(1, 40):
        desk.announce(node)
        assert node in desk.told(200, port=0), "the newcomer is in"
    statistics = desk.registry.statistics()
    assert (statistics.members, statistics.evicted) == (5, 34)


def test_too_many_swarms_cost_a_small_one() -> None:
    desk = Desk(RegistryLimits(swarms=20))
    for node in range(1, 31):
        desk.announce(node, share=share_id(0))
    for number in range(1, 200):
        desk.announce(1, share=share_id(number))
    statistics = desk.registry.statistics()
    assert statistics.swarms == 20
    assert len(desk.told(40, share=share_id(0))) == 30, "the swarm that people use is untouched"


def test_too_many_members_cost_the_one_nearest_to_its_end() -> None:
    desk = Desk(RegistryLimits(members=5))
    for node in range(1, 6):
        desk.announce(node, share=share_id(node))
        desk.now += limits.EXPIRY_GRAIN_S
    desk.announce(1, share=share_id(1))  # was the first, and has just been heard of
    desk.announce(6, share=share_id(6))
    assert desk.told(9, share=share_id(2), port=0) == set(), "2 was silent for longest"
    for node in (1, 3, 4, 5, 6):
        assert desk.told(9, share=share_id(node), port=0) == {node}


def test_eviction_may_empty_the_very_swarm_that_grows() -> None:
    desk = Desk(RegistryLimits(members=1))
    desk.announce(1)
    desk.announce(2)
    assert desk.told(3, port=0) == {2}


# --- observed addresses


@pytest.mark.parametrize(
    ("host", "shown", "network", "loopback"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7", False),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("127.3.2.1", "127.3.2.1", "127.3.2.1", True),
        ("::1", "::1", "0/64", True),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7", False),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("2001:db8::1", "2001:db8::1", "20010db800000000/64", False),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80000000000000/64", False),
        ("peer-3", "peer-3", "peer-3", False),
    ],
)
def test_observe(host: str, shown: str, network: str, loopback: bool) -> None:
    seen = observe(host)
    assert (seen.host, seen.network, seen.loopback) == (shown, network, loopback)


def test_loopback_members_are_told_to_the_same_machine_only(desk: Desk) -> None:
    """Otherwise others would dial their own machine, at a port that a stranger chose."""
    desk.announce(1, host="127.0.0.1")
    desk.announce(2, host="::1", left=0)
    desk.announce(3, host="192.0.2.1")
    assert desk.told(4, host="192.0.2.2") == {3}
    assert desk.told(5, host="127.0.0.1") == {1, 2, 3, 4}
    assert desk.announce(4, host="192.0.2.2").seeders == 1, "the counts are of all"


# --- scale


def test_hundred_thousand_members_are_answered_by_a_handful_of_draws() -> None:
    """The work for an answer is in the draws: nothing walks the members."""

    class CountingRandom(Random):
        drawn: ClassVar[int] = 0

        def sample(self, population, k, **how):  # type: ignore[no-untyped-def]
            CountingRandom.drawn += k
            return super().sample(population, k, **how)

    swarm = Swarm(SHARE)
    for number in range(100_000):
        member = Member(SHARE, node_id(number), ANYBODY, "n", seeder=number % 3 == 0, loopback=False)
        member.deadline = 1.0
        swarm.add(member)
    for asker in range(1000):
        swarm.sample(50, node_id(asker), seeder=False, loopback=True, now=0.0, rng=CountingRandom(asker))
    assert CountingRandom.drawn == 1000 * 51
    assert swarm.seeders == 33_334


# --- any order of anything

NODES = st.integers(0, 7)
SHARES = st.integers(0, 5).map(share_id)
HOSTS = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1", "2001:db8::1", "2001:db8::2", "::1"]
)


class RegistryMachine(RuleBasedStateMachine):
    """Announces in any order, time in any steps; a model says who must be there while no limit was met."""

    bounds: ClassVar[RegistryLimits] = RegistryLimits()

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.registry = Registry(self.bounds)
        self.rng = Random(seed)
        self.now = 0.0
        self.model: dict[tuple[ShareId, NodeId], tuple[Address, bool, float]] = {}
        self.proven: dict[tuple[ShareId, NodeId], float] = {}
        self.ignored = 0

    @rule(
        share=SHARES,
        node=NODES.map(node_id),
        host=HOSTS,
        port=st.sampled_from([0, PORT, PORT + 1]),
        event=st.sampled_from(AnnounceEvent),
        left=st.sampled_from([0, 1, 2**40]),
        want=st.sampled_from([0, 1, 3, 50]),
        proven=st.booleans(),
    )
    def announce(self, host: str, port: int, event: AnnounceEvent, proven: bool, **fields: Any) -> None:
        message = Announce(1, port=port, event=event, **fields)
        share, node = message.share, message.node
        swarm = self.registry._swarms.get(share)
        is_there = swarm is not None and swarm.get(node) is not None  # not evicted
        answer = self.registry.announce(message, host, self.now, self.rng, proven=proven)
        removes = event is STOPPED or port == 0
        if is_there and not proven and self.proven.get((share, node), 0.0) > self.now:
            self.ignored += not removes
        elif removes:
            self.model.pop((share, node), None)
            self.proven.pop((share, node), None)
        else:
            deadline = self.now + limits.MEMBER_INTERVALS * answer.interval
            self.model[share, node] = (Address(host, port), message.left == 0, deadline)
            self.proven[share, node] = deadline if proven else 0.0
        self.check_answer(message, host, answer)

    def check_answer(self, asked: Announce, host: str, answer: Announced) -> None:
        share, want = asked.share, 0 if asked.event is STOPPED else asked.want
        told = {peer.node: peer.address for peer in answer.peers}
        assert len(told) == len(answer.peers) <= want, "nobody is told twice"
        of_use = {
            other: address
            for (where, other), (address, seeder, deadline) in self.model.items()
            if where == share
            and other != asked.node
            and deadline > self.now
            and not (seeder and asked.left == 0)
            and (observe(host).loopback or not observe(address.host).loopback)
        }
        assert told.items() <= of_use.items()
        if self.unlimited():
            assert self.alive(0, share) <= answer.seeders + answer.leechers
            assert answer.seeders + answer.leechers <= self.alive(limits.EXPIRY_GRAIN_S, share)
            if answer.seeders + answer.leechers <= want:
                assert told == of_use, "with room for everybody, everybody is told"

    def unlimited(self) -> bool:
        statistics = self.registry.statistics()
        return statistics.evicted == 0 and statistics.unlisted == self.ignored

    @rule(step=st.sampled_from([0.5, limits.EXPIRY_GRAIN_S, 60.0, 149.0, 10_000.0]))
    def wait(self, step: float) -> None:
        self.now += step

    @rule()
    def expire(self) -> None:
        assert not self.registry.expire(self.now)
        if self.unlimited():
            members = self.registry.statistics().members
            assert self.alive(0) <= members <= self.alive(limits.EXPIRY_GRAIN_S)

    def alive(self, grace: float, share: ShareId | None = None) -> int:
        """Members whose time, and then some, is not over."""
        return sum(
            deadline + grace > self.now
            for (where, _), (_, _, deadline) in self.model.items()
            if share in (None, where)
        )

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "registry"):
            self.registry.check_invariants()


class CrowdedRegistryMachine(RegistryMachine):
    bounds = RegistryLimits(
        swarms=3,
        swarm_members=4,
        members=6,
        members_per_address=3,
        members_per_node=2,
        swarm_members_per_address=2,
    )


QUICK = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = QUICK
TestCrowdedRegistry = CrowdedRegistryMachine.TestCase
TestCrowdedRegistry.settings = QUICK


def test_whose_time_is_over_protects_its_entry_no_more_though_it_is_still_there(desk: Desk) -> None:
    desk.now = 1000.3
    desk.announce(1, proven=True)
    desk.now += limits.MEMBER_INTERVALS * limits.ANNOUNCE_INTERVAL_S_MIN + 0.001
    desk.announce(1, host="10.0.0.9")
    assert [peer.address for peer in desk.announce(2).peers] == [Address("10.0.0.9", PORT)]
