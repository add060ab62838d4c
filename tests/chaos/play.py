"""Plays a plan: a world of whole nodes, its faults, then peace, and what must have come of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Final

import trio

from peer.buggify import Point, armed
from peer.greeting import Greeted
from peer.ids import Address, KnownPeer, NodeId, RequestId
from peer.limits import PIECE_BYTES_MIN
from peer.magnet import MagnetLink
from peer.member import Member
from peer.sim.run import run
from peer.sim.stream import SimStream
from peer.sim.trace import Trace
from peer.sim.workers import SlowWorkers
from peer.sim.world import PORT, World, open_world
from peer.wire.codec import encode
from peer.wire.messages import Data
from tests.chaos.citizen import Citizen
from tests.chaos.diary import Diary
from tests.chaos.house import TrackerHouse
from tests.chaos.invariants import LOOK_S, Invariants
from tests.chaos.listening import listening, nothing_caught
from tests.chaos.outcome import Outcome, outcome_of
from tests.chaos.plan import DISK, LIVENESS_S, SAFETY_S, Fault, FaultPlan, PeerPlan
from tests.chaos.strangers import crowd, gossip, keep_lying_tracker
from tests.chaos.strike import Striker, some_of
from tests.chaos.violation import Violation, demand
from tests.sim import hostile
from tests.store_kit import NAME, random_share

POLL_S: Final = 0.25
UNEVEN_STALLS_S: Final = (0.0, 0.1, 1.0, 20.0)
STALL_S: Final = 4.0
"""The longest that a job takes, by the plans in which jobs take time."""

NEVER_ASKED: Final = RequestId(1_000_000)
"""The first requests are for the manifest, and who has it by then lets an answer pass, whatever it says."""

TOLERANCE_S: Final = 15.0
"""A connection whose other side broke the protocol is closed by then, on the slowest link."""


def play(plan: FaultPlan) -> Outcome:
    """Run a plan to its end. Never raises for what the node did."""
    game = _Game(plan)

    def go() -> None:
        with listening(game.honest, game.heard, game.sure), nothing_caught(), game.rare_ways():
            run(plan.seed, game.main)

    return replace(outcome_of(game, go), fired=game.fired)


class _Game:
    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.trace = Trace()
        self.seconds = 0.0
        self.fired: Counter[Point] = Counter()
        self._share = random_share(plan.seed, dict(plan.files))
        self._link = MagnetLink(self._share.manifest.share_id, NAME, plan.total_bytes)
        self._citizens: dict[int, Citizen] = {}
        self._hostile: list[Address] = []
        self.honest: set[NodeId] = set()
        self.heard: dict[Member, int] = {}
        """Bytes of pieces that came in, for each member that has been."""
        self.sure: dict[NodeId, frozenset[int]] = {}
        """Pieces that each had for certain when it was switched on, and need not be fetched again."""
        self.diaries: dict[str, Diary] = {}
        self._tolerated: str | None = None
        self._origin_stays = Fault.ORIGIN_LEAVES not in plan.faults

    @contextmanager
    def rare_ways(self) -> Iterator[None]:
        """Arm the points of peer/buggify.py, where the plan says so."""
        if Fault.BUGGIFY not in self.plan.faults:
            yield
            return
        with armed(Random(self.plan.seed)) as points:
            yield
        self.fired = points.fired

    async def main(self) -> None:
        async with open_world(self.plan.seed, self.trace, self._diary) as world:
            await self._populate(world)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                await self._safety(nursery)
                await self._striker.heal()
                self.trace.add("healed")
                await self._liveness()
                nursery.cancel_scope.cancel()
            await self._end()

    def _diary(self, name: str, node: NodeId) -> Diary:
        return self.diaries.setdefault(name, Diary())

    async def _populate(self, world: World) -> None:
        plan = self.plan
        house = TrackerHouse(world)
        await house.start()
        trackers = [house.address]
        if Fault.LYING_TRACKER in plan.faults:
            trackers.append(await keep_lying_tracker(world, Random(plan.seed), self._everybody))
        if Fault.BACKLOG in plan.faults:
            world.network.backlog_max = 1
        for kind in plan.hostile:
            if kind is Fault.CROWD:
                await crowd(world, self._link, self._share.layout.piece_count, self._at_home)
                continue
            host = await hostile.live(world, kind.value, self._link, self._behaviour(kind))
            self._hostile.append(Address(host.address, PORT))
        for peer in plan.peers:
            self._citizens[peer.number] = Citizen(
                peer, world, self._share, self._link, self._known, trackers[:: (-1) ** peer.number]
            )
            self._equip(self._citizens[peer.number], world)
        self._invariants = Invariants(
            self._share, world.network, self._citizens, self.diaries, self.heard, self._sure_of
        )
        self._striker = Striker(
            world.network,
            self._citizens,
            house,
            self._share.paths,
            cut_short=self._invariants.cut_short,
            let_go=self._invariants.let_go,
        )

    def _equip(self, citizen: Citizen, world: World) -> None:
        """What is not in every world."""
        plan, machine, number = self.plan, citizen.machine, citizen.plan.number
        self.honest.add(machine.node_id)
        rng = Random(plan.seed + number)
        if Fault.UNEVEN_DISKS in plan.faults:
            stall_s = Random(f"disk {plan.seed} {number}").choice(UNEVEN_STALLS_S)
            machine.workers = SlowWorkers(rng, stall_s) if stall_s else machine.workers
        elif Fault.SLOW_JOBS in plan.faults:
            machine.workers = SlowWorkers(rng, STALL_S)
        if Fault.TWO_ADDRESSES in plan.faults:
            citizen.alias = Address(world.network.add_address(machine.host), PORT)
        if Fault.ONLY in plan.faults and not citizen.plan.has_it:
            citizen.only = some_of(self._share.paths, plan.seed + number)

    def _sure_of(self, citizen: Citizen, pieces: frozenset[int]) -> None:
        """The machine is off, and has these on its disk for certain, or seems to."""
        if not self.plan.faults.intersection(DISK):
            self.sure[citizen.machine.node_id] = pieces

    def _known(self, plan: PeerPlan) -> Iterable[Address]:
        there = [self._citizens[number].addresses_for(plan.number) for number in plan.knows]
        return [*chain.from_iterable(there), *self._hostile]

    def _everybody(self) -> list[KnownPeer]:
        """Whom those who spread rumours know."""
        machines = [citizen.machine for citizen in self._citizens.values()]
        return [KnownPeer(machine.address, machine.node_id) for machine in machines]

    def _at_home(self) -> list[Address]:
        return [citizen.machine.address for citizen in self._citizens.values() if citizen.running]

    def _behaviour(self, kind: Fault) -> hostile.Behaviour:
        count, rng = self._share.layout.piece_count, Random(self.plan.seed)
        behaviours = {
            Fault.LIAR: hostile.liar(count, PIECE_BYTES_MIN),
            Fault.SILENT: hostile.silent(count),
            Fault.DRIBBLER: hostile.dribble(count, PIECE_BYTES_MIN),
            Fault.UNSOLICITED: self._unsolicited,
            Fault.FLOODER: hostile.flooder(count, every=0.2),
            Fault.GOSSIP: gossip(count, rng, self._everybody),
            Fault.GARBAGE: hostile.raw(Random(self.plan.seed).randbytes(2000)),
        }
        return behaviours[kind]

    async def _unsolicited(self, greeted: Greeted) -> None:
        """Sends what nobody asked for; the connection must not survive that."""
        await hostile.claim_everything(greeted, self._share.layout.piece_count)
        begun = trio.current_time()
        await greeted.stream.send_all(encode(Data(NEVER_ASKED, 0, 10, 10)) + bytes(10))
        with trio.move_on_after(TOLERANCE_S):
            while await greeted.stream.receive_some(1000):
                pass
            return
        assert isinstance(greeted.stream, SimStream)
        if self._striker.troubled_at < begun and not greeted.stream.incoming.connection.vanished:
            self._tolerated = str(greeted.stream.remote)

    # --- the phases

    async def _safety(self, nursery: trio.Nursery) -> None:
        """Everybody comes, everything strikes."""
        async with trio.open_nursery() as arrivals:
            for citizen in self._citizens.values():
                arrivals.start_soon(citizen.arrive)
            for event in self.plan.events:
                nursery.start_soon(self._striker.strike, event)
            await trio.sleep_until(SAFETY_S)

    async def _liveness(self) -> None:
        """Now everybody must get there."""
        begun = trio.current_time()
        while not all(citizen.complete for citizen in self._citizens.values() if citizen.must_complete):
            await trio.sleep(POLL_S)
            if not self._origin_stays:
                await self._let_origins_go()
            self.seconds = trio.current_time() - begun
            if self.seconds > LIVENESS_S:
                raise Violation("liveness", f"not complete after {LIVENESS_S:.0f} s: {self._laggards()}")
        self.trace.add("complete")
        await self._clear_up()

    async def _clear_up(self) -> None:
        """What an error has left behind is gone after the next run."""
        for citizen in self._citizens.values():
            if citizen.has_leftovers:
                self.trace.add("again", citizen.name)
                await citizen.stop()
                self._invariants.let_go(citizen)
                await citizen.come_back()
                for _ in range(int(LIVENESS_S / POLL_S)):
                    await trio.sleep(POLL_S)
                    if citizen.complete:
                        break

    async def _let_origins_go(self) -> None:
        """As soon as the others have all of it between them, and have met."""
        getters = [c for c in self._citizens.values() if c.running and not c.plan.has_it and c.must_complete]
        members = [getter.fetch.member for getter in getters if getter.fetch is not None]
        union: set[int] = set()
        for member in members:
            if member.holding is None or len(members) < 2:
                return
            union.update(member.holding.have.indices())
        nodes = {getter.machine.node_id for getter in getters}
        for getter, member in zip(getters, members, strict=True):
            met = {link.node for link in member.links.values() if link.joined}
            if not getter.complete and not nodes - {getter.machine.node_id} <= met:
                return
        if len(union) < self._share.layout.piece_count:
            return
        self._origin_stays = True
        for citizen in self._citizens.values():
            if citizen.plan.has_it:
                self.trace.add("origin leaves", citizen.name)
                async with citizen.busy:
                    await citizen.leave()
                    self._invariants.let_go(citizen)

    def _laggards(self) -> str:
        texts = []
        for citizen in self._citizens.values():
            if citizen.must_complete and not citizen.complete:
                fetch = citizen.fetch
                member = fetch.member if fetch is not None else None
                have = member.holding.have.count if member is not None and member.holding is not None else 0
                phase = member.phase.name if member is not None else "none"
                links = len(member.links) if member is not None else 0
                texts.append(f"{citizen.name} {phase}, {have} pieces, {links} links")
        return "; ".join(texts)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            self._invariants.look(self._striker.troubled_at)
            demand(self._tolerated is None, "tolerated", f"{self._tolerated} took what it never asked for")

    async def _end(self) -> None:
        """Everybody switches off in order; what is left is the share, and nothing that is still held."""
        staying = [citizen for citizen in self._citizens.values() if citizen.running]
        self._invariants.look(self._striker.troubled_at)
        for citizen in staying:
            self._invariants.complete(citizen)
        for citizen in staying:
            await citizen.leave()
            self._invariants.let_go(citizen)
        for citizen in staying:
            for path in citizen.machine.disk.tree():
                demand(path[:1] in {("shares",), ("downloads",)}, "outside", "/".join(path))
        self._invariants.closed(staying)
