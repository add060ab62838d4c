"""A disk in memory that can be full, fail, lie and lose power: the simulated side of `store/filesystem.py`.

The model is the strict reading of POSIX: data and size of a file are durable after its `sync`, a name is
durable after `sync_folder` of the folder that holds it, and nothing else is promised (`sim/medium.py`: what
a power loss leaves). Everything is decided by a seed. Each operation has a number and a record in the log, so
that a test can stop after each one, or make the N-th fail:

    disk = SimDisk(capacity_bytes=64 * MIB)
    disk.fail(errno.EIO, Operation.SYNC, nth=3)      # the third sync from now
    image = disk.copy()                              # go on with the one, cut the power of the other
    image.crash(seed=7)
    folder = SimFolder(image)                        # what the next run finds (sim/files.py)

What is open when power is lost stays unusable (EBADF), like a process that is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from peer.sim.medium import SECTOR_BYTES, EntryLog, FileNode, FolderNode, LinkNode, Node
from peer.store.filesystem import PathParts

ROOT: Final = 1
_TICK_NS: Final = 1_000_000
"""Each change moves the disk's clock: no two have one time."""

JUMP_S: Final = 3600.0
_JUMP_CHANCE: Final = 0.3
"""How far a clock that jumps does so at most, and how often: at each time that is given to a file."""


class Operation(Enum):
    """What can be asked of a disk, counted and logged."""

    OPEN = "open"
    CREATE = "create"
    READ = "read"
    WRITE = "write"
    ALLOCATE = "allocate"
    TRUNCATE = "truncate"
    SYNC = "sync"
    LOOK = "look"
    MAKE_FOLDER = "make_folder"
    RENAME = "rename"
    REMOVE = "remove"
    CLOSE = "close"
    SYNC_FOLDER = "sync_folder"
    SYNC_EVERYTHING = "sync_everything"


