"""The daemon in virtual time: it remembers, opens what is wanted, closes what is not, and loses nothing."""

import errno
import math
from contextlib import suppress
from random import Random

import pytest
import trio
from trio.testing import MockClock

from peer.control import protocol
from peer.control.client import DaemonError
from peer.control.protocol import Get, Limits, List, Pause, Remove, Resume, Share, Status, Stop
from peer.errors import ConnectionLost, ExitCode
from peer.limits import DORMANT_S
from peer.sim.disk import Operation
from peer.sim.files import SimFolder
from peer.sim.network import mbit
from peer.sim.world import write_file
from tests.sim.machines import DATA, Machine, machines


async def test_a_share_travels_from_daemon_to_daemon(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        done = await b.ask(Get(link, "/in"))
        assert b.read("in", "film.bin") == DATA
        assert done["bytes"] == len(DATA)
        assert done["path"] == "/in/film.bin"
        assert sum(done["sources"].values()) == len(DATA)
        [row] = (await b.ask(List()))["shares"]
        assert row["complete"]
        assert row["role"] == "get"
        assert row["link"].startswith(link.partition("&")[0])
        again = await b.ask(Get(link, "/in"))
        assert again["bytes"] == len(DATA)


async def test_what_nobody_wants_is_closed_and_opened_when_somebody_does(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        assert a.open_members() == 0, "nobody has asked for it yet"
        await b.ask(Get(link, "/in"))
        assert a.open_members() == b.open_members() == 1
        await trio.sleep(2 * DORMANT_S)
        assert a.open_members() == b.open_members() == 0
        [row] = (await b.ask(List()))["shares"]
        assert row["state"] == "idle"
        await b.ask(Remove("film.bin"))
        assert b.read("in", "film.bin") == DATA, "its files stay"
        async with trio.open_nursery() as nursery:
            # From b, which fetched it, to a third: also what was fetched is served when it is asked for.
            nursery.start_soon(b.ask, Get(link, "/elsewhere"))
        assert b.read("elsewhere", "film.bin") == DATA


@pytest.mark.parametrize("power_seed", [None, 1, 2])
async def test_it_remembers_after_a_crash(power_seed: int | None, autojump_clock: MockClock) -> None:
    async with machines("a", "b", "c") as (_world, [a, b, c]):
        link = await a.share("film.bin")
        await b.ask(Get(link, "/in"))
        await b.ask(Limits("film.bin", up=mbit(8)))
        await a.crash(power_seed)
        await b.crash(power_seed)
        await a.ask(Pause("film.bin"))
        [row] = (await b.ask(List()))["shares"]
        assert row["state"] == "idle"
        assert row["up"] == mbit(8)
        assert b.open_members() == 0, "nothing was hashed, nothing is open"
        got = await c.ask(Get(link, "/in", peers=(str(b.peer.address),)))
        assert c.read("in", "film.bin") == DATA
        assert list(got["sources"]) == [b.peer.node_id.hex()]


async def test_transfers_go_on_after_a_crash_where_the_disk_says(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_world, [a, b]):
        links = [await a.share(f"film{n}.bin", Random(n).randbytes(1_000_000)) for n in range(5)]
        await a.ask(Limits(up=mbit(8)))
        async with trio.open_nursery() as nursery:
            for link in links:
                nursery.start_soon(ask_in_vain, b, Get(link, "/in"))
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        assert not any(resident.record.complete for resident in b.daemon.residents.values())
        await b.crash()
        await trio.sleep(10)
        assert all(resident.record.complete for resident in b.daemon.residents.values())
        for number in range(5):
            assert b.read("in", f"film{number}.bin") == Random(number).randbytes(1_000_000)
        sent = sum(r.member.outflow.statistics().sent_bytes for r in a.daemon.residents.values()
                   if r.member is not None and r.member.outflow is not None)  # fmt: skip
        assert sent < 5_800_000, "what was on the disk was not fetched again"


def held(machine: Machine) -> list[int]:
    """The pieces that it has of its only share."""
    [resident] = machine.daemon.residents.values()
    assert resident.member is not None
    assert resident.member.holding is not None
    return list(resident.member.holding.have.indices())


async def test_pieces_come_in_the_order_that_was_asked_for_also_after_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with machines("a", "b") as (_world, [a, b]):
        link = await a.share("film.bin")
        await a.ask(Limits(up=mbit(2)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_in_vain, b, Get(link, "/in", order="in-order"))
            await trio.sleep(3)
            before = held(b)
            nursery.cancel_scope.cancel()
        await b.crash()
        await trio.sleep(5)
        after = held(b)
        assert 5 < len(before) < len(after) < 150
        for have in (before, after):
            assert max(have) < len(have) + 4, "all from the beginning, but for the few under way"
        await b.ask(Get(link, "/in", order="rarest"))
        [resident] = b.daemon.residents.values()
        assert resident.record.piece_order == "rarest"
        assert b.read("in", "film.bin") == DATA


async def test_an_order_that_nobody_knows_is_refused(autojump_clock: MockClock) -> None:
    async with machines("a") as (_world, [a]):
        link = await a.share("film.bin")
        with pytest.raises(DaemonError, match="'backwards' is no order of pieces: there are rarest"):
            await a.ask(Get(link, "/in", order="backwards"))


async def ask_in_vain(machine: Machine, request: protocol.Request) -> None:
    with suppress(ConnectionLost):
        await machine.ask(request)


async def test_a_paused_share_rests_whatever_others_want(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_world, [a, b]):
        link = await a.share("film.bin")
        await a.ask(Pause())
        with pytest.raises(DaemonError) as caught:
            await b.ask(Get(link, "/in", timeout_s=5.0))
        assert caught.value.exit_code == ExitCode.NO_SOURCE
        assert "peer remove" in str(caught.value), "the daemon goes on, and says so"
        await a.crash()
        [row] = (await a.ask(List()))["shares"]
        assert row["state"] == "paused"
        await a.ask(Resume())
        with trio.fail_after(400):
            await b.ask(Get(link, "/in"))


async def test_limits_of_a_share_hold_beside_another_and_while_running(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        slow = await a.share("slow.bin", Random(3).randbytes(20_000_000))
        fast = await a.share("fast.bin", Random(4).randbytes(40_000_000))
        await a.ask(Limits("slow.bin", up=200_000.0))
        await a.ask(Limits(up=1_000_000.0))

        def sent(name: str) -> int:
            [resident] = [r for r in a.daemon.residents.values() if r.record.name == name]
            assert resident.member is not None
            assert resident.member.outflow is not None
            return resident.member.outflow.statistics().sent_bytes

        async with trio.open_nursery() as nursery:
            for link in (slow, fast):
                nursery.start_soon(ask_in_vain, b, Get(link, "/in"))
            await trio.sleep(3)
            # bytes in five seconds: the slow share's limit, and what it leaves of the node's to the other
            for up, node, slowly, other in (
                (None, None, 1_000_000, 4_000_000),
                (400_000.0, None, 2_000_000, 3_000_000),
                (None, 2_000_000.0, 2_000_000, 8_000_000),
                (100_000.0, 500_000.0, 500_000, 2_000_000),
            ):
                if up is not None:
                    await a.ask(Limits("slow.bin", up=up))
                if node is not None:
                    await a.ask(Limits(up=node))
                await trio.sleep(0.5)
                before = sent("slow.bin"), sent("fast.bin")
                await trio.sleep(5)
                assert sent("slow.bin") - before[0] == pytest.approx(slowly, rel=0.02, abs=20_000)
                assert sent("fast.bin") - before[1] == pytest.approx(other, rel=0.02, abs=20_000)
            nursery.cancel_scope.cancel()


async def test_a_download_limit_of_a_share_holds(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin", Random(3).randbytes(10_000_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_in_vain, b, Get(link, "/in", down=300_000.0))
            await trio.sleep(3)
            [resident] = b.daemon.residents.values()
            assert resident.member is not None
            links = resident.member.links
            before = sum(one.received_bytes for one in links.values())
            await trio.sleep(5)
            assert sum(one.received_bytes for one in links.values()) - before == pytest.approx(
                1_500_000, rel=0.03
            )
            nursery.cancel_scope.cancel()


async def test_a_file_that_changed_while_it_was_closed_is_not_served(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_world, [a, b]):
        link = await a.share("film.bin")
        a.files.remove(("data", "film.bin"))
        write_file(a.files, ("data", "film.bin"), DATA[::-1])
        await a.crash()
        await trio.sleep(10)
        [row] = (await a.ask(Status()))["shares"]
        assert "film.bin" in row["troubles"][0], "found out at the start, and told"
        with pytest.raises(DaemonError) as caught:
            await b.ask(Get(link, "/in", timeout_s=5.0))
        assert caught.value.exit_code == ExitCode.NO_SOURCE
        await a.ask(Share("/data/film.bin"))
        [row] = (await a.ask(List()))["shares"]
        assert row["link"] != link, "the same path with other content is another share, and the only one"


async def test_what_cannot_be_read_is_named_and_stops_nothing_else(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_world, [a, b]):
        await a.share("bad.bin", b"x" * 1000)
        link = await a.share("good.bin")
        [bad] = [r.record.share for r in a.daemon.residents.values() if r.record.name == "bad.bin"]
        shelf = SimFolder(a.peer.disk, ("home", "shares"), label="")
        shelf.remove((bad.hex(), "share"))
        write_file(shelf, (bad.hex(), "share"), b"{ damaged")
        await a.crash()
        listed = await a.ask(List())
        assert [row["name"] for row in listed["shares"]] == ["good.bin"]
        assert bad.hex() in listed["damaged"][0]
        await b.ask(Get(link, "/in"))


@pytest.mark.parametrize("again", [False, True])
async def test_a_damaged_share_can_be_removed_or_brought_again(
    again: bool, autojump_clock: MockClock
) -> None:
    """So says its line; but nothing could remove it, and brought again it went on being called damaged."""
    async with machines("a") as (_world, [a]):
        await a.share("bad.bin", b"x" * 1000)
        [bad] = a.daemon.residents
        shelf = SimFolder(a.peer.disk, ("home", "shares"), label="")
        shelf.remove((bad.hex(), "share"))
        write_file(shelf, (bad.hex(), "share"), b"{ damaged")
        await a.crash()
        await a.ask(Share("/data/bad.bin") if again else Remove(bad.hex()))
        for _ in range(2):
            listed = await a.ask(List())
            assert not listed["damaged"]
            assert len(listed["shares"]) == again
            await a.crash()


async def test_a_transfer_that_fails_says_why_and_can_be_resumed(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        write_file(b.files, ("in", "film.bin"), b"something else")
        with pytest.raises(DaemonError) as caught:
            await b.ask(Get(link, "/in"))
        assert caught.value.exit_code == ExitCode.STORAGE
        assert "/in/film.bin" in str(caught.value)
        [row] = (await b.ask(List()))["shares"]
        assert row["state"] == "failed"
        b.files.remove(("in", "film.bin"))
        await b.ask(Resume("film.bin"))
        await trio.sleep(5)
        assert b.read("in", "film.bin") == DATA


async def test_seeding_for_a_time_ends_and_is_forgotten(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        await b.ask(Get(link, "/in", seed_s=100.0))
        await trio.sleep(90)
        assert (await b.ask(List()))["shares"]
        await trio.sleep(20)
        assert not (await b.ask(List()))["shares"]
        assert b.read("in", "film.bin") == DATA


async def test_it_stops_when_it_is_told(autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        await a.share("film.bin")
        assert await a.ask(Stop()) == {}
        with trio.fail_after(10):
            await a.daemon.ended.wait()


async def test_a_link_names_no_size_but_the_whole_share_s(autojump_clock: MockClock) -> None:
    """Of what was not found yet it said 0 bytes, and of some files their size for that of all."""
    async with machines("a", "b") as (_, [a, b]):
        files = {("book.pdf",): b"p" * 200_000, ("film.bin",): DATA}
        for path, data in files.items():
            write_file(a.files, ("data", "folder", *path), data)
        link = (await a.ask(Share("/data/folder")))["link"]
        unknown = "magnet:?xt=urn:blake3:" + 64 * "7"
        with suppress(DaemonError):
            await b.ask(Get(unknown, "/in", timeout_s=1.0))
        await b.ask(Get(link, "/in", only=("*.pdf",)))
        assert ["&xl=" in row["link"] for row in (await b.ask(List()))["shares"]] == [False, False]
        await b.ask(Get(link, "/in"))
        assert f"&xl={200_000 + len(DATA)}&" in (await b.ask(List()))["shares"][1]["link"]


async def test_some_files_first_and_the_others_later(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (_, [a, b]):
        files = {("book.pdf",): b"p" * 200_000, ("film.bin",): DATA, ("sub", "empty"): b""}
        for path, data in files.items():
            write_file(a.files, ("data", "folder", *path), data)
        link = (await a.ask(Share("/data/folder")))["link"]
        await b.ask(Get(link, "/in", only=("*.pdf",)))
        assert b.read("in", "folder", "book.pdf") == files["book.pdf",]
        assert b.files.kind(("in", "folder", "film.bin")) is None
        await trio.sleep(2 * DORMANT_S)
        assert b.open_members() == 1, "part of a share stays open: the shelf knows whole ones"
        await b.crash()
        await trio.sleep(5)
        assert b.open_members() == 1
        await b.ask(Get(link, "/in"))
        for path, data in files.items():
            assert b.read("in", "folder", *path) == data
        await trio.sleep(2 * DORMANT_S)
        assert b.open_members() == 0
        await b.ask(Remove("folder"))
        again = await b.ask(Get(link, "/in"))
        assert again["resumed_bytes"] == sum(map(len, files.values()))


@pytest.mark.parametrize("restart", [False, True])
async def test_some_files_that_are_gone_or_changed_are_not_called_complete(
    restart: bool, autojump_clock: MockClock
) -> None:
    """They were, as long as the daemon knew that it had fetched them once."""
    async with machines("a", "b") as (_, [a, b]):
        files = {("book.pdf",): b"p" * 200_000, ("empty.pdf",): b"", ("film.bin",): DATA}
        for path, data in files.items():
            write_file(a.files, ("data", "folder", *path), data)
        link = (await a.ask(Share("/data/folder")))["link"]
        get = Get(link, "/in", only=("*.pdf",))
        await b.ask(get)
        members = dict(b.peer.node.members)
        assert (await b.ask(get))["bytes"] == len(files["book.pdf",])
        assert b.peer.node.members == members, "what is as it was is not looked at anew"
        for name in ("book.pdf", "empty.pdf"):
            b.files.remove(("in", "folder", name))
            if restart:
                await b.crash()
                await trio.sleep(1)
            await b.ask(get)
            assert b.read("in", "folder", name) == files[name,]
        b.files.remove(("in", "folder", "book.pdf"))
        write_file(b.files, ("in", "folder", "book.pdf"), b"q" * 200_000)
        if restart:
            await b.crash()
        with pytest.raises(DaemonError, match=r"book\.pdf is there and is not what the link names"):
            await b.ask(get)
        assert b.read("in", "folder", "book.pdf") == b"q" * 200_000


async def test_only_so_many_are_open_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.daemon.daemon.AWAKE_SHARES_MAX", 2)
    async with machines("a", "b") as (_, [a, b]):
        links = [await a.share(f"film{n}.bin", Random(n).randbytes(100_000)) for n in range(6)]
        for link in links:
            await b.ask(Get(link, "/in"))
            assert a.open_members() <= 3, "one may still be closing"
        await trio.sleep(5)
        assert a.open_members() <= 2


async def test_a_peer_whose_id_the_link_names_is_nobody_else(autojump_clock: MockClock) -> None:
    """The daemon forgot the id, and fetched from whoever answered there."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        bare, _, address = link.partition("&x.pe=")
        with pytest.raises(DaemonError) as caught:
            await b.ask(Get(f"{bare}&x.pe={'77' * 32}@{address}", "/in", timeout_s=30.0))
        assert caught.value.exit_code == ExitCode.NO_SOURCE
        await b.crash()
        await trio.sleep(60)
        assert not (await b.ask(Status("film.bin")))["held"], "nor after a restart"
        await b.ask(Remove("film.bin"))
        named = f"{bare}&x.pe={a.peer.node_id.hex()}@{address}"
        assert (await b.ask(Get(named, "/in")))["bytes"] == len(DATA)


async def test_a_share_that_cannot_be_taken_from_the_disk_does_not_end_the_daemon(
    autojump_clock: MockClock,
) -> None:
    """Its time of seeding was over while the disk had an error."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        await b.ask(Get(link, "/in", seed_s=50.0))
        await trio.sleep(30)
        b.peer.disk.fail(errno.EROFS, Operation.REMOVE, times=math.inf)
        await trio.sleep(100)
        b.peer.disk.heal()
        await trio.sleep(100)
        assert not (await b.ask(List()))["shares"]
        await b.crash()
        assert not (await b.ask(List()))["shares"], "it is tried again until it is forgotten for good"
