"""Commands that cannot do what they were asked for: what they leave behind, and what goes on beside them."""

import errno
import math
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from peer.control.client import DaemonError
from peer.control.protocol import Get, Limits, List, Pause, Resume, Share
from peer.member import Member
from peer.sim.disk import Operation
from peer.sim.network import mbit
from peer.sim.world import write_file
from peer.store.outgoing import SourceStore
from tests.sim.machines import DATA, Machine, machines
from tests.sim.test_daemon_meanwhile import slow_machines


async def names(machine: Machine) -> list[str]:
    return [row["name"] for row in (await machine.ask(List()))["shares"]]


@pytest.mark.parametrize(
    ("folder", "only", "said"), [("/in/there", (), "/in"), ("/out", ("*.doc",), "no file of the share")]
)
async def test_a_get_that_cannot_begin_leaves_nothing_behind(
    folder: str, only: tuple[str, ...], said: str, autojump_clock: MockClock
) -> None:
    """It was listed as failed until somebody removed it, and a get into the right folder was refused."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        write_file(b.files, ("in",), b"a file where a folder is needed")
        both: list[str] = []

        async def ask() -> None:
            with pytest.raises(DaemonError, match=said) as caught:
                await b.ask(Get(link, folder, only=only))
            both.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert len(both) == 2
        assert await names(b) == []
        await b.crash()
        assert await names(b) == []
        await b.ask(Get(link, "/elsewhere"))
        assert b.read("elsewhere", "film.bin") == DATA


async def test_a_get_that_had_begun_stays_known_when_its_folder_is_gone(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        await b.ask(Get(link, "/in"))
        for restart in (False, True):
            b.files.remove(("in", "film.bin"))
            b.files.remove(("in",))
            write_file(b.files, ("in",), b"a file where a folder is needed")
            if restart:
                await b.crash()
            with pytest.raises(DaemonError):
                await b.ask(Get(link, "/in"))
            assert await names(b) == ["film.bin"]
            b.files.remove(("in",))
            await b.ask(Resume("film.bin"))
            await trio.sleep(60)
            assert b.read("in", "film.bin") == DATA


async def test_other_content_at_a_path_is_known_before_the_old_is_forgotten(
    autojump_clock: MockClock,
) -> None:
    """The old was forgotten first: on a full disk neither was known."""
    async with machines("a") as (_, [a]):
        await a.share("film.bin")
        a.files.remove(("data", "film.bin"))
        write_file(a.files, ("data", "film.bin"), DATA[::-1])
        a.peer.disk.fail(errno.ENOSPC, Operation.WRITE, times=math.inf)
        with pytest.raises(DaemonError, match="full"):
            await a.ask(Share("/data/film.bin"))
        a.peer.disk.heal()
        assert await names(a) == ["film.bin"]
        await a.crash()
        assert await names(a) == ["film.bin"]
        await a.ask(Share("/data/film.bin"))
        assert await names(a) == ["film.bin"]


async def test_one_record_that_cannot_be_written_keeps_no_other_share_from_its_pause(
    autojump_clock: MockClock,
) -> None:
    async with machines("a") as (_, [a]):
        for number in range(3):
            await a.share(f"film{number}.bin", DATA[: 1000 + number])
        a.peer.disk.fail(errno.EIO, Operation.WRITE)
        with pytest.raises(DaemonError, match="input/output"):
            await a.ask(Pause())
        assert sorted(row["state"] for row in (await a.ask(List()))["shares"]) == ["idle", "paused", "paused"]


async def test_whoever_resumes_last_has_it_at_work(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause that was still closing the share closed what had been resumed: it waited for ever."""

    async def goodbye(self: Member) -> None:  # as to peers that are slow to take it
        await trio.sleep(0.05)

    monkeypatch.setattr(Member, "goodbye", goodbye)
    for moment in range(1, 40, 4):
        async with slow_machines() as (a, b):
            link = await a.share("film.bin")
            await a.ask(Limits(up=mbit(2)))
            with trio.move_on_after(1), suppress(DaemonError):
                await b.ask(Get(link, "/in"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.ask, Pause("film.bin"))
                await trio.sleep(moment / 1000)
                nursery.start_soon(b.ask, Resume("film.bin"))
            [resident] = b.daemon.residents.values()
            assert resident.state != "waiting", moment


async def test_what_is_asked_for_while_it_is_shared_anew_goes_by_what_is_new(
    autojump_clock: MockClock,
) -> None:
    """Opened in between it was served from where it had been, and written back as lying there."""
    for moment in range(20, 35):
        async with slow_machines() as (_, b):
            await b.share("film.bin", DATA[:1000])
            write_file(b.files, ("moved", "film.bin"), DATA[:1000])
            [share] = b.daemon.residents
            await b.daemon._absent(share)  # at work, as for somebody who fetches it
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.ask, Share("/moved/film.bin"))
                await trio.sleep(moment / 1000)
                nursery.start_soon(b.daemon._absent, share)
            await b.daemon._absent(share)
            [resident] = b.daemon.residents.values()
            assert resident.member is not None
            holding = resident.member.holding
            assert holding is not None
            assert isinstance(holding.reader, SourceStore)
            assert holding.reader.files._folder.describe() == "/moved", moment
