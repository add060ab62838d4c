"""The Unix socket of a home: who may use it, who holds it, and paths that are too long for it.

It lies in a folder of mode 0700 and has mode 0600, so nobody else gets near it; whoever does all the same is
asked for by the kernel (`peer_uid`) and refused.
"""

import errno
import os
import platform
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from peer.errors import StorageError, UsageError
from peer.limits import CONTROL_CONNECTIONS_MAX, SOCKET_PATH_BYTES_MAX

FOLDER = "control"
SOCKET = "socket"

_LOCAL_PEERCRED = 1
"""macOS, sys/un.h; the level is 0 there. struct xucred: version, uid, number of groups, 16 groups."""

_XUCRED = struct.Struct("=IIh2x16I")


def peer_uid(sock: socket.socket | trio.socket.SocketType) -> int | None:
    """The user on the other side, as the kernel knows it; None where the system cannot say."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            credentials = struct.Struct("3i")
            data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
            return int(credentials.unpack(data)[1])
        if platform.system() == "Darwin":
            return int(_XUCRED.unpack(sock.getsockopt(0, _LOCAL_PEERCRED, _XUCRED.size))[1])
    except OSError:
        return -1  # gone already: certainly not us
    return None


def is_ours(sock: socket.socket | trio.socket.SocketType) -> bool:
    """Whether the other side is the same user. Where the system cannot say, the folder's mode must do."""
    uid = peer_uid(sock)
    return uid is None or uid == os.geteuid()


def socket_path(home: Path) -> Path:
    """Where the socket of a home is."""
    return home / FOLDER / SOCKET


def identity(home: Path) -> tuple[int, int] | None:
    """What tells the socket that is there from the one of a later daemon; None where there is none."""
    try:
        status = socket_path(home).lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _reachable(home: Path) -> Iterator[str]:
    """A name for the socket that fits into its address. Linux can always find one; elsewhere UsageError."""
    path = os.fspath(socket_path(home))
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield path
        return
    if platform.system() != "Linux":
        raise UsageError(
            f"the path of the home {home} is too long for a socket: choose another with --home DIR"
        )
    folder = os.open(home / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def listen(home: Path) -> trio.SocketListener:
    """The home's socket, listening. A stale one is replaced; a live one is a UsageError. StorageError."""
    folder = home / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _make_private(folder)
        with _reachable(home) as path:
            _clear_stale(path, home)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                mask = os.umask(0o177)
                try:
                    sock.bind(path)
                finally:
                    os.umask(mask)
                sock.listen(CONTROL_CONNECTIONS_MAX)
            except BaseException:
                sock.close()
                raise
    except OSError as error:
        raise StorageError(
            f"cannot listen for commands in {folder}: {error.strerror or error}; choose another --home"
        ) from error
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _make_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StorageError(f"{folder} is not a folder of yours: move it away, or choose another --home")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _clear_stale(path: str, home: Path) -> None:
    """Remove a socket that nobody listens on. Raises UsageError if somebody does."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ENOTSOCK, errno.EPROTOTYPE):
            raise
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StorageError(f"{socket_path(home)} is no socket: move it away") from None
        os.unlink(path)
    else:
        raise UsageError(f"a daemon runs with the home {home} already: `peer stop` ends it")
    finally:
        probe.close()


def remove(home: Path) -> None:
    """Take the socket away, at the end."""
    with suppress(OSError):
        socket_path(home).unlink()


async def connect(home: Path) -> trio.SocketStream | None:
    """A connection to the daemon of a home; None if none runs. Raises StorageError if it is not for us."""
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            with _reachable(home) as path:
                await sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            sock.close()
            return None
        except OSError as error:
            raise StorageError(f"cannot talk to the daemon of {home}: {error.strerror or error}") from error
        if not is_ours(sock):
            raise StorageError(
                f"the daemon of {home} belongs to another user: choose your own with --home DIR"
            )
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
