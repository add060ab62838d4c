"""Simulated machines with a daemon on each, and a command's way to talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio
import trio.testing

from peer.control import protocol
from peer.control.client import ControlClient, DaemonError
from peer.control.protocol import Body, Share
from peer.control.server import ControlServer
from peer.daemon.daemon import Daemon
from peer.daemon.shelf import Shelf
from peer.sim.files import SimFolder
from peer.sim.places import SimPlaces
from peer.sim.world import PORT, SimPeer, World, open_world, read_file, write_file

DATA = Random(1).randbytes(3_000_000)


class Machine:
    """A simulated peer with a daemon on it, and a command's way to talk to it."""

    def __init__(self, peer: SimPeer) -> None:
        self.peer = peer
        self.daemon: Daemon
        self.files: SimFolder

    async def boot(self) -> None:
        self.files = SimFolder(self.peer.disk, (), label="")
        shelf = SimFolder(self.peer.disk, ("home", "shares"), label="")
        self.daemon = Daemon(self.peer.node, self.peer.workers, Shelf(shelf), SimPlaces(self.peer.disk))
        self.daemon.context.host = self.peer.host.address
        started = trio.Event()

        async def run() -> None:
            async with trio.open_nursery() as inner:
                await inner.start(self.daemon.run)
                started.set()

        self.peer.start_soon(run)
        await started.wait()

    async def crash(self, power_seed: int | None = None) -> None:
        """Die without a word and come back."""
        await self.peer.crash(power_seed=power_seed)
        self.peer.host.start()
        await start_node(self.peer)
        await self.boot()

    async def ask(self, request: protocol.Request) -> Body:
        """As a command does, over a stream."""
        ours, theirs = trio.testing.memory_stream_pair()
        with trio.fail_after(2000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ControlServer(self.daemon).serve, theirs)
                client = ControlClient(ours)
                try:
                    answer: Body | DaemonError = await client.ask(request)
                except DaemonError as error:
                    answer = error
                await client.aclose()
        if isinstance(answer, DaemonError):
            raise answer
        return answer

    async def share(self, name: str, data: bytes = DATA) -> str:
        write_file(self.files, ("data", name), data)
        return str((await self.ask(Share(f"/data/{name}")))["link"])

    def open_members(self) -> int:
        return len(self.peer.node.members)

    def read(self, *path: str) -> bytes:
        return read_file(self.files, path)


async def start_node(peer: SimPeer) -> None:
    """The machine's power and node; the daemon runs the node."""
    peer._nursery = await peer._world.nursery.start(peer._live, peer.off)
    from peer.node import Node

    peer.node = Node(peer.node_id, peer.host.transport(peer.node_id), peer.workers, peer._rng)
    await peer.node.listen(None, PORT)


@asynccontextmanager
async def machines(*names: str, seed: int = 1) -> AsyncIterator[tuple[World, list[Machine]]]:
    """A world of machines with a daemon each."""
    async with open_world(seed) as world:
        made = []
        for name in names:
            host = world.network.add_host(name, latency=0.005)
            peer = SimPeer(world, name, host, Random(world.rng.getrandbits(64)), None)
            world.peers[name] = peer
            await start_node(peer)
            machine = Machine(peer)
            await machine.boot()
            made.append(machine)
        yield world, made
