"""The fluid links: what is sent is what arrives, nobody goes faster than his line, shares are even."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.large.fluid import Downlink, Flow, Uplink
from peer.ids import PieceIndex
from peer.limits import LIMIT_TURN_S


def flow(length: int = 1000) -> Flow:
    return Flow(None, PieceIndex(0), length, 0.0)


def test_one_flow_has_the_whole_uplink() -> None:
    uplink, one = Uplink(100.0), flow()
    uplink.start(one, one.length, 0.0)
    assert uplink.next_end() == 10.0
    assert uplink.progress(one, 5.0) == 500
    assert uplink.take_ended(9.9) == []
    assert uplink.take_ended(10.0) == [one]
    assert uplink.next_end() == inf
    assert uplink.sent(20.0) == 1000


def test_two_flows_have_half_each() -> None:
    uplink, one, two = Uplink(100.0), flow(), flow(500)
    uplink.start(one, one.length, 0.0)
    uplink.start(two, two.length, 5.0)
    assert uplink.next_end() == 15.0, "both lack 500"
    assert uplink.take_ended(15.0) == [one, two]


def test_an_uplink_that_sends_a_piece_in_a_turn_sends_one_at_a_time() -> None:
    for rate, piece_bytes, alone in (
        (1000.0, 1000 * LIMIT_TURN_S, True),
        (999.0, 1000 * LIMIT_TURN_S, False),
    ):
        uplink = Uplink(rate, 0.0, piece_bytes)
        assert uplink.has_room
        one = flow()
        uplink.start(one, one.length, 0.0)
        assert uplink.has_room is not alone
        uplink.cut(one, 0.1)
        assert uplink.has_room


def test_a_cut_gives_its_share_to_the_others() -> None:
    uplink, one, two = Uplink(100.0), flow(), flow()
    uplink.start(one, one.length, 0.0)
    uplink.start(two, two.length, 0.0)
    assert uplink.cut(two, 10.0) == 500
    assert uplink.next_end() == 15.0
    assert uplink.take_ended(15.0) == [one]


def test_who_gives_nothing_never_ends() -> None:
    uplink, one = Uplink(0.0), flow()
    uplink.start(one, one.length, 0.0)
    assert uplink.next_end() == inf
    assert uplink.sent(1e9) == 0


steps = st.lists(st.tuples(st.sampled_from(["start", "cut", "pass"]), st.integers(1, 5000)), max_size=60)


@given(steps, st.floats(0.5, 1e6))
def test_what_is_sent_is_what_flows_got_and_no_more_than_the_rate(
    story: list[tuple[str, int]], rate: float
) -> None:
    uplink, now, got, alive = Uplink(rate), 0.0, 0.0, list[Flow]()

    def end() -> None:
        nonlocal got
        for ended in uplink.take_ended(now):
            alive.remove(ended)
            got += ended.length

    for kind, number in story:
        if kind == "start":
            new = flow(number)
            uplink.start(new, number, now)
            alive.append(new)
        elif kind == "cut" and alive:
            got += uplink.cut(alive.pop(number % len(alive)), now)
        elif kind == "pass":
            target = now + number / 100
            while uplink.next_end() <= target:
                now = max(now, uplink.next_end())
                end()
            now = target
            end()
        assert uplink.count == len(alive)
        under_way = sum(uplink.progress(one, now) for one in alive)
        sent = uplink.sent(now)
        assert sent <= rate * now * (1 + 1e-9) + 1e-6
        # Whole bytes are counted of each flow: at most one less for each that was ever looked at.
        assert sent - len(story) - 1 <= got + under_way <= sent + 1e-2 * (len(story) + 1)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 10_000)), min_size=1, max_size=40))
def test_a_downlink_takes_in_no_more_than_its_rate(comers: list[tuple[float, int]]) -> None:
    downlink, now, booked, first = Downlink(1000.0), 0.0, 0, None
    for pause, nbytes in comers:
        now = max(now + pause, downlink.free_at(now + pause))
        first = now if first is None else first
        booked += nbytes
        assert downlink.book(nbytes, now) >= first + booked / 1000 - 1e-9 - sum(p for p, _ in comers)
        assert downlink.book(0, now) * 1000 >= booked - 1e-6


def test_no_limit_no_waiting() -> None:
    downlink = Downlink(None)
    assert downlink.book(10**9, 3.0) == 3.0
    assert downlink.free_at(3.0) == 3.0
    assert Downlink(10.0).book(100, 1.0) == pytest.approx(11.0)
