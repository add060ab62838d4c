"""One swarm as a tracker sees it: members in arrays, so that a random answer costs what it holds.

A `set` cannot be sampled without walking it, and a dict neither. So each member knows its place (``slot``) in
an array: removing one moves the last into the gap, and a random member is a random index. There are four
arrays, because two questions decide who may be told to whom: does the member still need data (a seeder is of
no use to a seeder), and is its address the tracker's own loopback (of no use to another machine).
"""

from collections.abc import Sequence
from random import Random

from peer.ids import NodeId, ShareId
from peer.wire.messages import KnownPeer
from tracker.counting import count_down, count_up


class Member:
    """One node in one swarm. ``known`` is what others are told; at ``deadline`` (seconds) it is forgotten.
    ``proven``: its connection has shown that the node id is its own.

    ``slot`` belongs to the swarm and ``bucket`` to the wheel: nobody else changes them.
    """

    __slots__ = (
        "bucket", "deadline", "known", "loopback", "network", "node", "proven", "seeder", "share", "slot",
    )  # fmt: skip

    def __init__(
        self,
        share: ShareId,
        node: NodeId,
        known: KnownPeer,
        network: str,
        *,
        seeder: bool,
        loopback: bool,
        proven: bool = False,
    ) -> None:
        self.share = share
        self.node = node
        self.known = known
        self.network = network
        self.seeder = seeder
        self.loopback = loopback
        self.proven = proven
        self.deadline = 0.0
        self.slot = -1
        self.bucket: int | None = None


class Swarm:
    """The members that announced one share."""

    __slots__ = ("_crowds", "_members", "_pools", "share", "slot")

    def __init__(self, share: ShareId) -> None:
        self.share = share
        self.slot = -1  # place in the registry's array of swarms
        self._members: dict[NodeId, Member] = {}
        self._crowds: dict[str, int] = {}
        self._pools: tuple[list[Member], ...] = ([], [], [], [])  # at seeder + 2 * loopback

    def __len__(self) -> int:
        return len(self._members)

    @property
    def seeders(self) -> int:
        return sum(len(pool) for pool in self._visible(leechers=False))

    @property
    def leechers(self) -> int:
        return len(self._members) - self.seeders

    def get(self, node: NodeId) -> Member | None:
        return self._members.get(node)

    def members(self) -> list[Member]:
        return list(self._members.values())

    def crowd(self, network: str) -> int:
        """How many members share this network (`tracker.observed`)."""
        return self._crowds.get(network, 0)

    def add(self, member: Member) -> None:
        """Take in a member whose node is not here yet."""
        self._members[member.node] = member
        count_up(self._crowds, member.network)
        pool = self._pool_of(member)
        member.slot = len(pool)
        pool.append(member)

    def remove(self, member: Member) -> None:
        del self._members[member.node]
        count_down(self._crowds, member.network)
        pool = self._pool_of(member)
        last = pool.pop()
        if last is not member:
            pool[member.slot] = last
            last.slot = member.slot
        member.slot = -1

    def any_member(self, rng: Random) -> Member:
        """A random one of a swarm that is not empty."""
        return self._pick(self._pools, rng.randrange(len(self._members)))

    def sample(
        self, want: int, node: NodeId, *, seeder: bool, loopback: bool, now: float, rng: Random
    ) -> tuple[KnownPeer, ...]:
        """At most ``want`` different members of use to this asker, never itself, every choice equally likely.

        O(want). One more is drawn than wanted and the asker is dropped from the draw, or else the last.
        Members whose time is over but that have not left the table yet are dropped as well.
        """
        if want <= 0:
            return ()
        pools = self._visible(seeders=not seeder, loopback=loopback)
        population = sum(map(len, pools))
        picks = rng.sample(range(population), min(want + 1, population))
        members = (self._pick(pools, pick) for pick in picks)
        return tuple(m.known for m in members if m.node != node and m.deadline > now)[:want]

    def _visible(
        self, *, seeders: bool = True, leechers: bool = True, loopback: bool = True
    ) -> Sequence[list[Member]]:
        return [
            pool
            for kind, pool in enumerate(self._pools)
            if (loopback or not kind & 2) and (seeders if kind & 1 else leechers)
        ]

    def _pool_of(self, member: Member) -> list[Member]:
        return self._pools[member.seeder + 2 * member.loopback]

    @staticmethod
    def _pick(pools: Sequence[list[Member]], index: int) -> Member:
        for pool in pools:
            if index < len(pool):
                return pool[index]
            index -= len(pool)
        raise IndexError(index)

    def check_invariants(self) -> None:
        """Arrays, index and counts tell the same story."""
        in_pools = [member for pool in self._pools for member in pool]
        assert len(in_pools) == len(self._members)
        assert all(self._members[m.node] is m and m.share == self.share for m in in_pools)
        for kind, pool in enumerate(self._pools):
            for slot, member in enumerate(pool):
                assert member.slot == slot
                assert kind == member.seeder + 2 * member.loopback
        crowds: dict[str, int] = {}
        for member in in_pools:
            crowds[member.network] = crowds.get(member.network, 0) + 1
        assert crowds == self._crowds
        assert self.seeders == sum(m.seeder for m in in_pools)
