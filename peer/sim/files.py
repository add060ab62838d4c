"""Files and folders of a simulated disk: the operations of `store/filesystem.py` on a `SimDisk`."""

import errno
import os
from collections.abc import Iterator
from typing import Final, NoReturn

from peer.sim.disk import ROOT, Operation, SimDisk
from peer.sim.medium import SECTOR_BYTES, Change, FileNode, FolderNode, LinkNode, Node, sectors_in
from peer.store.filesystem import Entry, File, FileState, Kind, PathParts

_NAMING: Final = frozenset({Operation.CREATE, Operation.MAKE_FOLDER, Operation.RENAME, Operation.REMOVE})


def refuse(code: int, path: str) -> NoReturn:
    raise OSError(code, os.strerror(code), path)


class SimFile:
    """An open file of a simulated disk."""

    def __init__(self, disk: SimDisk, node: FileNode, path: str, *, write: bool) -> None:
        self._disk, self._node, self._path, self._write = disk, node, path, write
        self._generation = disk.generation
        self._closed = False
        self._written: set[int] = set()
        node.opens += 1
        disk.open_files += 1

    def fileno(self) -> None:
        return None

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self._begin(Operation.READ)
        count = self._node.read_into(buffer, offset)
        self._disk.end()
        return count

    def write(self, data: memoryview | bytes, offset: int) -> None:
        code = self._start(Operation.WRITE, needs_write=True)
        disk, node = self._disk, self._node
        count = len(data)
        if code is not None:
            count //= 2  # a failing write may well have written something
        needed = node.needed_sectors(offset, count)
        room = max(0, disk.free_sectors)
        if len(needed) > room:
            code = errno.ENOSPC
            count = max(0, needed[room] * SECTOR_BYTES - offset)
        disk.used_sectors += min(len(needed), room)
        if count:
            whole = node.widened(memoryview(data)[:count], offset)
            node.write(offset // SECTOR_BYTES, disk.sectors_of(whole))
            self._written.update(range(offset // SECTOR_BYTES, sectors_in(offset + count)))
        node.mtime_ns = node.ctime_ns = disk.now_ns()
        node.grow_to(max(node.size, offset + count))
        self._finish(code)

    def allocate(self, size: int) -> None:
        code = self._start(Operation.ALLOCATE, needs_write=True)
        node = self._node
        if code is None:
            wanted = len(node.needed_sectors(0, size))
            if wanted > self._disk.free_sectors:
                code = errno.ENOSPC
            else:
                self._disk.used_sectors += wanted
                node.reserved_sectors = max(node.reserved_sectors, sectors_in(size))
                self._resize(size)
        self._finish(code)

    def truncate(self, size: int) -> None:
        code = self._start(Operation.TRUNCATE, needs_write=True)
        if code is None:
            self._resize(size)
        self._finish(code)

    def size(self) -> int:
        self._check_open()
        return self._node.size

    def state(self) -> FileState:
        self._begin(Operation.LOOK)
        self._disk.end()
        return _state_of(self._node)

    def prefetch(self, offset: int, count: int) -> None:
        pass

    def uncache(self) -> None:
        pass

    def sync(self) -> None:
        code = self._start(Operation.SYNC)
        if code is not None:
            self._node.fail_sync()
        elif self._disk.sync_lies:
            self._node.claim_sync()
        else:
            self._node.sync()
        self._finish(code)

    def lock(self) -> bool:
        self._check_open()
        if self._node.locked_by not in (None, self):
            return False
        self._node.locked_by = self
        return True

    def close(self) -> None:
        """A failing one has lost what was written by this descriptor, as where a network or a quota is only
        asked then; the descriptor is gone all the same."""
        if self._closed:
            return
        disk, code = self._disk, None
        if self._written and self._generation == disk.generation and disk.can_fail(Operation.CLOSE):
            code = disk.begin(Operation.CLOSE, self._path)
            if code is not None:
                self._node.fail_sync(self._written)
            disk.end()
        self._let_go()
        if code is not None:
            refuse(code, self._path)

    def _let_go(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._generation == self._disk.generation:
            self._node.opens -= 1
            self._disk.open_files -= 1
            if self._node.locked_by is self:
                self._node.locked_by = None
            self._disk.release(self._node)

    def __del__(self) -> None:
        self._let_go()

    def _resize(self, size: int) -> None:
        before = self._node.used_sectors
        self._node.mtime_ns = self._node.ctime_ns = self._disk.now_ns()
        self._node.resize(size)
        self._disk.used_sectors += self._node.used_sectors - before

    def _check_open(self) -> None:
        if self._closed or self._generation != self._disk.generation:
            refuse(errno.EBADF, self._path)

    def _start(self, operation: Operation, *, needs_write: bool = False) -> int | None:
        if self._closed or self._generation != self._disk.generation or (needs_write and not self._write):
            refuse(errno.EBADF, self._path)
        return self._disk.begin(operation, self._path)

    def _begin(self, operation: Operation) -> None:
        code = self._start(operation)
        if code is not None:
            self._finish(code)

    def _finish(self, code: int | None) -> None:
        self._disk.end()
        if code is not None:
            refuse(code, self._path)


def _state_of(node: FileNode) -> FileState:
    return FileState(node.size, node.mtime_ns, node.ctime_ns, node.number, node.executable)


class SimFolder:
    """A root folder on a simulated disk.

    path: of the root on the disk; made, durably, where missing. label: how messages name the disk.
    """

    def __init__(self, disk: SimDisk, path: PathParts = (), *, label: str = "/sim") -> None:
        self.disk = disk
        self._root = _find_or_make(disk, path)
        self._label = "/".join((label, *path))
        self._generation = disk.generation

    def open(self, path: PathParts, *, write: bool = False) -> File:
        self._begin(Operation.OPEN, path)
        node = self._file(path)
        self.disk.end()
        return SimFile(self.disk, node, self.describe(path), write=write)

    def create(self, path: PathParts, *, executable: bool = False) -> File:
        code = self._begin(Operation.CREATE, path)
        parent = self._folder(path[:-1])
        if path[-1] in parent.seen:
            refuse(errno.EEXIST, self.describe(path))
        node = FileNode(self.disk.new_number(), executable)
        node.mtime_ns = node.ctime_ns = self.disk.now_ns()
        self._add(parent, path[-1], node)
        file = SimFile(self.disk, node, self.describe(path), write=True)
        self._finish(code, path)
        return file

    def make_folder(self, path: PathParts) -> None:
        for depth in range(1, len(path) + 1):
            parent = self._folder(path[: depth - 1])
            if path[depth - 1] in parent.seen:
                self._folder(path[:depth])
                continue
            code = self._begin(Operation.MAKE_FOLDER, path[:depth])
            self._add(parent, path[depth - 1], FolderNode(self.disk.new_number()))
            self._finish(code, path[:depth])

    def entries(self, path: PathParts) -> Iterator[Entry]:
        self._begin(Operation.LOOK, path)
        nodes = self.disk.nodes
        listed = [Entry(name, _kind_of(nodes[number])) for name, number in self._folder(path).seen.items()]
        self.disk.end()
        return iter(sorted(listed, key=lambda entry: entry.name))

    def kind(self, path: PathParts) -> Kind | None:
        self._begin(Operation.LOOK, path)
        try:
            return _kind_of(self._node(path))
        except FileNotFoundError:
            return None
        finally:
            self.disk.end()

    def state(self, path: PathParts) -> FileState:
        self._begin(Operation.LOOK, path)
        node = self._file(path)
        self.disk.end()
        return _state_of(node)

    def allocated_bytes(self, path: PathParts) -> int:
        self._begin(Operation.LOOK, path)
        node = self._file(path)
        self.disk.end()
        return node.used_sectors * SECTOR_BYTES

    def rename(self, old: PathParts, new: PathParts) -> None:
        self._move(old, new, replace=False)

    def replace(self, old: PathParts, new: PathParts) -> None:
        self._move(old, new, replace=True)

    def remove(self, path: PathParts) -> None:
        code = self._begin(Operation.REMOVE, path)
        parent, node = self._folder(path[:-1]), self._node(path)
        if isinstance(node, FolderNode) and node.seen:
            refuse(errno.ENOTEMPTY, self.describe(path))
        del parent.seen[path[-1]]
        self.disk.entry_log.add(Change(parent.number, path[-1], None))
        self.disk.unlink(node)
        self._finish(code, path)

    def sync_folder(self, path: PathParts) -> None:
        self._begin(Operation.SYNC_FOLDER, path)
        self.disk.sync_entries(self._folder(path).number)
        self.disk.end()

    def sync_everything(self, path: PathParts = ()) -> None:
        self._check_open()
        code = self.disk.begin(Operation.SYNC_EVERYTHING, self.describe(path))
        for node in self.disk.nodes.values():
            if isinstance(node, FileNode) and code is not None:
                node.fail_sync()
            elif isinstance(node, FileNode) and self.disk.sync_lies:
                node.claim_sync()
            elif isinstance(node, FileNode):
                node.sync()
        if code is None:
            self.disk.sync_entries(None)
        self.disk.end()
        if code is not None:
            refuse(code, self.describe(path))

    def free_bytes(self) -> int:
        self._check_open()
        return max(0, self.disk.free_sectors) * SECTOR_BYTES

    def describe(self, path: PathParts = ()) -> str:
        return "/".join((self._label, *path))

    def close(self) -> None:
        self._generation = -1

    def _move(self, old: PathParts, new: PathParts, *, replace: bool) -> None:
        code = self._begin(Operation.RENAME, new)
        source, target = self._folder(old[:-1]), self._folder(new[:-1])
        node = self._node(old)
        there = self.disk.nodes.get(target.seen.get(new[-1], 0))
        if there is not None and not (replace and isinstance(there, FileNode)):
            refuse(errno.EEXIST, self.describe(new))
        del source.seen[old[-1]]
        target.seen[new[-1]] = node.number
        self.disk.entry_log.add(
            Change(source.number, old[-1], None), Change(target.number, new[-1], node.number)
        )
        if isinstance(node, FileNode):
            node.ctime_ns = self.disk.now_ns()
        if there is not None:
            self.disk.unlink(there)
        self._finish(code, new)

    def _add(self, parent: FolderNode, name: str, node: Node) -> None:
        node.links = 1
        self.disk.nodes[node.number] = node
        parent.seen[name] = node.number
        self.disk.entry_log.add(Change(parent.number, name, node.number))

    def _node(self, path: PathParts) -> Node:
        node: Node = self.disk.nodes[self._root]
        for name in path:
            if isinstance(node, LinkNode):
                refuse(errno.ELOOP, self.describe(path))
            if not isinstance(node, FolderNode):
                refuse(errno.ENOTDIR, self.describe(path))
            if name not in node.seen:
                refuse(errno.ENOENT, self.describe(path))
            node = self.disk.nodes[node.seen[name]]
        return node

    def _file(self, path: PathParts) -> FileNode:
        node = self._node(path)
        if isinstance(node, LinkNode):
            refuse(errno.ELOOP, self.describe(path))
        if isinstance(node, FolderNode):
            refuse(errno.EISDIR, self.describe(path))
        return node

    def _folder(self, path: PathParts) -> FolderNode:
        node = self._node(path)
        if isinstance(node, LinkNode):
            refuse(errno.ELOOP, self.describe(path))
        if isinstance(node, FileNode):
            refuse(errno.ENOTDIR, self.describe(path))
        return node

    def _check_open(self) -> None:
        if self._generation != self.disk.generation:
            refuse(errno.EBADF, self._label)

    def _begin(self, operation: Operation, path: PathParts) -> int | None:
        """The errno with which to end what does its work although it fails."""
        self._check_open()
        code = self.disk.begin(operation, self.describe(path))
        if code is not None and not (self.disk.happens and operation in _NAMING):
            self._finish(code, path)
        return code

    def _finish(self, code: int | None, path: PathParts) -> None:
        self.disk.end()
        if code is not None:
            refuse(code, self.describe(path))


def _kind_of(node: Node) -> Kind:
    if isinstance(node, FileNode):
        return Kind.FILE
    return Kind.FOLDER if isinstance(node, FolderNode) else Kind.LINK


def _find_or_make(disk: SimDisk, path: PathParts) -> int:
    node = disk.nodes[ROOT]
    for name in path:
        assert isinstance(node, FolderNode)
        if name not in node.seen:
            made = FolderNode(disk.new_number(), links=1)
            disk.nodes[made.number] = made
            node.seen[name] = node.durable[name] = made.number
        node = disk.nodes[node.seen[name]]
    return node.number
