"""What only some systems offer, at one place; each says whether it was there, so that callers can fall back.

Called by `ctypes` in the C library that the process already has. A missing function, an old kernel and a file
system that cannot do it are the same to a caller: False. Every other failure is the OSError it stands for.
Calls release the interpreter lock.
"""

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from typing import Any, Final

_MACOS: Final = sys.platform == "darwin"
_RENAME_NOREPLACE: Final = 1  # linux/fs.h
_RENAME_EXCL: Final = 4  # macOS sys/stdio.h
_F_FULLFSYNC: Final = 51  # macOS sys/fcntl.h; Python has the name there only
_NOT_OFFERED: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY})

_Function = Callable[..., int]


def _function(*names: str, arguments: list[Any]) -> _Function | None:
    """The first of these that the C library has, or None."""
    for name in names:
        try:
            found = getattr(_LIBRARY, name)
        except AttributeError:
            continue
        found.argtypes = arguments
        found.restype = ctypes.c_int
        return found  # type: ignore[no-any-return]
    return None


_LIBRARY = ctypes.CDLL(None, use_errno=True)
_rename_function = _function(
    "renameatx_np" if _MACOS else "renameat2",
    arguments=[ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint],
)
_fallocate = _function(
    "fallocate64",  # where `fallocate` takes 32-bit offsets
    "fallocate",
    arguments=[ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64],
)
_syncfs = _function("syncfs", arguments=[ctypes.c_int])


def _call(function: _Function | None, *arguments: object) -> bool:
    if function is None:
        return False
    while function(*arguments) != 0:
        code = ctypes.get_errno()
        if code in _NOT_OFFERED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def rename_exclusive(old_folder: int, old: str, new_folder: int, new: str) -> bool:
    """Rename without replacing, in one step. False where that is not offered; nothing has happened then.

    Raises FileExistsError if the new name is taken.
    """
    flag = _RENAME_EXCL if _MACOS else _RENAME_NOREPLACE
    return _call(_rename_function, old_folder, os.fsencode(old), new_folder, os.fsencode(new), flag)


def reserve(descriptor: int, size: int) -> bool:
    """Make the file at least ``size`` long with all its blocks reserved. False where that is not offered.

    Not `posix_fallocate`: where the file system cannot reserve, the C library's version writes a byte into
    each block, which takes minutes for a large file.
    """
    return size > 0 and _call(_fallocate, descriptor, 0, 0, size)


def sync_file_system(descriptor: int) -> bool:
    """Write out everything of the file system that holds the descriptor. False where that is not offered.

    Since Linux 5.8 it reports write errors that happened since the descriptor was opened.
    """
    return _call(_syncfs, descriptor)


def sync_file(descriptor: int) -> None:
    """Return when a file's data and its size are on the medium, not only in the drive's cache."""
    if _MACOS:
        _full_sync(descriptor)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(descriptor: int) -> None:
    """Return when a folder's entries are on the medium. Does nothing where folders cannot be synced."""
    try:
        if _MACOS:
            _full_sync(descriptor)
        else:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:  # some network file systems refuse it for folders
            raise


def _full_sync(descriptor: int) -> None:
    """macOS: its fsync leaves the data in the drive's cache, fsync(2) there says."""
    try:
        fcntl.fcntl(descriptor, _F_FULLFSYNC)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        os.fsync(descriptor)


def uncache(descriptor: int) -> None:
    """Hint that the clean pages of this file may go."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def prefetch(descriptor: int, offset: int, count: int) -> None:
    """Hint that this will be read soon."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)
