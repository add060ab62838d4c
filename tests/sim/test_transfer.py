"""Whole nodes in virtual time: the main job, and what people and machines do to it."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TypeVar, TypeVarTuple

import pytest
import trio
from trio.testing import MockClock

from peer.errors import ContentError, StorageError
from peer.ids import Address, ShareId
from peer.manifest import Manifest
from peer.member import Member, Phase
from peer.member_statistics import member_statistics
from peer.sim.network import mbit
from peer.sim.workers import InlineWorkers
from peer.sim.world import SimPeer, World, open_world
from peer.workers import Lane

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

KIB = 1024
PATIENCE_S = 600


def noise(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


async def add_peers(world: World, count: int, up: float | None = None) -> list[SimPeer]:
    return [await world.add_peer(f"peer{number}", up=up) for number in range(count)]


async def test_one_file_from_one_peer(autojump_clock: MockClock) -> None:
    data = noise(300 * KIB + 17)
    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): data})
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == data
        statistics = member_statistics(fetch.member)
        assert statistics.sources == {origin.node_id: len(data)}
        assert statistics.wasted_bytes == 0


class BusyWorkers(InlineWorkers):
    """Notes when it is at work."""

    at_work = False

    async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        self.at_work = True
        try:
            return job(*args)
        finally:
            self.at_work = False


async def test_a_manifest_is_not_read_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """One with 100,000 files took more than a second, in which no other share of the node went on."""
    workers = BusyWorkers()
    decode = Manifest.decode
    read: list[bool] = []

    def watched(data: bytes, expected: ShareId | None = None) -> Manifest:
        read.append(workers.at_work)
        return decode(data, expected)

    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        getter.workers = getter.node.services.workers = workers
        link = await origin.share("file.bin", {(): noise(KIB)})
        monkeypatch.setattr(Manifest, "decode", staticmethod(watched))
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert read
        assert all(read)


async def test_a_folder_with_everything_in_it(autojump_clock: MockClock) -> None:
    files = {
        ("large.bin",): noise(200 * KIB),
        ("empty",): b"",
        ("sub", "small"): b"x",
        ("sub", "deep", "имя 文字.txt"): noise(5000, 2),
        ("sub", "packed"): noise(16 * KIB - 1, 3),
    }
    async with open_world(2) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("folder", files)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        for path, data in files.items():
            assert fetch.read(*path) == data, path


@pytest.mark.parametrize("files", [{(): b""}, {("a",): b"", ("b",): b""}])
async def test_a_share_without_a_byte(files: dict[tuple[str, ...], bytes], autojump_clock: MockClock) -> None:
    async with open_world(3) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("nothing", files)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        for path in files:
            assert fetch.read(*path) == b""


async def test_peers_serve_each_other_while_they_fetch(autojump_clock: MockClock) -> None:
    data = noise(1024 * KIB)
    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getters = await add_peers(world, 4, up=mbit(4))
        link = await origin.share("file.bin", {(): data})
        everybody = [origin.address, *(getter.address for getter in getters)]
        fetches = [getter.fetch(link, peers=everybody) for getter in getters]
        with trio.fail_after(PATIENCE_S):
            for fetch in fetches:
                await fetch.wait()
        for fetch in fetches:
            assert fetch.read() == data
            from_origin = member_statistics(fetch.member).sources.get(origin.node_id, 0)
            assert from_origin < 0.6 * len(data), "the swarm carried the load"


async def test_a_share_that_nobody_has_stands_still(autojump_clock: MockClock) -> None:
    async with open_world(5) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("other", {(): b"other"})
        wrong = type(link)(bytes(32), "missing", 5)  # type: ignore[arg-type]
        fetch = getter.fetch(wrong, peers=[origin.address, Address("10.9.9.9", 7701)])
        await trio.sleep(100)
        assert not fetch.member.complete.is_set()
        assert member_statistics(fetch.member).seconds_idle >= 100
        assert fetch.member.dialler.last_error is not None


async def test_a_killed_getter_goes_on_where_it_stood(autojump_clock: MockClock) -> None:
    data = noise(2048 * KIB)
    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): data})
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(1.5)
        held = member_statistics(fetch.member).held_bytes
        assert 0 < held < len(data)
        await getter.crash()
        await trio.sleep(1)
        await getter.restart()
        again = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await again.wait()
        assert again.read() == data
        assert member_statistics(again.member).resumed_bytes >= held


async def test_a_resumed_getter_knows_the_manifest_without_asking_anybody(autojump_clock: MockClock) -> None:
    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): noise(2048 * KIB)})
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(1.5)
        held = member_statistics(fetch.member).held_bytes
        await getter.crash()
        await getter.restart()
        again = getter.fetch(link)
        await trio.sleep(1)
        assert again.member.phase is Phase.FETCHING
        assert member_statistics(again.member).held_bytes >= held


async def test_power_loss_costs_what_was_not_durable_and_no_wrong_byte(autojump_clock: MockClock) -> None:
    data = noise(8192 * KIB)
    async with open_world(7) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): data})
        getter.fetch(link, peers=[origin.address])
        await trio.sleep(6.5)
        await getter.crash(power_seed=7)
        await getter.restart()
        again = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(PATIENCE_S):
            await again.wait()
        assert again.read() == data
        resumed = member_statistics(again.member).resumed_bytes
        assert resumed >= 4000 * KIB, "what was durable after five seconds is still there"


async def test_what_lies_at_the_target_is_found_and_not_fetched(autojump_clock: MockClock) -> None:
    data = noise(500 * KIB)
    async with open_world(8) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): data})
        for _ in range(2):
            fetch = getter.fetch(link, peers=[origin.address])
            with trio.fail_after(PATIENCE_S):
                await fetch.wait()
            await getter.crash()
            await getter.restart()
        assert member_statistics(fetch.member).resumed_bytes == len(data)
        assert member_statistics(fetch.member).sources == {}


async def test_a_different_file_is_never_overwritten(autojump_clock: MockClock) -> None:
    async with open_world(9) as world:
        one = await world.add_peer("one")
        other = await world.add_peer("other")
        getter = await world.add_peer("getter")
        first = await one.share("file.bin", {(): b"first"})
        second = await other.share("file.bin", {(): b"second"})
        fetch = getter.fetch(first, peers=[one.address])
        await fetch.wait()
        await getter.crash()
        await getter.restart()
        clash = getter.fetch(second, peers=[other.address])
        with pytest.raises(StorageError, match="is not what the link names"):
            await clash.wait()
        assert clash.read() == b"first"


async def test_a_selection_is_fetched_and_grows_later(autojump_clock: MockClock) -> None:
    files: dict[tuple[str, ...], bytes] = {
        ("a.txt",): noise(40 * KIB, 1),
        ("b.txt",): noise(40 * KIB, 2),
        ("c.bin",): noise(40 * KIB, 3),
    }
    async with open_world(10) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("folder", files)
        fetch = getter.fetch(link, peers=[origin.address], only=["a.*"])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read("a.txt") == files["a.txt",]
        with pytest.raises(FileNotFoundError):
            fetch.read("c.bin")
        await getter.crash()
        await getter.restart()
        more = getter.fetch(link, peers=[origin.address], only=["*.txt", "c.bin"])
        with trio.fail_after(PATIENCE_S):
            await more.wait()
        for path, data in files.items():
            assert more.read(*path) == data
        assert member_statistics(more.member).resumed_bytes >= 40 * KIB


async def test_the_source_may_come_late(autojump_clock: MockClock) -> None:
    data = noise(100 * KIB)
    async with open_world(11) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): data})
        await origin.crash()
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(30)
        await origin.restart()
        await origin.share("again", {(): data})
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == data


async def test_a_share_whose_file_hash_contradicts_its_pieces_is_not_called_complete(
    autojump_clock: MockClock,
) -> None:
    data = noise(100 * KIB)
    async with open_world(12) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        honest = await origin.share("file.bin", {(): data})
        await trio.sleep(0.1)
        holding = origin.node.members[honest.share].holding
        assert holding is not None
        entry = replace(holding.manifest.files[0], digest=bytes(32))
        manifest = replace(holding.manifest, files=(entry,))
        lying = replace(holding, manifest=manifest, data=manifest.encode())
        member = Member(manifest.share_id, origin.node.services, holding=lying)
        origin.start_soon(lambda: origin.node.take_part(member))
        fetch = getter.fetch(replace(honest, share=manifest.share_id), peers=[origin.address])
        with trio.fail_after(PATIENCE_S), pytest.raises(ContentError, match="checksum"):
            await fetch.wait()
        with pytest.raises(FileNotFoundError):
            fetch.read()
