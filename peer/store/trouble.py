"""What the kernel says about the disk, translated once: an OSError in, one line with a way out."""

import errno
from collections.abc import Callable
from types import TracebackType
from typing import Final

from peer.errors import StorageError, StorageFullError, StorageLackError
from peer.paths import printable
from peer.store.filesystem import PathParts

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What passes when somebody gives something back."""

_SENTENCES: Final[dict[int, str]] = {
    errno.ENOSPC: "the disk is full: make room, what has arrived is kept",
    errno.EDQUOT: "your disk quota is used up: make room, what has arrived is kept",
    errno.EACCES: "permission denied: change its permissions or choose another folder",
    errno.EPERM: "the system does not permit it: check the owner and flags, or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder or mount it for writing",
    errno.ENOENT: "it does not exist: check the path, or whether it was moved or removed meanwhile",
    errno.ENOTDIR: "a part of this path is a file where a folder is needed: move it away",
    errno.EISDIR: "it is a folder where a file is needed: move it away",
    errno.EEXIST: "something with this name is already there: move it away or choose another folder",
    errno.ENOTEMPTY: "the folder is not empty: move away what is in it",
    errno.ELOOP: "it is a symbolic link, and links are never followed here: replace it by what it points to",
    errno.EMLINK: "the file has a second name (hard link), and writing would change both: copy or remove it",
    errno.EIO: "the disk reports an input/output error: check the disk, then run the same command again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n) or run fewer transfers",
    errno.ENFILE: "the system has too many files open: close some programs",
    errno.ENOMEM: "the system has no memory left: close some programs",
    errno.ENAMETOOLONG: "the path is too long for this file system: choose a folder with a shorter path",
    errno.EFBIG: "the file is too large for this file system (FAT ends at 4 GiB): choose another disk",
    errno.EINVAL: "it is not a regular file, or the file system refuses the name: choose another folder",
    errno.EILSEQ: "the file system refuses this name: choose another disk",
    errno.ESTALE: "the network file system has lost it: mount it again",
    errno.ENODEV: "the disk is gone: connect it again",
    errno.ENXIO: "the disk is gone: connect it again",
    errno.ENOLCK: "the file system has no locks: choose a folder on a local disk",
    errno.EBUSY: "it is in use by the system: choose another folder",
    errno.EXDEV: "it lies on another disk than its folder: choose a folder without mounts inside",
    errno.ETXTBSY: "it is a program that is running: stop it first",
}


def translate(error: OSError, path: str) -> StorageError:
    """The error for the user. path: as `Folder.describe` names it."""
    code = error.errno or 0
    sentence = _SENTENCES.get(code) or f"{error.strerror or error}: check the disk and the folder"
    kind = StorageFullError if code in _FULL else StorageLackError if code in LACK else StorageError
    return kind(f"{printable(path)}: {sentence}")


class trouble:  # noqa: N801 - reads as a phrase: `with trouble(path):`
    """Context manager: an OSError inside leaves as the StorageError that names this path.

    path: as `Folder.describe` names it; or that method and its argument, asked only when there is trouble,
    where this is done for each of ten thousand files.
    """

    __slots__ = ("_parts", "_path")

    def __init__(self, path: str | Callable[[PathParts], str], parts: PathParts = ()) -> None:
        self._path = path
        self._parts = parts

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            path = self._path if isinstance(self._path, str) else self._path(self._parts)
            raise translate(error, path) from error
