"""What a session tells its owner about the other side. Frozen, so tests compare whole lists of them.

``piece`` is None where the request is for the manifest. Indices are within the protocol's limits; whether the
share has such a piece is for those to check who know the manifest.
"""

from dataclasses import dataclass
from typing import TypeAlias

from peer.errors import ByeCode, RejectCode
from peer.ids import PieceIndex, RequestId
from peer.wire.messages import Hello, KnownPeer


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """The other side has introduced itself. Who accepted the connection answers now, with `Session.greet`."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class BitfieldReceived:
    """The pieces that the other side holds, as bytes; the length is not checked against the manifest."""

    bits: bytes


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each read makes one
class HaveReceived:
    """Pieces that the other side holds from now on."""

    pieces: tuple[PieceIndex, ...]


@dataclass(frozen=True, slots=True)
class InterestedReceived:
    """Whether the other side wants pieces of ours."""

    on: bool


@dataclass(frozen=True, slots=True)
class ChokeReceived:
    """Whether the other side refuses requests for pieces."""

    on: bool


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each read makes one
class RequestReceived:
    """The other side asks: answer with `Session.data_header` and the bytes, or with `Session.reject`."""

    id: RequestId
    piece: PieceIndex | None


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """The other side no longer wants this answer, which is still open: reject it, or finish it."""

    id: RequestId


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each read makes one
class DataProgress:
    """``received`` more bytes of an answer are here. cancelled: we no longer want it and they are dropped."""

    id: RequestId
    piece: PieceIndex | None
    received: int
    cancelled: bool = False


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each read makes one
class Answered:
    """All bytes of an answer are here; whoever takes this event gives the buffer back.

    cancelled: we had cancelled it, the bytes were dropped and the buffer is empty.
    """

    id: RequestId
    piece: PieceIndex | None
    buffer: memoryview
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request of ours gets no (more) data; also the acknowledgement of a cancel."""

    id: RequestId
    piece: PieceIndex | None
    code: RejectCode
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class PingReceived:
    """Answer with a `Pong` of the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The answer to our oldest open ping."""

    number: int


@dataclass(frozen=True, slots=True)
class PeersReceived:
    """Addresses that the other side claims to know."""

    peers: tuple[KnownPeer, ...]


@dataclass(frozen=True, slots=True)
class ByeReceived:
    """The other side closes the connection; nothing may come after this."""

    code: ByeCode
    reason: str


Event: TypeAlias = (
    HelloReceived
    | BitfieldReceived
    | HaveReceived
    | InterestedReceived
    | ChokeReceived
    | RequestReceived
    | CancelReceived
    | DataProgress
    | Answered
    | Rejected
    | PingReceived
    | PongReceived
    | PeersReceived
    | ByeReceived
)
