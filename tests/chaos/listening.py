"""Listens to what honest nodes say to each other, for what nobody of good manners says; and to the log."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

import trio

from peer.ids import Address, NodeId, PieceIndex
from peer.link import Link
from peer.member import Member
from peer.swarm.peerbook import PeerBook
from peer.swarm.pieces import Pieces
from peer.swarm.supplier import Asked
from peer.wire.session import ChokeReceived, DataProgress, Event, InterestedReceived
from tests.chaos.violation import demand


@contextmanager
def listening(
    honest: Collection[NodeId], heard: dict[Member, int], sure: Mapping[NodeId, frozenset[int]]
) -> Iterator[None]:
    """While inside, these are a Violation: a choke or an interest of the honest that repeats the one before;
    a request for a piece that is here, or was when the node was switched on (``sure``); a second request for
    a piece while the link could give another; a node that meets itself where it has met itself before.

    heard: counts the bytes of pieces that come in.
    """

    def handle(self: Link, event: Event) -> None:
        if isinstance(event, DataProgress):
            if event.piece is not None:
                assert isinstance(self._owner, Member)
                heard[self._owner] = heard.get(self._owner, 0) + event.received
        elif isinstance(event, ChokeReceived) and self.node in honest:
            demand(event.on != self.chokes_us, "repeated", f"choke {event.on} by {self.address}, again")
        elif isinstance(event, InterestedReceived) and self.node in honest:
            demand(event.on != self.wants_us, "repeated", f"interest {event.on} by {self.address}, again")
        real_handle(self, event)

    def ask(self: Link, piece: PieceIndex, length: int) -> None:
        member = self._owner
        assert isinstance(member, Member)
        had = member.holding is not None and member.holding.have[piece]
        demand(not had, "asked-again", f"piece {piece} is here, and asked of {self.address}")
        safe = piece in sure.get(member.services.node, ())
        demand(not safe, "asked-again", f"piece {piece} was on the disk, and is asked of {self.address}")
        real_ask(self, piece, length)

    def ask_piece(self: Pieces, asked: Asked) -> None:
        if asked.piece in self.flights and asked.asked_at == trio.current_time():
            supplier, picker = asked.supplier, self._picker
            others = [
                piece
                for piece in map(PieceIndex, range(len(self.bits)))
                if picker.is_open(piece) and picker.holds(supplier.link, piece) and piece not in supplier.asks
            ]
            demand(
                not others,
                "doubled",
                f"piece {asked.piece} is asked twice while nobody is asked for {others}",
            )
        real_ask_piece(self, asked)

    own: dict[PeerBook, set[Address]] = {}

    def own_address(self: PeerBook, address: Address) -> None:
        known = own.setdefault(self, set())
        demand(address not in known, "itself", f"a node met itself at {address}, again")
        known.add(address)
        real_own_address(self, address)

    real_handle, real_ask, real_ask_piece = Link.handle, Link.ask, Pieces.ask
    real_own_address = PeerBook.own_address
    with (
        patch.object(Link, "handle", handle),
        patch.object(Link, "ask", ask),
        patch.object(Pieces, "ask", ask_piece),
        patch.object(PeerBook, "own_address", own_address),
    ):
        yield


class _Caught(logging.Handler):
    """The first exception that was logged."""

    found: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self.found is None:
            self.found = f"{record.getMessage()}: {record.exc_info[1]!r}"


@contextmanager
def nothing_caught() -> Iterator[None]:
    """A node or a tracker that survives a bug of ours, and logs it, is a Violation at the end."""
    handler = _Caught(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    demand(handler.found is None, "bug", str(handler.found))
