"""First copies before second ones: who waits on a full uplink, and who is sent elsewhere."""

from collections.abc import Callable

import pytest

from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import CHOICE_MAX, DEFER_STALL_S, HINTS_VAIN_MAX, PATIENCE_S
from peer.swarm.upload import Chunk, Deferred, Upload, nobody
from tests.pure.upload_bench import Bench


def full_uplink(bench: Bench) -> None:
    """Let link 0 move pieces 90 and up for a while, so that the rate of the uplink is known, and full."""
    for piece in range(90, 100):
        bench.ask(0, piece)
        bench.send(0, 0.1)
    bench.next(0)
    assert bench.upload.statistics(bench.now).uplink_full


def test_a_second_copy_waits_while_another_link_waits_for_a_first() -> None:
    bench = Bench()
    full_uplink(bench)
    bench.ask(0, 1)
    bench.ask(1, 95)
    deferred = bench.next(1)
    assert isinstance(deferred, Deferred)
    assert deferred.until > bench.now
    assert bench.upload.deferred(LinkId(1), bench.now) == deferred
    assert bench.upload.deferred(LinkId(0), bench.now) is None
    assert bench.chunk(0).piece == 1  # now the first copy is under way
    assert bench.chunk(1).piece == 95
    assert bench.upload.statistics(bench.now).deferrals == 2


def test_two_second_copies_do_not_wait_for_each_other() -> None:
    bench = Bench(3)
    full_uplink(bench)
    bench.ask(2, 1)  # a first copy, but it is given up
    bench.ask(0, 96)
    bench.ask(1, 95)
    assert isinstance(bench.next(1), Deferred)
    bench.upload.left(LinkId(2))
    assert bench.chunk(1).piece == 95


def test_a_first_copy_behind_many_others_is_not_forgotten() -> None:
    bench = Bench(4)
    full_uplink(bench)
    others = range(40, 40 + CHOICE_MAX)
    for piece in others:
        bench.ask(0, piece)
        bench.send(0, 0.1)
    bench.next(0)
    waiting = bench.ask(2, *others, 1)
    bench.ask(1, 95)
    assert bench.chunk(1).piece == 95, "no first copy is near enough"
    bench.upload.cancel(LinkId(2), waiting[0])
    bench.ask(3, 96)
    assert isinstance(bench.next(3), Deferred)


def test_an_answer_that_has_begun_is_never_deferred() -> None:
    bench = Bench()
    full_uplink(bench)
    bench.ask(1, 95)
    assert bench.chunk(1).piece == 95
    bench.ask(0, 1)
    assert bench.upload.deferred(LinkId(1), bench.now) is None
    assert bench.chunk(1).piece == 95


def test_nothing_is_deferred_while_the_uplink_has_room() -> None:
    bench = Bench()
    full_uplink(bench)
    bench.now += 2.0  # link 0 has taken nothing meanwhile
    bench.ask(0, 1)
    bench.ask(1, 95)
    assert bench.chunk(1).piece == 95


def test_what_was_taken_long_ago_does_not_count_as_moved_now() -> None:
    """Links that come back to life together must not make the uplink look fast."""
    bench = Bench(20, pieces=200)
    full_uplink(bench)
    for link in range(1, 20):
        bench.ask(link, 100 + link)
        while not bench.chunk(link).last:
            pass
    bench.now += 60.0
    for link in range(1, 20):
        bench.ask(link, 150 + link)
        bench.next(link)
    assert bench.upload.statistics(bench.now).rate < 100_000


def test_nothing_is_deferred_for_what_others_hold_already() -> None:
    bench = Bench(available="0" * 50 + "1" * 50)
    full_uplink(bench)
    bench.ask(0, 60)
    bench.ask(1, 95)
    assert bench.chunk(1).piece == 95


class Steady:
    """Link 0 takes one endless answer at 1 MB/s, so the uplink is full; what may others begin beside it?"""

    def __init__(self, available: Callable[[PieceIndex], int] = nobody, pieces: int = 20) -> None:
        self.now = 0.0
        self.upload = Upload(lambda piece: 100 << 20, pieces, range(pieces), available=available)
        for link in range(4):
            self.upload.joined(LinkId(link), 8, 0.0)
            self.upload.unchoke(LinkId(link))
        self.ask(0, 0)
        self.run(3.0)

    def ask(self, link: int, piece: int) -> None:
        code = self.upload.asked(LinkId(link), RequestId(piece), PieceIndex(piece), self.now)
        if code is RejectCode.ELSEWHERE:  # who asks again is served
            code = self.upload.asked(LinkId(link), RequestId(piece), PieceIndex(piece), self.now)
        assert code is None

    def step(self) -> None:
        chunk = self.upload.next_chunk(LinkId(0), self.now)
        assert isinstance(chunk, Chunk)
        self.now += chunk.length / 1_000_000

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()

    def deferred_for(self, link: int) -> float:
        begin = self.now
        while isinstance(self.upload.next_chunk(LinkId(link), self.now), Deferred):
            self.step()
        return self.now - begin


