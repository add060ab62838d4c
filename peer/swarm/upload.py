"""What to send next, and to whom. Pure: requests go in, chunks come out, time is an argument.

Theory of operation. A link's requests wait here until its writer, whose socket has just become ready, asks
`next_chunk`: so the choice is made at the last moment, the kernel holds little, and a cancel still helps.
An answer on one link is finished or cut before the next begins (the protocol says so); which request of the
link is answered next is free, and is chosen in this order:

1. the manifest, because its asker can do nothing without it;
2. the piece that this node has sent the fewest times, sendings under way included;
3. the piece that the fewest others are known to hold;
4. the oldest request.

A request that has been passed over for PATIENCE_S goes first, so that nobody's pipeline hangs on one piece.

Across links: the scarcest bytes of a swarm are the first copies of what only one node has. While one link
could be given such a *first copy* (never sent by us, held by no other known peer), another link that could
only be given a second one is `Deferred`: its socket stays idle for some milliseconds, and on a shared
uplink the bytes go to the first copy instead. This is right only while the uplink is the bottleneck: a slow
receiver of first copies must not hold up fast receivers of second ones. We cannot know the uplink, but we
can see it: as soon as the sum of all links falls below DEFER_FULL_SHARE of its recent best, nothing is
deferred.

Not here: whether the piece is readable (the caller says so by `unreadable`), who is choked (the choker says
so by `choke`), and when bytes may leave (a RateLimiter).
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from peer.bitfield import Bitfield
from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import (
    CHUNK_BYTES_FIRST,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNK_S,
    DEFER_FULL_SHARE,
    DEFER_S,
    PATIENCE_S,
    REPEATS_FREE,
    REPEATS_SHARE,
    WINDOW_MAX,
)
from peer.swarm.rates import RateMeter

TOTAL_SPAN_S = 0.5
"""Smoothing of the sum of all links: quick enough to see within a few chunks that the uplink runs empty."""

PEAK_FADES_S = 20.0
"""How fast the recent best of the uplink is forgotten, when others on the machine take a part of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Send this now: a slice of one answer. piece: None for the manifest. total: length of the answer."""

    request: RequestId
    piece: PieceIndex | None
    offset: int
    length: int
    total: int

    @property
    def last(self) -> bool:
        """Whether the answer ends with this chunk."""
        return self.offset + self.length == self.total


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is something to send, but others need the uplink more: ask again at ``until``."""

    until: float


class Idle(Enum):
    """There is nothing to send on this link until the next `asked`."""

    IDLE = "idle"


IDLE = Idle.IDLE

NextChunk: TypeAlias = Chunk | Deferred | Idle


class Cancelled(Enum):
    """What a cancel met. The first two are to be answered with ``Reject(CANCELLED)``."""

    WAITING = "waiting"
    """Nothing of the answer was sent."""
    BEGUN = "begun"
    """A part of the answer was sent; no more of it comes."""
    UNKNOWN = "unknown"
    """The answer is finished or was never asked for: say nothing."""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """sent_bytes counts chunks handed out; answers those that were finished."""

    waiting: int
    choked: bool
    sent_bytes: int
    rate: float
    answers: int


@dataclass(frozen=True, slots=True)
class UploadStatistics:
    """first_copies: pieces that this node has sent for the first time. repeats: sent again, to anybody.

    cut_bytes: sent for answers that were cancelled midway. unsent: pieces that were never sent whole.
    """

    sent_bytes: int
    rate: float
    first_copies: int
    repeats: int
    cut_bytes: int
    unsent: int
    deferrals: int


@dataclass(slots=True)
class _Request:
    id: RequestId
    piece: PieceIndex | None
    total: int
    asked_at: float
    offset: int = 0


@dataclass(slots=True)
class _Link:
    window: int
    meter: RateMeter
    finished: bytearray  # a bit for each piece that was sent whole on this link
    choked: bool = True
    queue: dict[RequestId, _Request] = field(default_factory=dict)
    begun: _Request | None = None
    answers: int = 0
    repeats: int = 0


def nobody(piece: PieceIndex) -> int:
    """Availability while nothing is known of others."""
    return 0


