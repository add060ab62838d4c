"""What one link is taken for: its rate, from the bytes that came while something was asked of it."""

from math import inf

import pytest

from peer.ids import LinkId, PieceIndex
from peer.limits import ENDING_PIECES
from peer.swarm.endgame import Outlook
from peer.swarm.supplier import Supplier

PIECE = 16_384


def test_what_comes_in_the_moment_of_a_fold_counts_for_the_rate() -> None:
    """Chaos, seed 4521: a stalled link brought a few bytes, and the rest of its piece in the same moment. It
    was taken for one of 3 bytes a second then, and never asked to rescue a piece from one of 1."""
    link = Supplier(LinkId(1), 8, 0.0)
    link.choked = False
    asked = link.ask(PieceIndex(0), PIECE, 0.0)
    link.got(asked, 5, 1.5)
    link.got(asked, PIECE - 5, 1.5)
    link.complete(1.5)
    link.close(asked)
    assert link.rate == pytest.approx(PIECE / 1.5)
    link.ask(PieceIndex(1), PIECE, 9.0)
    assert link.rate_now(9.0) == pytest.approx(PIECE / 1.5)


def test_what_comes_in_the_moment_it_was_asked_for_tells_no_rate_yet() -> None:
    link = Supplier(LinkId(1), 8, 0.0)
    link.choked = False
    asked = link.ask(PieceIndex(0), PIECE, 3.0)
    link.got(asked, 100, 3.0)
    link.complete(3.0)
    assert link.rate == 0
    link.got(asked, 100, 4.0)
    link.complete(4.0)
    assert 100 < link.rate <= 200


def known(rate: float) -> Supplier:
    """A link that is known to bring so many bytes a second, with two pieces under way."""
    link = Supplier(LinkId(1), 8, 0.0)
    link.choked = False
    for piece in range(4):
        asked = link.ask(PieceIndex(piece), PIECE, piece * PIECE / rate)
        link.got(asked, PIECE, (piece + 1) * PIECE / rate)
        link.complete((piece + 1) * PIECE / rate)
        link.close(asked)
    link.depth = 8
    for piece in (4, 5):
        link.ask(PieceIndex(piece), PIECE, 4 * PIECE / rate)
    return link


def test_at_the_end_a_link_is_asked_for_nothing_that_would_come_too_late() -> None:
    """Slow links sat on half a second of last pieces, while the fast one had nothing left to do."""
    link = known(rate=8 * PIECE)  # two pieces take it a quarter of a second
    now = 0.5
    assert link.has_room(now)
    assert link.has_room(now, ends_in=0.26)
    assert not link.has_room(now, ends_in=0.25)


def test_a_link_that_has_nothing_to_do_has_room_for_one_piece_to_the_last() -> None:
    link = known(rate=8 * PIECE)
    for asked in list(link.asks.values()):
        link.close(asked)
    assert link.has_room(0.5, ends_in=0.0)


def test_when_a_download_ends_is_told_from_the_links_that_serve() -> None:
    links = {LinkId(n): Supplier(LinkId(n), 8, 0.0) for n in range(1, 5)}
    outlook = Outlook(links, PIECE)
    assert outlook.ends_in(8, 0.0) == inf  # no rate is known
    for number, link in links.items():
        link.choked, link.rate = False, number * PIECE
    links[LinkId(2)].choked = links[LinkId(3)].silent = True
    assert outlook.ends_in(8, 1.0) == pytest.approx(8 / 5)
    assert outlook.ends_in(ENDING_PIECES * 4 + 1, 2.0) == inf  # far from it
