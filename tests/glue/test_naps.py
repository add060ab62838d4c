"""Many tasks that sleep for a moment wake together, whoever of them is cancelled."""

import trio
import trio.testing

from peer.limits import NAP_STEP_S
from peer.net.naps import Naps


async def test_who_comes_later_wakes_with_who_came_first(autojump_clock: trio.testing.MockClock) -> None:
    naps, woken = Naps(), []

    async def nap(delay: float) -> None:
        await trio.sleep(delay)
        await naps.sleep(NAP_STEP_S)
        woken.append(trio.current_time())

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for part in (0.0, 0.1, 0.4):
            nursery.start_soon(nap, part * NAP_STEP_S)
    assert [at - begun for at in woken] == [NAP_STEP_S] * 3


async def test_a_longer_nap_lasts_to_the_nearest_step(autojump_clock: trio.testing.MockClock) -> None:
    naps = Naps()
    for steps in (2.0, 2.4, 1.7):
        begun = trio.current_time()
        await naps.sleep(steps * NAP_STEP_S)
        assert abs(trio.current_time() - begun - round(steps) * NAP_STEP_S) < NAP_STEP_S / 100


async def test_when_the_first_is_cancelled_others_wake(autojump_clock: trio.testing.MockClock) -> None:
    naps, woken = Naps(), []

    async def nap() -> None:
        await naps.sleep(NAP_STEP_S)
        woken.append(trio.current_time())

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(NAP_STEP_S / 5):
            async with trio.open_nursery() as first:
                first.start_soon(naps.sleep, NAP_STEP_S)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(nap)
                nursery.start_soon(nap)
    assert len(woken) == 2
    assert all(at - begun <= 2 * NAP_STEP_S for at in woken)
