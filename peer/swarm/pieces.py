"""The pieces of one download: where each stands, and what moves it from one state to the next.

                    ask                    arrive                 good
      WANTED ------------------> IN_FLIGHT ------------> VERIFYING ------------> HAVE
        ^  ^                        | |                      |                    |
        |  +------------------------+ |  (another ask)       |                    |
        |     no request is left      +--+                   |                    |
        +----------------------------------------------------+--------------------+
                                                     bad or not stored         lost on disk

NOT_WANTED becomes WANTED. This keeps the picker's sets and the requests under way in step with the states,
and decides nothing.
"""

from collections.abc import Container, Iterator
from typing import Final

from peer.bitfield import Bitfield
from peer.errors import LocalProtocolError
from peer.ids import LinkId, PieceIndex
from peer.swarm.policies import PiecePolicy
from peer.swarm.progress import PieceState
from peer.swarm.supplier import Asked, Flight

_STATES: Final = tuple(PieceState)


class Pieces:
    """The state of every piece. Raises LocalProtocolError for a step that cannot be."""

    __slots__ = (
        "_picker", "_state", "_verifying", "bits", "flights",
    )  # fmt: skip

    def __init__(self, have: Bitfield, needed: Bitfield, picker: PiecePolicy) -> None:
        """``picker`` has been made for the same ``needed``; ``have`` is kept and changed."""
        self.bits = have
        self.flights: dict[PieceIndex, Flight] = {}
        """Requests from which a piece is expected, for each piece in flight, in the order of first asking."""
        self._picker = picker
        self._verifying: dict[PieceIndex, int] = {}
        self._state = bytearray(len(have))
        for piece in needed.indices():
            self._state[piece] = PieceState.WANTED
        for piece in have.indices():
            self._state[piece] = PieceState.HAVE

    def __getitem__(self, piece: PieceIndex) -> PieceState:
        return _STATES[self._state[piece]]

    @property
    def verifying_count(self) -> int:
        return len(self._verifying)

    def ask(self, asked: Asked) -> None:
        """One more link is expected to send the piece."""
        flight = self.flights.get(asked.piece)
        if flight is None:
            self._step(asked.piece, PieceState.WANTED, PieceState.IN_FLIGHT)
            self._picker.take(asked.piece)
            self.flights[asked.piece] = [asked]
        else:
            flight.append(asked)

    def choose_but(self, asks: Container[PieceIndex], link: LinkId) -> PieceIndex | None:
        """The open piece to ask this link for that it has not been asked for already."""
        passed: list[PieceIndex] = []
        while (piece := self._picker.choose(link)) is not None and piece in asks:
            self._picker.take(piece)
            passed.append(piece)
        for other in passed:
            self._picker.reopen(other)
        return piece

    def land(self, asked: Asked) -> None:
        """The request is no longer one from which its piece is expected; without any the piece is wanted."""
        if not self._leave_flight(asked):
            self._step(asked.piece, PieceState.IN_FLIGHT, PieceState.WANTED)
            self._picker.reopen(asked.piece)

    def arrive(self, asked: Asked) -> Flight:
        """All bytes came by this request. Returns the others for the piece, which are in vain now."""
        piece = asked.piece
        others = [other for other in self.flights[piece] if other is not asked]
        self._step(piece, PieceState.IN_FLIGHT, PieceState.VERIFYING)
        self.flights.pop(piece).clear()
        self._verifying[piece] = asked.length
        return others

    def keep(self, piece: PieceIndex) -> None:
        """The bytes were good and are stored."""
        self._end_verifying(piece)
        self._step(piece, PieceState.VERIFYING, PieceState.HAVE)
        self.bits.add(piece)
        self._picker.settle(piece)

    def discard(self, piece: PieceIndex) -> int:
        """The bytes were bad or could not be stored. How many they were."""
        count = self._end_verifying(piece)
        self._step(piece, PieceState.VERIFYING, PieceState.WANTED)
        self._picker.reopen(piece)
        return count

    def lose(self, piece: PieceIndex) -> None:
        """What we had is bad on disk."""
        self._step(piece, PieceState.HAVE, PieceState.WANTED)
        self.bits.discard(piece)
        self._picker.need(piece)

    def want(self, piece: PieceIndex) -> None:
        """From now on, if it was not wanted."""
        if self._state[piece] == PieceState.NOT_WANTED:
            self._step(piece, PieceState.NOT_WANTED, PieceState.WANTED)
            self._picker.need(piece)

    def check_invariants(self) -> None:
        """For tests: every piece is in exactly one state, and all books agree."""
        for piece, state in self._states():
            assert (state == PieceState.HAVE) == self.bits[piece]
            assert (state == PieceState.IN_FLIGHT) == (piece in self.flights)
            assert (state == PieceState.VERIFYING) == (piece in self._verifying)
            assert (state == PieceState.WANTED) == self._picker.is_open(piece)
            needed = state in {PieceState.WANTED, PieceState.IN_FLIGHT, PieceState.VERIFYING}
            assert needed == self._picker.is_needed(piece)
        for piece, flight in self.flights.items():
            assert flight
            assert all(asked.live and asked.piece == piece for asked in flight)
            assert len({asked.supplier.link for asked in flight}) == len(flight)

    def _states(self) -> Iterator[tuple[PieceIndex, PieceState]]:
        for index, state in enumerate(self._state):
            yield PieceIndex(index), PieceState(state)

    def _leave_flight(self, asked: Asked) -> bool:
        """Whether others remain."""
        flight = self.flights[asked.piece]
        flight.remove(asked)
        if not flight:
            del self.flights[asked.piece]
        return bool(flight)

    def _end_verifying(self, piece: PieceIndex) -> int:
        try:
            return self._verifying.pop(piece)
        except KeyError:
            raise LocalProtocolError(f"piece {piece} is not being verified") from None

    def _step(self, piece: PieceIndex, before: PieceState, after: PieceState) -> None:
        if self._state[piece] != before:
            raise LocalProtocolError(f"piece {piece} is {self[piece].name}, not {before.name}")
        self._state[piece] = after
