"""Folders of a simulated disk by absolute path: the simulated side of a daemon's `Places`."""

from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder
from peer.store.filesystem import Folder, Kind, PathParts
from peer.store.trouble import trouble


class SimPlaces:
    """Folders of one disk; its paths begin at its root."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    def source(self, path: str) -> tuple[Folder, PathParts]:
        parts = _parts(path)
        root = SimFolder(self._disk, (), label="")
        with trouble(path):
            if root.kind(parts) is Kind.FOLDER:
                return self.folder(path), ()
            root.state(parts)
        return self.folder("/" + "/".join(parts[:-1])), parts[-1:]

    def folder(self, path: str, *, create: bool = False) -> Folder:
        parts = _parts(path)
        root = SimFolder(self._disk, (), label="")
        with trouble(path):
            if create:
                root.make_folder(parts)
                for depth in range(len(parts)):
                    root.sync_folder(parts[:depth])
            elif root.kind(parts) is not Kind.FOLDER:
                raise FileNotFoundError(2, "No such file or directory")
        return SimFolder(self._disk, parts, label="")


def _parts(path: str) -> PathParts:
    return tuple(part for part in path.split("/") if part)
