"""A share whose manifest is known on this node, and what of it is here."""

from dataclasses import dataclass

from peer.bitfield import Bitfield
from peer.manifest import Manifest
from peer.outflow import PieceReader
from peer.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Holding:
    """``data`` is the manifest's encoding, as it is sent. ``have`` changes as pieces come and go."""

    manifest: Manifest
    data: bytes
    layout: Layout
    reader: PieceReader
    have: Bitfield
