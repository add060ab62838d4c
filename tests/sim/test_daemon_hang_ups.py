"""Commands whose asker hangs up in the middle, or whose disk fails in the middle: nothing is half done. Found
by `python -m tests.chaos.daemon`."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, TypeVarTuple

import pytest
import trio
from trio.testing import MockClock

from peer.control.client import DaemonError
from peer.control.protocol import Get, Limits, List, Pause, Remove, Resume
from peer.errors import StorageError
from peer.member import Member
from peer.sim.disk import Operation
from peer.sim.network import mbit
from peer.sim.workers import InlineWorkers
from peer.workers import Lane
from tests.sim.machines import DATA, Machine, machines

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Threads(InlineWorkers):
    """Jobs take a while, and go on to their end like a thread's, whoever is cancelled."""

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.003)
            result = await super().run(lane, job, *args)
            await trio.sleep(0.003)
        return result


@asynccontextmanager
async def threaded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Machine, Machine]]:
    async def goodbye(self: Member) -> None:  # as to peers that are slow to take it
        await trio.sleep(0.02)

    monkeypatch.setattr(Member, "goodbye", goodbye)
    async with machines("a", "b") as (_, [a, b]):
        b.peer.workers = Threads()
        await b.crash()
        yield a, b


async def known(machine: Machine) -> dict[str, str]:
    return {row["name"]: row["state"] for row in (await machine.ask(List()))["shares"]}


async def test_a_get_whose_asker_hangs_up_is_fetched_if_it_is_known(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for the next start of the daemon."""
    for moment in range(0, 20, 2):
        async with threaded(monkeypatch) as (a, b):
            link = await a.share("film.bin", DATA[:100_000])
            with trio.move_on_after(moment / 1000):
                await b.ask(Get(link, "/in"))
            await trio.sleep(10)
            assert set((await known(b)).values()) <= {"seeding"}, moment


@pytest.mark.parametrize("request_", [Remove("film.bin"), Pause("film.bin"), Pause()])
async def test_who_hangs_up_leaves_nothing_at_work_that_is_paused_or_not_known(
    request_: Remove | Pause, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was removed was at work, known to nobody, and back after a restart; what was paused went on."""
    for moment in range(1, 40, 6):
        async with threaded(monkeypatch) as (a, b):
            link = await a.share("film.bin", DATA[:100_000])
            await b.ask(Get(link, "/in"))
            with trio.move_on_after(moment / 1000):
                await b.ask(request_)
            await trio.sleep(1)
            states = await known(b)
            assert b.open_members() == (states == {"film.bin": "seeding"}), moment
            await b.crash()
            assert (await known(b)).keys() == states.keys(), moment


async def test_a_failed_share_that_could_not_be_brought_again_still_says_so(
    autojump_clock: MockClock,
) -> None:
    """Its error was forgotten first: it waited, and for nothing."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        await a.ask(Limits(up=mbit(2)))
        with trio.move_on_after(2), suppress(DaemonError):
            await b.ask(Get(link, "/in"))
        [resident] = b.daemon.residents.values()
        await resident.close()
        resident.error = StorageError("the disk did something")
        b.peer.disk.fail(errno.EIO, Operation.WRITE)
        with pytest.raises(DaemonError, match="input/output"):
            await b.ask(Get(link, "/in"))
        assert await known(b) == {"film.bin": "failed"}


async def test_what_could_not_be_removed_goes_on_also_after_a_restart(autojump_clock: MockClock) -> None:
    """A transfer stood still, and the record was gone from the shelf all the same."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        await a.ask(Limits(up=mbit(2)))
        with trio.move_on_after(2), suppress(DaemonError):
            await b.ask(Get(link, "/in"))
        b.peer.disk.fail(errno.EIO, Operation.REMOVE, happens=1.0)
        with pytest.raises(DaemonError, match="input/output"):
            await b.ask(Remove("film.bin"))
        await trio.sleep(1)
        assert await known(b) == {"film.bin": "fetching"}
        await b.crash()
        assert list(await known(b)) == ["film.bin"]


async def test_a_share_whose_record_is_gone_is_forgotten_whatever_else_stays(
    autojump_clock: MockClock,
) -> None:
    """It was known until the next start, and nothing could be served of it."""
    async with machines("a") as (_, [a]):
        await a.share("film.bin")
        a.peer.disk.fail(errno.EIO, Operation.REMOVE, nth=2)
        await a.ask(Remove("film.bin"))
        assert not await known(a)
        await a.crash()
        assert not await known(a)


async def test_what_is_resumed_after_a_pause_that_failed_is_so_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    """The record was on the shelf although the disk had told of an error, and was not written again."""
    async with machines("a") as (_, [a]):
        await a.share("film.bin")
        a.peer.disk.fail(errno.EIO, Operation.SYNC_FOLDER)
        with pytest.raises(DaemonError, match="input/output"):
            await a.ask(Pause("film.bin"))
        await a.ask(Resume("film.bin"))
        await a.crash()
        assert await known(a) == {"film.bin": "idle"}
