"""The real disk behind the seam of `store/filesystem.py`.

Every path is walked component by component from the root's descriptor, each step with O_NOFOLLOW, and every
operation acts on a name in an open folder (the `*at` calls). So a symbolic link planted anywhere below the
root, before or between our steps, is refused and never followed (RELIABILITY row 20; rsync CVE-2026-43619 was
a race in path-based calls). A file with a second name (hard link) is not opened for writing either: it may be
somebody else's.

The descriptors of the folders last used stay open, so that ten thousand small files cost ten thousand opens
and not ten thousand walks. A folder that is renamed away by somebody stays the same folder to us.

Descriptors close when the last reference goes: a file that falls out of a cache while another thread reads it
must not be closed, because its number could come to mean another file in the middle of a `sendfile`.
"""

import errno
import fcntl
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

from peer.limits import FOLDERS_OPEN_MAX
from peer.store import native
from peer.store.filesystem import Entry, File, FileState, Folder, Kind, PathParts
from peer.store.trouble import LACK

T = TypeVar("T")

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a FIFO that somebody put there must not wait for a writer; without effect on files."""


def open_folder(path: str, *, create: bool = False) -> Folder:
    """The folder that the user named, as a root. Links in this path are followed: the user wrote it.

    create: make it and its parents where missing, durably: what will be durable in it must not hang on a name
    that a power loss takes. Raises OSError.
    """
    if create and not os.path.isdir(path):
        parent = os.path.dirname(os.path.abspath(path))
        try:
            above = open_folder(parent, create=True)
        except FileExistsError as error:  # of the parent: no folder
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), parent) from error
        os.makedirs(path, exist_ok=True)
        above.sync_folder(())
        above.close()
    return DiskFolder(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


class _Descriptor:
    """Owns a descriptor: closes it when nobody refers to it any more."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        if self.number >= 0:
            with suppress(OSError):  # nobody is left to be told
                _close(self.number)


