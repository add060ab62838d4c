"""The real side of a daemon's seams to the disk: folders by path, and the home's shelf."""

import os
from pathlib import Path

from peer.daemon.shelf import Shelf
from peer.home import SHARES
from peer.store.files import open_folder
from peer.store.filesystem import Folder, PathParts
from peer.store.scan import open_source
from peer.store.trouble import trouble


class DiskPlaces:
    """Folders of this machine."""

    def source(self, path: str) -> tuple[Folder, PathParts]:
        return open_source(path)

    def folder(self, path: str, *, create: bool = False) -> Folder:
        with trouble(path):
            return open_folder(path, create=create)


def open_shelf(home: Path) -> Shelf:
    """The shelf of a home, made where it is missing. Raises StorageError."""
    path = os.fspath(home / SHARES)
    with trouble(path):
        os.makedirs(path, mode=0o700, exist_ok=True)
        return Shelf(open_folder(path))
