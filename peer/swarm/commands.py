"""What the download policy wants done: small effects, performed by the glue in the order given.

Nobody changes one. What is made for every piece is not declared frozen, because that triples the cost of it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from peer.ids import LinkId, PieceIndex


@dataclass(slots=True, unsafe_hash=True)
class Ask:
    """Request the piece on this link."""

    link: LinkId
    piece: PieceIndex


@dataclass(slots=True, unsafe_hash=True)
class Withdraw:
    """Cancel the request for the piece on this link. It stays open there until `arrived` or `rejected`."""

    link: LinkId
    piece: PieceIndex


@dataclass(slots=True, unsafe_hash=True)
class Probe:
    """Ask this link whether anybody is there, and tell `Download.alive` if so: it owes us an answer, and has
    been quiet."""

    link: LinkId


@dataclass(slots=True, unsafe_hash=True)
class Express:
    """Tell this link whether it holds something that we need."""

    link: LinkId
    interested: bool


@dataclass(frozen=True, slots=True)
class Expel:
    """Close this link and do not come back to its node for this share: it sent bytes that do not verify."""

    link: LinkId
    reason: str


@dataclass(slots=True, unsafe_hash=True)
class Announce:
    """Tell everybody that we hold the piece now."""

    piece: PieceIndex


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything that is wanted is here and verified. Comes again if more was wanted meanwhile."""


Command: TypeAlias = Ask | Withdraw | Probe | Express | Expel | Announce | Finished
