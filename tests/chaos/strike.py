"""Carries out the faults of a plan, each at its time, and ends them when everything heals."""

import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

import trio

from peer.sim.disk import HARMLESS, Done, Operation, SimDisk
from peer.sim.network import Connection, SimHost, SimNetwork
from peer.store.filesystem import PathParts
from tests.chaos.citizen import Citizen, Limits
from tests.chaos.diary import Certain, certain_of
from tests.chaos.house import TrackerHouse
from tests.chaos.plan import Event, Fault

CAPACITY_BYTES: Final = 1 << 40
SKEW_S: Final = 400 * 86400.0
POWER_OPERATIONS: Final = 25
"""A power loss comes after at most so many storage operations that change something."""

_SYNCS: Final = (Operation.SYNC, Operation.SYNC, Operation.SYNC_FOLDER, Operation.SYNC_EVERYTHING)
_WRITES: Final = (
    Operation.WRITE, Operation.WRITE, Operation.CREATE, Operation.ALLOCATE, Operation.TRUNCATE,
    Operation.MAKE_FOLDER, Operation.RENAME, Operation.REMOVE,
)  # fmt: skip
_READS: Final = (Operation.READ, Operation.READ, Operation.READ, Operation.OPEN, Operation.LOOK)
_NAMING: Final = (Operation.CREATE, Operation.RENAME, Operation.REMOVE, Operation.MAKE_FOLDER)
_CHANGES: Final = (Operation.WRITE, Operation.ALLOCATE, Operation.TRUNCATE, *_NAMING)


def some_of(paths: Sequence[PathParts], seed: int) -> tuple[str, ...]:
    """Some files, as `--only` takes them; none where the share is a single file."""
    rng = Random(seed)
    return tuple("/".join(path) for path in paths if path and rng.random() < 0.5)


