"""Which answer goes out next, and to whom."""

from random import Random
from statistics import mean

import pytest

from peer.errors import LocalProtocolError, RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import (
    CHOICE_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    DEFER_STALL_S,
    IN_SOCKET_S_MAX,
    PATIENCE_S,
    REPEATS_FREE,
    REPEATS_PER_S,
    REPEATS_SHARE,
    WINDOW_DEFAULT,
    WINDOW_MAX,
)
from peer.swarm.served import Served
from peer.swarm.uplink import UplinkGauge
from peer.swarm.upload import IDLE, Cancelled, Chunk, Upload
from tests.pure.upload_bench import PIECE, Bench


def test_an_answer_is_sent_in_contiguous_chunks_to_its_end() -> None:
    bench = Bench()
    (request,) = bench.ask(0, 7)
    chunks = []
    while bench.upload.has_work(LinkId(0)):
        chunks.append(bench.chunk(0))
        bench.now += 1.0
    assert [chunk.offset for chunk in chunks] == [CHUNK_BYTES_MIN * i for i in range(len(chunks))]
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


def test_a_repeat_that_could_not_be_read_is_no_repeat() -> None:
    """A disk that fails for a while used up the patience with an honest asker, piece by piece."""
    bench = Bench()
    for _ in range(4 * REPEATS_FREE):
        assert bench.refuse(0, 1) is None
        while not (chunk := bench.chunk(0)).last:
            pass
        if bench.upload.sends(PieceIndex(1)) > 1:
            bench.upload.unreadable(LinkId(0), chunk)
            bench.upload.check_invariants()
    statistics = bench.upload.statistics(0.0)
    assert (statistics.first_copies, statistics.repeats, statistics.answers) == (1, 0, 1)
    assert statistics.ran_dry == 1
    assert statistics.cut_bytes + PIECE == statistics.sent_bytes


# --- bad manners


def test_who_asks_and_cancels_does_not_have_every_piece_looked_at_again() -> None:
    """In the largest share each cancel cost half a second of the event loop."""
    pieces, looks = 5000, 0

    def available(piece: PieceIndex) -> int:
        nonlocal looks
        looks += 1
        return 1

    upload = Upload(lambda piece: PIECE, pieces, range(pieces), available=available)
    for link in range(2):
        upload.joined(LinkId(link), 8, 0.0)
        upload.unchoke(LinkId(link))
    requests = iter(map(RequestId, range(1000)))
    for piece in range(1, 20):
        assert upload.asked(LinkId(1), next(requests), PieceIndex(piece), 0.0) is None
        while upload.next_chunk(LinkId(1), 0.0) is not IDLE:
            pass
    looks = 0
    for piece in range(1, 20):
        begun, other = next(requests), next(requests)
        assert upload.asked(LinkId(0), begun, PieceIndex(0), 0.0) is None
        upload.next_chunk(LinkId(0), 0.0, bytes_max=1)
        assert upload.cancel(LinkId(0), begun) is Cancelled.BEGUN
        assert upload.asked(LinkId(0), other, PieceIndex(piece), 0.0) is None
        assert upload.cancel(LinkId(0), other) is Cancelled.WAITING
    upload.check_invariants()
    assert looks < 3 * pieces


def test_who_asks_for_a_first_copy_and_takes_nothing_makes_no_choice_dear() -> None:
    """Every request of every link was looked at for each chunk: milliseconds, where all windows are full."""
    links, looks, pieces = 10, 0, 1000
    first = PieceIndex(pieces - 1)

    def available(piece: PieceIndex) -> int:
        nonlocal looks
        looks += 1
        return int(piece != first)

    class FullUplink(UplinkGauge):
        def is_full(self, now: float) -> bool:
            return True

    upload = Upload(lambda piece: PIECE, pieces, range(pieces), available=available, gauge=FullUplink())
    requests = iter(map(RequestId, range(100_000)))
    for link in range(links + 1):
        upload.joined(LinkId(link), WINDOW_DEFAULT, 0.0)
        upload.unchoke(LinkId(link))
    for link in range(links):
        for piece in range(WINDOW_DEFAULT):
            assert upload.asked(LinkId(link), next(requests), PieceIndex(piece), 0.0) is None
    assert upload.asked(LinkId(links), next(requests), first, 0.0) is None
    looks = 0
    assert isinstance(upload.next_chunk(LinkId(0), 2 * DEFER_STALL_S), Chunk)
    assert looks <= (links + 2) * CHOICE_MAX
    upload.check_invariants()


def test_a_first_copy_that_was_cut_off_is_one_again() -> None:
    """Whoever asks for what others are about to have is told of it as before."""
    bench = Bench(links=3, pieces=4)
    (first,) = bench.ask(0, 3)
    bench.chunk(0)
    for piece in range(3):
        bench.ask(1, piece)
        bench.run_dry(1)
    assert bench.refuse(2, 0) is None, "nothing is left that only we could give"
    bench.upload.cancel(LinkId(0), first)
    assert bench.refuse(2, 1) is RejectCode.ELSEWHERE


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


def test_who_was_sent_much_may_ask_again_for_more_of_it() -> None:
    fresh, again = 10 * REPEATS_SHARE, 0
    served = Served(fresh, 0.0)
    for piece in range(fresh):
        assert not served.too_often(PieceIndex(piece), 0.0)
        served.finish(PieceIndex(piece))
    while not served.too_often(PieceIndex(0), 0.0):
        served.finish(PieceIndex(0))
        again += 1
    assert again == REPEATS_FREE + (fresh + again) // REPEATS_SHARE


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


# --- how often each piece is sent


def repeats_before_all_are_sent(rng: Random, pieces: int) -> int:
    """Ten links that ask for the rarest pieces they know of, at random, as they cannot know of each other."""
    bench = Bench(10, pieces=pieces)
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
    assert bench.upload.statistics(bench.now).unsent == 0
    return repeats


def test_an_origin_sends_nearly_every_piece_once_before_it_sends_one_twice() -> None:
    """In the order of asking it is half of them. How many it is in one run is a matter of luck."""
    pieces = 200
    repeats = [repeats_before_all_are_sent(Random(seed), pieces) for seed in range(8)]
    assert mean(repeats) <= 0.09 * pieces
    assert max(repeats) <= 0.13 * pieces


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
