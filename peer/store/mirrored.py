"""A mirror's own files, in .manyhands below its folder: the ledger, the manifests, a lock.

    .manyhands/lock          held (flock) by the process that mirrors
    .manyhands/mirror.json   which share is in which folder (peer/placement.py)
    .manyhands/HEX           the manifest of the share HEX, so that it can be seeded when nobody else is there

Blocking, like all of the store. Methods raise StorageError.
"""

from typing import Final

from peer.errors import ManifestError, StorageError
from peer.ids import ShareId
from peer.limits import MANIFEST_BYTES_MAX, MIRROR_LEDGER_BYTES_MAX
from peer.manifest import Manifest
from peer.paths import fold, printable
from peer.placement import STATE_FOLDER, Ledger
from peer.store.filesystem import File, Folder, PathParts
from peer.store.journal import read_whole, write_whole
from peer.store.trouble import trouble

LEDGER: Final = (STATE_FOLDER, "mirror.json")
LOCK: Final = (STATE_FOLDER, "lock")
FRESH: Final = (STATE_FOLDER, "new")


class MirrorState:
    """The state of the mirror in one folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock: File | None = None

    def open(self) -> Ledger:
        """Lock it and read the ledger; an empty one where there is none yet."""
        shown = printable(self._folder.describe((STATE_FOLDER,)))
        with trouble(shown):
            self._folder.make_folder((STATE_FOLDER,))
            try:
                lock = self._folder.create(LOCK)
            except FileExistsError:
                lock = self._folder.open(LOCK, write=True)
            if not lock.lock():
                raise StorageError(
                    f"another process mirrors into {printable(self._folder.describe())}: stop it, or choose"
                    " another folder with -o"
                )
            self._lock = lock
            data = read_whole(self._folder, LEDGER, MIRROR_LEDGER_BYTES_MAX + 1)
        try:
            return Ledger() if data is None else Ledger.decode(data)
        except ValueError as error:
            shown = printable(self._folder.describe(LEDGER))
            raise StorageError(
                f"{shown} cannot be used: {error}; move it away, and what is there already is fetched again"
                " into new folders"
            ) from None

    def save(self, ledger: bytes) -> None:
        """Put the encoded ledger there, durably, whole or not at all."""
        self._write(LEDGER, ledger)

    def names(self) -> frozenset[str]:
        """What lies in the mirror's folder, as `fold` leaves it."""
        with trouble(printable(self._folder.describe())):
            return frozenset(fold(entry.name) for entry in self._folder.entries(()))

    def manifest(self, share: ShareId) -> tuple[Manifest, bytes] | None:
        """A share's manifest and its bytes, if it was kept and is whole."""
        path = (STATE_FOLDER, share.hex())
        with trouble(self._folder.describe(path)):
            data = read_whole(self._folder, path, MANIFEST_BYTES_MAX)
        try:
            return None if data is None else (Manifest.decode(data, share), data)
        except ManifestError:
            return None

    def keep_manifest(self, share: ShareId, data: bytes) -> None:
        """Keep a share's manifest."""
        self._write((STATE_FOLDER, share.hex()), data)

    def close(self) -> None:
        """Let go of the lock and the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._folder.close()

    def _write(self, path: PathParts, data: bytes) -> None:
        with trouble(printable(self._folder.describe(path))):
            write_whole(self._folder, FRESH, data).close()
            self._folder.replace(FRESH, path)
            self._folder.sync_folder((STATE_FOLDER,))
