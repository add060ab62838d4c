"""What one link is taken for: its rate, from the bytes that came while something was asked of it."""

import pytest

from peer.ids import LinkId, PieceIndex
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