def test_a_link_that_takes_nothing_keeps_nobody_waiting() -> None:
    steady = Steady()
    steady.ask(1, 0)  # a second copy
    steady.ask(2, 1)  # a first copy, and it never reads
    assert steady.deferred_for(1) == pytest.approx(DEFER_STALL_S, abs=0.1)


def test_a_first_copy_that_was_cut_is_one_again() -> None:
    steady = Steady()
    steady.ask(2, 1)
    assert isinstance(steady.upload.next_chunk(LinkId(2), steady.now), Chunk)
    steady.ask(1, 0)
    steady.ask(3, 1)
    steady.upload.deferred(LinkId(1), steady.now)  # looks, and finds that no first copy waits
    steady.upload.cancel(LinkId(2), RequestId(1))
    steady.upload.check_invariants()
    assert steady.upload.deferred(LinkId(1), steady.now) is not None


def test_nobody_is_deferred_until_he_takes_us_for_dead() -> None:
    steady = Steady()
    steady.ask(1, 0)
    begin = steady.now
    for piece in range(1, 20):
        steady.ask(2, piece)  # one first copy after the other: asked, and soon cancelled
        steady.run(0.9)
        if isinstance(steady.upload.next_chunk(LinkId(1), steady.now), Chunk):
            break
        steady.upload.cancel(LinkId(2), RequestId(piece))
    assert steady.now - begin == pytest.approx(PATIENCE_S, abs=1.0)


def asked(steady: Steady, link: int, piece: int, request: int) -> RejectCode | None:
    return steady.upload.asked(LinkId(link), RequestId(request), PieceIndex(piece), steady.now)


def test_who_asks_for_what_another_is_being_sent_is_told_so_once() -> None:
    """An origin no faster than its peers sent a third of the pieces twice before it had sent all once."""
    steady = Steady()
    assert asked(steady, 1, 0, 1) is RejectCode.ELSEWHERE
    assert asked(steady, 1, 1, 2) is None  # a first copy
    assert asked(steady, 1, 0, 3) is None  # it insists: it wants nothing else, or cannot get it elsewhere
    assert asked(steady, 2, 0, 1) is RejectCode.ELSEWHERE  # each is told for itself
    assert steady.upload.statistics(steady.now).hints == 2
    steady.upload.check_invariants()


def test_who_never_asks_for_a_first_copy_is_soon_told_no_more() -> None:
    """Who fetched some files only was told once for each piece, while the others' first copies were left."""
    steady = Steady(pieces=40)
    for link in range(1, HINTS_VAIN_MAX + 2):  # each is being sent a piece of its own
        if link > 3:
            steady.upload.joined(LinkId(link), 8, steady.now)
            steady.upload.unchoke(LinkId(link))
        assert asked(steady, link, link, link) is None
        assert isinstance(steady.upload.next_chunk(LinkId(link), steady.now), Chunk)
    late = 30
    steady.upload.joined(LinkId(late), 8, steady.now)
    steady.upload.unchoke(LinkId(late))
    hinted = [asked(steady, late, piece, piece) for piece in range(HINTS_VAIN_MAX + 2)]
    assert hinted == [RejectCode.ELSEWHERE] * HINTS_VAIN_MAX + [None, None]
    assert asked(steady, late, 20, 100) is None  # a first copy, after all
    assert asked(steady, late, 0, 101) is None  # said once for a piece, all the same
    assert asked(steady, 1, 0, 102) is RejectCode.ELSEWHERE  # each is counted for itself


def test_nobody_is_sent_away_where_others_hold_the_rest() -> None:
    steady = Steady(lambda piece: int(piece > 0))
    assert asked(steady, 1, 0, 1) is None


def test_what_is_left_of_first_copies_is_known_when_a_sending_is_cut() -> None:
    steady = Steady(pieces=2)
    assert asked(steady, 1, 1, 1) is None
    assert isinstance(steady.upload.next_chunk(LinkId(1), steady.now), Chunk)
    assert asked(steady, 2, 0, 1) is None  # both are under way: there is nothing better
    steady.upload.cancel(LinkId(1), RequestId(1))
    assert asked(steady, 3, 0, 1) is RejectCode.ELSEWHERE


def test_nobody_is_sent_away_for_what_only_a_link_that_left_was_sent() -> None:
    steady = Steady()
    steady.upload.left(LinkId(0))
    assert asked(steady, 1, 0, 1) is None
