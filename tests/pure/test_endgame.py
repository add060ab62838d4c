"""The end of a download: slow links leave to faster ones what these bring sooner, and hardly anything is
asked for twice before it comes."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.bitfield import Bitfield
from peer.ids import LinkId, PieceIndex
from peer.limits import ENDGAME_FRESH_S, ENDGAME_TICK_S, ENDING_PIECES, ENDING_SHARE, ENDING_TRUST_S, RESCUE_S
from peer.swarm.endgame import Endgame, Outlook
from peer.swarm.orders import InOrderPicker
from peer.swarm.picker import Picker
from peer.swarm.policies import MakePicker
from peer.swarm.supplier import Supplier
from tests.pure.download_bench import SIZE, Bench

PIECE = 16_384
FIRST = PieceIndex(0)


class Scene:
    """Links that serve at rates in pieces a second, all of which hold every needed piece."""

    def __init__(self, *rates: float, needed: int = 8, make_picker: MakePicker = Picker) -> None:
        wanted = Bitfield(needed)
        wanted.fill()
        self.picker = make_picker(needed, wanted, Random(1))
        self.links: dict[LinkId, Supplier] = {}
        for number, rate in enumerate(rates, 1):
            link = self.links[LinkId(number)] = Supplier(LinkId(number), 8, 0.0)
            link.choked, link.rate = False, rate * PIECE
            self.picker.join(link.link)
            self.picker.set_bits(link.link, wanted)

    def __getitem__(self, number: int) -> Supplier:
        return self.links[LinkId(number)]

    def leaves(self, number: int, now: float = 0.0) -> bool:
        """Whether this link leaves the first piece to others."""
        return Outlook(self.links, PIECE).left_to_faster(self[number], FIRST, self.picker, now)


def test_a_slow_link_leaves_the_last_pieces_to_a_fast_one() -> None:
    """Slow links sat on the last pieces for half a second, while the fast one had nothing left to do."""
    assert Scene(8.0, 0.5).leaves(2)  # all eight are here in a second, and this one would need two
    assert not Scene(8.0, 0.5).leaves(1)


def test_a_slow_link_takes_part_as_long_as_it_is_done_in_time() -> None:
    in_time = 1 / ENDING_SHARE  # pieces a second that bring one within the share of the second for all eight
    assert not Scene(8.0, 1.01 * in_time).leaves(2)
    assert Scene(8.0, 0.99 * in_time).leaves(2)


def test_what_a_slow_link_has_yet_to_bring_comes_before() -> None:
    scene = Scene(8.0, 2.0)
    assert not scene.leaves(2)
    scene[2].ask(PieceIndex(7), PIECE, 0.0)
    assert scene.leaves(2)


def test_what_the_fast_link_has_yet_to_bring_gives_a_slow_one_time() -> None:
    scene = Scene(8.0, 1.0)
    assert scene.leaves(2)
    for piece in range(8, 16):
        scene[1].ask(PieceIndex(piece), PIECE, 0.0)
    assert not scene.leaves(2)


def test_among_equals_nobody_waits() -> None:
    scene = Scene(4.0, 3.0, 4.0, needed=1)
    assert not any(scene.leaves(number) for number in (1, 2, 3))


def test_far_from_the_end_everybody_is_asked() -> None:
    assert not Scene(1000.0, 0.5, needed=2 * ENDING_PIECES + 1).leaves(2)
    assert Scene(1000.0, 0.5, needed=2 * ENDING_PIECES).leaves(2)


def test_who_shows_no_rate_yet_is_asked() -> None:
    assert not Scene(8.0, 0.0).leaves(2)


def test_what_no_faster_link_holds_is_not_left_to_it() -> None:
    scene = Scene(8.0, 0.5)
    scene.picker.remove(LinkId(1), FIRST)
    assert not scene.leaves(2)


def test_what_a_faster_link_was_asked_for_and_gave_up_is_not_left_to_it() -> None:
    scene = Scene(8.0, 0.5)
    scene[1].release(scene[1].ask(FIRST, PIECE, 0.0))
    assert not scene.leaves(2)


@pytest.mark.parametrize("state", ["choked", "silent", "laggard", "expelled", "gone"])
def test_nothing_is_left_to_a_link_that_does_not_serve(state: str) -> None:
    scene = Scene(8.0, 0.5)
    setattr(scene[1], state, True)
    if state in {"silent", "laggard"}:
        scene[1].ask(PieceIndex(3), PIECE, 0.0)
    assert not scene.leaves(2)


def test_nothing_is_left_to_a_link_that_rests_or_has_gone_quiet() -> None:
    resting = Scene(8.0, 0.5)
    resting[1].rests_until = 1.0
    assert not resting.leaves(2, 0.9)
    assert resting.leaves(2, 1.0)
    quiet = Scene(8.0, 0.5)
    quiet[1].ask(PieceIndex(3), PIECE, 0.0)
    assert quiet.leaves(2, 0.9 * ENDING_TRUST_S)
    assert not quiet.leaves(2, ENDING_TRUST_S)


def test_nothing_is_left_to_a_link_whose_window_is_full_of_what_it_never_closes() -> None:
    """A hostile link could claim to hold everything, and have all others wait for it for ever."""
    scene = Scene(8.0, 0.5, needed=10)
    for piece in range(1, 9):
        scene[1].release(scene[1].ask(PieceIndex(piece), PIECE, 0.0))
    assert not scene.leaves(2)


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=20), st.integers(1, 60))
def test_somebody_is_always_asked(rates: list[float], needed: int) -> None:
    """The fastest leaves nothing to anybody, so that the last piece is asked of someone."""
    scene = Scene(*rates, needed=needed)
    fastest = max(range(1, len(rates) + 1), key=lambda number: rates[number - 1])
    assert not scene.leaves(fastest)


def test_a_link_that_left_pieces_to_a_faster_one_is_asked_soon_after_that_has_gone_quiet() -> None:
    bench = Bench("x" * 60, "x" * 60)
    while bench.waiting(2):
        bench.run(1, rate=20 * SIZE, seconds=0.05)
        bench.run(2, rate=SIZE, seconds=0.1)
    assert bench.download.statistics().open, (
        "all this the fast one should bring before the slow one brings one"
    )
    bench.dead.add(1)
    bench.wait(ENDING_TRUST_S + 2 * ENDGAME_TICK_S)
    assert bench.waiting(2)


@pytest.mark.parametrize("how", ["leaves", "lies"])
def test_nothing_is_left_to_a_faster_link_in_the_moment_it_goes(how: str) -> None:
    """What it was asked for goes to others at once, who asked whether it, no longer known, held that."""
    bench = Bench("x" * 60, "x" * 60)
    while bench.waiting(2):
        bench.run(1, rate=20 * SIZE, seconds=0.05)
        bench.run(2, rate=SIZE, seconds=0.1)
    if how == "leaves":
        bench.do("left", LinkId(1))
    else:
        piece = PieceIndex(bench.waiting(1)[0])
        bench.do("arrived", LinkId(1), piece)
        bench.do("failed", LinkId(1), piece)
    assert bench.waiting(2)


def test_what_links_are_asked_for_that_have_answered_nothing_yet_counts_for_a_while() -> None:
    """In a swarm's first second none has answered: of thirty peers some fetched five pieces twice then, which
    was all they might, and had to wait for their last ones."""
    scene = Scene(0.0, 0.0)
    for number in (1, 2):
        scene[number].ask(FIRST, PIECE, 0.0)
    assert Outlook(scene.links, PIECE).at(0.9 * ENDGAME_FRESH_S, 2, 1) == (PIECE, 1)
    assert Outlook(scene.links, PIECE).at(ENDGAME_FRESH_S, 2, 1) == (PIECE, 0), (
        "who says nothing is no hindrance"
    )


LATE = 1.0
"""Seconds after which what was asked for is late by all that is known."""


def late_piece(scene: Scene, *, doubled: int, lost: int = 0) -> PieceIndex | None:
    """Which piece a fast second link is asked for as well, when a slow first one was asked for four."""
    flights = []
    for piece in map(PieceIndex, range(4)):
        scene.picker.take(piece)
        flights.append([scene[1].ask(piece, PIECE, 0.0)])
    endgame = Endgame(PIECE)
    endgame.duplicate_bytes = lost
    return endgame.late_piece(
        scene[2], scene.picker, flights, LATE, guess=PIECE, doubled=doubled, received_bytes=8 * PIECE
    )


def test_while_pieces_are_open_one_at_a_time_is_asked_for_twice() -> None:
    """What thirty peers fetched twice they fetched in the first second, and were done no sooner for it."""
    assert late_piece(Scene(0.5, 100.0, needed=8), doubled=0) is not None
    assert late_piece(Scene(0.5, 100.0, needed=8), doubled=1) is None
    assert late_piece(Scene(0.5, 100.0, needed=8), doubled=0, lost=PIECE // 3) is None
    assert late_piece(Scene(0.5, 100.0, needed=4), doubled=1) is not None
    assert late_piece(Scene(0.5, 100.0, needed=4), doubled=0, lost=PIECE // 3) is not None


def test_open_pieces_that_nobody_holds_do_not_put_the_end_off() -> None:
    scene = Scene(0.5, 100.0, needed=8)
    for link in scene.links:
        for piece in map(PieceIndex, range(4, 8)):
            scene.picker.remove(link, piece)
    assert late_piece(scene, doubled=0, lost=PIECE // 3) is not None


def test_in_order_each_piece_is_waited_for() -> None:
    scene = Scene(0.5, 100.0, needed=8, make_picker=InOrderPicker)
    assert late_piece(scene, doubled=0, lost=PIECE // 3) is not None


def test_what_comes_hardly_at_all_is_asked_of_another_link_whatever_is_open() -> None:
    assert late_piece(Scene(0.5 / RESCUE_S, 100.0, needed=8), doubled=0, lost=PIECE) is not None
