"""The beginning of a swarm: first pieces before second ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ids import LinkId
from peer.limits import BEGINNING_S, NEWCOMER_LOOK_S, NEWCOMER_PIECES_MIN, NEWCOMER_S
from peer.swarm.newcomers import Newcomers
from peer.swarm.upload import Deferred
from tests.pure.upload_bench import PIECE, Bench

PIECES = NEWCOMER_PIECES_MIN


def begun() -> Bench:
    """Links 0 and 1 have asked for two pieces each, and 0 has been handed one."""
    bench = Bench(3, pieces=PIECES)
    bench.ask(0, 1, 2)
    bench.ask(1, 3, 4)
    assert bench.send(0) == 1
    return bench


def test_nobody_is_given_a_second_piece_while_somebody_waits_for_a_first() -> None:
    """Who had asked first was sent five pieces before the last of thirty had one."""
    bench = begun()
    assert bench.next(0) == Deferred(bench.now + NEWCOMER_LOOK_S)
    assert bench.send(1) == 3
    assert isinstance(bench.next(0), Deferred)  # it is with the kernel: who knows when it arrives
    bench.ask(1, 5)  # it has: who has nothing yet asks for no more
    assert isinstance(bench.next(1), Deferred)  # for link 0 has not shown that it got its first
    assert bench.send(0) == 2
    bench.ask(0, 6)
    assert bench.send(1) == 4


def test_a_newcomer_keeps_others_waiting_for_a_moment_only() -> None:
    bench = begun()
    bench.now = NEWCOMER_S
    assert bench.send(0) == 2


def test_the_moment_is_the_same_whatever_the_clock_says() -> None:
    """The machine's clock does not begin with the swarm."""
    newcomers, hour = Newcomers(), 3600.0
    newcomers.asked(LinkId(1), hour, given=False)
    assert newcomers.others_wait(LinkId(2), hour + NEWCOMER_S / 2)
    assert not newcomers.others_wait(LinkId(2), hour + 2 * NEWCOMER_S)


def test_who_leaves_keeps_nobody_waiting() -> None:
    bench = begun()
    bench.upload.left(LinkId(1))
    assert bench.send(0) == 2


def test_after_the_beginning_nobody_waits_for_newcomers() -> None:
    """Or whoever connects again and again and takes nothing would keep all others waiting."""
    bench = begun()
    bench.now = BEGINNING_S
    assert bench.send(1) == 3
    bench.ask(2, 7)
    assert bench.send(0) == 2


def test_a_share_of_few_pieces_knows_no_beginning() -> None:
    """Who wants two pieces asks for both, and never again."""
    bench = Bench(2, pieces=PIECES - 1)
    bench.ask(0, 1, 2)
    bench.ask(1, 1, 2)
    assert len(bench.run_dry(0)) == 2
    assert len(bench.run_dry(1)) == 2


def test_under_a_limit_it_is_the_limiters_turn() -> None:
    bench = begun()
    assert not isinstance(bench.next(0, PIECE), Deferred)


@given(
    events=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["ask", "ask again", "leave"]), st.floats(0, 0.3)),
        max_size=40,
    )
)
def test_nobody_waits_longer_than_the_beginning_and_a_moment(events: list[tuple[int, str, float]]) -> None:
    newcomers, now, first = Newcomers(), 0.0, None
    for link, event, seconds in events:
        now += seconds
        if event == "leave":
            newcomers.left(LinkId(link))
        else:
            first = now if first is None else first
            newcomers.asked(LinkId(link), now, given=event == "ask again")
    end = (first or 0.0) + BEGINNING_S + NEWCOMER_S
    assert not newcomers.others_wait(LinkId(9), max(now, end))


@pytest.mark.parametrize("waiting", [(), (1,), (1, 2)])
def test_nobody_waits_for_itself(waiting: tuple[int, ...]) -> None:
    newcomers = Newcomers()
    for link in waiting:
        newcomers.asked(LinkId(link), 0.0, given=False)
    assert newcomers.others_wait(LinkId(1), 0.0) == (len(waiting) > 1)
