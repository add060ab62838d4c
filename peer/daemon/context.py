"""What all shares of a daemon have in common: the node, the shelf, the way to the disk."""

from dataclasses import dataclass
from typing import Protocol

import trio

from peer.daemon.shelf import Shelf
from peer.ids import Address
from peer.net.outward import OutwardAddress
from peer.node import Node
from peer.store.filesystem import Folder, PathParts
from peer.workers import Workers


class Places(Protocol):
    """The seam to folders by absolute path. Blocking; raises StorageError."""

    def source(self, path: str) -> tuple[Folder, PathParts]:
        """The root and the path below it of a file or folder to share."""

    def folder(self, path: str, *, create: bool = False) -> Folder:
        """A folder as a root, made where it is missing if so wanted."""


@dataclass(slots=True)
class Context:
    """Made once by the daemon. trackers, announce, host: by configuration, for links that are made here.
    nursery: where open shares live, None while none may be opened."""

    node: Node
    workers: Workers
    shelf: Shelf
    places: Places
    nursery: trio.Nursery | None = None
    trackers: tuple[Address, ...] = ()
    announce: OutwardAddress | None = None
    host: str | None = None
