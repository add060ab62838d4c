"""The download policy of one share: which piece is asked of which link, and when that is changed.

Events go in (each with ``now``), commands come out. Each piece is exactly one of HAVE, IN_FLIGHT (asked of
one or more links), VERIFYING, WANTED and NOT_WANTED. A request stays open on its link until `arrived` or
`rejected` or `left`, also after a `Withdraw` or a choke: only then may the same piece be asked there again.

What asks: an event that gives a link room or gives it something new *fills* that link's pipeline
(supplier.py says how long it is, picker.py what goes in). A link with room for which there is nothing open is
*hungry*: it is tried again when a piece opens, and on ticks it looks for pieces that are late elsewhere
(endgame.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from peer.bitfield import Bitfield
from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex
from peer.limits import (
    DOWNLOAD_TICK_S,
    ENDGAME_TICK_S,
    ENDGAME_WASTE_PERMILLE,
    RANDOM_FIRST_PIECES,
    REJECT_REST_S,
)
from peer.swarm.commands import Announce, Ask, Command, Expel, Express, Finished, Withdraw
from peer.swarm.endgame import late_piece, losers
from peer.swarm.picker import Picker
from peer.swarm.supplier import Asked, Supplier

__all__ = [
    "Announce", "Ask", "Command", "Download", "DownloadStatistics", "Expel", "Express", "Finished",
    "PieceState", "Withdraw",
]  # fmt: skip


class PieceState(IntEnum):
    """Where a piece stands."""

    NOT_WANTED = 0
    WANTED = 1
    IN_FLIGHT = 2
    VERIFYING = 3
    HAVE = 4


@dataclass(frozen=True, slots=True)
class DownloadStatistics:
    """A snapshot. Counts are of pieces unless they end in bytes.

    duplicate_bytes: received for requests that were withdrawn. partial_bytes: of answers that broke off.
    corrupt_bytes: of pieces that did not verify. wasted_bytes: these together.
    """

    pieces: int
    have: int
    open: int
    in_flight: int
    verifying: int
    links: int
    links_unchoked: int
    links_hungry: int
    links_silent: int
    requests: int
    asks: int
    withdrawals: int
    received_bytes: int
    duplicate_bytes: int
    partial_bytes: int
    corrupt_bytes: int
    wasted_bytes: int
    finished: bool


class Download:
    """What to ask of whom. Pure: the same events, times and rng give the same commands."""

    def __init__(
        self,
        piece_length: Callable[[PieceIndex], int] | Sequence[int],
        have: Bitfield,
        wanted: Bitfield,
        rng: Random,
    ) -> None:
        """``have`` and ``wanted`` are copied; wanting what one has is no contradiction."""
        if len(have) != len(wanted):
            raise LocalProtocolError(f"have is of {len(have)} pieces, wanted of {len(wanted)}")
        self._length = piece_length if callable(piece_length) else piece_length.__getitem__
        self.bits = have.copy()  # what we hold, verified
        needed = wanted.copy()
        needed.difference_update(have)
        self._picker = Picker(len(have), needed, rng)
        self._state = bytearray(len(have))
        for piece in needed.indices():
            self._state[piece] = PieceState.WANTED
        for piece in have.indices():
            self._state[piece] = PieceState.HAVE
        self._suppliers: dict[LinkId, Supplier] = {}
        self._flights: dict[PieceIndex, list[Asked]] = {}  # live requests only; never an empty list
        self._verifying: dict[PieceIndex, int] = {}
        self._watchers: dict[PieceIndex, list[LinkId]] = {}  # a needed piece -> links interesting for it
        self._hungry: dict[LinkId, None] = {}  # a set in order of entry
        self._started = have.count  # pieces had or asked for, for the random first ones
        self._asks = self._withdrawals = 0
        self._received_bytes = self._duplicate_bytes = self._partial_bytes = self._corrupt_bytes = 0
        self._tick_at = 0.0
        self._held_back = False

    # --- links

    def joined(self, link: LinkId, window: int, now: float) -> list[Command]:
        """A new link, choking us, holding nothing. window: requests that it accepts at once."""
        if link in self._suppliers:
            raise LocalProtocolError(f"link {link} has joined before")
        self._picker.join(link)
        if not self._suppliers:
            self._tick_at = now + DOWNLOAD_TICK_S
        self._suppliers[link] = Supplier(link, window, now)
        return []

    def left(self, link: LinkId, now: float) -> list[Command]:
        """The link is gone: whatever was asked of it goes back."""
        out: list[Command] = []
        supplier = self._supplier(link)
        if not supplier.expelled:
            self._drop(supplier, now, out)
        del self._suppliers[link]
        return out

    def bitfield(self, link: LinkId, bits: Bitfield, now: float) -> list[Command]:
        """All that the link holds."""
        out: list[Command] = []
        supplier = self._supplier(link)
        if not supplier.expelled:
            self._picker.set_bits(link, bits)
            self._watch(supplier, out)
            self._fill(supplier, now, out)
        return out

    def have_pieces(self, link: LinkId, pieces: Iterable[PieceIndex], now: float) -> list[Command]:
        """The link holds these as well."""
        out: list[Command] = []
        supplier = self._supplier(link)
        if supplier.expelled:
            return out
        useful = False
        picker = self._picker
        for piece in pieces:
            if picker.add(link, piece) and picker.is_needed(piece):
                if not supplier.interested:
                    self._set_witness(supplier, piece, out)
                useful = useful or picker.is_open(piece)
        if useful:
            self._fill(supplier, now, out)
        return out

    def choked(self, link: LinkId, on: bool, now: float) -> list[Command]:
        """The link stops or begins to serve us.

        When it stops, requests whose answer has not begun go back to the pool; one that has begun is given
        the chance to end. The remote side rejects what it will not answer; either may come first.
        """
        out: list[Command] = []
        supplier = self._supplier(link)
        supplier.choked = on
        supplier.rests_until = now
        if supplier.expelled:
            return out
        if not on:
            self._fill(supplier, now, out)
            return out
        self._hungry.pop(link, None)
        for asked in [asked for asked in supplier.asks.values() if asked.live and not asked.received]:
            self._release(asked)
        self._feed_hungry(now, out)
        return out

    # --- answers

    def progressed(self, link: LinkId, piece: PieceIndex, count: int, now: float) -> list[Command]:
        """``count`` more bytes of the answer have come."""
        supplier = self._supplier(link)
        asked = supplier.asks.get(piece)
        if asked is None:
            return self._stray(supplier, piece)
        out: list[Command] = []
        self._received_bytes += count
        begins = not asked.received
        if not asked.live and not asked.withdrawn:
            self._adopt(asked, now, out)
        supplier.got(asked, count, now)
        if not asked.live:
            self._duplicate_bytes += count
        elif begins:
            flight = self._flights[piece]
            if len(flight) > 1:
                self._withdraw(losers(flight, asked, now, self._guess()), now, out)
        if supplier.live_count < supplier.depth and link not in self._hungry:
            self._fill(supplier, now, out)
        return out

    def arrived(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The answer is complete. A piece that becomes VERIFYING by this is to be checked and stored, and the
        caller owes `verified`, `failed` or `unstored` for it; otherwise the bytes are of no use."""
        supplier = self._supplier(link)
        asked = supplier.asks.get(piece)
        if asked is None:
            return self._stray(supplier, piece)
        out: list[Command] = []
        if asked.remaining:
            self._received_bytes += asked.remaining
            if not asked.live and not asked.withdrawn:
                self._adopt(asked, now, out)
            if not asked.live:
                self._duplicate_bytes += asked.remaining
            supplier.got(asked, asked.remaining, now)
        live = asked.live
        if live:
            self._land(asked)
            supplier.complete(now)
        supplier.close(asked)
        if live:
            self._state[piece] = PieceState.VERIFYING
            self._verifying[piece] = asked.length
            self._withdraw(self._flights.pop(piece, []), now, out)
        self._fill(supplier, now, out)
        return out

    def rejected(self, link: LinkId, piece: PieceIndex, code: RejectCode, now: float) -> list[Command]:
        """The link will not answer (any further)."""
        supplier = self._supplier(link)
        asked = supplier.asks.get(piece)
        if asked is None:
            return self._stray(supplier, piece)
        out: list[Command] = []
        live = asked.live
        if live:
            self._release(asked)
            self._partial_bytes += asked.received
        supplier.close(asked)
        supplier.heard_at = now
        if code in {RejectCode.NOT_HELD, RejectCode.UNREADABLE}:
            self._picker.remove(link, piece)
            self._watch(supplier, out)
        elif live:
            # CHOKED without a choke, BUSY, CANCELLED what was not: asking again at once would run in circles.
            supplier.rests_until = now + REJECT_REST_S
        self._fill(supplier, now, out)
        if live:
            self._feed_hungry(now, out)
        return out

    # --- our own side

    def verified(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The piece is good and stored: we have it. ``link`` is where it came from, present or gone."""
        self._end_verifying(piece)
        self._state[piece] = PieceState.HAVE
        self.bits.add(piece)
        self._picker.settle(piece)
        out: list[Command] = [Announce(piece)]
        self._unwatch(piece, out)
        if not self._picker.needed_count:
            out.append(Finished())
        return out

    def failed(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The bytes are wrong: the link goes, the piece is fetched elsewhere."""
        self._corrupt_bytes += self._end_verifying(piece)
        out: list[Command] = []
        supplier = self._suppliers.get(link)
        if supplier is not None and not supplier.expelled:
            out.append(Expel(link, f"piece {piece} did not verify"))
            supplier.expelled = True
            self._drop(supplier, now, out)
        self._reopen(piece)
        self._feed_hungry(now, out)
        return out

    def unstored(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The bytes were good, but could not be stored: nobody's fault, to be fetched again."""
        self._partial_bytes += self._end_verifying(piece)
        self._reopen(piece)
        out: list[Command] = []
        self._feed_hungry(now, out)
        return out

    def lost(self, piece: PieceIndex, now: float) -> list[Command]:
        """A piece that we had turned out to be bad on disk."""
        if self._state[piece] != PieceState.HAVE:
            raise LocalProtocolError(f"piece {piece} was not had")
        self.bits.discard(piece)
        self._state[piece] = PieceState.NOT_WANTED
        return self.want((piece,), now)

    def want(self, pieces: Iterable[PieceIndex], now: float) -> list[Command]:
        """These are wanted too, from now on."""
        out: list[Command] = []
        for piece in pieces:
            if self._state[piece] == PieceState.NOT_WANTED:
                self._state[piece] = PieceState.WANTED
                self._picker.need(piece)
        for supplier in self._suppliers.values():
            if not supplier.interested and not supplier.expelled:
                self._watch(supplier, out)
                self._fill(supplier, now, out)
        self._feed_hungry(now, out)
        return out

    def hold(self, on: bool, now: float) -> list[Command]:
        """Stop asking (the disk is full, the user pauses), or go on. What was asked may still arrive."""
        out: list[Command] = []
        self._held_back = on
        if not on:
            for supplier in self._suppliers.values():
                self._fill(supplier, now, out)
        return out

    def tick(self, now: float) -> list[Command]:
        """Time has passed: silent links lose their pieces, hungry ones look for late pieces."""
        out: list[Command] = []
        endgame = bool(self._hungry) and bool(self._flights)
        self._tick_at = now + (ENDGAME_TICK_S if endgame else DOWNLOAD_TICK_S)
        for supplier in self._suppliers.values():
            if supplier.is_overdue(now):
                supplier.silent = True
                for asked in [asked for asked in supplier.asks.values() if asked.live]:
                    self._partial_bytes += asked.received
                    self._release(asked)
                    self._cancel(asked, out)
            elif not supplier.live_count:
                self._fill(supplier, now, out)
        self._feed_hungry(now, out, seek_late=True)
        return out

    def next_deadline(self, now: float) -> float | None:
        """When `tick` wants to be called; None: not before the next event. Cheap: ask after each event."""
        return self._tick_at if self._suppliers and not self.finished else None

    # --- eyes

    def state(self, piece: PieceIndex) -> PieceState:
        """Where the piece stands."""
        return PieceState(self._state[piece])

    @property
    def finished(self) -> bool:
        """Whether everything wanted is here."""
        return not self._picker.needed_count

    def statistics(self) -> DownloadStatistics:
        suppliers = self._suppliers.values()
        return DownloadStatistics(
            pieces=len(self.bits),
            have=self.bits.count,
            open=self._picker.open_count,
            in_flight=len(self._flights),
            verifying=len(self._verifying),
            links=len(suppliers),
            links_unchoked=sum(not s.choked for s in suppliers),
            links_hungry=len(self._hungry),
            links_silent=sum(s.silent for s in suppliers),
            requests=sum(len(s.asks) for s in suppliers),
            asks=self._asks,
            withdrawals=self._withdrawals,
            received_bytes=self._received_bytes,
            duplicate_bytes=self._duplicate_bytes,
            partial_bytes=self._partial_bytes,
            corrupt_bytes=self._corrupt_bytes,
            wasted_bytes=self._duplicate_bytes + self._partial_bytes + self._corrupt_bytes,
            finished=self.finished,
        )

    def availability(self, piece: PieceIndex) -> int:
        """How many connected peers hold the piece."""
        return self._picker.availability(piece)

    def rate(self, link: LinkId) -> float:
        """Bytes a second that the link gave while it was asked; 0 if not known."""
        return self._supplier(link).rate

    def check_invariants(self) -> None:
        """For tests: every piece is in one state, and all books agree."""
        live: dict[PieceIndex, list[LinkId]] = {}
        for link, supplier in self._suppliers.items():
            asks = supplier.asks.values()
            assert len(asks) <= supplier.window
            assert supplier.live_count == sum(a.live for a in asks)
            assert supplier.outstanding == sum(a.remaining for a in asks if a.live)
            assert not (supplier.expelled and asks)
            for asked in asks:
                assert 0 <= asked.received <= asked.length
                if asked.live:
                    live.setdefault(asked.piece, []).append(link)
                    assert self._picker.holds(link, asked.piece)
        assert {p: sorted(a.supplier.link for a in f) for p, f in self._flights.items()} == {
            p: sorted(links) for p, links in live.items()
        }
        for index, state in enumerate(self._state):
            piece = PieceIndex(index)
            assert (state == PieceState.HAVE) == self.bits[piece]
            assert (state == PieceState.IN_FLIGHT) == (piece in self._flights)
            assert (state == PieceState.VERIFYING) == (piece in self._verifying)
            assert (state == PieceState.WANTED) == self._picker.is_open(piece)
            needed = state in {PieceState.WANTED, PieceState.IN_FLIGHT, PieceState.VERIFYING}
            assert needed == self._picker.is_needed(piece)
        for link, supplier in self._suppliers.items():
            if not supplier.expelled:
                assert supplier.interested == (self._picker.witness(link) is not None)
        self._picker.check_invariants()

    # --- inside

    def _supplier(self, link: LinkId) -> Supplier:
        try:
            return self._suppliers[link]
        except KeyError:
            raise LocalProtocolError(f"link {link} has not joined") from None

    def _stray(self, supplier: Supplier, piece: PieceIndex) -> list[Command]:
        if supplier.expelled:
            return []
        raise LocalProtocolError(f"piece {piece} was not asked of link {supplier.link}")

    def _fill(self, supplier: Supplier, now: float, out: list[Command], *, seek_late: bool = True) -> None:
        """Ask as much as the link has room for."""
        if self._held_back or self.finished:
            return
        picker = self._picker
        link = supplier.link
        while supplier.has_room(now):
            piece = None
            if picker.open_count:
                random_first = self._started < RANDOM_FIRST_PIECES
                piece = picker.choose_any(link) if random_first else picker.choose(link)
            if piece in supplier.asks:  # given up there, but the remote side has not closed it yet
                piece = picker.choose_any(link)
                piece = None if piece in supplier.asks else piece
            if piece is None:
                piece = self._late_piece(supplier, now) if seek_late else None
                if piece is None:
                    self._hungry[link] = None
                    if self._flights:
                        self._tick_at = min(self._tick_at, now + ENDGAME_TICK_S)
                    return
            else:
                picker.take(piece)
                self._state[piece] = PieceState.IN_FLIGHT
                self._started += 1
            asked = supplier.ask(piece, self._length(piece), now)
            self._flights.setdefault(piece, []).append(asked)
            self._asks += 1
            out.append(Ask(link, piece))
        self._hungry.pop(link, None)

    def _late_piece(self, supplier: Supplier, now: float) -> PieceIndex | None:
        holds = self._picker.holds
        link = supplier.link
        flights = (flight for piece, flight in self._flights.items() if holds(link, piece))
        allowed = self._received_bytes * ENDGAME_WASTE_PERMILLE // 1000 + self._length(PieceIndex(0))
        budget = allowed - self._duplicate_bytes
        late = late_piece(supplier, flights, now, self._guess(), budget)
        return None if late is None else late.piece

    def _guess(self) -> float:
        """The rate to expect of a link that has shown none: the average of those that have."""
        known = [s.rate for s in self._suppliers.values() if s.rate]
        return sum(known) / len(known) if known else 0.0

    def _feed_hungry(self, now: float, out: list[Command], *, seek_late: bool = False) -> None:
        for link in list(self._hungry):
            del self._hungry[link]
            self._fill(self._suppliers[link], now, out, seek_late=seek_late)

    def _withdraw(self, asks: Iterable[Asked], now: float, out: list[Command]) -> None:
        """Cancel requests for a piece that comes from elsewhere, and give their links other work."""
        for asked in list(asks):
            if asked.live:
                self._duplicate_bytes += asked.received
                self._land(asked)
                asked.supplier.release(asked)
                self._cancel(asked, out)
                self._fill(asked.supplier, now, out)

    def _cancel(self, asked: Asked, out: list[Command]) -> None:
        asked.withdrawn = True
        self._withdrawals += 1
        out.append(Withdraw(asked.supplier.link, asked.piece))

    def _adopt(self, asked: Asked, now: float, out: list[Command]) -> None:
        """An answer begins that we had given up when its link choked us: take it if it is still of use."""
        state = self._state[asked.piece]
        if state == PieceState.WANTED:
            self._picker.take(asked.piece)
            self._state[asked.piece] = PieceState.IN_FLIGHT
        elif state != PieceState.IN_FLIGHT:
            self._cancel(asked, out)
            return
        asked.supplier.revive(asked)
        self._flights.setdefault(asked.piece, []).append(asked)

    def _land(self, asked: Asked) -> None:
        """The request is no longer one of its piece's flight."""
        flight = self._flights.get(asked.piece)
        if flight is not None and asked in flight:
            flight.remove(asked)
            if not flight:
                del self._flights[asked.piece]

    def _release(self, asked: Asked) -> None:
        """The request will not be answered as far as we know: its piece opens, unless others are asked."""
        asked.supplier.release(asked)
        self._land(asked)
        if asked.piece not in self._flights:
            self._reopen(asked.piece)

    def _reopen(self, piece: PieceIndex) -> None:
        self._state[piece] = PieceState.WANTED
        self._picker.reopen(piece)

    def _drop(self, supplier: Supplier, now: float, out: list[Command]) -> None:
        """Forget the link and all that was asked of it."""
        self._hungry.pop(supplier.link, None)
        for asked in list(supplier.asks.values()):
            if asked.live:
                self._partial_bytes += asked.received
                self._release(asked)
            supplier.close(asked)
        self._picker.leave(supplier.link)
        self._feed_hungry(now, out)

    def _end_verifying(self, piece: PieceIndex) -> int:
        try:
            return self._verifying.pop(piece)
        except KeyError:
            raise LocalProtocolError(f"piece {piece} is not being verified") from None

    # --- interest: a link is interesting as long as one piece proves it

    def _watch(self, supplier: Supplier, out: list[Command]) -> None:
        """Find a piece that proves the link interesting, and tell the link when the answer has changed."""
        piece = self._picker.witness(supplier.link)
        if piece is not None:
            self._set_witness(supplier, piece, out)
        elif supplier.interested:
            supplier.interested = False
            out.append(Express(supplier.link, False))

    def _set_witness(self, supplier: Supplier, piece: PieceIndex, out: list[Command]) -> None:
        self._watchers.setdefault(piece, []).append(supplier.link)
        if not supplier.interested:
            supplier.interested = True
            out.append(Express(supplier.link, True))

    def _unwatch(self, piece: PieceIndex, out: list[Command]) -> None:
        """The piece proves nothing any more."""
        for link in self._watchers.pop(piece, ()):
            supplier = self._suppliers.get(link)
            if supplier is not None and not supplier.expelled:
                self._watch(supplier, out)
