"""What the tests of the catalogue share: publishers and their entries."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from peer.identity import Identity
from peer.ids import NodeId, ShareId
from peer.published import PublishedShare


@cache
def publisher(number: int) -> Identity:
    """The same identity for the same number, in every run."""
    return Identity.of(Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))


def share_id(number: int) -> ShareId:
    return ShareId(number.to_bytes(32, "big"))


def signed(name: str, number: int = 1, *, by: int = 1, size: int = 5, serial: int = 1) -> PublishedShare:
    """A share's entry as its publisher signs it."""
    return publisher(by).publish(name, share_id(number), size, serial)


def unsigned(
    name: str, number: int = 1, *, by: int = 1, size: int = 5, serial: int = 1
) -> tuple[PublishedShare, NodeId]:
    """The same for code that does not look at the signature: much faster. And the publisher's node id."""
    key = by.to_bytes(32, "big")
    entry = PublishedShare(name, share_id(number), size, serial, key, bytes(64))
    return entry, entry.node
