"""News of pieces: told soon to whoever could use them, and else with what is sent anyway."""

from hypothesis import given
from hypothesis import strategies as st

from peer.ids import PieceIndex
from peer.limits import (
    NEWS_DELAY_S,
    NEWS_DELAY_SLOW_S,
    NEWS_GATHERED,
    NEWS_KNOWN_S,
    NEWS_LATEST_S,
    NEWS_WAITING_S,
)
from peer.swarm.telling import PACE_WEIGHT, Pace, in_turn, told_within
from tests.pure.swarm_model import SwarmModel

MBIT = 1e6 / 8

STATES = st.fixed_dictionaries({"known": st.booleans(), "can_wait": st.booleans()})


@given(STATES, st.floats(min_value=0, max_value=1e6))
def test_news_waits_for_the_next_pieces_but_not_for_long(state: dict[str, bool], pace: float) -> None:
    at_once, seconds = told_within(**state), told_within(**state, pace=pace)
    if state["known"] or state["can_wait"]:
        assert seconds == min(max(at_once, NEWS_GATHERED * pace), NEWS_LATEST_S)
    else:
        assert seconds == min(max(NEWS_DELAY_S, pace), NEWS_DELAY_SLOW_S)


@given(STATES)
def test_who_could_ask_at_once_is_told_first(state: dict[str, bool]) -> None:
    seconds = told_within(**state)
    if state["known"]:
        assert seconds == NEWS_KNOWN_S
    elif state["can_wait"]:
        assert seconds == NEWS_WAITING_S
    else:
        assert seconds == NEWS_DELAY_S


@given(st.lists(st.integers(), max_size=20, unique=True), st.integers(0, 1000), st.integers(1, 10))
def test_offers_go_round(could: list[int], piece: int, most: int) -> None:
    told = [in_turn(could, PieceIndex(piece + turn), most) for turn in range(len(could))]
    for links in told:
        assert len(links) == len(set(links)) == min(most, len(could))
    assert {link for links in told for link in links} == set(could)


def test_most_news_costs_no_message_of_its_own() -> None:
    """Told to all after NEWS_DELAY_S, every link would carry a message of news five times a second."""
    peers, pieces = 20, 256
    model = SwarmModel([4 * MBIT] * peers, origin=40 * MBIT, seed=3, pieces=pieces)
    outcome = model.run()
    assert outcome.ratio <= 1.06
    links = peers * peers
    assert model.messages < 0.2 * links * max(outcome.done) / NEWS_DELAY_S


@given(st.lists(st.floats(0, 60), min_size=60, max_size=80), st.floats(0, 1e6))
def test_the_pace_is_that_of_late_and_one_long_pause_says_little(gaps: list[float], now: float) -> None:
    pace = Pace(now)
    before = 0.0
    for gap in gaps:
        now += gap
        pace.piece(now)
        assert 0 <= pace.gap <= 2 * NEWS_DELAY_SLOW_S
        assert abs(pace.gap - before) <= PACE_WEIGHT * 2 * NEWS_DELAY_SLOW_S + 1e-9
        before = pace.gap
    for _ in range(100):
        now += 0.25
        pace.piece(now)
    assert abs(pace.gap - 0.25) < 0.01
