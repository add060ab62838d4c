"""From a path to a share that the daemon knows: hash it, and say how it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from unicodedata import normalize

from peer.control.protocol import Share
from peer.daemon.context import Context
from peer.daemon.records import Role, ShareRecord, Stamps
from peer.errors import UsageError
from peer.ids import Address, KnownPeer
from peer.magnet import MagnetLink
from peer.manifest import Manifest
from peer.net.outward import OutwardAddress, reachable
from peer.paths import check_component, printable
from peer.store.scan import Skipped, scan
from peer.workers import Lane


@dataclass(frozen=True, slots=True)
class Hashed:
    """A share that was just hashed."""

    record: ShareRecord
    manifest: Manifest
    stamps: Stamps
    skipped: tuple[Skipped, ...]


async def hash_source(context: Context, request: Share, progress: Callable[[int, int], None]) -> Hashed:
    """Hash what a request names. Raises UsageError, StorageError."""
    path = request.path.rstrip("/")
    name = normalize("NFC", path.rpartition("/")[2])
    try:
        check_component(name)
    except ValueError as error:
        raise UsageError(f"cannot share {printable(request.path)}: {error}") from error
    if not path.startswith("/"):
        raise UsageError(f"{printable(path)} is no absolute path")
    if request.publish is not None:
        _check_publish(request.publish)
    trackers = dict.fromkeys((*_addresses(request.trackers), *context.trackers))
    if request.publish is not None and not trackers:
        raise UsageError("--publish needs a tracker that keeps the catalogue: name it with --tracker HOST")
    announce = _outward(request.announce)
    root, top = await context.workers.run(Lane.DISK, context.places.source, path)
    try:
        result = await scan(root, top, context.workers, progress=progress)
    finally:
        root.close()
    manifest = result.manifest
    record = ShareRecord(
        manifest.share_id,
        Role.SHARE,
        name,
        path,
        0,
        complete=True,
        trackers=tuple(map(str, trackers)),
        announce=None if announce is None or announce.port is None else str(announce),
        announce_host=None if announce is None or announce.port is not None else announce.host,
        publish=request.publish,
        total_bytes=manifest.total_bytes,
        files=len(manifest.files),
    ).with_limits(request.up, request.down)
    return Hashed(record, manifest, Stamps(root.describe(), result.paths, result.states), result.skipped)


def link_of(record: ShareRecord, context: Context) -> MagnetLink:
    """The link to give to others, as of now."""
    announce = _outward(record.announce or record.announce_host) or context.announce
    port = context.node.services.port
    return MagnetLink(
        share=record.share,
        name=record.name,
        # Of a part of a share the record has the size of that part, and of what is not here yet none.
        total_bytes=record.total_bytes if record.rests else None,
        trackers=tuple(map(Address.parse, record.trackers)),
        peers=tuple(map(KnownPeer, reachable(announce, context.host, port))),
    )


def _check_publish(name: str) -> None:
    try:
        check_component(name)
    except ValueError as error:
        raise UsageError(f"cannot publish: {error}") from error


def _outward(text: str | None) -> OutwardAddress | None:
    try:
        return None if text is None else OutwardAddress.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _addresses(texts: tuple[str, ...]) -> list[Address]:
    try:
        return [Address.parse(text) for text in texts]
    except ValueError as error:
        raise UsageError(str(error)) from error
