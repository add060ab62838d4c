"""The small world: whole nodes, the ones that users run, on a simulated network, with simulated disks.

    async with open_world(seed) as world:
        origin = await world.add_peer("origin", up=mbit(40))
        link = await origin.share("film.bin", {(): data})
        getter = await world.add_peer("getter", up=mbit(4))
        fetch = getter.fetch(link, peers=[origin.address])
        await fetch.member.complete.wait()

Everything happens in trio's virtual time; run it with `peer.sim.run.run(seed, ...)`, or in a test under an
autojump clock. Nodes may crash, lose power, and come back with what their disk says.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing

from peer.bitfield import Bitfield
from peer.errors import ManyhandsError
from peer.holding import Holding
from peer.ids import Address, KnownPeer, NodeId
from peer.magnet import MagnetLink
from peer.member import Member
from peer.node import Node
from peer.sim.alarm import SimAlarm
from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder
from peer.sim.lan import SimLan, SimSegment
from peer.sim.network import SimHost, SimNetwork, open_network
from peer.sim.trace import Trace
from peer.sim.workers import InlineWorkers
from peer.store.filesystem import PathParts
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.store.scan import scan
from peer.swarm.known import Source
from peer.swarm.policies import Policies
from peer.target import Target
from peer.trace import EventTrace
from peer.workers import Workers

TraceMaker = Callable[[str, NodeId], EventTrace]
"""Gives a machine of that name its event trace."""

MakePolicies = Callable[[], Policies]
"""Gives a machine what its node decides by, each time that it is switched on."""

PORT = 7701
SHARES: PathParts = ("shares",)
DOWNLOADS: PathParts = ("downloads",)


class SimFetch:
    """A share being fetched on a simulated peer."""

    def __init__(self, member: Member, target: Target, folder: SimFolder, name: str) -> None:
        self.member = member
        self.target = target
        self.name = name
        self.error: ManyhandsError | None = None
        """What ended it, if it failed."""
        self.ended = trio.Event()
        self._folder = folder
        self._scope = trio.CancelScope()

    async def run(self, node: Node) -> None:
        """Take part until cancelled, or until an error ends it."""
        try:
            with self._scope:
                await node.take_part(self.member)
        except* ManyhandsError as group:
            self.error = first_of(group)
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """End it, as the user of a node with several shares does. Afterwards close its ``target``."""
        self._scope.cancel()

    async def wait(self) -> None:
        """Until it is complete. Raises what ended it."""
        async with trio.open_nursery() as nursery:
            for event in (self.member.complete, self.ended):
                nursery.start_soon(self._first, event, nursery.cancel_scope)
        if self.error is not None:
            raise self.error

    @staticmethod
    async def _first(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    def read(self, *path: str) -> bytes:
        """A file of the finished share."""
        return read_file(self._folder, (self.name, *path))


class SimPeer:
    """A machine with a disk and one node."""

    def __init__(
        self,
        world: "World",
        name: str,
        host: SimHost,
        rng: Random,
        segment: SimSegment | None,
        make_policies: MakePolicies = Policies,
    ) -> None:
        self.name = name
        self.host = host
        self.disk = SimDisk(sectors=world.sectors)
        self.node_id = NodeId(hashlib.sha256(name.encode()).digest())
        self.address = Address(host.address, PORT)
        self.workers: Workers = InlineWorkers()
        self.lan = None if segment is None else SimLan(segment, host.address)
        self.node: Node
        self.off = trio.Event()
        """The last task of the node has ended. A crash leaves those that shield themselves, to no effect."""
        self._nursery: trio.Nursery
        self._world = world
        self._rng = rng
        self._make_policies = make_policies

    async def boot(self, *, up: float | None = None, down: float | None = None) -> None:
        """Start the node. up, down: limits of its own, in bytes a second."""
        self.off = trio.Event()
        self._nursery = await self._world.nursery.start(self._live, self.off)
        self.node = Node(
            self.node_id,
            self.host.transport(self.node_id),
            self.workers,
            self._rng,
            up=up,
            down=down,
            trace=self._world.traces(self.name, self.node_id) if self._world.traces else None,
            lan=self.lan,
            alarm=SimAlarm(self._world.network.agenda),
            policies=self._make_policies(),
        )
        await self.node.listen(None, PORT)
        self.start_soon(self.node.run)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task of this machine: it ends with it."""
        self._nursery.start_soon(task)

    async def _live(self, off: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """The machine's power: everything on it runs in here."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await trio.sleep_forever()
        finally:
            off.set()

    async def share(
        self,
        name: str,
        files: Mapping[PathParts, bytes],
        *,
        trackers: Sequence[Address] = (),
        peers: Iterable[Address] = (),
    ) -> MagnetLink:
        """Put files on the disk, hash them, and seed them. A single file has the path ()."""
        root = SimFolder(self.disk, SHARES, label=f"/{self.name}/shares")
        for path, data in files.items():
            write_file(root, (name, *path), data)
        return await self.seed(name, trackers=trackers, peers=peers)

    async def seed(
        self, name: str, *, trackers: Sequence[Address] = (), peers: Iterable[Address] = ()
    ) -> MagnetLink:
        """Hash and seed what lies there, as after a restart. Raises what `scan` does."""
        root = SimFolder(self.disk, SHARES, label=f"/{self.name}/shares")
        scanned = await scan(root, (name,), self.workers, tasks=1)
        manifest = scanned.manifest
        layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
        reader = SourceStore(root, manifest, scanned.paths, scanned.states)
        have = Bitfield(manifest.piece_count, full=True)
        holding = Holding(manifest, manifest.encode(), layout, reader, have)
        member = Member(manifest.share_id, self.node.services, holding=holding, trackers=trackers)
        member.learned([KnownPeer(address) for address in peers], Source.OPTION)
        self.start_soon(lambda: self.node.take_part(member))
        return MagnetLink(manifest.share_id, name, manifest.total_bytes, tuple(trackers))

    def fetch(
        self,
        link: MagnetLink,
        *,
        peers: Iterable[Address] = (),
        trackers: Sequence[Address] = (),
        only: Sequence[str] = (),
    ) -> SimFetch:
        """Fetch a share into this machine's downloads, and seed it on."""
        folder = SimFolder(self.disk, DOWNLOADS, label=f"/{self.name}/downloads")
        name = link.name or "share"
        target = Target(folder, name, only, self.workers)
        member = Member(link.share, self.node.services, target=target, trackers=(*link.trackers, *trackers))
        member.learned([KnownPeer(address) for address in peers], Source.OPTION)
        fetch = SimFetch(member, target, folder, name)

        self.start_soon(lambda: fetch.run(self.node))
        return fetch

    async def crash(self, *, power_seed: int | None = None) -> None:
        """Kill the node without a word; with a power seed the disk loses what was not synced, too."""
        self.host.crash()
        if power_seed is None:  # before the tasks end: what they still do on their way out is done by nobody
            self.disk.kill()
        else:
            self.disk.crash(power_seed)
        self._nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    def cut_short(self) -> None:
        """Cancel everything that runs on it; ``off`` tells when all of it has ended."""
        self._nursery.cancel_scope.cancel()

    async def switch_off(self) -> None:
        """End the node as a user does: it says goodbye, and its tasks end in their own order."""
        await self.node.goodbye()
        self._nursery.cancel_scope.cancel()
        await self.off.wait()

    async def restart(self) -> None:
        """Come back after a crash, with the disk as it is."""
        self.host.start()
        await self.boot()


class World:
    """A network with machines on it."""

    def __init__(
        self, network: SimNetwork, nursery: trio.Nursery, seed: int, traces: TraceMaker | None = None
    ) -> None:
        self.network = network
        self.traces = traces
        self.nursery = nursery
        self.rng = Random(seed)
        self.peers: dict[str, SimPeer] = {}
        self.sectors: dict[bytes, bytes] = {}
        """What all disks hold, whole sectors by their beginning."""

    async def add_peer(
        self,
        name: str,
        *,
        up: float | None = None,
        down: float | None = None,
        latency: float = 0.005,
        segment: SimSegment | None = None,
        make_policies: MakePolicies = Policies,
    ) -> SimPeer:
        """A machine behind an access link (bytes a second, seconds), with its node running.

        segment: the local network on which it announces what it takes part in. make_policies: what its node
        decides by, if not as users' nodes do.
        """
        peer = self.add_machine(
            name, up=up, down=down, latency=latency, segment=segment, make_policies=make_policies
        )
        await peer.boot()
        return peer

    def add_machine(
        self,
        name: str,
        *,
        up: float | None = None,
        down: float | None = None,
        latency: float = 0.005,
        segment: SimSegment | None = None,
        make_policies: MakePolicies = Policies,
    ) -> SimPeer:
        """One that has an address, and nothing running until its `boot`."""
        host = self.network.add_host(name, up=up, down=down, latency=latency)
        peer = SimPeer(self, name, host, Random(self.rng.getrandbits(64)), segment, make_policies)
        self.peers[name] = peer
        return peer


@asynccontextmanager
async def open_world(
    seed: int, trace: Trace | None = None, traces: TraceMaker | None = None
) -> AsyncIterator[World]:
    """A world for the length of the block; all its machines are switched off at the end.

    traces: gives each machine, each time it is switched on, the event trace that `peer --trace` writes.
    """
    async with open_network(trace) as network, trio.open_nursery() as nursery:
        yield World(network, nursery, seed, traces)
        nursery.cancel_scope.cancel()


def write_file(root: SimFolder, path: PathParts, data: bytes) -> None:
    """A file, durable, with its parents."""
    root.make_folder(path[:-1])
    file = root.create(path)
    file.write(data, 0)
    file.sync()
    file.close()
    root.sync_everything()


def read_file(root: SimFolder, path: PathParts) -> bytes:
    """All of a file."""
    file = root.open(path)
    data = bytearray(file.size())
    file.read_into(memoryview(data), 0)
    file.close()
    return bytes(data)


def first_of(group: BaseExceptionGroup[ManyhandsError]) -> ManyhandsError:
    """The first error in a group of groups."""
    for error in group.exceptions:
        return first_of(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
