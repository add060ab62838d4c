"""The small world: every peer of a scenario is the node that users run, in virtual time, from a seed."""

from functools import partial
from random import Random

import trio

from lab.simulate.outcome import Member, Outcome, gives_up_at
from lab.simulate.policies import LOTTERY, Chosen, by_name
from lab.simulate.rule import Candidate, errors_are_usage
from lab.simulate.scenario import Group, Scenario
from lab.simulate.worlds import Lines
from peer.ids import NodeId
from peer.magnet import MagnetLink
from peer.sim.run import run
from peer.sim.trace import Trace
from peer.sim.world import SimFetch, SimPeer, World, open_world
from peer.trace import EventTrace, LineTrace

INTRODUCED = 20
"""Earlier peers that a newcomer is told of, at random, as a tracker would."""


def simulate(
    scenario: Scenario, seed: int, lines: Lines | None = None, policies: Chosen | None = None
) -> Outcome:
    """Run a scenario. The same seed and the same program give the same outcome and hash.

    lines: is filled with the event trace of each machine (`peer.trace`), the origin's first. policies:
    instead of those that the scenario names. Raises UsageError for what they do wrong.
    """
    chosen = policies or by_name(dict(scenario.policies))
    with errors_are_usage():
        return run(seed, partial(_Run(scenario, seed, chosen, lines).run))


class _Run:
    def __init__(self, scenario: Scenario, seed: int, policies: Chosen, lines: Lines | None = None) -> None:
        self._scenario = scenario
        self._policies = policies
        self._tracker = policies.of_the_tracker()
        self._lines = lines
        self._rng = Random(seed)
        self._data = self._rng.randbytes(scenario.size)
        self._trace = Trace()
        self._members: list[Member] = []
        self._machines: list[SimPeer] = []
        self._numbers = {"origin": 1}
        """By name, in the order of coming: as the tracker knows them."""
        self._left = trio.Event()
        self._open = scenario.peers
        self._wrong = 0

    async def run(self) -> Outcome:
        scenario = self._scenario
        arrivals = [group.times(self._rng) for group in scenario.groups]
        last_comes = max(
            group.last_comes(times) for group, times in zip(scenario.groups, arrivals, strict=True)
        )
        patience = gives_up_at(scenario.bound(), last_comes)
        traces = None if self._lines is None else self._event_trace
        async with open_world(self._rng.getrandbits(32), self._trace, traces) as world:
            origin = await world.add_peer(
                "origin", latency=scenario.origin.latency, make_policies=self._policies.of_a_node
            )
            origin.node.services.up.set_rate(scenario.origin.up)
            link = await origin.share("file", {(): self._data})
            begun = trio.current_time()
            with trio.move_on_after(patience):
                async with trio.open_nursery() as nursery:
                    if scenario.origin.dies_at is not None:
                        nursery.start_soon(self._die, origin, scenario.origin.dies_at)
                    for number, times in enumerate(arrivals):
                        for index, time in enumerate(times):
                            member = Member(number, index, time)
                            nursery.start_soon(self._live, world, origin, link, member, begun)
                    await self._left.wait()
                    nursery.cancel_scope.cancel()
            ended = trio.current_time() - begun
        return Outcome(tuple(self._members), ended, self._wrong, self._trace.digest())

    def _event_trace(self, name: str, node: NodeId) -> EventTrace:
        """A machine goes on in its own trace when it comes back."""
        assert self._lines is not None
        lines = self._lines.setdefault(self._label(name), [])
        return LineTrace(lines.append, trio.current_time(), node.hex())

    def _label(self, name: str) -> str:
        """What people call a machine: the groups count from 1, and only where there are several."""
        kind, *numbers = name.split("-")
        shown = [str(int(number) + 1) for number in numbers]
        return "-".join([kind, *(shown if len(self._scenario.groups) > 1 else shown[-1:])])

    async def _die(self, origin: SimPeer, at: float) -> None:
        await trio.sleep(at)
        await origin.crash()

    async def _live(
        self, world: World, origin: SimPeer, link: MagnetLink, member: Member, begun: float
    ) -> None:
        """One peer, from joining to its end."""
        group = self._scenario.groups[member.group]
        await trio.sleep_until(begun + member.joined)
        self._members.append(member)
        machine = await world.add_peer(
            f"peer-{member.group}-{member.number}",
            down=group.down,
            latency=group.latency,
            make_policies=self._policies.of_a_node,
        )
        self._numbers[machine.name] = len(self._numbers) + 1
        fetch = self._fetch(machine, group, origin, link)
        self._machines.append(machine)
        if group.crashes_at is not None and group.crashes_at > member.joined:
            with trio.move_on_at(begun + group.crashes_at):
                await fetch.wait()
            if not fetch.member.complete.is_set():
                await machine.crash(power_seed=self._rng.getrandbits(32))
                _account(member, fetch, origin)
                if group.returns_at is None:
                    self._gone()
                    return
                await trio.sleep_until(begun + group.returns_at)
                await machine.restart()
                fetch = self._fetch(machine, group, origin, link)
        try:
            await fetch.wait()
        finally:  # also when nobody waits for it any longer
            _account(member, fetch, origin)
        member.done = trio.current_time() - begun
        self._trace.add("complete", machine.name)
        self._wrong += fetch.read() != self._data
        self._gone()
        await trio.sleep(group.stays)
        self._machines.remove(machine)
        await machine.node.goodbye()
        await machine.crash()

    def _fetch(self, machine: SimPeer, group: Group, origin: SimPeer, link: MagnetLink) -> SimFetch:
        machine.node.services.up.set_rate(group.given)
        told = [origin, *self._told(machine, origin)]
        return machine.fetch(link, peers=[one.address for one in dict.fromkeys(told)])

    def _told(self, newcomer: SimPeer, origin: SimPeer) -> list[SimPeer]:
        """Whom the tracker tells a newcomer of."""
        if self._tracker is None:
            others = self._rng.sample(self._machines, min(INTRODUCED, len(self._machines)))
            return [other for other in others if other is not newcomer]
        there = [origin, *self._machines]
        some = self._rng.sample(there, min(LOTTERY * INTRODUCED, len(there)))
        offered = {self._candidate(one): one for one in some if one is not newcomer and one.node.members}
        count = min(INTRODUCED, len(offered))
        return [offered[one] for one in self._tracker(list(offered), count, self._rng)]

    def _candidate(self, machine: SimPeer) -> Candidate:
        """As the tracker sees it."""
        (member,) = machine.node.members.values()
        have = None if member.holding is None else member.holding.have
        share = have.count / len(have) if have else 0.0
        return Candidate(self._numbers[machine.name], share, len(member.links))

    def _gone(self) -> None:
        """One fewer to wait for."""
        self._open -= 1
        if not self._open:
            self._left.set()


def _account(member: Member, fetch: SimFetch, origin: SimPeer) -> None:
    """Of one life of a peer: a power loss begins another one."""
    intake = fetch.member.intake
    if intake is not None:
        member.wasted_bytes += intake.download.statistics().wasted_bytes
        member.origin_bytes += intake.sources.get(origin.node_id, 0)
