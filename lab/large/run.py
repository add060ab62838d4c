"""A scenario in the large world: the same file, the same outcome as in the small one."""

from dataclasses import replace
from math import inf
from random import Random
from typing import Final

from lab.large.peers import Access, Peer, Share
from lab.large.swarm import NEIGHBOURS, Swarm
from lab.simulate.outcome import Member, Outcome, gives_up_at
from lab.simulate.policies import Chosen, by_name
from lab.simulate.rule import errors_are_usage
from lab.simulate.scenario import Group, Scenario
from peer.bitfield import Bitfield
from peer.manifest import piece_bytes_for

UNLIMITED: Final = 1.25e9
"""Bytes a second of an uplink without a limit: 10 Gbit/s."""


def simulate(scenario: Scenario, seed: int, policies: Chosen | None = None) -> Outcome:
    """Run a scenario. The same seed and the same program give the same outcome and hash.

    policies: instead of those that the scenario names. Raises UsageError for what they do wrong.
    """
    with errors_are_usage():
        return Run(scenario, seed, policies or by_name(dict(scenario.policies))).run()


class Run:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, seed: int, policies: Chosen) -> None:
        self._scenario = scenario
        self._rng = Random(seed)
        share = Share(scenario.size, scenario.piece_bytes or piece_bytes_for(scenario.size))
        self.swarm = Swarm(
            share,
            self._rng.getrandbits(64),
            neighbours=scenario.neighbours or NEIGHBOURS,
            policies=policies,
        )
        self._members: list[Member] = []
        self._open = scenario.peers
        self._ends_at = inf if scenario.ends_at is None else scenario.ends_at
        self._whose: dict[int, tuple[Member, Group]] = {}
        self._unfinished: dict[Peer, Member] = {}

    def run(self) -> Outcome:
        """From the beginning to the end."""
        self.begin()
        self.go_on()
        return self.outcome()

    def begin(self) -> None:
        """Arrange who comes and goes."""
        scenario, swarm, agenda = self._scenario, self.swarm, self.swarm.agenda
        swarm.callbacks.append(self._finished)
        origin = swarm.add(Access(_up(scenario.origin.up), None, scenario.origin.latency), origin=True)
        if scenario.origin.dies_at is not None:
            agenda.at(scenario.origin.dies_at, swarm.remove, origin)
        last_comes = 0.0
        for number, group in enumerate(scenario.groups):
            times = group.times(self._rng)
            last_comes = max(last_comes, group.last_comes(times))
            for index, time in enumerate(times):
                agenda.at(time, self._join, number, index, group)
        if scenario.ends_at is None:
            self._ends_at = gives_up_at(scenario.bound(), last_comes)

    def go_on(self, until: float = inf) -> None:
        """Until that time, or its end."""
        self.swarm.run(min(until, self._ends_at))

    def outcome(self) -> Outcome:
        """As it stands now."""
        members = {id(member): replace(member) for member in self._members}
        for peer, member in self._unfinished.items():
            self._account(members[id(member)], peer)
        return Outcome(tuple(members.values()), self.swarm.agenda.now, 0, self.swarm.transfer.digest())

    def _account(self, member: Member, peer: Peer) -> None:
        """Of one life of a peer: a power loss begins another one."""
        member.wasted_bytes += peer.download.statistics().wasted_bytes
        member.origin_bytes += self.swarm.origin_gave(peer)

    def _join(self, number: int, index: int, group: Group) -> None:
        member = Member(number, index, self.swarm.agenda.now)
        self._members.append(member)
        peer = self._enter(member, group, None)
        if group.crashes_at is not None and group.crashes_at > member.joined:
            self.swarm.agenda.at(group.crashes_at, self._crash, peer)

    def _enter(self, member: Member, group: Group, have: Bitfield | None) -> Peer:
        peer = self.swarm.add(Access(_up(group.given), group.down, group.latency), have=have)
        self._whose[peer.number] = member, group
        self._unfinished[peer] = member
        return peer

    def _crash(self, peer: Peer) -> None:
        if peer.finished:
            return
        member, group = self._whose[peer.number]
        del self._unfinished[peer]
        have = peer.download.bits.copy()
        self._account(member, peer)
        self.swarm.remove(peer)
        if group.returns_at is None:
            self._gone()
        else:
            self.swarm.agenda.at(group.returns_at, self._enter, member, group, have)

    def _finished(self, peer: Peer) -> None:
        member, group = self._whose[peer.number]
        del self._unfinished[peer]
        member.done = self.swarm.agenda.now
        self._account(member, peer)
        self._gone()
        if group.stays < inf:
            self.swarm.agenda.at(member.done + group.stays, self.swarm.remove, peer)

    def _gone(self) -> None:
        self._open -= 1
        if not self._open and self._scenario.ends_at is None:
            self.swarm.agenda.stopped = True


def _up(rate: float | None) -> float:
    return UNLIMITED if rate is None else rate
