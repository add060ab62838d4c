"""The node's home: the folder with its key and its state, used by one process at a time."""

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peer.errors import StorageError, UsageError
from peer.ids import ShareId
from peer.limits import HOME_VERSION, MANIFEST_BYTES_MAX, MANIFESTS_KEPT_MAX, SWARM_SECRET_BYTES_MAX
from peer.store.trouble import trouble

ENVIRONMENT_VARIABLE = "MANYHANDS_HOME"

SWARM_KEY_VARIABLE = "MANYHANDS_SWARM_KEY"
"""A secret in the environment; on the command line everybody on the machine could read it."""

MANIFESTS = "manifests"
"""Folder of the manifests that this node has seen, by share id."""


def home_path(option: str | None) -> Path:
    """Where the home is: ``--home``, else the environment, else the platform's folder for user data.

    Raises UsageError where there is none."""
    if option == "":
        raise UsageError("--home is empty: name a folder, or leave it out")
    chosen = option or os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError:
            raise UsageError(f"{chosen}: there is no such user's folder; write the path in full") from None
    import platformdirs  # noqa: PLC0415 - rarely needed, and start-up should feel instant

    usual = Path(platformdirs.user_data_dir("manyhands"))
    if not usual.is_absolute():  # no HOME, and a user whom the system does not know: many a container's
        raise UsageError("this user has no folder for data: name one with --home DIR or MANYHANDS_HOME")
    return usual


SWARM_KEY_ASK = Path("-")
"""Given for a key file: ask for the secret, or take it from a pipe."""


def swarm_secret(path: Path | None, warn: Callable[[str], None]) -> bytes | None:
    """The private swarm's secret: from the file, or from the environment; None for the public swarm.

    Raises StorageError, UsageError. May wait for somebody to type, so call it before the event loop runs.
    warn: is told of a file that other users may read.
    """
    if path == SWARM_KEY_ASK:
        text = _ask_secret()
    elif path is not None:
        with trouble(str(path)), path.open("rb") as file:
            text = file.read(SWARM_SECRET_BYTES_MAX + 2)  # a whole disk given by mistake is not read
            if _is_laid_open(file.fileno()):
                warn(f"{path} can be read by other users: run chmod 600 {path}")
    elif SWARM_KEY_VARIABLE in os.environ:
        text = os.environb[SWARM_KEY_VARIABLE.encode()]
    else:
        return None
    return text.strip()


def _is_laid_open(descriptor: int) -> bool:
    """Whether others may read a secret that we could keep from them: a file of ours that can be changed.

    Not an error, as it is for the node's own key: that file is our own work, while this one was put there in
    whatever way secrets are handed out, often to be read by all in a container that has one user (Docker's
    have mode 0444, on a mount that only reads).
    """
    try:
        state, mount = os.fstat(descriptor), os.fstatvfs(descriptor)
    except OSError:
        return False
    return (
        stat.S_ISREG(state.st_mode)
        and bool(state.st_mode & (stat.S_IRGRP | stat.S_IROTH))
        and state.st_uid == os.geteuid()
        and not mount.f_flag & os.ST_RDONLY
    )


def _ask_secret() -> bytes:
    """From a terminal without showing it, or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.buffer.readline(SWARM_SECRET_BYTES_MAX + 2)
    import getpass  # noqa: PLC0415 - rarely needed

    try:
        return os.fsencode(getpass.getpass("Swarm key: "))
    except EOFError:
        raise UsageError("no swarm key was typed; --swarm-key FILE reads it from a file") from None


SHARES = "shares"
"""Folder with what a daemon knows of each share, by its id."""

MANIFEST = "manifest"
"""File there with the manifest of a complete share."""

VERSION = "version"
"""File with the number of the home's layout."""


def open_small(path: Path, flags: int) -> int:
    """A descriptor of a small file of the home: the one way in which all of them are opened.

    Never waits, as a pipe with nobody on its other side would have us, and touches nothing but a file: for
    anything else StorageError, with the way out. Raises OSError."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ENXIO):  # a folder, a pipe that nobody reads, a socket
            raise _no_file(path, is_folder=error.errno == errno.EISDIR) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _no_file(path, is_folder=stat.S_ISDIR(mode))
    return descriptor


def _no_file(path: Path, *, is_folder: bool) -> StorageError:
    what = "not a file but a folder" if is_folder else "not a regular file"
    return StorageError(f"{path} is {what}: move it away")


def read_file(path: Path, bytes_max: int) -> bytes:
    """The beginning of a small file of the home. Raises OSError, StorageError as `open_small`."""
    with open(open_small(path, os.O_RDONLY), "rb") as file:
        return file.read(bytes_max)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_home(path: Path) -> None:
    """The home's folder, and those above it, where they are missing; durably, or a power loss would take a
    key with its folder that others have been told of already. Raises OSError."""
    _make_folder(path, 0o700)


def _make_folder(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        _make_folder(path.parent, 0o777)
        path.mkdir(mode, exist_ok=True)
    except OSError:
        if not path.is_dir():
            raise
        return
    with suppress(OSError):  # a folder that may be written and not read; then there is no better way
        sync_folder(path.parent)


def check_version(path: Path) -> None:
    """Make sure that no newer program has laid out this home. Raises StorageError."""
    try:
        text = read_file(path / VERSION, 32).strip()
    except (OSError, StorageError):  # none yet, or no file: who has the home to itself tells
        return
    if not text:  # its disk was full when it was made, or the power went
        return
    if not text.isdigit() or int(text) > HOME_VERSION:
        shown = text.decode("ascii", "replace")
        raise StorageError(
            f"the home {path} is of version {shown!r}, this program knows version {HOME_VERSION}:"
            " update this program, or choose another home with --home DIR"
        )


class Home:
    """An open home. Raises StorageError if it cannot be made, read or locked."""

    def __init__(self, path: Path, *, exclusive: bool = True) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            make_home(path)
            check_version(path)
            if exclusive:
                self._take_lock()
                self._put_version()
        except OSError as error:
            raise StorageError(
                f"cannot use the home {path}: {error.strerror}; choose another with --home DIR"
            ) from error

    def _take_lock(self) -> None:
        descriptor = open_small(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StorageError(
                f"another peer is running with the home {self.path}: give this one its own with --home DIR"
            ) from None
        except OSError:  # a network file system without locks
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _put_version(self) -> None:
        with open(open_small(self.path / VERSION, os.O_RDWR | os.O_CREAT), "r+") as file:
            if not os.fstat(file.fileno()).st_size:
                file.write(f"{HOME_VERSION}\n")

    def recall_manifest(self, share: ShareId) -> bytes | None:
        """A manifest that was fetched or made before; whether it is the right one, the caller checks."""
        for place in (Path(MANIFESTS, share.hex()), Path(SHARES, share.hex(), MANIFEST)):
            with suppress(OSError, StorageError):
                return read_file(self.path / place, MANIFEST_BYTES_MAX)
        return None

    def remember_manifest(self, share: ShareId, data: bytes) -> None:
        """Keep a manifest, so that `inspect` and `verify` need no swarm. A full disk only forgets it."""
        folder = self.path / MANIFESTS
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            aside = folder / f"{share.hex()}.{os.getpid()}"
            aside.write_bytes(data)
            aside.replace(folder / share.hex())
            kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in kept[:-MANIFESTS_KEPT_MAX]:
                old.unlink()

    def close(self) -> None:
        """Give the home back; the lock file stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
