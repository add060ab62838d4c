"""Every message of the protocol, as a dataclass that nobody changes; docs/protocol.md says it in prose.

A field is what the wire carries under the same name; `wire/codec.py` holds the one table from kind to class
and checks types and ranges. A message whose frame has a payload names its length in ``payload``; the bytes
themselves never pass through here.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

from peer.errors import ByeCode, RejectCode
from peer.ids import KnownPeer as KnownPeer
from peer.ids import NodeId, PieceIndex, RequestId, ShareId
from peer.published import Listing as Listing
from peer.published import PublishedShare


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of both sides of a peer connection.

    window: open requests that the sender of this hello accepts at once.
    port: where the sender listens, so that others can be told; 0 if it does not.
    """

    version: int
    share: ShareId
    node: NodeId
    window: int
    port: int
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Bitfield:
    """The pieces that the sender holds, as payload: one bit a piece, first piece in the highest bit.

    Sent exactly once, as soon as the sender has the manifest; it tells that the sender has it.
    """

    payload: int


@dataclass(slots=True)  # not frozen: that triples the cost of making one
class Have:
    """Pieces that the sender holds from now on."""

    pieces: tuple[PieceIndex, ...]


@dataclass(frozen=True, slots=True)
class Interested:
    """Whether the receiver holds something that the sender still needs."""

    on: bool


@dataclass(frozen=True, slots=True)
class Choke:
    """Whether the sender serves requests for pieces (``on`` false: it does). A connection begins choked."""

    on: bool


@dataclass(slots=True)  # not frozen: that triples the cost of making one
class Request:
    """Please send this piece. Answered by `Data` frames or by one `Reject`."""

    id: RequestId
    piece: PieceIndex


@dataclass(frozen=True, slots=True)
class RequestManifest:
    """Please send the manifest. Answered like a `Request`; never subject to choking."""

    id: RequestId


@dataclass(slots=True)  # not frozen: that triples the cost of making one
class Data:
    """Part of the answer to a request, bytes as payload. Parts come in order, and one answer is finished or
    rejected before the next begins. The answer ends when offset + payload = total."""

    id: RequestId
    offset: int
    total: int
    payload: int


@dataclass(frozen=True, slots=True)
class Reject:
    """The answer to a request that gets no (more) data, and the acknowledgement of a cancel."""

    id: RequestId
    code: RejectCode


@dataclass(frozen=True, slots=True)
class Cancel:
    """The sender no longer wants this answer. It stays open until its last `Data` or a `Reject`."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? The answer is a `Pong` with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """I am here."""

    number: int


@dataclass(frozen=True, slots=True)
class Peers:
    """Peer exchange: some members of this swarm that the sender is or was connected to."""

    peers: tuple[KnownPeer, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender closes the connection, and why."""

    code: ByeCode
    reason: str = ""


class AnnounceEvent(StrEnum):
    """What made a peer announce."""

    STARTED = "started"
    PROGRESS = "progress"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Announce:
    """To a tracker: I am in this swarm, at the address that you observe and at ``port``.

    want: peers that the sender would like to be told, at most. left: bytes that it still needs.
    """

    version: int
    share: ShareId
    node: NodeId
    port: int
    event: AnnounceEvent
    left: int
    want: int


@dataclass(frozen=True, slots=True)
class Announced:
    """A tracker's answer. interval: seconds until it wants to hear from the peer again."""

    interval: int
    seeders: int
    leechers: int
    peers: tuple[KnownPeer, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """To a tracker: please list this share under this name. The fields are those of the entry."""

    version: int
    name: str
    share: ShareId
    size: int
    serial: int
    key: bytes
    signature: bytes

    @classmethod
    def of(cls, version: int, entry: PublishedShare) -> "Publish":
        """The message for an entry."""
        return cls(version, entry.name, entry.share, entry.size, entry.serial, entry.key, entry.signature)

    @property
    def entry(self) -> PublishedShare:
        """The entry that it carries."""
        return PublishedShare(self.name, self.share, self.size, self.serial, self.key, self.signature)


class PublishCode(IntEnum):
    """What became of a name; sent in `published`."""

    LISTED = 0
    NAME_TAKEN = 1
    PUBLISHER_FULL = 2
    ADDRESS_FULL = 3
    CATALOGUE_FULL = 4
    OUTDATED = 5
    REFUSED = 6


@dataclass(frozen=True, slots=True)
class Published:
    """A tracker's answer to `Publish`.

    interval: seconds until it wants to hear the name again. holder: the node that has the name now, zeros for
    nobody. serial: of the entry that is listed under the name now, 0 for none.
    """

    code: PublishCode
    interval: int
    holder: NodeId
    serial: int


@dataclass(frozen=True, slots=True)
class Search:
    """To a tracker: which published shares are there?

    Every word must begin a word of the name; no words: everything. name: this one alone, empty for any.
    node: of this publisher alone, zeros for any. after: only what was listed later than this number, which an
    earlier answer told (`Found.next`).
    """

    version: int
    words: tuple[str, ...]
    name: str
    node: NodeId
    after: int
    want: int


@dataclass(frozen=True, slots=True)
class Found:
    """A tracker's answer to `Search`, in the order of listing.

    epoch: tells one life of a tracker's catalogue from another; numbers of one mean nothing in another.
    next: where to go on with `Search.after`. more: whether there may be more now. names: listed in all.
    """

    epoch: int
    next: int
    more: bool
    names: int
    listings: tuple[Listing, ...]


Message: TypeAlias = (
    Hello
    | Bitfield
    | Have
    | Interested
    | Choke
    | Request
    | RequestManifest
    | Data
    | Reject
    | Cancel
    | Ping
    | Pong
    | Peers
    | Bye
    | Announce
    | Announced
    | Publish
    | Published
    | Search
    | Found
)
