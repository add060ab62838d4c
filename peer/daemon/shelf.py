"""Where a daemon keeps what it knows: one folder for each share, in the home's folder `shares`.

    ID/share      the record (daemon/records.py): small, durable; without it the rest is a leftover
    ID/manifest   the manifest of a complete share
    ID/stamps     its files in the states in which they were right

Over the seam of `store/filesystem.py`, so that the simulation can take its power away. Methods block and
raise StorageError; call them through the workers.
"""

from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from peer.daemon.records import ShareRecord, Stamps
from peer.errors import ManifestError, StorageError
from peer.home import MANIFEST
from peer.ids import ID_BYTES, ShareId
from peer.limits import MANIFEST_BYTES_MAX, SHARE_RECORD_BYTES_MAX, STAMPS_BYTES_MAX
from peer.manifest import Manifest
from peer.paths import printable
from peer.store.filesystem import Folder, Kind, PathParts
from peer.store.journal import read_whole, write_whole
from peer.store.partial import remove_tree
from peer.store.trouble import trouble

RECORD = "share"
STAMPS = "stamps"


@dataclass(frozen=True, slots=True)
class Damaged:
    """A share that is on the shelf and cannot be read. text: why, with the way out."""

    share: ShareId
    text: str


class Shelf:
    """The folder `shares` of a home, for one process. Threads may share it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = Lock()

    def load(self) -> tuple[list[ShareRecord], list[Damaged]]:
        """All that is known, in the order in which it came, and what cannot be read. Clears leftovers."""
        records, damaged = [], []
        with trouble(self._folder.describe()):
            entries = list(self._folder.entries(()))
        for entry in entries:
            share = _share_of(entry.name)
            if entry.kind is not Kind.FOLDER or share is None:
                continue
            try:
                data = self._read((entry.name, RECORD), SHARE_RECORD_BYTES_MAX)
                if data is None:
                    self._clear(entry.name)
                else:
                    records.append(ShareRecord.decode(data, share))
            except StorageError as error:
                where = printable(self._folder.describe((entry.name,)))
                damaged.append(Damaged(share, f"{where}: {error}"))
        records.sort(key=lambda record: record.order)
        return records, damaged

    def put(self, record: ShareRecord) -> None:
        """Keep this record, durably, in place of an older one."""
        self._write(record.share, RECORD, record.encode())

    def put_content(self, manifest: Manifest, stamps: Stamps) -> None:
        """Keep what a complete share needs to be served; before its record says that it is complete."""
        self._write(manifest.share_id, MANIFEST, manifest.encode())
        self.put_stamps(manifest.share_id, stamps)

    def put_stamps(self, share: ShareId, stamps: Stamps) -> None:
        """Keep newer stamps."""
        self._write(share, STAMPS, stamps.encode())

    def manifest(self, share: ShareId) -> tuple[Manifest, bytes]:
        """The manifest, compared with the id, and its bytes."""
        data = self._need(share, MANIFEST, MANIFEST_BYTES_MAX)
        try:
            return Manifest.decode(data, share), data
        except ManifestError as error:
            where = printable(self._folder.describe((share.hex(), MANIFEST)))
            raise StorageError(f"{where} is damaged: share or get it again") from error

    def stamps(self, share: ShareId) -> Stamps:
        """Its files and their states."""
        try:
            return Stamps.decode(self._need(share, STAMPS, STAMPS_BYTES_MAX))
        except StorageError as error:
            raise StorageError(f"{printable(self._folder.describe((share.hex(),)))}: {error}") from error

    def remove(self, share: ShareId) -> None:
        """Forget a share: the record first, durably. What else cannot be removed is left to `load`."""
        name = share.hex()
        with self._lock, trouble(self._folder.describe((name,))):
            if self._folder.kind((name,)) is None:
                return
            if self._folder.kind((name, RECORD)) is not None:
                self._folder.remove((name, RECORD))
                self._folder.sync_folder((name,))
        with self._lock, suppress(OSError):
            remove_tree(self._folder, (name,))
            self._folder.sync_folder(())

    def _clear(self, name: str) -> None:
        with trouble(self._folder.describe((name,))):
            remove_tree(self._folder, (name,))

    def _write(self, share: ShareId, name: str, data: bytes) -> None:
        folder = share.hex()
        fresh = (folder, f"{name}.new")
        with self._lock, trouble(self._folder.describe((folder, name))):
            if self._folder.kind((folder,)) is None:
                self._folder.make_folder((folder,))
                self._folder.sync_folder(())
            write_whole(self._folder, fresh, data).close()
            self._folder.replace(fresh, (folder, name))
            self._folder.sync_folder((folder,))

    def _need(self, share: ShareId, name: str, bytes_max: int) -> bytes:
        data = self._read((share.hex(), name), bytes_max)
        if data is None:
            raise StorageError(f"its {name} is missing: share or get it again")
        return data

    def _read(self, path: PathParts, bytes_max: int) -> bytes | None:
        with trouble(self._folder.describe(path)):
            return read_whole(self._folder, path, bytes_max)


def _share_of(name: str) -> ShareId | None:
    try:
        share = ShareId(bytes.fromhex(name))
    except ValueError:
        return None
    return share if len(share) == ID_BYTES and share.hex() == name else None
