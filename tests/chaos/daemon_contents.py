"""What is in the shares of a plan, at the sources and on the daemon's own disk."""

from typing import Final

from peer.ids import ShareId
from peer.manifest import Manifest
from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder
from peer.sim.workers import InlineWorkers
from peer.sim.world import write_file
from peer.store.filesystem import PathParts
from peer.store.scan import scan
from tests.chaos.daemon_machine import random_bytes

Files = dict[PathParts, bytes]

CONTENTS: Final[tuple[Files, ...]] = (
    {(): random_bytes(1, 100_000)},
    {(): random_bytes(2, 300_000)},
    {(): random_bytes(3, 50_000)},
    {("a", "x.bin"): random_bytes(4, 70_000), ("b.bin",): random_bytes(5, 20_000), ("empty",): b""},
)
"""Of REMOTE."""

VERSIONS: Final[dict[str, tuple[Files, ...]]] = {
    "/data/own.bin": ({(): random_bytes(6, 60_000)}, {(): random_bytes(7, 60_000)}),
    "/moved/own.bin": ({(): random_bytes(6, 60_000)},),
    "/data/dir": tuple(
        {("one",): random_bytes(8, 40_000), ("sub", "two"): random_bytes(last, 30_000)} for last in (9, 10)
    ),
}
"""Of LOCAL: what is there at first, and what it is edited to."""


def parts_of(path: str) -> PathParts:
    """The components of an absolute path."""
    return tuple(part for part in path.split("/") if part)


async def share_id(files: Files) -> ShareId:
    """Of a share with these files."""
    folder = SimFolder(SimDisk())
    for below, data in files.items():
        write_file(folder, ("top", *below), data)
    scanned = await scan(folder, ("top",), InlineWorkers(), tasks=1)
    manifest: Manifest = scanned.manifest
    return manifest.share_id
