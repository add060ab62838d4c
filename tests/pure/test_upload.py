"""Which answer goes out next, and to whom."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import (
    CHOICE_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    DEFER_STALL_S,
    HINTS_VAIN_MAX,
    IN_SOCKET_S_MAX,
    PATIENCE_S,
    REPEATS_FREE,
    REPEATS_PER_S,
    WINDOW_MAX,
)
from peer.swarm.upload import IDLE, Cancelled, Chunk, Deferred, NextChunk, Upload, nobody

KIB = 1024
PIECE = 64 * KIB


class Bench:
    """An upload with pieces of 64 KiB, links a, b, c... that are unchoked, and names short enough to read."""

    def __init__(self, links: int = 2, pieces: int = 100, window: int = 64, available: str = "") -> None:
        self.now = 0.0
        self.available = [int(c) for c in available]
        self.upload = Upload(
            lambda piece: PIECE,
            pieces,
            range(pieces),
            available=lambda piece: self.available[piece] if piece < len(self.available) else 0,
        )
        self.requests = 0
        for link in range(links):
            self.upload.joined(LinkId(link), window, 0.0)
            self.upload.unchoke(LinkId(link))

    def ask(self, link: int, *pieces: int) -> list[RequestId]:
        ids = []
        for piece in pieces:
            self.requests += 1
            ids.append(RequestId(self.requests))
            code = self.upload.asked(LinkId(link), ids[-1], PieceIndex(piece), self.now)
            if code is RejectCode.ELSEWHERE:  # who asks again is served
                code = self.upload.asked(LinkId(link), ids[-1], PieceIndex(piece), self.now)
            assert code is None
        self.upload.check_invariants()
        return ids

    def refuse(self, link: int, piece: int) -> RejectCode | None:
        self.requests += 1
        return self.upload.asked(LinkId(link), RequestId(self.requests), PieceIndex(piece), self.now)

    def next(self, link: int, bytes_max: int | None = None) -> NextChunk:
        chunk = self.upload.next_chunk(LinkId(link), self.now, bytes_max)
        self.upload.check_invariants()
        return chunk

    def chunk(self, link: int) -> Chunk:
        chunk = self.next(link)
        assert isinstance(chunk, Chunk)
        return chunk

    def send(self, link: int, seconds: float = 0.0) -> int:
        """Send a whole answer, in that time; the piece that it was."""
        while not (chunk := self.chunk(link)).last:
            self.now += seconds * chunk.length / chunk.total
        self.now += seconds * chunk.length / chunk.total
        assert chunk.piece is not None
        return chunk.piece

    def run_dry(self, link: int) -> list[int]:
        pieces = []
        while self.upload.has_work(LinkId(link)):
            pieces.append(self.send(link, 0.1))
        return pieces


def test_an_answer_is_sent_in_contiguous_chunks_to_its_end() -> None:
    bench = Bench()
    (request,) = bench.ask(0, 7)
    chunks = []
    while bench.upload.has_work(LinkId(0)):
        chunks.append(bench.chunk(0))
        bench.now += 1.0
    assert [chunk.offset for chunk in chunks] == [16 * KIB * i for i in range(len(chunks))]
    assert {(chunk.request, chunk.piece, chunk.total) for chunk in chunks} == {(request, 7, PIECE)}
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(chunk.length for chunk in chunks) == PIECE
    assert bench.next(0) is IDLE


def test_an_answer_that_has_begun_is_finished_before_a_better_one_begins() -> None:
    bench = Bench(available="91")
    bench.ask(0, 0)
    assert bench.chunk(0).piece == 0
    bench.ask(0, 1)
    assert bench.send(0) == 0
    assert bench.send(0) == 1


def test_an_uplink_is_idle_when_nobody_waits_and_the_last_chunk_has_had_time_to_leave() -> None:
    bench = Bench()
    assert bench.upload.is_idle(bench.now, limited=False)
    bench.ask(0, 0)
    assert not bench.upload.is_idle(bench.now, limited=True), "asked, and not answered"
    while not bench.chunk(0).last:
        assert not bench.upload.is_idle(bench.now, limited=True)
        bench.now += 0.1
    assert bench.upload.is_idle(bench.now, limited=True), "a limit waits before it hands out"
    rate = bench.upload.link_statistics(LinkId(0), bench.now).rate
    takes = CHUNK_BYTES_MIN / rate
    assert takes < IN_SOCKET_S_MAX
    assert not bench.upload.is_idle(bench.now + 0.99 * takes, limited=False)
    assert bench.upload.is_idle(bench.now + 1.01 * takes, limited=False)
    assert bench.upload.is_idle(bench.now, limited=True)


def test_a_chunk_on_a_link_of_unknown_rate_does_not_keep_an_uplink_busy_for_long() -> None:
    bench = Bench()
    (request,) = bench.ask(0, 0)
    bench.chunk(0)
    assert bench.upload.cancel(LinkId(0), request) is Cancelled.BEGUN
    assert not bench.upload.is_idle(bench.now + 0.99 * IN_SOCKET_S_MAX, limited=False)
    assert bench.upload.is_idle(bench.now + IN_SOCKET_S_MAX, limited=False)
    bench.ask(1, 1)
    assert not bench.upload.is_idle(bench.now + IN_SOCKET_S_MAX, limited=False)
    bench.upload.left(LinkId(1))
    assert bench.upload.is_idle(bench.now + IN_SOCKET_S_MAX, limited=False)


def test_without_a_difference_the_oldest_request_is_answered_first() -> None:
    bench = Bench()
    bench.ask(0, 5, 3, 9)
    assert bench.run_dry(0) == [5, 3, 9]


def test_the_piece_sent_least_often_goes_first() -> None:
    bench = Bench(3)
    bench.ask(0, 1, 2)
    bench.run_dry(0)
    bench.ask(1, 2)
    bench.run_dry(1)
    bench.ask(2, 2, 1, 3)
    assert bench.run_dry(2) == [3, 1, 2]


def test_a_sending_under_way_counts_as_sent() -> None:
    bench = Bench()
    bench.ask(0, 1)
    bench.chunk(0)
    bench.ask(1, 1, 2)
    assert bench.run_dry(1) == [2, 1]


def test_among_pieces_sent_equally_often_the_rarest_goes_first() -> None:
    bench = Bench(available="213")
    bench.ask(0, 0, 1, 2)
    assert bench.run_dry(0) == [1, 0, 2]


def test_the_manifest_goes_before_every_piece_and_is_not_choked() -> None:
    bench = Bench()
    upload = bench.upload
    assert upload.asked(LinkId(0), RequestId(900), None, 0.0) is RejectCode.NOT_HELD
    upload.set_manifest(100_000)
    bench.ask(0, 1)
    assert upload.asked(LinkId(0), RequestId(901), None, 0.0) is None
    assert upload.choke(LinkId(0)) == (RequestId(1),)
    chunk = bench.chunk(0)
    assert (chunk.request, chunk.piece, chunk.total) == (RequestId(901), None, 100_000)
    upload.check_invariants()


def test_a_request_passed_over_for_long_is_next() -> None:
    bench = Bench(available="5" + "1" * 99)
    bench.ask(0, 0)
    for piece in range(1, 100):
        bench.ask(0, piece)
        if bench.send(0, 0.2) == 0:
            break
    assert PATIENCE_S < bench.now < PATIENCE_S + 0.5


def test_a_choice_looks_only_at_so_many_requests() -> None:
    bench = Bench(available="1" * 50 + "0", window=WINDOW_MAX)
    bench.ask(0, *range(CHOICE_MAX), 50)
    assert bench.send(0) == 0  # piece 50 would be rarer, but stands too far back


# --- the size of chunks


def test_chunks_of_a_slow_link_are_small_and_of_a_fast_one_large() -> None:
    upload = Upload(lambda piece: 4 << 20, 1000, range(1000))
    sizes = {}
    for link, rate in ((LinkId(1), 100_000), (LinkId(2), 2_000_000), (LinkId(3), 500_000_000)):
        upload.joined(link, 100, 0.0)
        upload.unchoke(link)
        now, request = 0.0, 0
        while now < 10.0 and request < 900:
            if not upload.has_work(link):
                request += 1
                assert upload.asked(link, RequestId(request), PieceIndex(request), now) is None
            chunk = upload.next_chunk(link, now)
            assert isinstance(chunk, Chunk)
            now += chunk.length / rate
        sizes[link] = upload.chunk_bytes(link, now)
        upload.left(link)
    assert sizes[LinkId(1)] == CHUNK_BYTES_MIN
    assert sizes[LinkId(2)] == pytest.approx(0.075 * 2_000_000, rel=0.15)
    assert sizes[LinkId(3)] == CHUNK_BYTES_MAX


def test_a_rate_limit_caps_a_chunk() -> None:
    bench = Bench()
    bench.ask(0, 1)
    chunk = bench.next(0, 1000)
    assert isinstance(chunk, Chunk)
    assert chunk.length == 1000
    chunk = bench.next(0, 5000)
    assert isinstance(chunk, Chunk)
    assert (chunk.offset, chunk.length) == (1000, 5000)


def test_a_small_rest_goes_with_the_chunk_before() -> None:
    upload = Upload(lambda piece: CHUNK_BYTES_MIN + 100, 1, range(1))
    upload.joined(LinkId(1), 8, 0.0)
    upload.unchoke(LinkId(1))
    upload.asked(LinkId(1), RequestId(1), PieceIndex(0), 0.0)
    chunk = upload.next_chunk(LinkId(1), 0.0)
    assert isinstance(chunk, Chunk)
    assert chunk.last


# --- cancel, choke, leave


def test_a_cancelled_request_that_waits_is_never_sent() -> None:
    bench = Bench()
    first, second = bench.ask(0, 1, 2)
    assert bench.upload.cancel(LinkId(0), first) is Cancelled.WAITING
    assert bench.send(0) == 2
    assert bench.upload.cancel(LinkId(0), second) is Cancelled.UNKNOWN
    assert bench.upload.cancel(LinkId(0), RequestId(99)) is Cancelled.UNKNOWN


def test_a_cancel_midway_cuts_the_answer_and_does_not_count_it_as_a_copy() -> None:
    bench = Bench()
    request, _ = bench.ask(0, 1, 2)
    sent = bench.chunk(0).length
    assert bench.upload.cancel(LinkId(0), request) is Cancelled.BEGUN
    bench.upload.check_invariants()
    assert bench.upload.sends(PieceIndex(1)) == 0
    assert bench.upload.statistics(0.0).cut_bytes == sent
    assert bench.send(0) == 2


def test_a_choke_drops_what_waits_and_finishes_what_has_begun() -> None:
    bench = Bench()
    bench.ask(0, 1)
    bench.chunk(0)
    waiting = bench.ask(0, 2, 3)
    assert bench.upload.choke(LinkId(0)) == tuple(waiting)
    assert bench.send(0) == 1
    assert bench.refuse(0, 4) is RejectCode.CHOKED
    assert bench.next(0) is IDLE
    bench.upload.unchoke(LinkId(0))
    bench.ask(0, 2)
    assert bench.send(0) == 2


def test_a_link_that_leaves_takes_its_requests_along() -> None:
    bench = Bench()
    bench.ask(0, 1, 2)
    bench.chunk(0)
    bench.upload.left(LinkId(0))
    bench.upload.left(LinkId(0))
    bench.upload.check_invariants()
    assert not bench.upload.has_work(LinkId(0))
    assert bench.upload.sends(PieceIndex(1)) == 0


def test_a_piece_that_could_not_be_read_was_not_sent() -> None:
    bench = Bench()
    bench.ask(0, 1, 2)
    bench.chunk(0)
    bench.upload.unreadable(LinkId(0), bench.chunk(0))  # midway
    bench.upload.check_invariants()
    assert bench.upload.sends(PieceIndex(1)) == 0
    while not (chunk := bench.chunk(0)).last:
        pass
    bench.upload.unreadable(LinkId(0), chunk)  # at the last chunk
    bench.upload.check_invariants()
    assert bench.upload.sends(PieceIndex(2)) == 0
    assert bench.upload.statistics(0.0).unsent == 100
    assert bench.next(0) is IDLE


# --- bad manners


def test_who_asks_for_the_same_piece_for_ever_is_served_a_few_times_only() -> None:
    bench = Bench()
    served = 0
    while bench.refuse(0, 1) is None:
        bench.run_dry(0)
        served += 1
        assert served < 100
    assert 1 + REPEATS_FREE <= served <= 1 + REPEATS_FREE + REPEATS_PER_S * bench.now
    bench.ask(0, 2)  # other pieces as ever
    bench.ask(1, 1)


def test_who_lost_what_it_had_gets_it_again_in_time() -> None:
    """A failed sync took more pieces than were free: the others were refused for ever."""
    bench = Bench()
    while bench.refuse(0, 1) is None:
        bench.run_dry(0)
    bench.now += 1 / REPEATS_PER_S
    assert bench.refuse(0, 1) is None


def test_the_same_piece_does_not_wait_twice_on_one_link() -> None:
    bench = Bench()
    bench.ask(0, 1)
    assert bench.refuse(0, 1) is RejectCode.BUSY
    bench.chunk(0)
    assert bench.refuse(0, 1) is RejectCode.BUSY


def test_what_we_do_not_have_is_refused() -> None:
    upload = Upload(lambda piece: PIECE, 10, {PieceIndex(1)})
    upload.joined(LinkId(1), 8, 0.0)
    assert upload.asked(LinkId(1), RequestId(1), PieceIndex(1), 0.0) is RejectCode.CHOKED
    upload.unchoke(LinkId(1))
    assert upload.asked(LinkId(1), RequestId(2), PieceIndex(2), 0.0) is RejectCode.NOT_HELD
    assert upload.asked(LinkId(1), RequestId(3), PieceIndex(1), 0.0) is None


def test_what_the_session_must_have_stopped_is_our_own_mistake() -> None:
    bench = Bench(window=2)
    bench.ask(0, 1, 2)
    with pytest.raises(LocalProtocolError):
        bench.refuse(0, 3)
    with pytest.raises(LocalProtocolError):
        bench.upload.asked(LinkId(1), bench.ask(1, 1)[0], PieceIndex(2), 0.0)
    with pytest.raises(LocalProtocolError):
        bench.upload.joined(LinkId(1), 5, 0.0)
    for call in (bench.upload.unchoke, bench.upload.choke):
        with pytest.raises(LocalProtocolError):
            call(LinkId(77))


# --- first copies


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


def test_an_origin_sends_nearly_every_piece_once_before_it_sends_one_twice() -> None:
    """Ten links that ask for the rarest pieces they know of, at random, as they cannot know of each other."""
    pieces = 200
    bench = Bench(10, pieces=pieces)
    rng = Random(3)
    copies = [0] * pieces
    asked: list[set[int]] = [set() for _ in range(10)]
    repeats = 0
    while not all(copies):
        for link in range(10):
            waiting = bench.upload.link_statistics(LinkId(link), bench.now).waiting
            open_pieces = [piece for piece in range(pieces) if piece not in asked[link]]
            open_pieces.sort(key=lambda piece: (copies[piece], rng.random()))
            for piece in open_pieces[: 3 - waiting]:
                bench.ask(link, piece)
                asked[link].add(piece)
            outcome = bench.next(link)
            bench.now += outcome.length / 5_000_000 if isinstance(outcome, Chunk) else 0.001
            if isinstance(outcome, Chunk) and outcome.last and outcome.piece is not None:
                repeats += copies[outcome.piece] > 0
                copies[outcome.piece] += 1
    assert repeats <= 0.1 * pieces  # in the order of asking it is half of them
    assert bench.upload.statistics(bench.now).unsent == 0


def test_statistics_tell_first_copies_from_repeats() -> None:
    bench = Bench()
    bench.ask(0, 1, 2)
    bench.ask(1, 1)
    bench.run_dry(0)
    bench.run_dry(1)
    statistics = bench.upload.statistics(bench.now)
    assert (statistics.first_copies, statistics.repeats, statistics.unsent) == (2, 1, 98)
    assert statistics.sent_bytes == 3 * PIECE
    link = bench.upload.link_statistics(LinkId(0), bench.now)
    assert (link.sent_bytes, link.answers, link.waiting, link.choked) == (2 * PIECE, 2, 0, False)
    assert link.rate > 0


@dataclass
class Open:
    """What the test believes of one request."""

    piece: int
    sent: int = 0


class UploadMachine(RuleBasedStateMachine):
    """Requests, cancels, chokes and departures in any order: answers stay whole, in order and unmixed."""

    links = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.counter = 0
        self.upload = Upload(lambda piece: 1000 + 20_000 * (piece % 4), 12, range(10))
        self.open: dict[int, dict[RequestId, Open]] = {}
        self.choked: dict[int, bool] = {}
        self.begun: dict[int, RequestId | None] = {}

    @rule(link=links)
    def join_or_leave(self, link: int) -> None:
        if link in self.open:
            self.upload.left(LinkId(link))
            del self.open[link], self.choked[link], self.begun[link]
        else:
            self.upload.joined(LinkId(link), 5, self.now)
            self.open[link], self.choked[link], self.begun[link] = {}, True, None

    @rule(link=links, on=st.booleans())
    def choke(self, link: int, on: bool) -> None:
        if link in self.open:
            self.choked[link] = on
            if on:
                for request in self.upload.choke(LinkId(link)):
                    assert not self.open[link].pop(request).sent
                assert all(request.sent for request in self.open[link].values())
            else:
                self.upload.unchoke(LinkId(link))

    @rule(link=links, piece=st.integers(0, 11))
    def ask(self, link: int, piece: int) -> None:
        if link in self.open and len(self.open[link]) < 5:
            self.counter += 1
            request = RequestId(self.counter)
            code = self.upload.asked(LinkId(link), request, PieceIndex(piece), self.now)
            if self.choked[link]:
                assert code is RejectCode.CHOKED
            elif piece >= 10:
                assert code is RejectCode.NOT_HELD
            elif piece in {waiting.piece for waiting in self.open[link].values()}:
                assert code is RejectCode.BUSY
            elif code is None:
                self.open[link][request] = Open(piece)

    @rule(link=links, which=st.integers(0, 4))
    def cancel(self, link: int, which: int) -> None:
        requests = list(self.open.get(link, ()))
        if which < len(requests):
            begun = self.begun[link] == requests[which]
            outcome = self.upload.cancel(LinkId(link), requests[which])
            assert outcome is (Cancelled.BEGUN if begun else Cancelled.WAITING)
            del self.open[link][requests[which]]
            if begun:
                self.begun[link] = None

    @rule(link=links, bytes_max=st.none() | st.integers(1, 30_000), seconds=st.floats(0, 2))
    @precondition(lambda self: self.open)
    def send(self, link: int, bytes_max: int | None, seconds: float) -> None:
        if link not in self.open:
            return
        self.now += seconds
        outcome = self.upload.next_chunk(LinkId(link), self.now, bytes_max)
        if not isinstance(outcome, Chunk):
            assert self.begun[link] is None
            assert isinstance(outcome, Deferred) or not self.open[link]
            return
        assert self.begun[link] in {None, outcome.request}
        request = self.open[link][outcome.request]
        assert (outcome.piece, outcome.offset) == (request.piece, request.sent)
        assert 0 < outcome.length <= (bytes_max or outcome.total)
        request.sent += outcome.length
        self.begun[link] = None if outcome.last else outcome.request
        if outcome.last:
            assert request.sent == outcome.total == 1000 + 20_000 * (request.piece % 4)
            del self.open[link][outcome.request]

    @invariant()
    def the_books_agree(self) -> None:
        self.upload.check_invariants()
        for link, requests in self.open.items():
            assert self.upload.has_work(LinkId(link)) == bool(requests)
            statistics = self.upload.link_statistics(LinkId(link), self.now)
            assert statistics.waiting == len(requests)


TestUploadMachine = UploadMachine.TestCase
TestUploadMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


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
