"""A share as text: for people, and for b3sum."""

from collections.abc import Iterator

from peer.cli.subject import Subject
from peer.paths import printable
from peer.units import format_bytes


def checksum_lines(subject: Subject) -> Iterator[str]:
    """``<BLAKE3 in hex>  <path>`` for each file, as b3sum prints and checks them.

    Names need no escaping: a share's names hold no backslash, line break or other control character.
    """
    for file in subject.manifest.files:
        yield f"{file.digest.hex()}  {'/'.join((subject.name, *file.path))}"


def listing(subject: Subject) -> Iterator[str]:
    """What is in the share."""
    manifest = subject.manifest
    yield f"name    {printable(subject.name)}"
    yield f"share   {manifest.share_id.hex()}"
    files = f"{len(manifest.files)} file{'s' if len(manifest.files) != 1 else ''}"
    empty = f", {len(manifest.folders)} empty folders" if manifest.folders else ""
    yield f"size    {format_bytes(manifest.total_bytes)} ({manifest.total_bytes} bytes) in {files}{empty}"
    yield f"pieces  {manifest.piece_count} of {format_bytes(manifest.piece_bytes)}"
    yield ""
    width = max((len(format_bytes(file.size)) for file in manifest.files), default=0)
    for file in manifest.files:
        mark = "*" if file.executable else " "
        yield f"{format_bytes(file.size):>{width}} {mark} {printable('/'.join((subject.name, *file.path)))}"
    for folder in manifest.folders:
        yield f"{'':>{width}}   {printable('/'.join((subject.name, *folder)))}/"
