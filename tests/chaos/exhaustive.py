"""A short transfer that is cancelled at every step of every task, and one whose disk loses power after every
operation: not at moments that a seed happens to draw, but at all of them.

A step is what a task runs between two checkpoints, so a cancellation before each step is one at each
checkpoint that any task stands at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from peer.ids import Address
from peer.magnet import MagnetLink
from peer.sim.disk import HARMLESS, Done, SimDisk
from peer.sim.run import run
from peer.sim.world import DOWNLOADS, SimFetch, SimPeer, World, open_world
from tests.chaos.house import TrackerHouse
from tests.chaos.violation import demand, first_of
from tests.store_kit import NAME, random_share

PATIENCE_S = 300.0
SHARE = random_share(1, {("a",): 40_000, ("b", "c"): 3000, ("b", "d"): 5000, ("e",): 0})
"""Four pieces: of a large file, and of small ones."""


class StepCounter(trio.abc.Instrument):
    """Calls back before the n-th step of any task from its start on."""

    def __init__(self, at: int, call: Callable[[], None]) -> None:
        self.steps = 0
        self._at = at
        self._call = call

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self._at:
            self._call()


@dataclass(slots=True)
class Story:
    """What a run tells. steps: of one that was not cancelled. images: the disk after each operation."""

    steps: int = 0
    images: list[tuple[Done, SimDisk]] = field(default_factory=list)


async def _meet(world: World, disk: SimDisk | None = None) -> tuple[SimPeer, SimPeer, MagnetLink, Address]:
    """A tracker, an origin and a getter."""
    house = TrackerHouse(world)
    await house.start()
    origin = await world.add_peer("origin")
    link = await origin.share(NAME, SHARE.files, trackers=[house.address])
    getter = world.add_machine("getter")
    if disk is not None:
        getter.disk = disk
    await getter.boot()
    return origin, getter, link, house.address


async def _complete(getter: SimPeer, fetch: SimFetch) -> None:
    with trio.fail_after(PATIENCE_S):
        await fetch.wait()
    expected = {(*DOWNLOADS, NAME, *path): data for path, data in SHARE.files.items()}
    found = {}
    for path, node in getter.disk.tree().items():
        data = bytearray(node.size if node is not None else 0)
        if node is not None:
            node.read_into(memoryview(data), 0)
        found[path] = bytes(data)
    demand(found == expected, "wrong-byte", f"there are {sorted(found)}")


def _leaves_nothing(world: World, peer: SimPeer) -> None:
    lent = peer.node.services.buffers.statistics().lent_bytes  # type: ignore[attr-defined]
    demand(not lent, "leak", f"{peer.name} never gave back {lent} bytes")
    for connection in world.network.connections(peer.host):
        end = connection.forth if connection.server is peer.host else connection.back
        demand(end.reader_closed, "leak", f"{peer.name} has not closed connection {connection.number}")


async def _cancelled(seed: int, at: int, *, whole_node: bool) -> Story:
    story = Story()
    async with open_world(seed) as world:
        origin, getter, link, tracker = await _meet(world)
        fetch = getter.fetch(link, trackers=[tracker], peers=[origin.address])

        def cancel() -> None:
            if whole_node:
                getter.cut_short()
            else:
                fetch.cancel()

        counter = StepCounter(at, cancel)
        trio.lowlevel.add_instrument(counter)
        if at:
            with trio.move_on_after(PATIENCE_S):
                await fetch.ended.wait()
        else:
            await _complete(getter, fetch)
        trio.lowlevel.remove_instrument(counter)
        story.steps = counter.steps
        if not at:
            return story
        if whole_node:
            await getter.off.wait()
        await fetch.target.close()
        demand(not getter.disk.open_files, "leak", "files are open after the end")
        demand(fetch.error is None, "error", f"a cancelled fetch ends with {fetch.error!r}")
        if whole_node:
            _leaves_nothing(world, getter)
            await getter.boot()
        demand(not getter.node.members, "leak", "the node still takes part")
        again = getter.fetch(link, trackers=[tracker], peers=[origin.address])
        await _complete(getter, again)
        for peer in (getter, origin):
            await peer.switch_off()
            _leaves_nothing(world, peer)
    return story


def steps_of_a_transfer(seed: int) -> int:
    """How many steps all tasks take until it is complete."""
    return run(seed, lambda: _cancelled(seed, 0, whole_node=False)).steps


def cancel_at(seed: int, step: int, *, whole_node: bool) -> None:
    """Cancel the fetch, or the node, before that step; then fetch again. Raises Violation and what broke."""
    try:
        run(seed, lambda: _cancelled(seed, step, whole_node=whole_node))
    except BaseExceptionGroup as group:
        raise first_of(group) from group


async def _photographed(seed: int) -> Story:
    story = Story()
    async with open_world(seed) as world:
        origin, getter, link, tracker = await _meet(world)
        disk = getter.disk

        def keep(done: Done) -> None:
            if done.operation not in HARMLESS:
                story.images.append((done, disk.copy()))

        disk.observer = keep
        await _complete(getter, getter.fetch(link, trackers=[tracker], peers=[origin.address]))
    return story


def images_of_a_transfer(seed: int) -> list[tuple[Done, SimDisk]]:
    """The getter's disk after each operation that changes it."""
    return run(seed, lambda: _photographed(seed)).images


async def _resumed(seed: int, disk: SimDisk) -> None:
    async with open_world(seed) as world:
        origin, getter, link, tracker = await _meet(world, disk)
        await _complete(getter, getter.fetch(link, trackers=[tracker], peers=[origin.address]))


def resume_on(seed: int, image: SimDisk, power_seed: int | None) -> None:
    """A node that starts with this disk, after a power loss or a kill, completes. Raises Violation."""
    disk = image.copy()
    if power_seed is None:
        disk.kill()
    else:
        disk.crash(power_seed)
    run(seed, lambda: _resumed(seed, disk))
