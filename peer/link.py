"""One connected peer of one swarm: turns what arrives into calls of the member's policies, and back.

A link knows the other side's pieces, whether each side chokes or wants the other, and which of our requests
are open there. It decides nothing: what to ask is the intake's to say, what to send the outflow's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import trio

from peer.bitfield import Bitfield, Block, in_blocks
from peer.buggify import Point, buggify
from peer.connection import Connection, Ending, Outgoing
from peer.errors import ByeCode, RejectCode, RemoteProtocolError
from peer.ids import Address, LinkId, NodeId, PieceIndex, RequestId
from peer.limits import HAVES_PER_MESSAGE_MAX, LOST_AGAIN_S, PIECES_MAX, SNUB_S
from peer.swarm.rates import RateMeter
from peer.swarm.talk import TalkBudget
from peer.wire.messages import Choke, Have, Interested, KnownPeer, Pong
from peer.wire.session import (
    Answered,
    BitfieldReceived,
    ByeReceived,
    CancelReceived,
    ChokeReceived,
    DataProgress,
    Event,
    HaveReceived,
    InterestedReceived,
    PeersReceived,
    PingReceived,
    Rejected,
    RequestReceived,
)

LOST = frozenset({RejectCode.NOT_HELD, RejectCode.UNREADABLE})
"""Who answers so, has the piece no longer."""


class LinkOwner(Protocol):
    """What a link calls upward: its member."""

    def link_offers(self, link: "Link") -> None:
        """The other side has told its pieces for the first time: it has the manifest."""

    def link_has(self, link: "Link", news: Sequence[Block]) -> None:
        """The other side holds more pieces. Only called once the manifest is known here."""

    def link_chokes(self, link: "Link", on: bool) -> None: ...

    def link_wants(self, link: "Link", on: bool) -> None: ...

    def link_progressed(self, link: "Link", event: DataProgress) -> None: ...

    def link_answered(self, link: "Link", event: Answered) -> None: ...

    def link_rejected(self, link: "Link", event: Rejected) -> None: ...

    def link_asks(self, link: "Link", request: RequestId, piece: PieceIndex | None) -> None: ...

    def link_cancels(self, link: "Link", request: RequestId) -> None: ...

    def link_tells(self, link: "Link", peers: tuple[KnownPeer, ...]) -> None: ...

    def link_outgoing(self, link: "Link") -> Outgoing | None: ...

    def link_sent(self, link: "Link", outgoing: Outgoing) -> None: ...

    def link_unreadable(self, link: "Link", outgoing: Outgoing, error: OSError | EOFError) -> None: ...

    def link_room(self, link: "Link", received: int) -> int | None: ...

    async def link_wait_room(self, link: "Link") -> int | None: ...


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """One connected peer, for people and tests. Rates in bytes a second, payload only."""

    node: NodeId
    address: Address
    agent: str
    dialled: bool
    pieces: int
    received_bytes: int
    sent_bytes: int
    rate_down: float
    rate_up: float
    requests_open: int
    chokes_us: bool
    choked: bool
    wants_us: bool
    wanted: bool


class Link:
    """See the module. ``address``: where the other side listens as far as we know, else as observed."""

    def __init__(
        self,
        id: LinkId,
        owner: LinkOwner,
        connection: Connection,
        *,
        node: NodeId,
        address: Address,
        dialled: bool,
    ) -> None:
        self.id = id
        self.host = connection.remote.host
        self.node = node
        self.address = address
        self.dialled = dialled
        self.connection = connection
        self.session = connection.session
        now = trio.current_time()
        self.since = now
        self.heard_at = now
        """When what is handled just now was received, in seconds of trio's clock. To ask the clock for each
        message costs more."""
        self.meter_in = RateMeter(now)
        self.meter_out = RateMeter(now)
        self.received_bytes = 0
        self.sent_bytes = 0
        self.chokes_us = True
        self.choked = True
        self.wants_us = False
        self.wanted = False
        self.joined = False
        """Whether the policies of the share know this link."""
        self.pieces: Bitfield | None = None
        """What the other side holds; None until it and the manifest are both known."""
        self._owner = owner
        self._bits: bytearray | None = None
        self._lost: set[PieceIndex] = set()
        """Pieces that it had no longer when we asked for them, and has not announced anew."""
        self._regained: set[PieceIndex] = set()
        """Pieces that it had lost and announced anew: whoever loses them again is not believed at once."""
        self._doubted: dict[PieceIndex, float] = {}
        """Those that it announced once more, and when they are believed."""
        self._open: dict[PieceIndex | None, RequestId] = {}
        self._data_at = self._moved_at = now
        self._talk = TalkBudget(now)
        self._unknown = 0
        self.news: list[PieceIndex] = []
        """What we hold since we last told."""
        self.news_due = inf
        """When that must be told; it goes sooner with whatever is sent."""

    def __str__(self) -> str:
        """Who this is, for people."""
        return f"{self.address} ({self.node.hex()[:12]})"

    @property
    def served(self) -> bool:
        """Whether we serve its requests."""
        return not self.choked

    @property
    def moved_at(self) -> float:
        """When data last came or went, or when the link began, in seconds of trio's clock."""
        return self._moved_at

    def ended_well(self, ending: Ending) -> bool:
        """Whether nothing speaks against coming back at once. Who greets us only to send us away (it may have
        banned us) would else be dialled every second, for ever; also who calls us a duplicate of a link that
        we have not got: it needs the time to see that."""
        if ending.code is ByeCode.DUPLICATE and ending.ours:
            return True
        return ending.code is not None and bool(self.received_bytes or self.sent_bytes)

    def snubs(self, now: float) -> bool:
        """Whether we wait for data and nothing has come for long."""
        return bool(self._open) and not self.chokes_us and now - self._data_at > SNUB_S

    @property
    def has_manifest(self) -> bool:
        """Whether the other side has told its pieces."""
        return self._bits is not None or self.pieces is not None

    async def run(self) -> Ending:
        """Until one side ends it."""
        return await self.connection.run(self)

    def close(self, code: ByeCode, reason: str = "") -> None:
        """Say goodbye and end."""
        self.connection.close(code, reason)

    # --- what the member has us say. After a goodbye all of this is nothing: the link is there until its
    # --- last bytes are sent, and the policies hear of its end only then.

    def ask(self, piece: PieceIndex, length: int) -> None:
        """Request a piece."""
        if self.connection.is_closing:
            return
        if not self._open:
            self._data_at = trio.current_time()
        self._open[piece], frame = self.session.request(piece, length)
        self.connection.queue(frame)

    def ask_manifest(self) -> None:
        """Request the manifest."""
        if self.session.window_left > 0 and not self.connection.is_closing:
            self._open[None], frame = self.session.request_manifest()
            self.connection.queue(frame)

    def withdraw(self, piece: PieceIndex | None) -> None:
        """Cancel the request for a piece, or for the manifest; nothing if it is not open."""
        request = self._open.pop(piece, None)
        if request is None or self.connection.is_closing:
            return
        if frame := self.session.cancel(request):
            self.connection.queue(frame)

    def express(self, wanted: bool) -> None:
        """Tell whether the other side has something for us."""
        if wanted != self.wanted:
            self.wanted = wanted
            self.connection.send(Interested(wanted))

    def choke(self, on: bool) -> None:
        """Tell whether we serve the other side."""
        if on != self.choked:
            self.choked = on
            self.connection.send(Choke(on))

    def reject(self, request: RequestId, code: RejectCode) -> None:
        """Answer a request with a refusal."""
        if not self.connection.is_closing:
            self.connection.queue(self.session.reject(request, code))

    def show(self, have: Bitfield) -> None:
        """Tell all our pieces, once."""
        if not self.connection.is_closing:
            self.connection.queue(self.session.bitfield(have.to_bytes()))

    def flush_news(self) -> None:
        """Tell our news, in one message."""
        news = self.news
        if not news:
            return
        self.news = []
        self.news_due = inf
        most = 1 if buggify(Point.NEWS_ONE_BY_ONE) else HAVES_PER_MESSAGE_MAX
        for start in range(0, len(news), most):
            self.connection.send(Have(tuple(news[start : start + most])))

    def charge(self) -> None:
        """The other side said something that brought nothing. Raises RemoteProtocolError if it does nothing
        else."""
        self._talk.spend(trio.current_time())

    # --- the other side's pieces

    def learn_size(self, piece_count: int) -> None:
        """The manifest is known now: check what the other side told before. Raises RemoteProtocolError."""
        if self._bits is None:
            return
        try:
            self.pieces = Bitfield.from_bytes(bytes(self._bits), piece_count)
        except ValueError as error:
            raise RemoteProtocolError(f"bitfield does not fit the share: {error}") from None
        self._bits = None

    def lost(self, piece: PieceIndex) -> Bitfield | None:
        """The other side has the piece no longer, so that it is news when it has it again. Returns what it
        still has; None if it was not known to have the piece."""
        if self.pieces is None or not self.pieces.discard(piece):
            return None
        self._lost.add(piece)
        return self.pieces

    def tick(self, now: float) -> None:
        """Called every LINK_TICK_S."""
        self.connection.tick(now)
        if not self._doubted or self.pieces is None or self.connection.is_closing:
            return
        believed = [piece for piece, when in self._doubted.items() if when <= now]
        if believed:
            for piece in believed:
                del self._doubted[piece]
            self._lost.difference_update(believed)
            self._owner.link_has(self, self.pieces.add_blocks(in_blocks(believed)))

    def _got_bits(self, bits: bytes) -> None:
        if len(bits) > PIECES_MAX // 8 + 1:
            raise RemoteProtocolError("bitfield is longer than any share's")
        self._bits = bytearray(bits)
        self._owner.link_offers(self)

    def _got_haves(self, pieces: tuple[PieceIndex, ...]) -> bool:
        """Note them. Whether all this brings anything."""
        if self.pieces is not None:
            size = len(self.pieces)
            if max(pieces) >= size:
                raise RemoteProtocolError("have of a piece that the share has not")
            again = self._lost.intersection(pieces) if self._lost else ()
            fresh = self.pieces.add_blocks(in_blocks(self._believed(pieces) if again else pieces))
            if fresh:
                self._owner.link_has(self, fresh)
            return bool(fresh) and not again
        if self._bits is None:
            raise RemoteProtocolError("have before the bitfield")
        bits, is_news = self._bits, False
        for piece in pieces:  # one by one: to compare all would cost 60 KiB for each message
            if piece >= 8 * len(bits):
                raise RemoteProtocolError("have of a piece beyond the bitfield")
            bit = 0x80 >> (piece & 7)
            is_news = is_news or not bits[piece >> 3] & bit
            bits[piece >> 3] |= bit
        return is_news

    def _believed(self, pieces: tuple[PieceIndex, ...]) -> list[PieceIndex]:
        """Without those that it loses again and again: a few such links would pass the last pieces round
        among them, and nobody else would ever be asked. After LOST_AGAIN_S they are believed: its file may
        have been touched twice, and it may be the only one that has them."""
        believed = [piece for piece in pieces if piece not in self._lost or piece not in self._regained]
        regained = self._lost.intersection(believed)
        self._lost -= regained
        self._regained |= regained
        for piece in self._lost.intersection(pieces):
            self._doubted.setdefault(piece, self.heard_at + LOST_AGAIN_S)
        return believed

    def _close_request(self, piece: PieceIndex | None, request: RequestId) -> None:
        """An answer has ended; the piece may have been asked again under another id meanwhile."""
        if self._open.get(piece) == request:
            del self._open[piece]

    # --- the connection's handler

    def handle(self, event: Event) -> None:  # noqa: PLR0912 - one case a message
        now = self.heard_at = self.connection.received_at
        match event:  # the most frequent first
            case HaveReceived():
                if not self._got_haves(event.pieces):
                    self.charge()
            case DataProgress():
                self._data_at = self._moved_at = now
                self.received_bytes += event.received
                self.meter_in.add(event.received, now)
                self._owner.link_progressed(self, event)
            case RequestReceived():
                self._owner.link_asks(self, event.id, event.piece)
            case Answered():
                self._close_request(event.piece, event.id)
                self._owner.link_answered(self, event)
            case Rejected():
                self._close_request(event.piece, event.id)
                self._owner.link_rejected(self, event)
            case CancelReceived():
                self.charge()
                self._owner.link_cancels(self, event.id)
            case ChokeReceived():
                self.charge()
                self.chokes_us = event.on
                self._owner.link_chokes(self, event.on)
            case InterestedReceived():
                self.charge()
                self.wants_us = event.on
                if not event.on:
                    self.flush_news()  # perhaps it only has not heard of them
                self._owner.link_wants(self, event.on)
            case BitfieldReceived():
                self._got_bits(event.bits)
            case PingReceived():
                self.charge()
                self.connection.send(Pong(event.number))
            case PeersReceived():
                self.charge()
                self._owner.link_tells(self, event.peers)
            case ByeReceived():
                self.connection.ended(Ending(event.reason, event.code))
            case _:  # a pong has done its work by arriving
                pass

    def gather(self) -> None:
        if self.news:
            self.flush_news()

    def next_outgoing(self) -> Outgoing | None:
        return self._owner.link_outgoing(self)

    def sent(self, outgoing: Outgoing) -> None:
        self._moved_at = trio.current_time()
        self.sent_bytes += outgoing.payload
        self.meter_out.add(outgoing.payload, self._moved_at)
        self._owner.link_sent(self, outgoing)

    def unreadable(self, outgoing: Outgoing, error: OSError | EOFError) -> None:
        self._owner.link_unreadable(self, outgoing, error)

    def room(self, received: int) -> int | None:
        unknown = self.session.unknown_frames
        while self._unknown < unknown:  # of the reads before
            self._unknown += 1
            self.charge()
        return self._owner.link_room(self, received)

    async def wait_room(self) -> int | None:
        return await self._owner.link_wait_room(self)

    def statistics(self) -> LinkStatistics:
        """As it stands now."""
        now = trio.current_time()
        hello = self.session.remote
        return LinkStatistics(
            node=self.node,
            address=self.address,
            agent=hello.agent if hello else "",
            dialled=self.dialled,
            pieces=self.pieces.count if self.pieces is not None else 0,
            received_bytes=self.received_bytes,
            sent_bytes=self.sent_bytes,
            rate_down=self.meter_in.rate(now),
            rate_up=self.meter_out.rate(now),
            requests_open=self.session.requests_open,
            chokes_us=self.chokes_us,
            choked=self.choked,
            wants_us=self.wants_us,
            wanted=self.wanted,
        )