HARMLESS: Final = frozenset({Operation.OPEN, Operation.READ, Operation.LOOK})
"""These leave the medium as it is: a power loss after them is one after the operation before."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each operation makes one
class Done:
    """An operation in the log. error: the errno that it failed with."""

    number: int
    operation: Operation
    path: str
    error: int | None = None


@dataclass(slots=True)
class _Fault:
    """nth: counts down to the first failure; times: how often it fails then; chance: instead of counting.
    happens: how likely what was asked for is done all the same."""

    code: int
    operation: Operation | None
    nth: int
    times: float
    chance: float | None
    rng: Random
    happens: float = 0.0

    def strikes(self, operation: Operation) -> bool:
        if self.operation not in (None, operation) or not self.times:
            return False
        if self.chance is not None:
            return self.rng.random() < self.chance
        if self.nth > 1:
            self.nth -= 1
            return False
        self.times -= 1
        return True


class SimDisk:
    """The medium, its cache, its faults; `SimFolder` in `sim/files.py` is the seam's view of it."""

    def __init__(self, *, capacity_bytes: int = 1 << 40, sectors: dict[bytes, bytes] | None = None) -> None:
        """sectors: whole ones by their beginning, shared with other disks: nodes that hold the same share
        then take the memory for one."""
        self.capacity_bytes = capacity_bytes
        """May be changed at any time: less than what is used is full."""
        self.sync_lies = False
        """Syncs report success and save nothing."""
        self.drops = 0
        """How often caches were dropped: files may have changed without a change of their times."""
        self.happens = False
        """Whether the operation that has just begun and must fail does its work all the same."""
        self.observer: Callable[[Done], None] | None = None
        """Called after each operation, failed ones as well; may copy the disk, not change it."""
        self.log: list[Done] = []
        self.operations = 0
        self.nodes: dict[int, Node] = {ROOT: FolderNode(ROOT, links=1)}
        self.entry_log = EntryLog()
        self.used_sectors = 0
        self.open_files = 0
        self.generation = 0
        self._sectors: dict[bytes, bytes] = {} if sectors is None else sectors
        self._faults: list[_Fault] = []
        self._orphans: set[int] = set()
        self._next_node = ROOT + 1
        self._clock_ns = 1_700_000_000 * 10**9
        self._jumps: Random | None = None

    # --- what a test does to it

    def fail(
        self,
        code: int,
        operation: Operation | None = None,
        *,
        nth: int = 1,
        times: float = 1,
        happens: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Make the nth operation (of this kind) from now fail, and the ones after it, `times` in all.

        happens: how likely a change of names is made all the same: an error may be one of the answer (a
        network file system sends a request twice), or come when the work was done.
        """
        self._faults.append(_Fault(code, operation, nth, times, None, Random(seed), happens))

    def fail_randomly(
        self, code: int, operation: Operation | None, chance: float, seed: int, *, happens: float = 0.0
    ) -> None:
        """Make each operation (of this kind) fail with this probability."""
        self._faults.append(_Fault(code, operation, 1, float("inf"), chance, Random(seed), happens))

    def can_fail(self, operation: Operation) -> bool:
        """Whether a fault is there for just this kind."""
        return any(fault.operation is operation for fault in self._faults)

    def heal(self) -> None:
        """End all faults."""
        self._faults.clear()
        self.sync_lies = False

    def plant_link(self, path: PathParts) -> None:
        """Put a symbolic link there, in place of what is there, as another program would."""
        parent = self.nodes[ROOT]
        for name in path[:-1]:
            assert isinstance(parent, FolderNode)
            parent = self.nodes[parent.seen[name]]
        assert isinstance(parent, FolderNode)
        link = LinkNode(self.new_number(), links=1)
        self.nodes[link.number] = link
        parent.seen[path[-1]] = parent.durable[path[-1]] = link.number

    def crash(self, seed: int) -> None:
        """Cut the power: unsynced sectors and entries are lost or kept, each for itself."""
        rng = Random(seed)
        loss = rng.choice((1.0, 0.9, 0.5, 0.5, 0.1))
        folders = {number: node for number, node in self.nodes.items() if isinstance(node, FolderNode)}
        self.entry_log.lose_power(rng, loss, folders)
        for folder in folders.values():
            folder.lose_power()
        self._keep_reachable()
        for node in self.nodes.values():
            if isinstance(node, FileNode):
                node.lose_power(rng, loss)
        self.used_sectors = sum(n.used_sectors for n in self.nodes.values() if isinstance(n, FileNode))
        self._forget_programs()

    def kill(self) -> None:
        """End every program (kill -9): descriptors and locks are gone, the cache stays."""
        for node in self.nodes.values():
            if isinstance(node, FileNode):
                node.let_go()
        self._release_orphans()
        self._forget_programs()

    def set_clock(self, seconds: float) -> None:
        """Put the machine's clock forward, or back."""
        self._clock_ns += int(seconds * 1e9)

    def let_clock_jump(self, rng: Random | None) -> None:
        """From now on the clock may jump before any change; None: no longer."""
        self._jumps = rng

    def touch(self, node: FileNode) -> None:
        """Give a file another time, as a program does that changes nothing else."""
        node.mtime_ns = node.ctime_ns = self.now_ns()

    def tree(self) -> dict[PathParts, FileNode | None]:
        """All files, and what is no file and no folder (None), by path: past all faults, and not logged."""
        found: dict[PathParts, FileNode | None] = {}
        waiting: list[tuple[PathParts, Node]] = [((), self.nodes[ROOT])]
        while waiting:
            path, node = waiting.pop()
            if isinstance(node, FolderNode):
                waiting += [((*path, name), self.nodes[number]) for name, number in node.seen.items()]
            else:
                found[path] = node if isinstance(node, FileNode) else None
        return found

    def drop_caches(self) -> None:
        """Let reads see what a failed sync did not save."""
        self.drops += 1
        for node in self.nodes.values():
            if isinstance(node, FileNode):
                node.drop_cache()

    def copy(self) -> "SimDisk":
        """An independent disk in the same state, with nothing open, no faults, and an empty log."""
        made = SimDisk(capacity_bytes=self.capacity_bytes, sectors=self._sectors)
        made.nodes = {number: node.copy() for number, node in self.nodes.items()}
        made.entry_log = self.entry_log.copy()
        made.used_sectors = self.used_sectors
        made._orphans = set(self._orphans)
        made._next_node, made._clock_ns = self._next_node, self._clock_ns
        made._release_orphans()
        return made

    # --- what its folders and files do to it

    def begin(self, operation: Operation, path: str) -> int | None:
        """Count an operation; return the errno that it must fail with, after what it may do before that."""
        self.operations += 1
        code = None
        self.happens = False
        for fault in self._faults:
            if fault.strikes(operation):
                code = fault.code
                self.happens = bool(fault.happens) and fault.rng.random() < fault.happens
        self.log.append(Done(self.operations, operation, path, code))
        return code

    def end(self) -> None:
        if self.observer is not None:
            self.observer(self.log[-1])

    def now_ns(self) -> int:
        self._clock_ns += _TICK_NS
        if self._jumps is not None and self._jumps.random() < _JUMP_CHANCE:
            self.set_clock(self._jumps.uniform(-JUMP_S, JUMP_S))
        return self._clock_ns

    def new_number(self) -> int:
        self._next_node += 1
        return self._next_node - 1

    @property
    def free_sectors(self) -> int:
        """How many can still be taken; negative where capacity was taken away."""
        return self.capacity_bytes // SECTOR_BYTES - self.used_sectors

    def sectors_of(self, data: memoryview | bytes) -> list[bytes]:
        """Whole sectors, cut out: of each the one copy with this content, as far as its beginning tells (the
        hash of all of it would cost ten times as much)."""
        cut = []
        for at in range(0, len(data), SECTOR_BYTES):
            sector = bytes(data[at : at + SECTOR_BYTES])
            kept = self._sectors.setdefault(sector[:64], sector)
            cut.append(kept if kept == sector else sector)
        return cut

    def unlink(self, node: Node) -> None:
        """A name is gone. A power loss may bring it back, so the node lives until the change is durable."""
        node.links -= 1
        if not node.links:
            self._orphans.add(node.number)
        if isinstance(node, FileNode):
            node.ctime_ns = self.now_ns()
            self.release(node)

    def release(self, node: FileNode) -> None:
        """Free the space of a file that has neither name nor user."""
        if not node.links and not node.opens and not node.freed:
            node.freed = True
            self.used_sectors -= node.used_sectors

    def sync_entries(self, folder: int | None) -> None:
        """Make the names in one folder durable, or all."""
        if self.sync_lies:
            return
        folders = {number: node for number, node in self.nodes.items() if isinstance(node, FolderNode)}
        self.entry_log.sync(folder, folders)
        if not len(self.entry_log):
            for number in sorted(self._orphans):
                node = self.nodes[number]
                if not (isinstance(node, FileNode) and node.opens):
                    del self.nodes[number]
                    self._orphans.discard(number)

    def _release_orphans(self) -> None:
        for number in sorted(self._orphans):
            node = self.nodes[number]
            if isinstance(node, FileNode):
                self.release(node)

    def _keep_reachable(self) -> None:
        reached: dict[int, Node] = {}
        waiting = [ROOT]
        while waiting:
            number = waiting.pop()
            node = self.nodes.get(number)
            if node is None or number in reached:
                continue
            reached[number] = node
            if isinstance(node, FolderNode):
                node.seen = {name: child for name, child in node.seen.items() if child in self.nodes}
                node.durable = dict(node.seen)
                waiting += node.seen.values()
        for node in reached.values():
            node.links = 0
            if isinstance(node, FileNode):
                node.freed = False
        reached[ROOT].links = 1
        for node in reached.values():  # one of two renames may be lost: then a file has two names
            if isinstance(node, FolderNode):
                for number in node.seen.values():
                    reached[number].links += 1
        self._orphans.clear()
        self.nodes = dict(sorted(reached.items()))

    def _forget_programs(self) -> None:
        self.generation += 1
        self.open_files = 0
        self.observer = None
        self.heal()
