"""The daemon in virtual time: it remembers, opens what is wanted, closes what is not, and loses nothing."""

import errno
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import TypeVar, TypeVarTuple

import pytest
import trio
from trio.testing import MockClock

from peer.control import protocol
from peer.control.client import ControlClient, DaemonError
from peer.control.protocol import Body, Get, Limits, List, Pause, Remove, Resume, Share, Status, Stop
from peer.control.server import ControlServer
from peer.daemon.daemon import Daemon
from peer.daemon.shelf import Shelf
from peer.errors import ConnectionLost, ExitCode
from peer.limits import CONTROL_PENDING_MAX, DORMANT_S
from peer.sim.disk import Operation
from peer.sim.files import SimFolder
from peer.sim.network import mbit
from peer.sim.places import SimPlaces
from peer.sim.workers import InlineWorkers
from peer.sim.world import PORT, SimPeer, World, open_world, read_file, write_file
from peer.workers import Lane
from tracker.server import TrackerServer

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

DATA = Random(1).randbytes(3_000_000)


class Machine:
    """A simulated peer with a daemon on it, and a command's way to talk to it."""

    def __init__(self, peer: SimPeer) -> None:
        self.peer = peer
        self.daemon: Daemon
        self.files: SimFolder

    async def boot(self) -> None:
        self.files = SimFolder(self.peer.disk, (), label="")
        shelf = SimFolder(self.peer.disk, ("home", "shares"), label="")
        self.daemon = Daemon(self.peer.node, self.peer.workers, Shelf(shelf), SimPlaces(self.peer.disk))
        self.daemon.context.host = self.peer.host.address
        started = trio.Event()

        async def run() -> None:
            async with trio.open_nursery() as inner:
                await inner.start(self.daemon.run)
                started.set()

        self.peer.start_soon(run)
        await started.wait()

    async def crash(self, power_seed: int | None = None) -> None:
        """Die without a word and come back."""
        await self.peer.crash(power_seed=power_seed)
        self.peer.host.start()
        await start_node(self.peer)
        await self.boot()

    async def ask(self, request: protocol.Request) -> Body:
        """As a command does, over a stream."""
        ours, theirs = trio.testing.memory_stream_pair()
        with trio.fail_after(2000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ControlServer(self.daemon).serve, theirs)
                client = ControlClient(ours)
                try:
                    answer: Body | DaemonError = await client.ask(request)
                except DaemonError as error:
                    answer = error
                await client.aclose()
        if isinstance(answer, DaemonError):
            raise answer
        return answer

    async def share(self, name: str, data: bytes = DATA) -> str:
        write_file(self.files, ("data", name), data)
        return str((await self.ask(Share(f"/data/{name}")))["link"])

    def open_members(self) -> int:
        return len(self.peer.node.members)

    def read(self, *path: str) -> bytes:
        return read_file(self.files, path)


async def start_node(peer: SimPeer) -> None:
    """The machine's power and node; the daemon runs the node."""
    peer._nursery = await peer._world.nursery.start(peer._live, peer.off)
    from peer.node import Node

    peer.node = Node(peer.node_id, peer.host.transport(peer.node_id), peer.workers, peer._rng)
    await peer.node.listen(None, PORT)


@asynccontextmanager
async def machines(*names: str, seed: int = 1) -> AsyncIterator[tuple[World, list[Machine]]]:
    """A world of machines with a daemon each."""
    async with open_world(seed) as world:
        made = []
        for name in names:
            host = world.network.add_host(name, latency=0.005)
            peer = SimPeer(world, name, host, Random(world.rng.getrandbits(64)), None)
            world.peers[name] = peer
            await start_node(peer)
            machine = Machine(peer)
            await machine.boot()
            made.append(machine)
        yield world, made


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


