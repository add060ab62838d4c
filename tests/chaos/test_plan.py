"""Plans are drawn from seeds, and made smaller."""

from tests.chaos.plan import SAFETY_S, THROUGHOUT, Fault, FaultPlan, draw
from tests.chaos.shrink import Part, shrink
from tests.chaos.violation import Violation, first_of

SEEDS = range(300)


def test_a_seed_draws_one_plan() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_seeds_draw_different_mixes_and_every_kind() -> None:
    plans = [draw(seed) for seed in SEEDS]
    assert set().union(*(plan.faults for plan in plans)) == set(Fault)
    assert len({plan.faults for plan in plans}) > len(plans) / 2
    assert any(not plan.faults for plan in plans), "a run without any fault is a test as well"


def test_plans_make_sense() -> None:
    for seed in SEEDS:
        plan = draw(seed)
        numbers = [peer.number for peer in plan.peers]
        assert numbers == list(range(len(numbers)))
        assert plan.peers[0].has_it
        assert not plan.peers[-1].has_it
        for peer in plan.peers:
            assert set(peer.knows) <= set(numbers[: peer.number])
            assert peer.tracker or 0 in peer.knows, "nobody may be left with peers that leave"
        for event in plan.events:
            assert 0 < event.at <= event.until <= SAFETY_S
            assert event.peer in numbers
            assert event.fault in plan.faults
        assert plan.describe()


def test_a_plan_shrinks_to_what_makes_it_fail() -> None:
    plan = next(plan for plan in map(draw, SEEDS) if {Fault.POWER, Fault.LIAR} <= plan.faults)

    def fails(smaller: FaultPlan) -> bool:
        return any(event.fault is Fault.POWER for event in smaller.events) and Fault.LIAR in smaller.hostile

    part = shrink(plan, fails)
    left = part.of(plan)
    assert [event.fault for event in left.events] == [Fault.POWER]
    assert left.hostile == (Fault.LIAR,)
    assert fails(left)
    assert f"--events {plan.events.index(left.events[0])} --hostile liar" in part.options()


def test_a_fault_that_is_no_event_is_left_out_where_it_does_not_matter() -> None:
    plan = next(plan for plan in map(draw, SEEDS) if {Fault.BUGGIFY, Fault.TWO_ADDRESSES} <= plan.faults)
    part = shrink(plan, lambda smaller: Fault.TWO_ADDRESSES in smaller.faults)
    left = part.of(plan).faults.intersection(THROUGHOUT)
    assert left == {Fault.TWO_ADDRESSES}
    assert "--without " in part.options()
    assert "buggify" in part.options()


def test_a_violation_is_told_before_what_it_broke_on_the_way_out() -> None:
    violation = Violation("kind", "text")
    broken = ValueError("list.remove(x)")
    broken.__context__ = ExceptionGroup("inner", [violation])
    assert first_of(ExceptionGroup("outer", [broken])) is violation
    assert first_of(ExceptionGroup("outer", [ValueError("alone")])).args == ("alone",)


def test_a_whole_plan_is_itself() -> None:
    plan = draw(3)
    assert Part().of(plan) == plan
    assert not Part().options()
