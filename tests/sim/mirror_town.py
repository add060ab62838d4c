"""A tracker, a seed that publishes, and whoever mirrors it, in the simulated world: for tests of mirrors."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import trio

from peer.discovery.publishing import Publisher
from peer.errors import ManyhandsError
from peer.identity import Identity
from peer.ids import Address
from peer.magnet import MagnetLink
from peer.mirror import Mirror, Wish
from peer.placement import STATE_FOLDER
from peer.sim.files import SimFolder
from peer.sim.world import DOWNLOADS, SimPeer, World, open_world, read_file
from tests.catalogue_kit import publisher
from tracker.catalogue import Catalogue
from tracker.server import TrackerServer

INTERVAL_S = 30.0
PATIENCE_S = 3600.0


def noise(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


class Town:
    """A world with a tracker, a seed that publishes, and mirrors."""

    def __init__(self, world: World, nursery: trio.Nursery, name: str = "tracker") -> None:
        self.world = world
        self.nursery = nursery
        self.house = world.network.add_host(name, latency=0.005)
        self.tracker = Address(self.house.address, 7700)
        self.server: TrackerServer
        self.said: dict[str, list[str]] = {}
        self._scope = trio.CancelScope()

    async def start_tracker(self, catalogue: Catalogue | None = None) -> None:
        self.server = TrackerServer(self.house.transport(), self.world.rng, catalogue=catalogue)
        self._scope = trio.CancelScope()
        await self.server.listen(None, self.tracker.port)
        self.nursery.start_soon(self._serve, self.server, self._scope)

    async def _serve(self, server: TrackerServer, scope: trio.CancelScope) -> None:
        with scope:
            await server.run()

    def lose_tracker(self) -> None:
        self.house.crash()
        self._scope.cancel()

    async def publish(
        self,
        seed: SimPeer,
        name: str,
        data: bytes,
        *,
        identity: Identity | None = None,
        serial: int = 1,
        size: int | None = None,
    ) -> MagnetLink:
        """Share bytes on a peer and publish them."""
        label = f"{name}-{serial}"
        link = await seed.share(label, {(): data}, trackers=[self.tracker])
        identity = identity or publisher(1)
        entry = identity.publish(name, link.share, len(data) if size is None else size, serial)
        task = Publisher(
            seed.host.transport(identity.node_id), [self.tracker], entry, rng=Random(1), say=print
        )
        seed.start_soon(task.run)
        return link

    def mirror(self, peer: SimPeer, wish: Wish | None = None) -> Mirror:
        said = self.said.setdefault(peer.name, [])
        mirror = Mirror(
            peer.node,
            partial(SimFolder, peer.disk, DOWNLOADS, label=f"/{peer.name}"),
            [self.tracker],
            wish=wish,
            interval_s=INTERVAL_S,
            say=said.append,
        )

        async def run() -> None:
            try:
                await mirror.run()
            except* ManyhandsError as group:
                said.append(f"ended: {group.exceptions[0]}")

        peer.start_soon(run)
        return mirror


@asynccontextmanager
async def town(seed: int) -> AsyncIterator[Town]:
    async with open_world(seed) as world, trio.open_nursery() as nursery:
        built = Town(world, nursery)
        await built.start_tracker()
        yield built
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Look every half second of virtual time."""
    deadline = trio.current_time() + PATIENCE_S
    while not condition():
        assert trio.current_time() < deadline
        await trio.sleep(0.5)


async def seeding(mirror: Mirror, count: int) -> None:
    """Wait until a mirror has so many shares complete."""
    await wait_until(lambda: mirror.statistics().seeding >= count)


def files(peer: SimPeer) -> dict[str, bytes]:
    """What lies in a mirror's folder."""
    folder = SimFolder(peer.disk, DOWNLOADS, label="look")
    names = [entry.name for entry in folder.entries(()) if entry.name != STATE_FOLDER]
    return {name: read_file(folder, (name,)) for name in names}