async def test_a_tracker_knows_of_shares_that_are_closed(autojump_clock: MockClock) -> None:
    async with machines("a", "b") as (world, [a, b]):
        house = world.network.add_host("tracker", latency=0.005)
        server = TrackerServer(house.transport(), Random(0))
        await server.listen(None, 7700)
        world.nursery.start_soon(server.run)
        tracker = f"{house.address}:7700"
        links = []
        for number in range(100):
            write_file(a.files, ("data", f"f{number}"), Random(number).randbytes(1000))
            links.append((await a.ask(Share(f"/data/f{number}", trackers=(tracker,))))["link"])
        await trio.sleep(10)
        assert server.statistics().registry.members == 100
        assert a.open_members() == 0
        await trio.sleep(1000)
        assert server.statistics().registry.members == 100, "it goes on telling"
        bare = links[7].partition("&x.pe")[0]
        await b.ask(Get(bare, "/in"))
        assert b.read("in", "f7") == Random(7).randbytes(1000)
        await a.ask(Stop())
        await a.daemon.ended.wait()
        await trio.sleep(1)
        assert server.statistics().registry.members <= 1, "it says that it leaves"


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1\xc1", b"\0\0\0\0", b"\xff" * 100, b"\0\0\0\5\x81\xa2do\xc0", b""],
)
async def test_noise_gets_an_error_and_harms_nothing(noise: bytes, autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            await ours.send_all(noise)
            if noise:
                with trio.fail_after(5):
                    assert b"error" in await ours.receive_some()
            await ours.aclose()
        assert (await a.ask(Status()))["known"] == 0


async def test_after_a_request_that_makes_no_sense_the_next_one_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            await ours.send_all(b"\0\0\0\1\xc1" + protocol.encode_request(9, Status()))
            with trio.fail_after(5):
                answers = bytes(await ours.receive_some())
            assert b"error" in answers
            assert b"done" in answers
            nursery.cancel_scope.cancel()


async def test_a_flood_of_slow_requests_is_refused_beyond_its_limit(autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        nobody = "magnet:?xt=urn:blake3:" + "ab" * 32
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            for number in range(CONTROL_PENDING_MAX + 5):
                await ours.send_all(protocol.encode_request(number, Get(nobody, "/in")))
            await trio.sleep(1)
            answers = bytes(await ours.receive_some(1 << 20))
            assert answers.count(b"requests at once") == 5
            nursery.cancel_scope.cancel()


async def test_it_stops_when_it_is_told(autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        await a.share("film.bin")
        assert await a.ask(Stop()) == {}
        with trio.fail_after(10):
            await a.daemon.ended.wait()


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


async def test_a_tracker_that_comes_late_or_back_is_told(autojump_clock: MockClock) -> None:
    async with machines("a") as (world, [a]):
        house = world.network.add_host("tracker", latency=0.005)
        write_file(a.files, ("data", "film.bin"), DATA)
        await a.ask(Share("/data/film.bin", trackers=(f"{house.address}:7700",)))
        await trio.sleep(30)
        [news] = (await a.ask(Status()))["trackers"]
        assert news["error"], "told who asks"
        for _ in range(2):
            server = TrackerServer(house.transport(), Random(0))
            await server.listen(None, 7700)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.run)
                    await trio.sleep(400)  # the longest back-off, with room
                    assert server.statistics().registry.members == 1
                    [news] = (await a.ask(Status()))["trackers"]
                    assert news["error"] is None
                    scope.cancel()
            await trio.sleep(100)


async def test_whoever_cannot_be_dialled_is_dialled_when_the_tracker_knows_him(
    autojump_clock: MockClock,
) -> None:
    """The getter does not get through to the sharer: the sharer opens its share and tries as well."""
    async with machines("a", "b") as (world, [a, b]):
        house = world.network.add_host("tracker", latency=0.005)
        server = TrackerServer(house.transport(), Random(0))
        await server.listen(None, 7700)
        world.nursery.start_soon(server.run)
        tracker = f"{house.address}:7700"
        write_file(a.files, ("data", "film.bin"), DATA)
        link = (await a.ask(Share("/data/film.bin", trackers=(tracker,))))["link"]
        world.network.cut(b.peer.host, a.peer.host)
        bare = link.partition("&x.pe")[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.ask, Get(bare, "/in"))
            opened = False
            for _ in range(200):
                await trio.sleep(1)
                opened = opened or a.open_members() > 0
            assert opened, "the tracker says that somebody fetches it"
            world.network.heal()
        assert b.read("in", "film.bin") == DATA


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


async def test_a_share_with_an_address_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    """It was kept, and from then on no list of the shares could be made."""
    async with machines("a") as (_, [a]):
        write_file(a.files, ("data", "film.bin"), DATA)
        for request in (
            Share("/data/film.bin", announce="no address"),
            Share("/data/film.bin", trackers=("no address",)),
            Share("/data/film.bin", up=math.inf),
        ):
            with suppress(DaemonError):
                await a.ask(request)
            assert len((await a.ask(List()))["shares"]) <= 1
        await a.crash()
        assert not (await a.ask(List()))["damaged"]


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
