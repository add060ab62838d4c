"""What to send next, and to whom. Pure: requests go in, chunks come out, time is an argument.

Theory of operation. A link's requests wait here until its writer, whose socket has just become ready, asks
`next_chunk`: so the choice is made at the last moment, the kernel holds little, and a cancel still helps. An
answer on one link is finished or cut before the next begins (the protocol says so); which request of the link
is answered next is free, and is chosen in this order:

1. the manifest, because its asker can do nothing without it;
2. the piece that this node has sent the fewest times, sendings under way included;
3. the piece that the fewest others are known to hold;
4. the oldest request.

Except for first copies (below) a request that was passed over for PATIENCE_S goes first, so that nobody's
pipeline hangs on one piece.

Across links: the scarcest bytes of a swarm are the first copies of what only one node has. While one link
could be given such a *first copy* (never sent by us, held by no other known peer), another link that could
only be given a second one is `Deferred`: its socket stays idle for some milliseconds, and on a shared uplink
the bytes go to the first copy instead. This is right only while the uplink is the bottleneck: a slow receiver
of first copies must not hold up fast receivers of second ones. So nothing is deferred while the uplink is not
full (`UplinkGauge`), a link that takes nothing keeps nobody waiting, and nobody gets nothing for longer than
PATIENCE_S, or we would be taken for dead.

And who asks for a piece that others are about to have, while there are first copies to give, is told so once
(ELSEWHERE), and mostly asks for one of those: who asks cannot know what we are sending to others just now.
Who does not, after HINTS_VAIN_MAX in a row, wants none of them and hears no more of it.

What it is worth, in a model of 30 peers of 4 Mbit/s behind an origin of 40: the origin has sent every piece
once after 1.03 F bytes, against 1.31 F without deferring and 1.48 F in the order of asking. The last peer is
done at the same time in all three; but an origin that dies has left a whole swarm behind that much sooner.

Not here: whether the piece is readable (the caller says so by `unreadable`), who is choked (the choker says
so by `choke`), and when bytes may leave (a `RateLimiter`).

For a writer: wait until something `has_work` and the socket is ready; under a rate limit look at `deferred`,
then ask the limiter for ``min(chunk_bytes, quantum_bytes)``; then `next_chunk`. Send what comes, whatever
happens meanwhile: a reject for a cancelled answer follows the chunk that was handed out.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import islice

from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import (
    CHOICE_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNK_S,
    DEFER_S,
    DEFER_STALL_S,
    DRY_SLOT_S,
    HINTS_VAIN_MAX,
    IN_SOCKET_S_MAX,
    NEWCOMER_LOOK_S,
    NEWCOMER_PIECES_MIN,
    PATIENCE_S,
    WINDOW_MAX,
)
from peer.swarm.chunks import IDLE, Cancelled, Chunk, Deferred, Idle, NextChunk
from peer.swarm.copies import Copies
from peer.swarm.newcomers import Newcomers
from peer.swarm.rates import RateMeter
from peer.swarm.served import Served
from peer.swarm.uplink import UplinkGauge
from peer.swarm.uploadstatistics import LinkStatistics, UploadStatistics

__all__ = [
    "IDLE", "Cancelled", "Chunk", "Deferred", "Idle", "LinkStatistics", "NextChunk", "Upload",
    "UploadStatistics", "nobody",
]  # fmt: skip


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
    meter: RateMeter  # of what the socket has taken
    served: Served
    hinted: bytearray  # a bit for each piece that was said to be coming from elsewhere
    taken_at: float  # when the socket was last seen to take something
    choked: bool = True
    queue: dict[RequestId, _Request] = field(default_factory=dict)
    begun: _Request | None = None
    in_socket: int = 0  # the last chunk, until the socket is ready again
    handed_at: float = 0.0  # when it was handed out
    work_ends: bool = False  # nothing was waiting behind it, so nobody looks whether the socket is ready
    sent_bytes: int = 0
    vain_hints: int = 0  # since it last asked for a first copy
    given: bool = False  # a whole piece


def nobody(piece: PieceIndex) -> int:
    """Availability while nothing is known of others."""
    return 0


class Upload:
    """The requests that others have open with us, and the order in which they are answered."""

    def __init__(
        self,
        piece_length: Callable[[PieceIndex], int],
        piece_count: int,
        have: Container[int],
        *,
        manifest_bytes: int = 0,
        available: Callable[[PieceIndex], int] = nobody,
        chunk_bytes_min: int = CHUNK_BYTES_MIN,
        gauge: UplinkGauge | None = None,
    ) -> None:
        """piece_length: bytes of a piece. have: the pieces that may be sent, as they are now.

        manifest_bytes: length of the manifest, 0 while we have none. available: how many connected peers are
        known to hold a piece. chunk_bytes_min, gauge: for a simulation in larger steps, which knows whether
        its uplink is full.
        """
        self._piece_length = piece_length
        self._piece_count = piece_count
        self._have = have
        self._manifest_bytes = manifest_bytes
        self._available = available
        self._links: dict[LinkId, _Link] = {}
        self._copies = Copies(piece_count, available)
        self._gauge = gauge or UplinkGauge()
        self._chunk_bytes_min = chunk_bytes_min
        self._first_copy_asked = False  # false: certainly none waits
        self._newcomers = Newcomers() if piece_count >= NEWCOMER_PIECES_MIN else None
        self._sent_bytes = 0
        self._cut_bytes = 0
        self._deferrals = 0
        self._hints = 0
        self._answers = 0
        self._ran_dry = 0

    # --- links

    def joined(self, link: LinkId, window: int, now: float) -> None:
        """A link is open; it begins choked. window: open requests that we announced to it."""
        if link in self._links:
            raise LocalProtocolError(f"link {link} joined twice")
        served, hinted = Served(self._piece_count, now), bytearray((self._piece_count + 7) // 8)
        self._links[link] = _Link(min(window, WINDOW_MAX), RateMeter(now), served, hinted, now)

    def left(self, link: LinkId) -> None:
        """The link is gone, with all that it asked for. Unknown links are ignored."""
        state = self._links.pop(link, None)
        if state is not None:
            self._cut(state)
            if self._newcomers is not None:
                self._newcomers.left(link)

    def choke(self, link: LinkId) -> tuple[RequestId, ...]:
        """Serve the link no more pieces: what it waits for, to be answered with ``Reject(CHOKED)``.

        An answer that has begun is finished, and so are manifests: neither is in the list.
        """
        state = self._state(link)
        state.choked = True
        dropped = tuple(request.id for request in state.queue.values() if request.piece is not None)
        for request in dropped:
            del state.queue[request]
        return dropped

    def unchoke(self, link: LinkId) -> None:
        """Serve the link."""
        self._state(link).choked = False

    # --- requests

    def asked(
        self, link: LinkId, request: RequestId, piece: PieceIndex | None, now: float
    ) -> RejectCode | None:
        """A request came in (piece: None for the manifest). None: it waits here; else reject it so.

        The index has been checked, and the session has enforced the window (LocalProtocolError if not).
        """
        state = self._state(link)
        waiting = len(state.queue) + (state.begun is not None)
        begun_id = None if state.begun is None else state.begun.id
        if waiting >= state.window or request in state.queue or request == begun_id:
            raise LocalProtocolError(f"link {link} asks beyond its window or twice under one id")
        if piece is None:
            if not self._manifest_bytes:
                return RejectCode.NOT_HELD
            state.queue[request] = _Request(request, None, self._manifest_bytes, now)
            return None
        code = self._refusal(state, piece, now)
        if code is None:
            state.queue[request] = _Request(request, piece, self._piece_length(piece), now)
            if self._newcomers is not None:
                self._newcomers.asked(link, now, given=state.given)
            if self._would_be_first(piece):
                self._first_copy_asked = True
                state.vain_hints = 0
        return code

    def cancel(self, link: LinkId, request: RequestId) -> Cancelled:
        """The other side no longer wants this answer. A chunk that was handed out is sent all the same."""
        state = self._state(link)
        if state.queue.pop(request, None) is not None:
            return Cancelled.WAITING
        if state.begun is not None and state.begun.id == request:
            self._cut(state)
            return Cancelled.BEGUN
        return Cancelled.UNKNOWN

    def unreadable(self, link: LinkId, chunk: Chunk) -> None:
        """This chunk could not be read and was not sent: forget the request, which the caller rejects."""
        state = self._state(link)
        state.in_socket = 0
        state.sent_bytes -= chunk.length
        self._sent_bytes -= chunk.length
        if state.begun is not None and state.begun.id == chunk.request:
            state.begun.offset = chunk.offset
            self._cut(state)
        elif chunk.last and chunk.piece is not None:
            self._cut_bytes += chunk.offset
            self._uncount(state, chunk.piece)

    def set_manifest(self, manifest_bytes: int) -> None:
        """We have the manifest now; it is so long."""
        self._manifest_bytes = manifest_bytes

    # --- sending

    def has_work(self, link: LinkId) -> bool:
        """Whether anything waits to be sent on this link; false for unknown links."""
        state = self._links.get(link)
        return state is not None and (state.begun is not None or bool(state.queue))

    def is_dry(self, link: LinkId, now: float) -> bool:
        """Whether nothing waits for this link, and it was handed nothing in the last DRY_SLOT_S."""
        return not self.has_work(link) and now - self._state(link).handed_at >= DRY_SLOT_S

    def is_idle(self, now: float, *, limited: bool) -> bool:
        """Whether the uplink has nothing to do: nobody waits, and the last chunks have probably left.

        limited: a rate limit is below what the sockets take, so chunks leave when handed out. Else one
        is taken to be under way for as long as the link's own rate says, IN_SOCKET_S_MAX at most.
        """
        for state in self._links.values():
            if state.begun is not None or state.queue:
                return False
            if state.in_socket and not limited:
                since, rate = now - state.handed_at, state.meter.rate(state.handed_at)
                if since < IN_SOCKET_S_MAX and since * rate < state.in_socket:
                    return False
        return True

    def has_begun(self, link: LinkId) -> bool:
        """Whether a part of an answer was sent on this link, and the rest has still to come."""
        return self._state(link).begun is not None

    def chunk_bytes(self, link: LinkId, now: float) -> int:
        """What the next chunk of this link will hold: about CHUNK_S of its rate, or what is left to send."""
        state = self._state(link)
        request = state.begun or next(iter(state.queue.values()), None)
        left = CHUNK_BYTES_MAX if request is None else request.total - request.offset
        return min(left, self._wanted_bytes(state, now))

    def _wanted_bytes(self, state: _Link, now: float) -> int:
        wanted = int(state.meter.rate(now) * CHUNK_S)
        return max(self._chunk_bytes_min, min(CHUNK_BYTES_MAX, wanted - wanted % CHUNK_BYTES_MIN))

    def deferred(self, link: LinkId, now: float) -> Deferred | None:
        """Whether `next_chunk` would defer this link, whose socket is ready: ask before a rate limit is."""
        state = self._state(link)
        self._drained(state, now)
        if state.begun is not None:
            return None
        chosen = self._choose(link, state, now)
        return chosen if isinstance(chosen, Deferred) else None

    def next_chunk(self, link: LinkId, now: float, bytes_max: int | None = None) -> NextChunk:
        """The link's socket is ready: what to send on it. bytes_max: what a rate limit has granted."""
        state = self._state(link)
        self._drained(state, now)
        request = state.begun
        if request is None:
            if bytes_max is None and self._gives_way(link, state, now):
                return Deferred(now + NEWCOMER_LOOK_S)
            chosen = self._choose(link, state, now)
            if not isinstance(chosen, _Request):
                return chosen
            request = self._begin(state, chosen)
        length = left = request.total - request.offset
        # A small rest would cost a frame of its own.
        if left >= self._chunk_bytes_min + self._chunk_bytes_min // 2:
            chunk_bytes = self._wanted_bytes(state, now)
            if left >= chunk_bytes + chunk_bytes // 2:
                length = chunk_bytes
        length = min(length, left if bytes_max is None else max(1, bytes_max))
        chunk = Chunk(request.id, request.piece, request.offset, length, request.total)
        request.offset += length
        state.in_socket = length
        state.sent_bytes += length
        self._sent_bytes += length
        if chunk.last:
            self._finish(state, request)
        state.handed_at = now
        state.work_ends = state.begun is None and not state.queue
        return chunk

    # --- eyes

    def statistics(self, now: float) -> UploadStatistics:
        return UploadStatistics(
            sent_bytes=self._sent_bytes,
            rate=self._gauge.rate(now),
            uplink_full=self._gauge.is_full(now),
            first_copies=self._copies.first,
            repeats=self._copies.repeats,
            cut_bytes=self._cut_bytes,
            unsent=self._copies.unsent,
            deferrals=self._deferrals,
            hints=self._hints,
            answers=self._answers,
            ran_dry=self._ran_dry,
        )

    def link_statistics(self, link: LinkId, now: float) -> LinkStatistics:
        state = self._state(link)
        waiting = len(state.queue) + (state.begun is not None)
        rate = state.meter.rate(now)
        return LinkStatistics(waiting, state.choked, state.sent_bytes, rate, state.served.answers)

    def sends(self, piece: PieceIndex) -> int:
        """How often this piece was sent whole, sendings under way included."""
        return self._copies[piece]

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        under_way: dict[PieceIndex, int] = {}
        first_copy_waits = False
        for state in self._links.values():
            assert len(state.queue) + (state.begun is not None) <= state.window
            assert all(request.id == key for key, request in state.queue.items())
            for request in state.queue.values():
                assert request.offset == 0
                assert request.piece is None or not state.choked
                first_copy_waits = first_copy_waits or self._would_be_first(request.piece)
            if state.begun is not None:
                assert 0 < state.begun.offset < state.begun.total
                assert state.begun.id not in state.queue
                if state.begun.piece is not None:
                    under_way[state.begun.piece] = under_way.get(state.begun.piece, 0) + 1
        self._copies.check_invariants(under_way)
        assert self._sent_bytes >= 0
        if self._available is nobody:
            assert self._first_copy_asked or not first_copy_waits

    # --- inside

    def _state(self, link: LinkId) -> _Link:
        try:
            return self._links[link]
        except KeyError:
            raise LocalProtocolError(f"link {link} has not joined") from None

    def _refusal(self, state: _Link, piece: PieceIndex, now: float) -> RejectCode | None:
        """Why this request for a piece is not taken; None if it is."""
        if state.choked:
            return RejectCode.CHOKED
        if piece not in self._have:
            return RejectCode.NOT_HELD
        if self._asks_too_often(state, piece, now):
            return RejectCode.BUSY
        if self._is_better_spent(state, piece):
            self._hints += 1
            return RejectCode.ELSEWHERE
        return None

    @staticmethod
    def _asks_too_often(state: _Link, piece: PieceIndex, now: float) -> bool:
        """Whether this piece is asked again while it waits, or for ever: nobody honest does that."""
        if state.begun is not None and state.begun.piece == piece:
            return True
        if state.queue and any(request.piece == piece for request in state.queue.values()):
            return True
        return state.served.too_often(piece, now)

    def _is_better_spent(self, state: _Link, piece: PieceIndex) -> bool:
        """Whether the uplink is better spent on a first copy than on this piece, which others are about to
        have. Said once: who asks for it again has nothing else to ask for, and is served.

        Also where the uplink seems to have room: it costs next to nothing there, and the gauge of a narrow
        uplink, on which each chunk is a peak, mostly thinks that it has.
        """
        at, bit = piece >> 3, 1 << (piece & 7)
        copies = self._copies
        if state.vain_hints >= HINTS_VAIN_MAX or not copies[piece]:
            return False
        if (state.hinted[at] | state.served.bits[at]) & bit:
            return False
        if not copies.first_left(self._have):
            return False
        if not copies.is_coming(piece) and not any(
            other.served.bits[at] & bit for other in self._links.values()
        ):
            return False  # whoever was sent it is gone
        state.hinted[at] |= bit
        state.vain_hints += 1
        return True

    def _choose(self, link: LinkId, state: _Link, now: float) -> _Request | Deferred | Idle:
        if not state.queue:
            return IDLE
        oldest = best = next(iter(state.queue.values()))
        if len(state.queue) == 1 and not self._first_copy_asked:
            return oldest
        best_key: tuple[int, int] | None = None
        for request in islice(state.queue.values(), CHOICE_MAX):
            if request.piece is None:
                return request
            key = (self.sends(request.piece), self._available(request.piece))
            if best_key is None or key < best_key:
                best, best_key = request, key
                if key == (0, 0):
                    return best
        starves = now - max(state.taken_at, oldest.asked_at) > PATIENCE_S
        if not starves and self._gauge.is_full(now) and self._first_copy_waits(link, now):
            self._deferrals += 1
            return Deferred(now + DEFER_S)
        return oldest if now - oldest.asked_at > PATIENCE_S else best

    def _gives_way(self, link: LinkId, state: _Link, now: float) -> bool:
        """Whether this would be a second piece, while somebody waits for a first one."""
        return state.given and self._newcomers is not None and self._newcomers.others_wait(link, now)

    def _would_be_first(self, piece: PieceIndex | None) -> bool:
        """Whether nobody was sent this piece by us, nor is known to hold it."""
        return piece is not None and self._copies.is_first(piece)

    def _first_copy_waits(self, but: LinkId, now: float) -> bool:
        """Whether another link, one that takes what it is sent, could be given a first copy."""
        if not self._first_copy_asked:
            return False
        self._first_copy_asked = False
        for link, state in self._links.items():
            for request in islice(state.queue.values(), CHOICE_MAX):  # it is given no other now
                if self._would_be_first(request.piece):
                    self._first_copy_asked = True
                    if link == but or now - max(state.taken_at, request.asked_at) > DEFER_STALL_S:
                        break
                    return True
            else:  # what stands further back may be one
                self._first_copy_asked = self._first_copy_asked or len(state.queue) > CHOICE_MAX
        return False

    def _begin(self, state: _Link, request: _Request) -> _Request:
        del state.queue[request.id]
        state.begun = request
        if request.piece is not None:
            self._copies.begin(request.piece)
        return request

    def _drained(self, state: _Link, now: float) -> None:
        """The socket is ready, so it has taken the last chunk; if there was no other, some time ago."""
        nbytes, state.in_socket = state.in_socket, 0
        if nbytes:
            state.taken_at = min(now, state.handed_at + CHUNK_S) if state.work_ends else now
            state.meter.add(nbytes, state.taken_at)
            self._gauge.add(nbytes, state.taken_at)

    def _finish(self, state: _Link, request: _Request) -> None:
        state.begun = None
        state.served.finish(request.piece)
        self._answers += 1
        self._ran_dry += not state.queue
        if request.piece is not None:
            state.given = True
            self._copies.finish(request.piece)

    def _uncount(self, state: _Link, piece: PieceIndex) -> None:
        """A piece that was counted as sent, by the last chunk of its link, was not."""
        state.served.take_back(piece)
        self._answers -= 1
        self._ran_dry -= state.work_ends
        self._copies.take_back(piece)
        self._first_copy_asked = True

    def _cut(self, state: _Link) -> None:
        """The answer that has begun, if any, goes no further."""
        request, state.begun = state.begun, None
        if request is not None:
            self._cut_bytes += request.offset
            if request.piece is not None:
                self._copies.cut(request.piece)
                self._first_copy_asked = True  # another link may wait for this very piece
