"""A peer may say some things of no use, and not go on for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import RemoteProtocolError
from peer.limits import TALK_BURST, TALK_PER_S
from peer.swarm.talk import TalkBudget


def test_a_burst_is_honest_and_more_is_not() -> None:
    budget = TalkBudget(0.0)
    for _ in range(TALK_BURST):
        budget.spend(0.0)
    with pytest.raises(RemoteProtocolError, match="without end"):
        budget.spend(0.0)


@given(st.floats(0.0, 1e6))
def test_a_steady_flow_below_the_rate_is_never_too_much(start: float) -> None:
    budget = TalkBudget(start)
    for number in range(3 * TALK_BURST):
        budget.spend(start + (number + 1) / (0.9 * TALK_PER_S))


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=60))
def test_nobody_gets_more_than_the_burst_and_the_rate(gaps: list[float]) -> None:
    budget, now, spent = TalkBudget(0.0), 0.0, 0
    try:
        for gap in gaps:
            now += gap
            for _ in range(100):
                budget.spend(now)
                spent += 1
    except RemoteProtocolError:
        assert spent >= TALK_BURST - 1
    assert spent <= TALK_BURST + now * TALK_PER_S + 1
