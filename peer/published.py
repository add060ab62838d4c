"""A published share: a name for a share id, signed by the node that publishes it.

A catalogue is kept by a tracker, and a tracker is believed nothing: an entry carries the publisher's public
key and its signature, and the node id is computed from the key, never told. So whoever reads an entry can
tell who published it, and nobody between can change a byte of it. What the signature covers begins with
`DOMAIN`, so that no signature made for another purpose of the same key can stand for one made here.

``serial`` grows whenever a publisher gives a name to another share, so an old entry that is shown again is
known as old. The signature itself is checked in `peer/identity.py`.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import msgpack  # type: ignore[import-untyped]

from peer.ids import ID_BYTES, NodeId, ShareId
from peer.limits import SERIAL_MAX, SHARE_BYTES_MAX
from peer.paths import check_component

KEY_BYTES: Final = 32
"""An Ed25519 public key (RFC 8032, section 5.1.5)."""

SIGNATURE_BYTES: Final = 64
"""An Ed25519 signature (RFC 8032, section 5.1.6)."""

DOMAIN: Final = b"manyhands published share v1\0"
"""What every signed text of this kind begins with."""

NOBODY: Final = NodeId(bytes(ID_BYTES))
"""A node id that nobody has: in `published` no holder, in `search` any publisher."""

_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo (DER) of an Ed25519 key, up to the key itself (RFC 8410, section 4)."""


@dataclass(frozen=True, slots=True)
class PublishedShare:
    """One entry of a catalogue. size: bytes of all files. key: the publisher's public key, raw."""

    name: str
    share: ShareId
    size: int
    serial: int
    key: bytes
    signature: bytes

    @property
    def node(self) -> NodeId:
        """The publisher's node id, as its key makes it."""
        return node_of_key(self.key)


def node_of_key(key: bytes) -> NodeId:
    """The node id of a raw Ed25519 public key: SHA-256 of its SubjectPublicKeyInfo."""
    return NodeId(hashlib.sha256(_SPKI + key).digest())


def signed_bytes(name: str, share: ShareId, size: int, serial: int) -> bytes:
    """What a publisher signs: the domain, then one msgpack array of the four, each in its shortest form."""
    packed: bytes = msgpack.packb([name, share, size, serial])
    return DOMAIN + packed


def check_published(entry: PublishedShare) -> None:
    """Types are right (the codec saw to that); are the values legal? Raises ValueError with a sentence."""
    check_component(entry.name)
    if not 0 <= entry.size <= SHARE_BYTES_MAX:
        raise ValueError(f"a size of {entry.size} bytes is not one that a share may have")
    if not 0 < entry.serial <= SERIAL_MAX:
        raise ValueError(f"a serial of {entry.serial} is not from 1 to {SERIAL_MAX}")
    if len(entry.share) != ID_BYTES or len(entry.key) != KEY_BYTES or len(entry.signature) != SIGNATURE_BYTES:
        raise ValueError("an id, a key or a signature has the wrong length")


@dataclass(frozen=True, slots=True)
class Listing:
    """An entry as a catalogue lists it. seeders, leechers: what the tracker counts, and nobody signs."""

    entry: PublishedShare
    seeders: int
    leechers: int
