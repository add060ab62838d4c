"""The agenda: in the order of time, and of arranging where times are equal."""

from hypothesis import given
from hypothesis import strategies as st

from lab.large.agenda import Agenda

times = st.floats(0, 0.2) | st.floats(0, 1e6) | st.sampled_from([0.0, 0.015625, 0.5])


@given(st.lists(st.tuples(times, st.lists(times, max_size=3)), max_size=30), times)
def test_everything_happens_in_order(plan: list[tuple[float, list[float]]], stop: float) -> None:
    agenda = Agenda()
    arranged: list[float] = []
    seen: list[tuple[float, int]] = []

    def arrange(time: float, more: list[float]) -> None:
        time = max(time, agenda.now)
        number = len(arranged)
        arranged.append(time)
        agenda.at(time, happen, number, more)

    def happen(number: int, more: list[float]) -> None:
        assert agenda.now == arranged[number]
        seen.append((agenda.now, number))
        for delay in more:
            arrange(agenda.now + delay, [])

    for time, more in plan:
        arrange(time, more)
    agenda.run(stop)
    assert all(time <= stop for time, _ in seen)
    arrange(stop, [])
    agenda.run()
    assert sorted(seen) == seen
    assert len(seen) == len(arranged)


def test_it_stops() -> None:
    agenda = Agenda()
    agenda.at(1, lambda: setattr(agenda, "stopped", True))
    agenda.at(2, lambda: 1 / 0)
    agenda.run()
    assert agenda.now == 1