class Striker:
    """Does what events say. paths: of the share's files. ``cut_short`` and ``let_go`` are told of machines
    that were switched off."""

    def __init__(
        self,
        network: SimNetwork,
        citizens: Mapping[int, Citizen],
        house: TrackerHouse,
        paths: Sequence[PathParts],
        *,
        cut_short: Callable[[Citizen, SimDisk, Certain], None],
        let_go: Callable[[Citizen], None],
    ) -> None:
        self._network = network
        self._citizens = citizens
        self._house = house
        self._paths = paths
        self._cut_short = cut_short
        self._let_go = let_go
        self._strikes: dict[Fault, Callable[[Citizen, Event], Awaitable[None]]] = {
            Fault.CRASH: self._crash,
            Fault.POWER: self._power,
            Fault.LEAVE: self._leave,
            Fault.PARTITION: self._partition,
            Fault.CUT: self._cut,
            Fault.VANISH: self._vanish,
            Fault.RESET: self._reset,
            Fault.STALL: self._stall,
            Fault.RESHAPE: self._reshape,
            Fault.DISK_FULL: self._disk_full,
            Fault.FAILING_SYNC: self._failing_sync,
            Fault.LYING_SYNC: self._lying_sync,
            Fault.READ_ERRORS: self._read_errors,
            Fault.WRITE_ERRORS: self._write_errors,
            Fault.NO_DESCRIPTORS: self._no_descriptors,
            Fault.TRACKER_DEATH: self._tracker_death,
            Fault.CLOCK_SKEW: self._clock_skew,
            Fault.RESTART: self._restart,
            Fault.READ_ONLY: self._read_only,
            Fault.LATE_ERRORS: self._late_errors,
            Fault.TOUCH: self._touch,
            Fault.ONLY: self._only,
            Fault.RELIMIT: self._relimit,
            Fault.MOVE: self._move,
            Fault.CLOCK_JUMPS: self._clock_jumps,
        }
        self._active = 0
        self._troubled_at = 0.0

    @property
    def troubled_at(self) -> float:
        """When the last fault ended; now, while one lasts."""
        return trio.current_time() if self._active else self._troubled_at

    async def strike(self, event: Event) -> None:
        """One event, from its time to its end."""
        await trio.sleep_until(event.at)
        citizen = self._citizens[event.peer]
        if not citizen.running:
            return
        self._network.trace.add("strike", event.fault.value, citizen.name)
        self._active += 1
        await self._strikes[event.fault](citizen, event)
        self._active -= 1
        self._troubled_at = trio.current_time()

    async def heal(self) -> None:
        """The end of all faults; whoever was switched off by one comes back."""
        network = self._network
        network.heal()
        for connection in network.connections():
            connection.resume()
        await self._house.start()
        for citizen in self._citizens.values():
            async with citizen.busy:
                if citizen.gone:
                    continue
                citizen.machine.disk.heal()
                citizen.machine.disk.capacity_bytes = CAPACITY_BYTES
                citizen.machine.disk.let_clock_jump(None)
                if citizen.only and citizen.running:
                    await self._stop(citizen)
                citizen.only = ()
                if citizen.running:
                    citizen.limit()
                else:
                    await citizen.come_back()
        self._troubled_at = trio.current_time()

    # --- machines

    async def _crash(self, citizen: Citizen, event: Event) -> None:
        async with citizen.busy:
            if citizen.running:
                await self._kill(citizen)
        await self._return(citizen, event)

    async def _kill(self, citizen: Citizen) -> None:
        certain = certain_of(citizen.fetch)
        await citizen.crash()
        await citizen.machine.off.wait()
        self._let_go(citizen)
        self._cut_short(citizen, citizen.machine.disk, certain)

    async def _power(self, citizen: Citizen, event: Event) -> None:
        """The power fails just after some storage operation; what the node did after it never was."""
        async with citizen.busy:
            if not citizen.running:
                return
            disk, host = citizen.machine.disk, citizen.machine.host
            images: list[SimDisk] = []
            failed = trio.Event()
            certain = Certain()
            left = int(event.amount * POWER_OPERATIONS)

            def count(done: Done) -> None:
                nonlocal left, certain
                if done.operation not in HARMLESS and not images:
                    left -= 1
                    if left <= 0:
                        images.append(disk.copy())
                        certain = certain_of(citizen.fetch)
                        host.crash()
                        failed.set()

            disk.observer = count
            with trio.move_on_at(event.until):
                await failed.wait()
            disk.observer = None
            if not images:
                certain = certain_of(citizen.fetch)
            image = images[0] if images else disk.copy()
            image.crash(event.seed)
            citizen.machine.disk = image
            await citizen.crash()
            await citizen.machine.off.wait()
            self._let_go(citizen)
            self._cut_short(citizen, image, certain)
        await self._return(citizen, event)

    async def _restart(self, citizen: Citizen, event: Event) -> None:
        async with citizen.busy:
            if not citizen.running:
                return
            await self._stop(citizen)
        await self._return(citizen, event)

    async def _stop(self, citizen: Citizen) -> None:
        certain = certain_of(citizen.fetch)
        await citizen.stop()
        self._let_go(citizen)
        self._cut_short(citizen, citizen.machine.disk, certain)

    async def _only(self, citizen: Citizen, event: Event) -> None:
        """The same share once more, other files of it."""
        async with citizen.busy:
            if not citizen.running or citizen.plan.has_it:
                return
            if event.amount < 0.5:
                await self._stop(citizen)
            else:
                await self._kill(citizen)
            citizen.only = some_of(self._paths, event.seed)
            if event.seed % 2:
                await citizen.come_back()
        await self._return(citizen, event)

    async def _relimit(self, citizen: Citizen, event: Event) -> None:
        rng, boots = Random(event.seed), citizen.boots
        rates = [None, *(factor * citizen.plan.up for factor in (0.1, 0.4, 0.8, 2.0))]
        while trio.current_time() < event.until and citizen.running and citizen.boots == boots:
            draw = rng.choice
            citizen.limit(Limits(draw([0.0, *rates]), draw(rates), draw(rates), draw(rates)))
            await trio.sleep(min(rng.uniform(0.2, 6.0), event.until - trio.current_time()))
        if citizen.running and citizen.boots == boots:
            citizen.limit()

    async def _move(self, citizen: Citizen, event: Event) -> None:
        """Another address, the same identity: the program goes on, or was killed. Others find peer0 by no
        other way than where it is."""
        if not citizen.plan.number:
            return
        async with citizen.busy:
            if not citizen.running:
                return
            if event.amount < 0.5:
                citizen.move()
                return
            await self._kill(citizen)
            citizen.move()
            await citizen.come_back()

    async def _return(self, citizen: Citizen, event: Event) -> None:
        await trio.sleep_until(event.until)
        async with citizen.busy:
            if not (citizen.running or citizen.gone):
                await citizen.come_back()

    async def _leave(self, citizen: Citizen, event: Event) -> None:
        async with citizen.busy:
            if citizen.running and not citizen.plan.has_it:
                await citizen.leave()
                self._let_go(citizen)

    async def _tracker_death(self, citizen: Citizen, event: Event) -> None:
        self._house.lose()
        await trio.sleep_until(event.until)
        await self._house.start()

    async def _clock_skew(self, citizen: Citizen, event: Event) -> None:
        citizen.machine.disk.set_clock((event.amount - 0.5) * 2 * SKEW_S)

    async def _clock_jumps(self, citizen: Citizen, event: Event) -> None:
        disk = citizen.machine.disk
        disk.let_clock_jump(Random(event.seed))
        await trio.sleep_until(event.until)
        disk.let_clock_jump(None)

    # --- network

    def _hosts(self) -> list[SimHost]:
        return list(self._network.hosts)

    async def _partition(self, citizen: Citizen, event: Event) -> None:
        rng = Random(event.seed)
        groups: tuple[list[SimHost], list[SimHost]] = ([], [])
        for host in self._hosts():
            groups[rng.random() < event.amount].append(host)
        self._network.partition(*groups)
        await trio.sleep_until(event.until)
        self._network.heal()

    async def _cut(self, citizen: Citizen, event: Event) -> None:
        other = Random(event.seed).choice(self._hosts())
        ends = (citizen.machine.host, other) if event.amount < 0.5 else (other, citizen.machine.host)
        self._network.cut(*ends)
        await trio.sleep_until(event.until)
        self._network.heal()

    async def _vanish(self, citizen: Citizen, event: Event) -> None:
        for connection in self._some(citizen, event):
            connection.vanish()

    async def _reset(self, citizen: Citizen, event: Event) -> None:
        for connection in self._some(citizen, event):
            connection.reset()

    async def _stall(self, citizen: Citizen, event: Event) -> None:
        stalled = self._some(citizen, event)
        for connection in stalled:
            connection.stall()
        await trio.sleep_until(event.until)
        for connection in stalled:
            connection.resume()

    def _some(self, citizen: Citizen, event: Event) -> list[Connection]:
        connections = self._network.connections(citizen.machine.host)
        rng = Random(event.seed)
        return [connection for connection in connections if rng.random() < event.amount]

    async def _reshape(self, citizen: Citizen, event: Event) -> None:
        plan = citizen.plan
        factor = 0.2 + 3 * event.amount
        citizen.machine.host.shape(up=plan.up * factor, down=plan.down, latency=plan.latency * factor)
        await trio.sleep_until(event.until)
        citizen.machine.host.shape(up=plan.up, down=plan.down, latency=plan.latency)

    # --- disks

    async def _disk_full(self, citizen: Citizen, event: Event) -> None:
        citizen.machine.disk.capacity_bytes = int(event.amount * 200_000)
        await trio.sleep_until(event.until)
        citizen.machine.disk.capacity_bytes = CAPACITY_BYTES

    async def _failing_sync(self, citizen: Citizen, event: Event) -> None:
        """Where the cache goes later, programs see that nothing was saved."""
        rng, disk = Random(event.seed), citizen.machine.disk
        code = rng.choice((errno.EIO, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE))
        disk.fail(code, rng.choice(_SYNCS), nth=rng.randint(1, 4), times=rng.choice((1, 1, 2, 6)))
        await trio.sleep_until(event.until)
        if rng.random() < 0.5 and citizen.machine.disk is disk:
            disk.drop_caches()

    async def _lying_sync(self, citizen: Citizen, event: Event) -> None:
        citizen.tainted = True
        citizen.machine.disk.sync_lies = True
        await trio.sleep_until(event.until)
        citizen.machine.disk.sync_lies = False

    async def _read_errors(self, citizen: Citizen, event: Event) -> None:
        rng = Random(event.seed)
        code, operation = rng.choice((errno.EIO, errno.EIO, errno.ESTALE)), rng.choice(_READS)
        citizen.machine.disk.fail_randomly(code, operation, 0.3 * event.amount, event.seed)
        await trio.sleep_until(event.until)
        citizen.machine.disk.heal()

    async def _write_errors(self, citizen: Citizen, event: Event) -> None:
        rng = Random(event.seed)
        code = rng.choice((errno.EIO, errno.ENOSPC, errno.EDQUOT))
        citizen.machine.disk.fail(code, rng.choice(_WRITES), nth=rng.randint(1, 9), times=rng.choice((1, 3)))

    async def _late_errors(self, citizen: Citizen, event: Event) -> None:
        rng, disk = Random(event.seed), citizen.machine.disk
        code = rng.choice((errno.EIO, errno.ENOSPC, errno.EDQUOT))
        operation = rng.choice((Operation.CLOSE, *_NAMING))
        nth, times = rng.randint(1, 5), rng.choice((1, 3))
        disk.fail(code, operation, nth=nth, times=times, happens=1.0)

    async def _read_only(self, citizen: Citizen, event: Event) -> None:
        disk = citizen.machine.disk
        for operation in _CHANGES:
            disk.fail_randomly(errno.EROFS, operation, 1.0, event.seed)
        for operation in _SYNCS[1:]:
            disk.fail_randomly(errno.EIO, operation, 1.0, event.seed)
        await trio.sleep_until(event.until)
        disk.heal()

    async def _touch(self, citizen: Citizen, event: Event) -> None:
        rng, disk = Random(event.seed), citizen.machine.disk
        for _, node in sorted(disk.tree().items()):
            if node is not None and rng.random() < event.amount:
                disk.touch(node)

    async def _no_descriptors(self, citizen: Citizen, event: Event) -> None:
        disk = citizen.machine.disk
        code = errno.EMFILE if event.seed % 2 else errno.ENFILE
        for operation in (Operation.OPEN, Operation.CREATE):
            disk.fail_randomly(code, operation, 0.2 + 0.8 * event.amount, event.seed)
        await trio.sleep_until(event.until)
        disk.heal()
