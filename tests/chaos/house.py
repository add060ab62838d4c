"""A host with a tracker that can be lost and started again."""

from random import Random

import trio

from peer.ids import Address
from peer.sim.world import World
from tracker.server import TrackerServer

PORT = 7700


class TrackerHouse:
    """See the module. `start` and `lose` may be called in any order, and again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._host = world.network.add_host("tracker", latency=0.02)
        self._scope = trio.CancelScope()
        self._stands = False
        self.address = Address(self._host.address, PORT)
        self.server: TrackerServer

    async def start(self) -> None:
        """Switch it on, with an empty registry."""
        if self._stands:
            return
        self._stands = True
        self._host.start()
        self.server = TrackerServer(self._host.transport(), Random(0))
        self._scope = trio.CancelScope()
        await self.server.listen(None, PORT)
        self._world.nursery.start_soon(self._run, self.server, self._scope)

    def lose(self) -> None:
        """Power failure."""
        if self._stands:
            self._stands = False
            self._host.crash()
            self._scope.cancel()

    async def _run(self, server: TrackerServer, scope: trio.CancelScope) -> None:
        with scope:
            await server.run()
