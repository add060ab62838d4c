"""Timers: what is due rings once, and sets itself again once."""

from collections.abc import Callable
from functools import partial
from random import Random

import trio
from trio.testing import MockClock

from peer.alarm import Alarm, Timer
from peer.ids import LinkId, ShareId
from peer.pacing import Pacer

SHARE = ShareId(bytes(32))


class CountingAlarm(Alarm):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def at(self, when: float, callback: Callable[[], None]) -> None:
        self.count += 1
        super().at(when, callback)


async def test_a_timer_rings_at_the_soonest_of_the_times_that_it_was_set_for(
    autojump_clock: MockClock,
) -> None:
    alarm = Alarm()
    rung: list[float] = []
    timer = Timer(alarm, lambda: rung.append(trio.current_time()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        begun = trio.current_time()
        for delay in (5, 3, 4, 3):
            timer.at(begun + delay)
        await trio.sleep(4.5)
        timer.at(begun + 6)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [round(when - begun, 6) for when in rung] == [3, 6]


async def test_a_limit_that_is_always_used_up_sets_no_more_alarms_than_at_first(
    autojump_clock: MockClock,
) -> None:
    """Each flow that could go sooner than those before added an alarm that set itself again for ever: a seed
    with a limit had some hundred after five minutes, and a core was busy with them within the hour."""
    alarm, rng = CountingAlarm(), Random(1)

    async def flow(pacer: Pacer, link: LinkId) -> None:
        while True:
            granted = trio.Event()
            quantum = pacer.quantum(SHARE)
            assert quantum is not None
            if not pacer.ask(SHARE, link, rng.randint(50, quantum), granted.set):
                await granted.wait()
            await trio.sleep(rng.random() * 0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        pacer = Pacer(100_000.0, alarm)
        for number in range(10):
            nursery.start_soon(flow, pacer, LinkId(number))
        counts = []
        for _ in range(6):
            before = alarm.count
            await trio.sleep(20)
            counts.append(alarm.count - before)
        nursery.cancel_scope.cancel()
    assert max(counts) <= 1.2 * counts[0]


async def test_whoever_waits_for_a_limit_is_told_in_turn_and_once(autojump_clock: MockClock) -> None:
    alarm = Alarm()
    told: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        pacer = Pacer(100_000.0, alarm)
        assert pacer.rate(SHARE) == 100_000.0
        quantum = pacer.quantum(SHARE)
        assert quantum is not None
        for number in range(3):
            assert not pacer.ask(SHARE, LinkId(number), quantum, partial(told.append, number))
        pacer.withdraw(SHARE, LinkId(1))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert told == [0, 2]


async def test_the_lower_of_two_limits_counts(autojump_clock: MockClock) -> None:
    pacer = Pacer(None, Alarm())
    assert pacer.rate(SHARE) is None
    pacer.set_share_rate(SHARE, 7.0)
    assert pacer.rate(SHARE) == 7.0
    pacer.set_rate(5.0)
    assert pacer.rate(SHARE) == 5.0
    assert pacer.rate(ShareId(bytes([1]) * 32)) == 5.0
