"""The download policy of one share: which piece is asked of which link, and when that is changed.

Events go in (each with ``now``), commands come out; the same events, times and rng give the same commands.
Each piece is in exactly one `PieceState`. A request stays open on its link until `arrived`, `rejected` or
`left`, also after a `Withdraw` or a choke: until then the same piece is not asked there again.

What asks: an event that gives a link room, or something new, *fills* that link's pipeline. `supplier` says
how long that is, `picker` what goes in. A link with room for which there is nothing open, or only what is
left to faster ones, is *hungry*: it is tried again when a piece that it holds opens, and on ticks, when it
looks for late pieces as well (`endgame`). Silent links
lose their pieces on ticks.

An answer that begins after all, when we had given it up because its link choked us, is taken while its piece
is still of use. What was withdrawn is never taken: the session throws it away.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random

from peer.bitfield import Bitfield, Block, in_blocks
from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex
from peer.limits import (
    CHOKE_GRACE_S,
    DOWNLOAD_TICK_S,
    ENDGAME_TICK_S,
    LATE_TICK_S,
    RANDOM_FIRST_PIECES,
    REJECT_REST_S,
    RESCUE_S,
)
from peer.swarm.commands import Announce, Ask, Command, Expel, Express, Finished, Probe, Withdraw
from peer.swarm.downloadstatistics import DownloadStatistics, snapshot
from peer.swarm.endgame import Endgame, Outlook, expected_end
from peer.swarm.hints import Hints
from peer.swarm.interest import Interest
from peer.swarm.picker import Picker
from peer.swarm.pieces import Pieces
from peer.swarm.policies import MakePicker
from peer.swarm.progress import PieceState, Received
from peer.swarm.supplier import Asked, Supplier

__all__ = [
    "Announce", "Ask", "Command", "Download", "DownloadStatistics", "Expel", "Express", "Finished",
    "PieceState", "Probe", "Withdraw",
]  # fmt: skip


class Download:
    """What to ask of whom. Raises LocalProtocolError for events that cannot be."""

    def __init__(
        self,
        piece_length: Callable[[PieceIndex], int] | Sequence[int],
        have: Bitfield,
        wanted: Bitfield,
        rng: Random,
        make_picker: MakePicker = Picker,
    ) -> None:
        """``have`` and ``wanted`` are copied; wanting what one has is no contradiction."""
        if len(have) != len(wanted):
            raise LocalProtocolError(f"have is of {len(have)} pieces, wanted of {len(wanted)}")
        needed = wanted.copy()
        needed.difference_update(have)
        self._length = piece_length if callable(piece_length) else piece_length.__getitem__
        self._picker = make_picker(len(have), needed, rng)
        self._pieces = Pieces(have.copy(), needed, self._picker)
        self._hints = Hints(self._picker)
        self._interest = Interest(self._picker, self._hints)
        piece_bytes = self._length(PieceIndex(0)) if len(have) else 0
        self._endgame = Endgame(piece_bytes)
        self._suppliers: dict[LinkId, Supplier] = {}
        self._outlook = Outlook(self._suppliers, piece_bytes)
        self._hungry: dict[LinkId, None] = {}  # a set, in order of entry
        self._asks = 0
        self._newcomer_asks = max(0, RANDOM_FIRST_PIECES - have.count)
        """So many first asks are for any piece, not the rarest."""
        self._received = Received()
        self._tick_at = 0.0
        self._late = False
        self._held_back = False

    # --- links

    def joined(self, link: LinkId, window: int, now: float) -> list[Command]:
        """A new link, choking us, holding nothing. window: requests that it accepts at once."""
        if link in self._suppliers:
            raise LocalProtocolError(f"link {link} has joined before")
        if not self._suppliers:
            self._tick_at = now + DOWNLOAD_TICK_S
        self._picker.join(link)
        self._suppliers[link] = Supplier(link, window, now)
        return []

    def widened(self, link: LinkId, now: float) -> list[Command]:
        """The link accepts one request more at once than it did."""
        out: list[Command] = []
        supplier = self._supplier(link)
        supplier.window += 1
        self._fill(supplier, now, out)
        return out

    def left(self, link: LinkId, now: float) -> list[Command]:
        """The link is gone: whatever was asked of it goes back."""
        out: list[Command] = []
        supplier = self._supplier(link)
        supplier.gone = True
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
            supplier.elsewhere.clear()
            self._interest.review(supplier, out)
            self._fill(supplier, now, out)
        return out

    def have_pieces(self, link: LinkId, pieces: Iterable[PieceIndex], now: float) -> list[Command]:
        """The link holds these as well. Indexes have been checked."""
        return self.have_blocks(link, in_blocks(pieces), now)

    def have_blocks(self, link: LinkId, news: Iterable[Block], now: float) -> list[Command]:
        """The same, for who keeps pieces as sets."""
        out: list[Command] = []
        supplier = self._suppliers.get(link) or self._supplier(link)
        if supplier.expelled:
            return out
        if supplier.interested and (supplier.choked or not supplier.has_room(now)):
            self._picker.note(link, news)  # nothing follows from it now
            return out
        needed, is_open = self._picker.add_blocks(link, news)
        if needed is not None and not supplier.interested:
            self._interest.found(supplier, needed, out)
        if is_open and not supplier.choked:
            self._fill(supplier, now, out)
        return out

    def choked(self, link: LinkId, on: bool, now: float) -> list[Command]:
        """The link stops or begins to serve us.

        What it was asked goes back to the pool when it rejects it, which it should do at once, or after
        `CHOKE_GRACE_S`; an answer that has begun is given the time to end.
        """
        out: list[Command] = []
        supplier = self._supplier(link)
        supplier.choked = on
        supplier.choked_at = supplier.rests_until = now
        if on:
            self._hungry.pop(link, None)
        else:
            self._fill(supplier, now, out)
        return out

    # --- answers

    def progressed(self, link: LinkId, piece: PieceIndex, count: int, now: float) -> list[Command]:
        """``count`` more bytes of the answer have come."""
        out: list[Command] = []
        asked = self._asked(link, piece)
        if asked is None:
            return out
        if count > asked.remaining:
            raise LocalProtocolError(f"piece {piece} is longer on link {link} than it should be")
        supplier, begins = asked.supplier, not asked.received
        self._count(asked, count, now, out)
        if begins and asked.live:
            flight = self._pieces.flights[piece]
            if len(flight) > 1:
                guess = self._outlook.guess()
                for loser in self._endgame.losers(flight, now, guess):
                    if loser.received and expected_end(loser, now, guess) >= RESCUE_S:
                        loser.supplier.laggard = True
                    self._pieces.land(loser)
                    self._withdraw(loser, out)
                    self._fill(loser.supplier, now, out)
        if supplier.live_count < supplier.depth and link not in self._hungry:
            self._fill(supplier, now, out)
        return out

    def arrived(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The answer is complete. A piece that becomes VERIFYING by this is to be checked and stored, and the
        caller owes `verified`, `failed` or `unstored` for it; otherwise the bytes are of no use."""
        out: list[Command] = []
        asked = self._asked(link, piece)
        if asked is None:
            return out
        supplier = asked.supplier
        self._count(asked, asked.remaining, now, out)
        if asked.live:
            supplier.complete(now)
            for other in self._pieces.arrive(asked):
                self._withdraw(other, out)
                self._fill(other.supplier, now, out)
        supplier.close(asked)
        self._fill(supplier, now, out)
        return out

    def rejected(self, link: LinkId, piece: PieceIndex, code: RejectCode, now: float) -> list[Command]:
        """The link will not answer (any further)."""
        out: list[Command] = []
        asked = self._asked(link, piece)
        if asked is None:
            return out
        supplier, live = asked.supplier, asked.live
        if live:
            self._received.partial += asked.received
            self._release(asked)
        supplier.close(asked)
        supplier.heard_at = now
        if code in {RejectCode.NOT_HELD, RejectCode.UNREADABLE}:
            self._picker.remove(link, piece)
            self._interest.review(supplier, out)
        elif live and not (code is RejectCode.ELSEWHERE and self._hints.follow(supplier, piece)):
            # CHOKED without a choke, BUSY, CANCELLED what was not: asking again at once would run in circles.
            supplier.rests_until = now + REJECT_REST_S
        self._fill(supplier, now, out)
        if live:
            self._feed(piece, now, out)
        return out

    # --- our own side

    def verified(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The piece is good and stored: we have it. ``link`` is where it came from, present or gone."""
        self._pieces.keep(piece)
        out: list[Command] = [Announce(piece)]
        self._interest.settled(piece, out)
        if self.finished:
            self._hungry.clear()
            out.append(Finished())
        return out

    def failed(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The bytes are wrong: the link goes, the piece is fetched elsewhere."""
        self._received.corrupt += self._pieces.discard(piece)
        out: list[Command] = []
        supplier = self._suppliers.get(link)
        if supplier is not None and not supplier.expelled:
            out.append(Expel(link, f"piece {piece} did not verify"))
            supplier.expelled = True
            self._drop(supplier, now, out)
        self._feed(piece, now, out)
        return out

    def unstored(self, link: LinkId, piece: PieceIndex, now: float) -> list[Command]:
        """The bytes could not be stored, or nobody will check them: no fault of the link's."""
        self._received.partial += self._pieces.discard(piece)
        out: list[Command] = []
        self._feed(piece, now, out)
        return out

    def lost(self, piece: PieceIndex, now: float) -> list[Command]:
        """A piece that we had turned out to be bad on disk: it is wanted again."""
        self._pieces.lose(piece)
        return self.want((), now)

    def want(self, pieces: Iterable[PieceIndex], now: float) -> list[Command]:
        """These are wanted too, from now on; what is had or wanted already stays so."""
        out: list[Command] = []
        for piece in pieces:
            self._pieces.want(piece)
        self._tick_at = min(self._tick_at, now + DOWNLOAD_TICK_S)
        for supplier in self._suppliers.values():
            if supplier.expelled:
                continue
            if not supplier.interested:
                self._interest.review(supplier, out)
            self._fill(supplier, now, out)
        return out

    def hold(self, on: bool, now: float) -> list[Command]:
        """Stop asking (the disk is full, the user pauses), or go on. What was asked may still arrive."""
        out: list[Command] = []
        self._held_back = on
        if not on:
            for supplier in self._suppliers.values():
                self._fill(supplier, now, out)
        return out

    # --- time

    def tick(self, now: float) -> list[Command]:
        """Time has passed: silent links lose their pieces, hungry ones look for late pieces."""
        out: list[Command] = []
        idle: list[Supplier] = []
        # After a standstill of ours (SIGSTOP, a paused container) answers lie unread: first they are read.
        self._late = not self._late and now - self._tick_at >= LATE_TICK_S
        for link, supplier in self._suppliers.items():
            if supplier.asks and not self._late:
                self._look_at(supplier, now, out)
            if not supplier.choked and (not supplier.live_count or link in self._hungry):
                idle.append(supplier)
        self._tick_at = now + DOWNLOAD_TICK_S  # or sooner, if any of those finds nothing
        for supplier in sorted(idle, key=lambda supplier: supplier.silent):
            self._fill(supplier, now, out)
        return out

    def alive(self, link: LinkId, now: float, *, held_up: bool = False) -> list[Command]:
        """The link has answered a `Probe`: slow, but there. held_up: or we have no room to read its
        answer, so that the silence is ours."""
        supplier = self._supplier(link)
        supplier.alive_at = now
        if held_up:
            supplier.heard_at = now
        return []

    def _look_at(self, supplier: Supplier, now: float, out: list[Command]) -> None:
        """Expect nothing more of who does not answer, or has choked us."""
        if supplier.choked and now - supplier.choked_at >= CHOKE_GRACE_S:
            self._give_up([asked for asked in supplier.asks.values() if not asked.received])
        if supplier.is_overdue(now):
            supplier.silent = True
            overdue = [asked for asked in supplier.asks.values() if asked.live]
            self._give_up(overdue)
            for asked in overdue:
                self._cancel(asked, out)
        elif supplier.wants_probe(now):
            supplier.probed_at = now
            out.append(Probe(supplier.link))

    def next_deadline(self, now: float) -> float | None:
        """When `tick` wants to be called; None: not before the next event. Cheap: ask after each event."""
        return self._tick_at if self._suppliers and self._picker.needed_count else None

    # --- eyes

    @property
    def bits(self) -> Bitfield:
        """What we hold, verified and stored. Not a copy, and to be read only."""
        return self._pieces.bits

    @property
    def finished(self) -> bool:
        """Whether everything wanted is here."""
        return not self._picker.needed_count

    def state(self, piece: PieceIndex) -> PieceState:
        """Where the piece stands."""
        return self._pieces[piece]

    def availability(self, piece: PieceIndex) -> int:
        """How many connected peers hold the piece."""
        return self._picker.availability(piece)

    def rate(self, link: LinkId) -> float:
        """Bytes a second that the link gave while it was asked; 0 if not known."""
        return self._supplier(link).rate

    def statistics(self) -> DownloadStatistics:
        """As it stands now."""
        return snapshot(
            self._pieces, self._picker, self._suppliers.values(), self._endgame, self._received,
            hungry=len(self._hungry), asks=self._asks,
        )  # fmt: skip

    def check_invariants(self) -> None:
        """For tests: every piece is in one state, and all books agree."""
        live: dict[PieceIndex, set[LinkId]] = {}
        for link, supplier in self._suppliers.items():
            supplier.check_invariants()
            for asked in supplier.asks.values():
                if asked.live:
                    live.setdefault(asked.piece, set()).add(link)
                    assert self._picker.holds(link, asked.piece)
        assert live == {p: {a.supplier.link for a in f} for p, f in self._pieces.flights.items()}
        self._pieces.check_invariants()
        self._interest.check_invariants(list(self._suppliers.values()))
        self._picker.check_invariants()

    # --- inside: asking

    def _fill(self, supplier: Supplier, now: float, out: list[Command]) -> None:
        """Ask as much as the link has room for."""
        link = supplier.link
        if supplier.silent:  # whoever answers is asked first: a silent link holds a piece for long
            for other in [self._suppliers[number] for number in self._hungry]:
                if not other.silent:
                    self._fill(other, now, out)
        while supplier.has_room(now) and not self._held_back:
            piece = self._open_piece(supplier)
            if piece is not None and self._outlook.left_to_faster(supplier, piece, self._picker, now):
                self._hungry[link] = None
                self._tick_at = min(self._tick_at, now + ENDGAME_TICK_S)
                return
            if piece is None and self._hints.drop(supplier):
                piece = self._open_piece(supplier)
            if piece is None:
                piece = self._late_piece(supplier, now)
            if piece is None:
                if supplier.interested:
                    self._hungry[link] = None
                    if not self._picker.open_count:  # what is missing is all in flight: look again soon
                        self._tick_at = min(self._tick_at, now + ENDGAME_TICK_S)
                return
            self._pieces.ask(supplier.ask(piece, self._length(piece), now))
            self._asks += 1
            out.append(Ask(link, piece))
        self._hungry.pop(link, None)

    def _open_piece(self, supplier: Supplier) -> PieceIndex | None:
        picker = self._picker
        if not picker.open_count:
            return None
        any_will_do = self._asks < self._newcomer_asks
        piece = picker.choose_any(supplier.link) if any_will_do else picker.choose(supplier.link)
        if piece in supplier.asks:  # given up there, but not closed by the remote side yet
            piece = self._pieces.choose_but(supplier.asks, supplier.link)
        return piece

    def _late_piece(self, supplier: Supplier, now: float) -> PieceIndex | None:
        flights = self._pieces.flights
        if not flights or not self._endgame.may_help(supplier):
            return None
        guess, doubled = self._outlook.at(now, self._asks, len(flights))
        total = self._received.total
        return self._endgame.late_piece(
            supplier, self._picker, flights.values(), now, guess=guess, doubled=doubled, received_bytes=total
        )

    def _feed(self, piece: PieceIndex, now: float, out: list[Command]) -> None:
        """A piece has opened: perhaps a hungry link takes it."""
        for link in list(self._hungry):
            if not self._picker.is_open(piece):
                return
            if self._picker.holds(link, piece):
                self._fill(self._suppliers[link], now, out)

    # --- inside: requests and their ends

    def _supplier(self, link: LinkId) -> Supplier:
        try:
            return self._suppliers[link]
        except KeyError:
            raise LocalProtocolError(f"link {link} has not joined") from None

    def _asked(self, link: LinkId, piece: PieceIndex) -> Asked | None:
        """The open request; None for a link that we have expelled, whose last words are still coming in."""
        supplier = self._suppliers.get(link) or self._supplier(link)
        asked = supplier.asks.get(piece)
        if asked is None and not supplier.expelled:
            raise LocalProtocolError(f"piece {piece} is not asked of link {link}")
        return asked

    def _count(self, asked: Asked, count: int, now: float, out: list[Command]) -> None:
        """Bytes of an answer came."""
        if not asked.live and not asked.withdrawn:
            self._adopt(asked, out)
        self._received.total += count
        if not asked.live:
            self._endgame.duplicate_bytes += count
        asked.supplier.got(asked, count, now)

    def _adopt(self, asked: Asked, out: list[Command]) -> None:
        """An answer comes that we had given up when its link choked us."""
        if self._pieces[asked.piece] in {PieceState.WANTED, PieceState.IN_FLIGHT}:
            asked.supplier.revive(asked)
            self._pieces.ask(asked)
        else:
            self._cancel(asked, out)

    def _withdraw(self, asked: Asked, out: list[Command]) -> None:
        """The piece comes from elsewhere."""
        self._endgame.duplicate_bytes += asked.received
        asked.supplier.release(asked)
        self._cancel(asked, out)

    def _cancel(self, asked: Asked, out: list[Command]) -> None:
        asked.withdrawn = True
        self._endgame.withdrawals += 1
        out.append(Withdraw(asked.supplier.link, asked.piece))

    def _give_up(self, asks: Iterable[Asked]) -> None:
        """Do not count on these any more."""
        for asked in asks:
            if asked.live:
                self._received.partial += asked.received
                self._release(asked)

    def _release(self, asked: Asked) -> None:
        """No answer is expected to this any more."""
        asked.supplier.release(asked)
        self._pieces.land(asked)

    def _drop(self, supplier: Supplier, now: float, out: list[Command]) -> None:
        """Forget the link and all that was asked of it."""
        self._hungry.pop(supplier.link, None)
        asks = list(supplier.asks.values())
        lost = [asked.piece for asked in asks if asked.live]
        self._give_up(asks)
        supplier.asks.clear()
        self._picker.leave(supplier.link)
        for piece in lost:
            if self._picker.is_open(piece):
                self._feed(piece, now, out)
