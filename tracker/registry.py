"""Who is in which swarm: what a tracker knows, in bounded memory. Pure: time and randomness are handed in.

Theory of operation. `announce` is the only way in. It drops a bounded number of members whose time is over,
records or removes the announcer, and answers with counts and a random sample of the others. Everything on
that path is O(1) in swarms and members, and O(want) for the answer.

Memory is bounded by `RegistryLimits`. What gives way, when a limit is reached:

* One address or one node over its own limit: the newcomer is answered but not recorded. Whoever crowds an
  address harms only those behind it; and who is told whom to dial takes part, listed or not.
* A full swarm: a random member goes. The swarm stays a fair sample of those who announce, so a flood weighs
  no more than its share of the announces.
* Too many swarms: the smallest of a few random ones goes, which spares those that people use.
* Too many members in all: the member whose time would be over first goes, most likely gone already.

Whoever was evicted and is still there comes back with its next announce.
"""

from dataclasses import dataclass, field
from random import Random

from peer import limits
from peer.ids import Address, NodeId, ShareId
from peer.wire.messages import Announce, Announced, AnnounceEvent, KnownPeer
from tracker.counting import count_down, count_up
from tracker.observed import Observed, observe
from tracker.swarm import Member, Swarm
from tracker.wheel import Wheel


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """What the registry may hold. See peer/limits.py for the reasons."""

    swarms: int = limits.SWARMS_MAX
    swarm_members: int = limits.SWARM_MEMBERS_MAX
    members: int = limits.MEMBERS_MAX
    members_per_address: int = limits.MEMBERS_PER_ADDRESS_MAX
    members_per_node: int = limits.MEMBERS_PER_NODE_MAX
    swarm_members_per_address: int = limits.SWARM_MEMBERS_PER_ADDRESS_MAX


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """swarms, members, seeders: now. The rest: since the start."""

    swarms: int
    members: int
    seeders: int
    announces: dict[AnnounceEvent, int]
    peers_told: int
    unlisted: int
    """Announces that were answered but not recorded."""
    expired: int
    evicted: int


@dataclass(slots=True)
class _Counters:
    announces: dict[AnnounceEvent, int] = field(default_factory=lambda: dict.fromkeys(AnnounceEvent, 0))
    peers_told: int = 0
    unlisted: int = 0
    expired: int = 0
    evicted: int = 0


