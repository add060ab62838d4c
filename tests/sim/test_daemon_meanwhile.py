"""A daemon on a slow disk: whatever comes while something else happens to a share, nothing is undone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, TypeVarTuple

import trio
from trio.testing import MockClock

from peer.control.client import DaemonError
from peer.control.protocol import Get, Limits, List, Remove
from peer.sim.workers import InlineWorkers
from peer.workers import Lane
from tests.sim.machines import DATA, Machine, machines

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class SlowWorkers(InlineWorkers):
    """A disk on which everything takes a while, so that what happens meanwhile happens."""

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.sleep(0.003)
        result = await super().run(lane, job, *args)
        await trio.sleep(0.003)
        return result


@asynccontextmanager
async def slow_machines() -> AsyncIterator[tuple[Machine, Machine]]:
    async with machines("a", "b") as (_, [a, b]):
        b.peer.workers = SlowWorkers()
        await b.crash()
        yield a, b


async def test_a_get_that_comes_while_another_completes_does_not_undo_it(autojump_clock: MockClock) -> None:
    """It wrote back the record that it had read before, and the share was incomplete for ever."""
    async with slow_machines() as (a, b):
        link = await a.share("film.bin", DATA[:100_000])
        async with trio.open_nursery() as nursery:

            async def later(number: int) -> None:
                await trio.sleep(number * 0.002)
                assert (await b.ask(Get(link, "/in")))["bytes"] == 100_000

            for number in range(100):
                nursery.start_soon(later, number)
        assert all(resident.record.complete for resident in b.daemon.residents.values())
        await b.crash()
        assert all(resident.record.complete for resident in b.daemon.residents.values())


async def test_a_command_that_goes_away_does_not_take_its_transfer_along(autojump_clock: MockClock) -> None:
    """It was the command's task that opened the share, and ended with it."""
    for moment in range(1, 40, 3):
        async with slow_machines() as (a, b):
            link = await a.share("film.bin", DATA[:100_000])
            with trio.move_on_after(moment / 1000):
                await b.ask(Get(link, "/in"))
            await trio.sleep(10)
            for resident in b.daemon.residents.values():  # known: then it is fetched
                assert resident.record.complete


async def test_shares_whose_time_is_over_at_once_are_all_forgotten(autojump_clock: MockClock) -> None:
    """While one was being forgotten, somebody removed the other: the daemon died of it."""
    async with slow_machines() as (a, b):
        for number in range(3):
            link = await a.share(f"film{number}.bin", DATA[: 1000 + number])
            await b.ask(Get(link, "/in", seed_s=50.0))
        residents = b.daemon.residents
        for resident in residents.values():
            resident.complete_since = trio.current_time()
        with trio.fail_after(100):
            while len(residents) == 3:  # noqa: ASYNC110 - virtual time, and no event for this
                await trio.sleep(0.001)
        await b.ask(Remove(list(residents)[-1].hex()))
        await trio.sleep(30)
        assert not (await b.ask(List()))["shares"]


async def test_what_is_removed_stays_removed_whatever_changes_meanwhile(autojump_clock: MockClock) -> None:
    """Limits that were being changed put the record back on the shelf: after a restart the share was back."""
    async with slow_machines() as (_, b):
        await b.share("film.bin", DATA[:1000])
        async with trio.open_nursery() as nursery:

            async def limit() -> None:
                with suppress(DaemonError):
                    await b.ask(Limits("film.bin", up=1000.0))

            for _ in range(4):
                nursery.start_soon(limit)
            await trio.sleep(0.001)
            await b.ask(Remove("film.bin"))
        await b.crash()
        assert not (await b.ask(List()))["shares"]