class Upload:
    """The requests that others have open with us, and the order in which they are answered."""

    def __init__(
        self,
        piece_length: Callable[[PieceIndex], int],
        piece_count: int,
        have: Bitfield,
        *,
        manifest_bytes: int = 0,
        available: Callable[[PieceIndex], int] = nobody,
    ) -> None:
        """piece_length: bytes of a piece. have: the pieces that may be sent, as they are now.

        available: how many connected peers are known to hold a piece.
        """
        self._piece_length = piece_length
        self._piece_count = piece_count
        self._have = have
        self._manifest_bytes = manifest_bytes
        self._available = available
        self._links: dict[LinkId, _Link] = {}
        self._copies = array("I", bytes(4 * piece_count))
        self._under_way: dict[PieceIndex, int] = {}
        self._meter: RateMeter | None = None
        self._peak = 0.0
        self._peak_at = 0.0
        self._first_copies = 0
        self._repeats = 0
        self._cut_bytes = 0
        self._deferrals = 0

    # --- links

    def joined(self, link: LinkId, window: int, now: float) -> None:
        """A link is open; it begins choked. window: open requests that we announced to it."""
        if link in self._links:
            raise LocalProtocolError(f"link {link} joined twice")
        bits = bytearray((self._piece_count + 7) // 8)
        self._links[link] = _Link(min(window, WINDOW_MAX), RateMeter(now), bits)

    def left(self, link: LinkId) -> None:
        """The link is gone, with all that it asked for. Unknown links are ignored."""
        state = self._links.pop(link, None)
        if state is not None and state.begun is not None:
            self._cut(state, state.begun)

    def choke(self, link: LinkId) -> tuple[RequestId, ...]:
        """Serve the link no more pieces: what it waits for, to be answered with ``Reject(CHOKED)``.

        An answer that has begun is finished, and so are manifests: neither is in the list.
        """
        state = self._links[link]
        state.choked = True
        dropped = tuple(request.id for request in state.queue.values() if request.piece is not None)
        for request in dropped:
            del state.queue[request]
        return dropped

    def unchoke(self, link: LinkId) -> None:
        """Serve the link."""
        self._links[link].choked = False

    # --- requests

    def asked(
        self, link: LinkId, request: RequestId, piece: PieceIndex | None, now: float
    ) -> RejectCode | None:
        """A request came in (piece: None for the manifest). None: it waits here; else reject it so.

        The index has been checked, and the session has enforced the window (LocalProtocolError if not).
        """
        state = self._links[link]
        open_count = len(state.queue) + (state.begun is not None)
        if open_count >= state.window or request in state.queue or self._is_begun(state, request):
            raise LocalProtocolError(f"link {link} asks beyond its window or twice under one id")
        if piece is None:
            if not self._manifest_bytes:
                return RejectCode.NOT_HELD
            state.queue[request] = _Request(request, None, self._manifest_bytes, now)
            return None
        if state.choked:
            return RejectCode.CHOKED
        if piece not in self._have:
            return RejectCode.NOT_HELD
        if self._asks_too_often(state, piece):
            return RejectCode.BUSY
        state.queue[request] = _Request(request, piece, self._piece_length(piece), now)
        return None

    def cancel(self, link: LinkId, request: RequestId) -> Cancelled:
        """The other side no longer wants this answer. A chunk that was handed out is to be sent all the same,
        before the reject."""
        state = self._links[link]
        if state.queue.pop(request, None) is not None:
            return Cancelled.WAITING
        if state.begun is not None and state.begun.id == request:
            self._cut(state, state.begun)
            state.begun = None
            return Cancelled.BEGUN
        return Cancelled.UNKNOWN

    def unreadable(self, link: LinkId, request: RequestId) -> None:
        """The piece could not be read: forget the request, which the caller rejects."""
        self.cancel(link, request)

    def has_work(self, link: LinkId) -> bool:
        """Whether anything waits to be sent on this link."""
        state = self._links.get(link)
        return state is not None and (state.begun is not None or bool(state.queue))

    def chunk_bytes(self, link: LinkId, now: float) -> int:
        """How much the next chunk of this link should hold: about CHUNK_S of its rate, in whole 16 KiB."""
        state = self._links[link]
        if not state.meter.total_bytes:
            return CHUNK_BYTES_FIRST
        wanted = int(state.meter.rate(now) * CHUNK_S)
        return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES_MAX, wanted - wanted % CHUNK_BYTES_MIN))

    def next_chunk(self, link: LinkId, now: float, bytes_max: int | None = None) -> NextChunk:
        """The link's socket is ready: what to send on it. bytes_max: what a rate limit allows, at least 1."""
        state = self._links[link]
        request = state.begun
        if request is None:
            chosen = self._choose(link, state, now)
            if not isinstance(chosen, _Request):
                return chosen
            request = self._begin(state, chosen)
        length = self.chunk_bytes(link, now)
        left = request.total - request.offset
        if left < length + length // 2:
            length = left  # a small rest costs a frame of its own
        if bytes_max is not None:
            length = min(length, bytes_max)
        length = min(length, left)
        chunk = Chunk(request.id, request.piece, request.offset, length, request.total)
        request.offset += length
        self._count(state, length, now)
        if chunk.last:
            self._finish(state, request)
        return chunk

    # --- eyes

    def statistics(self, now: float) -> UploadStatistics:
        meter = self._meter
        return UploadStatistics(
            sent_bytes=0 if meter is None else meter.total_bytes,
            rate=0.0 if meter is None else meter.rate(now),
            first_copies=self._first_copies,
            repeats=self._repeats,
            cut_bytes=self._cut_bytes,
            unsent=self._piece_count - self._first_copies,
            deferrals=self._deferrals,
        )

    def link_statistics(self, link: LinkId, now: float) -> LinkStatistics:
        state = self._links[link]
        waiting = len(state.queue) + (state.begun is not None)
        meter = state.meter
        return LinkStatistics(waiting, state.choked, meter.total_bytes, meter.rate(now), state.answers)

    def sends(self, piece: PieceIndex) -> int:
        """How often this piece was sent whole, sendings under way included."""
        return self._copies[piece] + self._under_way.get(piece, 0)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        under_way: dict[PieceIndex, int] = {}
        for state in self._links.values():
            assert len(state.queue) + (state.begun is not None) <= state.window
            assert all(request.offset == 0 for request in state.queue.values())
            assert all(request.id == key for key, request in state.queue.items())
            if state.choked:
                assert all(request.piece is None for request in state.queue.values())
            if state.begun is not None:
                assert 0 < state.begun.offset < state.begun.total
                assert state.begun.id not in state.queue
                if state.begun.piece is not None:
                    under_way[state.begun.piece] = under_way.get(state.begun.piece, 0) + 1
        assert under_way == self._under_way
        assert sum(1 for count in self._copies if count) == self._first_copies
        assert sum(self._copies) == self._first_copies + self._repeats

    # --- inside

    @staticmethod
    def _is_begun(state: _Link, request: RequestId) -> bool:
        return state.begun is not None and state.begun.id == request

    def _asks_too_often(self, state: _Link, piece: PieceIndex) -> bool:
        if any(request.piece == piece for request in state.queue.values()):
            return True
        if state.begun is not None and state.begun.piece == piece:
            return True
        if not state.finished[piece >> 3] & 1 << (piece & 7):
            return False
        return state.repeats >= REPEATS_FREE + state.answers // REPEATS_SHARE

    def _choose(self, link: LinkId, state: _Link, now: float) -> _Request | Deferred | Idle:
        if not state.queue:
            return IDLE
        oldest = next(iter(state.queue.values()))
        best, best_key = oldest, (2**63, 0)
        for request in state.queue.values():
            if request.piece is None:
                return request
            key = (self.sends(request.piece), self._available(request.piece))
            if key < best_key:
                best, best_key = request, key
                if key == (0, 0):
                    break
        if best_key == (0, 0):
            return best
        if self._uplink_full(now) and self._first_copy_waits(link):
            self._deferrals += 1
            return Deferred(now + DEFER_S)
        return oldest if now - oldest.asked_at > PATIENCE_S else best

    def _first_copy_waits(self, but: LinkId) -> bool:
        """Whether another link waits for a piece that nobody but us has and nobody was sent."""
        if self._first_copies + len(self._under_way) >= self._piece_count:
            return False
        return any(
            request.piece is not None and not self.sends(request.piece) and not self._available(request.piece)
            for link, state in self._links.items()
            if link != but
            for request in state.queue.values()
        )

    def _uplink_full(self, now: float) -> bool:
        return self._meter is not None and self._meter.rate(now) >= DEFER_FULL_SHARE * self._peak

    def _begin(self, state: _Link, request: _Request) -> _Request:
        del state.queue[request.id]
        state.begun = request
        if request.piece is not None:
            self._under_way[request.piece] = self._under_way.get(request.piece, 0) + 1
        return request

    def _count(self, state: _Link, nbytes: int, now: float) -> None:
        state.meter.add(nbytes, now)
        if self._meter is None:
            self._meter = RateMeter(now, TOTAL_SPAN_S)
            self._peak_at = now
        self._meter.add(nbytes, now)
        faded = self._peak * max(0.0, 1 - (now - self._peak_at) / PEAK_FADES_S)
        self._peak = max(self._meter.rate(now), faded)
        self._peak_at = max(now, self._peak_at)

    def _finish(self, state: _Link, request: _Request) -> None:
        state.begun = None
        state.answers += 1
        piece = request.piece
        if piece is None:
            return
        self._lay_down(piece)
        if self._copies[piece]:
            self._repeats += 1
        else:
            self._first_copies += 1
        self._copies[piece] += 1
        bit = 1 << (piece & 7)
        state.repeats += bool(state.finished[piece >> 3] & bit)
        state.finished[piece >> 3] |= bit

    def _cut(self, state: _Link, request: _Request) -> None:
        self._cut_bytes += request.offset
        if request.piece is not None:
            self._lay_down(request.piece)

    def _lay_down(self, piece: PieceIndex) -> None:
        count = self._under_way.pop(piece) - 1
        if count:
            self._under_way[piece] = count