class Registry:
    """All swarms of one tracker."""

    def __init__(self, bounds: RegistryLimits | None = None) -> None:
        self._bounds = bounds or RegistryLimits()
        self._swarms: dict[ShareId, Swarm] = {}
        self._array: list[Swarm] = []  # the same swarms; each knows its slot, so a random one is O(1)
        self._wheel: Wheel[Member] = Wheel(limits.EXPIRY_GRAIN_S)
        self._members = 0
        self._seeders = 0
        self._per_network: dict[str, int] = {}
        self._per_node: tuple[dict[NodeId, int], dict[NodeId, int]] = ({}, {})  # claimed, proven
        self._counters = _Counters()

    def announce(
        self, announce: Announce, host: str, now: float, rng: Random, *, proven: bool = False
    ) -> Announced:
        """Take in one announce from the observed ``host`` and answer it.

        A node is in a swarm once: announcing from another address or port moves it. A member without a port
        (0: it does not listen) is answered but not listed. ``stopped`` removes, and is told nobody.
        proven: the connection has shown whose node id it is. A mere claim neither moves nor removes who has
        proved it, nor uses up what that node may have listed.
        """
        self.expire(now)
        self._counters.announces[announce.event] += 1
        seen = observe(host)
        stopped = announce.event is AnnounceEvent.STOPPED
        if stopped or announce.port == 0:
            self._forget(announce.share, announce.node, proven=proven)
        else:
            self._record(announce, seen, now, rng, proven=proven)
        swarm = self._swarms.get(announce.share)
        if swarm is None:
            return Announced(self.interval, 0, 0, ())
        peers = swarm.sample(
            0 if stopped else min(announce.want, limits.PEERS_PER_MESSAGE_MAX),
            announce.node,
            seeder=announce.left == 0,
            loopback=seen.loopback,
            now=now,
            rng=rng,
        )
        self._counters.peers_told += len(peers)
        return Announced(self.interval, swarm.seeders, swarm.leechers, peers)

    @property
    def interval(self) -> int:
        """Seconds until a member should announce again: longer the more members there are."""
        fair = self._members / limits.ANNOUNCES_PER_S_TARGET
        return round(min(max(fair, limits.ANNOUNCE_INTERVAL_S_MIN), limits.ANNOUNCE_INTERVAL_S_MAX))

    def count(self, share: ShareId) -> tuple[int, int]:
        """Seeders and leechers of a share, as far as they are listed."""
        swarm = self._swarms.get(share)
        return (swarm.seeders, swarm.leechers) if swarm is not None else (0, 0)

    def expire(self, now: float) -> bool:
        """Drop members whose time is over, a bounded number; True if there may be more."""
        for _ in range(limits.EXPIRIES_PER_CALL_MAX):
            member = self._wheel.pop_due(now)
            if member is None:
                return False
            self._remove(member)
            self._counters.expired += 1
        return True

    def statistics(self) -> RegistryStatistics:
        counters = self._counters
        return RegistryStatistics(
            swarms=len(self._swarms),
            members=self._members,
            seeders=self._seeders,
            announces=dict(counters.announces),
            peers_told=counters.peers_told,
            unlisted=counters.unlisted,
            expired=counters.expired,
            evicted=counters.evicted,
        )

    # --- recording

    def _record(self, announce: Announce, seen: Observed, now: float, rng: Random, *, proven: bool) -> None:
        known = KnownPeer(Address(seen.host, announce.port), announce.node)
        seeder = announce.left == 0
        swarm = self._swarms.get(announce.share)
        member = swarm.get(announce.node) if swarm else None
        if member is not None and member.proven and not proven and member.deadline > now:
            self._counters.unlisted += 1
            return
        if member is None or member.known != known or member.seeder != seeder or member.proven != proven:
            if member is not None:
                self._remove(member)
            if not self._may_be_listed(announce, seen, proven):
                self._counters.unlisted += 1
                return
            self._make_room(announce.share, rng)
            member = Member(
                announce.share,
                announce.node,
                known,
                seen.network,
                seeder=seeder,
                loopback=seen.loopback,
                proven=proven,
            )
            self._add(member)
        self._wheel.put(member, now + limits.MEMBER_INTERVALS * self.interval)

    def _may_be_listed(self, announce: Announce, seen: Observed, proven: bool) -> bool:
        swarm = self._swarms.get(announce.share)
        return (
            self._per_network.get(seen.network, 0) < self._bounds.members_per_address
            and self._per_node[proven].get(announce.node, 0) < self._bounds.members_per_node
            and (swarm is None or swarm.crowd(seen.network) < self._bounds.swarm_members_per_address)
        )

    def _make_room(self, share: ShareId, rng: Random) -> None:
        """Evict what must go before one more member of this share fits."""
        swarm = self._swarms.get(share)
        if swarm is None and len(self._array) >= self._bounds.swarms:
            few = [rng.choice(self._array) for _ in range(limits.SWARM_EVICTION_SAMPLE)]
            for member in min(few, key=len).members():
                self._evict(member)
        if swarm is not None and len(swarm) >= self._bounds.swarm_members:
            self._evict(swarm.any_member(rng))
        if self._members >= self._bounds.members:
            soonest = self._wheel.pop_soonest()
            if soonest is not None:
                self._evict(soonest)

    def _evict(self, member: Member) -> None:
        self._remove(member)
        self._counters.evicted += 1

    def _forget(self, share: ShareId, node: NodeId, *, proven: bool) -> None:
        swarm = self._swarms.get(share)
        member = swarm.get(node) if swarm else None
        if member is not None and (proven or not member.proven):
            self._remove(member)

    def _add(self, member: Member) -> None:
        swarm = self._swarms.get(member.share)
        if swarm is None:
            swarm = self._swarms[member.share] = Swarm(member.share)
            swarm.slot = len(self._array)
            self._array.append(swarm)
        swarm.add(member)
        self._members += 1
        self._seeders += member.seeder
        count_up(self._per_network, member.network)
        count_up(self._per_node[member.proven], member.node)

    def _remove(self, member: Member) -> None:
        self._wheel.discard(member)
        self._members -= 1
        self._seeders -= member.seeder
        count_down(self._per_network, member.network)
        count_down(self._per_node[member.proven], member.node)
        swarm = self._swarms[member.share]
        swarm.remove(member)
        if not swarm:
            del self._swarms[member.share]
            last = self._array.pop()
            if last is not swarm:
                self._array[swarm.slot] = last
                last.slot = swarm.slot

    def check_invariants(self) -> None:
        """Every count agrees with the members that are there, and every limit holds."""
        bounds = self._bounds
        members = [member for swarm in self._array for member in swarm.members()]
        assert {id(s) for s in self._array} == {id(s) for s in self._swarms.values()}
        for slot, swarm in enumerate(self._array):
            assert swarm.slot == slot
            assert self._swarms[swarm.share] is swarm
            assert 1 <= len(swarm) <= bounds.swarm_members
            swarm.check_invariants()
            for member in swarm.members():
                assert swarm.crowd(member.network) <= bounds.swarm_members_per_address
        self._wheel.check_invariants()
        assert len(self._array) <= bounds.swarms
        assert len(members) == self._members == len(self._wheel) <= bounds.members
        assert self._seeders == sum(member.seeder for member in members)
        assert sum(self._per_network.values()) == self._members
        assert sum(sum(counts.values()) for counts in self._per_node) == self._members
        for member in members:
            assert 1 <= self._per_network[member.network] <= bounds.members_per_address
            assert 1 <= self._per_node[member.proven][member.node] <= bounds.members_per_node