class DiskFile(_Descriptor):
    """An open regular file; `File` says what the methods do. `close` only where no other thread uses it."""

    __slots__ = ()

    def fileno(self) -> int:
        return self.number

    def read_into(self, buffer: memoryview, offset: int) -> int:
        done = 0
        while done < len(buffer):
            count = os.preadv(self.number, [buffer[done:] if done else buffer], offset + done)
            if not count:
                break
            done += count
        return done

    def write(self, data: memoryview | bytes, offset: int) -> None:
        done = os.pwrite(self.number, data, offset)
        if done < len(data):
            view = memoryview(data)
            while done < len(view):
                done += os.pwrite(self.number, view[done:], offset + done)

    def allocate(self, size: int) -> None:
        if not native.reserve(self.number, size) or os.fstat(self.number).st_size != size:
            os.ftruncate(self.number, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.number, size)

    def size(self) -> int:
        return os.fstat(self.number).st_size

    def state(self) -> FileState:
        return _state_of(os.fstat(self.number))

    def prefetch(self, offset: int, count: int) -> None:
        with suppress(OSError):
            native.prefetch(self.number, offset, count)

    def uncache(self) -> None:
        with suppress(OSError):
            native.uncache(self.number)

    def sync(self) -> None:
        native.sync_file(self.number)

    def lock(self) -> bool:
        try:
            fcntl.flock(self.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class DiskFolder:
    """A root folder and what is below it; `Folder` says what the methods do. Threads may share it."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._root = _Descriptor(descriptor)
        self._open: OrderedDict[PathParts, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: PathParts, *, write: bool = False) -> File:
        flags = _FILE_FLAGS | (os.O_RDWR if write else os.O_RDONLY)
        file = self._at(path, lambda folder, name: DiskFile(os.open(name, flags, dir_fd=folder)))
        status = os.fstat(file.number)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(status.st_mode, path)
        if write and status.st_nlink > 1:
            raise OSError(errno.EMLINK, "has a second name (hard link)", path[-1])
        return file

    def create(self, path: PathParts, *, executable: bool = False) -> File:
        flags = _FILE_FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL
        mode = 0o777 if executable else 0o666
        return self._at(path, lambda folder, name: DiskFile(os.open(name, flags, mode, dir_fd=folder)))

    def make_folder(self, path: PathParts) -> None:
        for depth in range(1, len(path) + 1):
            part = path[:depth]
            try:
                self._at(part, lambda folder, name: os.mkdir(name, dir_fd=folder))
            except FileExistsError:
                self._descriptor(part)  # a real folder, or OSError
            else:
                self._forget(part)  # what was known by this name is gone

    def entries(self, path: PathParts) -> Iterator[Entry]:
        # A descriptor of its own: the position in the listing belongs to the open folder, not to the reader.
        folder = self._descriptor(path)
        reading = _Descriptor(os.open(".", _FOLDER_FLAGS, dir_fd=folder.number))
        with os.scandir(reading.number) as found:
            listed = [Entry(entry.name, _kind_of(entry)) for entry in found]
        listed.sort(key=lambda entry: entry.name)
        return iter(listed)

    def kind(self, path: PathParts) -> Kind | None:
        if not path:
            return Kind.FOLDER
        try:
            mode = self._status(path).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISREG(mode):
            return Kind.FILE
        if stat.S_ISDIR(mode):
            return Kind.FOLDER
        return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER

    def state(self, path: PathParts) -> FileState:
        status = self._status(path)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(status.st_mode, path)
        return _state_of(status)

    def allocated_bytes(self, path: PathParts) -> int:
        return self._status(path).st_blocks * 512  # the unit of st_blocks, whatever the block size

    def rename(self, old: PathParts, new: PathParts) -> None:
        source, target = self._descriptor(old[:-1]), self._descriptor(new[:-1])
        self._forget(old)
        if not native.rename_exclusive(source.number, old[-1], target.number, new[-1]):
            _rename_without_replacing(source.number, old[-1], target.number, new[-1])

    def replace(self, old: PathParts, new: PathParts) -> None:
        source, target = self._descriptor(old[:-1]), self._descriptor(new[:-1])
        os.replace(old[-1], new[-1], src_dir_fd=source.number, dst_dir_fd=target.number)

    def remove(self, path: PathParts) -> None:
        self._forget(path)
        is_folder = stat.S_ISDIR(self._status(path).st_mode)
        self._at(path, lambda folder, name: (os.rmdir if is_folder else os.unlink)(name, dir_fd=folder))

    def sync_folder(self, path: PathParts) -> None:
        folder = self._descriptor(path)
        native.sync_folder(folder.number)

    def sync_everything(self, path: PathParts = ()) -> None:
        if not native.sync_file_system(self._root.number):
            self._sync_tree(path)

    def free_bytes(self) -> int:
        status = os.fstatvfs(self._root.number)
        return status.f_bavail * status.f_frsize

    def describe(self, path: PathParts = ()) -> str:
        return os.path.join(self._path, *path)

    def close(self) -> None:
        with self._lock:
            self._open.clear()
        self._root.close()

    def _descriptor(self, path: PathParts) -> _Descriptor:
        """An open folder, walked to without following a link; kept for the next one who asks.

        The caller holds the object while it uses the number: another thread may push it out of the cache.
        """
        if not path:
            return self._root
        with self._lock:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
                return found
        parent = self._descriptor(path[:-1])
        try:
            made = _open_step(parent.number, path[-1])
        except FileNotFoundError:
            if os.fstat(parent.number).st_nlink:
                raise
            # A folder that we kept open has been removed, and perhaps made anew: walk again. This ends,
            # because the root is never walked to: where it is what was removed, there is nothing to find.
            if parent is self._root:
                raise
            self._forget(path[:1])
            return self._descriptor(path)
        with self._lock:
            self._open[path] = made
            while len(self._open) > FOLDERS_OPEN_MAX:
                self._open.popitem(last=False)
        return made

    def _at(self, path: PathParts, operation: Callable[[int, str], T]) -> T:
        """Do it to the last name of the path in its open folder. For lack of descriptors those of the folders
        are given back, and it is tried once more."""
        try:
            return self._once_at(path, operation)
        except OSError as error:
            if error.errno not in LACK or not self._open:
                raise
        self._forget(())
        return self._once_at(path, operation)

    def _once_at(self, path: PathParts, operation: Callable[[int, str], T]) -> T:
        if not path:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
        folder = self._descriptor(path[:-1])
        try:
            return operation(folder.number, path[-1])
        except FileNotFoundError:
            # Perhaps the folder that we kept open has been removed and made anew: then walk again, once.
            if os.fstat(folder.number).st_nlink:
                raise
        self._forget(path[:1])
        return operation(self._descriptor(path[:-1]).number, path[-1])

    def _status(self, path: PathParts) -> os.stat_result:
        if not path:
            return os.fstat(self._root.number)
        return self._at(path, lambda folder, name: os.stat(name, dir_fd=folder, follow_symlinks=False))

    def _forget(self, path: PathParts) -> None:
        """Let go of the descriptors of this folder and of those below."""
        with self._lock:
            for known in [known for known in self._open if known[: len(path)] == path]:
                del self._open[known]

    def _sync_tree(self, path: PathParts) -> None:
        for entry in self.entries(path):
            if entry.kind is Kind.FOLDER:
                self._sync_tree((*path, entry.name))
            elif entry.kind is Kind.FILE:
                self.open((*path, entry.name)).sync()
        self.sync_folder(path)


def _open_step(parent: int, name: str) -> _Descriptor:
    try:
        return _Descriptor(os.open(name, _FOLDER_FLAGS, dir_fd=parent))
    except NotADirectoryError:
        # Linux says so for links as well, macOS says ELOOP: make it one answer.
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


def _rename_without_replacing(source: int, old: str, target: int, new: str) -> None:
    """Where the system has no such rename.

    A file gets its new name by `link`, which never replaces. A folder can only replace an empty folder, so
    an empty one that is ours stands in for it. Where there are no hard links (FAT), looking first must do.
    """
    if stat.S_ISDIR(os.stat(old, dir_fd=source, follow_symlinks=False).st_mode):
        os.mkdir(new, dir_fd=target)
        try:
            os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        except OSError:
            with suppress(OSError):
                os.rmdir(new, dir_fd=target)
            raise
        return
    try:
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        _rename_after_look(source, old, target, new)
        return
    os.unlink(old, dir_fd=source)


def _rename_after_look(source: int, old: str, target: int, new: str) -> None:
    try:
        os.stat(new, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)


def _state_of(status: os.stat_result) -> FileState:
    return FileState(
        status.st_size,
        _in_64_bits(status.st_mtime_ns),
        _in_64_bits(status.st_ctime_ns),
        status.st_ino,
        bool(status.st_mode & stat.S_IXUSR),
    )


def _in_64_bits(time_ns: int) -> int:
    """Wrapped around like a machine's integer: journals and stamps hold 64 bits, which end in 1677 and 2262,
    and file systems know times beyond. (1601 is what Windows writes for none.) Times are only compared."""
    return (time_ns + 2**63) % 2**64 - 2**63


def _kind_of(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.FOLDER
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


def _not_a_file(mode: int, path: PathParts) -> OSError:
    name = path[-1] if path else ""
    if stat.S_ISLNK(mode):
        return OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return OSError(errno.EINVAL, "is not a regular file", name)
