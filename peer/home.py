"""The node's home: the folder with its key and its state, used by one process at a time."""

import fcntl
import os
from pathlib import Path

from peer.errors import StorageError

ENVIRONMENT_VARIABLE = "MANYHANDS_HOME"


def home_path(option: str | None) -> Path:
    """Where the home is: ``--home``, else the environment, else the platform's folder for user data."""
    chosen = option or os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - rarely needed, and start-up should feel instant

    return Path(platformdirs.user_data_dir("manyhands"))


class Home:
    """An open home. Raises StorageError if it cannot be made, read or locked."""

    def __init__(self, path: Path, *, exclusive: bool = True) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if exclusive:
                self._take_lock()
        except OSError as error:
            raise StorageError(
                f"cannot use the home {path}: {error.strerror}; choose another with --home DIR"
            ) from error

    def _take_lock(self) -> None:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StorageError(
                f"another peer is running with the home {self.path}: give this one its own with --home DIR"
            ) from None
        self._lock = descriptor

    def close(self) -> None:
        """Give the home back; the lock file stays."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
