"""The folder NAME.part beside the place where a download will be: its files, its lock, whose it is.

    NAME.part/lock       held (flock) by the process that fetches
    NAME.part/manifest   the share's manifest, so that a later run need not ask for it
    NAME.part/journal    what is known of the pieces (store/records.py)
    NAME.part/data       the file, or the folder with the files, as they will be called

Everything but `data` is durable before the first byte of `data` is written.
"""

from contextlib import suppress
from typing import Final

from peer.errors import ManifestError, StorageError
from peer.ids import ShareId
from peer.limits import MANIFEST_BYTES_MAX
from peer.manifest import Manifest, share_id_of
from peer.paths import printable
from peer.store.filesystem import File, Folder, Kind, PathParts
from peer.store.journal import read_journal, read_whole, write_whole
from peer.store.records import Contents
from peer.store.trouble import trouble

SUFFIX: Final = ".part"
_OURS: Final = frozenset({"lock", "manifest", "manifest.new", "journal", "journal.new", "data"})
_LOCK_TRIES: Final = 8
"""Each lost only to another process that finished and removed the folder at that moment."""


class Partial:
    """NAME.part below a target folder. Methods raise StorageError."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder = folder
        self.path: PathParts = (name + SUFFIX,)
        self.data: PathParts = (*self.path, "data")
        self.manifest: PathParts = (*self.path, "manifest")
        self.journal: PathParts = (*self.path, "journal")
        self._lock_path: PathParts = (*self.path, "lock")
        self._lock: File | None = None

    @property
    def shown(self) -> str:
        """How messages name it."""
        return printable(self.folder.describe(self.path))

    def exists(self) -> bool:
        """Whether it is there. StorageError if something else has its name."""
        with trouble(self.shown):
            kind = self.folder.kind(self.path)
            if kind is None:
                return False
            if kind is not Kind.FOLDER:
                raise StorageError(f"{self.shown} is in the way of the download: move it away")
            names = {entry.name for entry in self.folder.entries(self.path)}
        if names - _OURS or ("data" in names and not names & {"lock", "manifest", "journal"}):
            raise StorageError(
                f"{self.shown} holds files that are not of a partial download: move it away"
                " or choose another folder"
            )
        return True

    def acquire(self) -> None:
        """Make it where missing, and lock it for this process."""
        for _ in range(_LOCK_TRIES):
            with trouble(self.shown):
                self.folder.make_folder(self.path)
                try:
                    lock = self._open_lock()
                    try:
                        if self._take(lock):
                            self._lock = lock
                            return
                    finally:
                        if self._lock is None:  # not when some traceback goes: the next try is ours
                            lock.close()
                except FileNotFoundError:
                    continue
        raise StorageError(f"{self.shown} cannot be locked: other processes keep removing it")

    def owner(self) -> ShareId | None:
        """Whose it is, by its manifest or else by its journal; None if neither can be read."""
        data = self._read_manifest()
        if data is not None:
            with suppress(ManifestError):
                return Manifest.decode(data).share_id
        contents = self.read_journal()
        return None if contents is None else contents.header.share

    def belongs_to(self, share: ShareId) -> bool:
        """Whether its manifest is the share's. StorageError, naming it, if it is another share's."""
        data = self._read_manifest()
        if data is not None and share_id_of(data) == share:
            return True
        owner = self.owner()
        if owner not in (None, share):
            raise StorageError(
                f"{self.shown} is the partial download of another share ({owner.hex() if owner else ''}):"
                " finish that one, remove it, or choose another folder"
            )
        return False

    def read_journal(self) -> Contents | None:
        """What its journal says; None if there is no readable one."""
        with trouble(self.folder.describe(self.journal)):
            return read_journal(self.folder, self.journal)

    def write_manifest(self, data: bytes) -> None:
        """Put the manifest there. The journal's first `rewrite` makes its name durable."""
        with trouble(self.folder.describe(self.manifest)):
            fresh = (*self.path, "manifest.new")
            write_whole(self.folder, fresh, data).close()
            self.folder.replace(fresh, self.manifest)

    def remove(self) -> None:
        """Take it away. The data first: without the rest it would not be known for ours. What somebody else
        put there meanwhile stays, and the folder with it."""
        with trouble(self.shown):
            if self.folder.kind(self.data) is not None:
                remove_tree(self.folder, self.data)
                self.folder.sync_folder(self.path)
            names = [entry.name for entry in self.folder.entries(self.path)]
            for name in names:
                if name in _OURS:
                    self.folder.remove((*self.path, name))
            if _OURS.issuperset(names):
                self.folder.remove(self.path)
        self.release()

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self, lock: File) -> bool:
        """Lock it; False if it is not the folder's any more. Raises OSError, StorageError."""
        if not lock.lock():
            raise StorageError(
                f"{self.shown} is in use by another process that fetches it:"
                " wait for that one, or choose another folder"
            )
        # The one we waited for may have removed the folder; then our lock guards nothing.
        return self.folder.state(self._lock_path).inode == lock.state().inode

    def _open_lock(self) -> File:
        try:
            return self.folder.create(self._lock_path)
        except FileExistsError:
            return self.folder.open(self._lock_path, write=True)

    def _read_manifest(self) -> bytes | None:
        with trouble(self.folder.describe(self.manifest)):
            return read_whole(self.folder, self.manifest, MANIFEST_BYTES_MAX)


def stored_manifest(folder: Folder, name: str, share: ShareId) -> tuple[Manifest, bytes] | None:
    """The manifest that an earlier run left in NAME.part, and its bytes, if it is the one of this share."""
    try:
        data = Partial(folder, name)._read_manifest()
        return None if data is None else (Manifest.decode(data, share), data)
    except (StorageError, ManifestError):
        return None


def remove_tree(folder: Folder, path: PathParts) -> None:
    """Remove a file, link or folder with all that is in it. Raises OSError."""
    if folder.kind(path) is Kind.FOLDER:
        for entry in list(folder.entries(path)):
            remove_tree(folder, (*path, entry.name))
    folder.remove(path)
