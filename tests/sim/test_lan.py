"""Two machines on one local network find each other from a link that holds only the hash."""

import trio
from trio.testing import MockClock

from peer.ids import ShareId
from peer.magnet import MagnetLink
from peer.net.lan import lan_key
from peer.sim.lan import SimSegment
from peer.sim.network import mbit
from peer.sim.world import open_world

DATA = bytes(range(256)) * 4096


async def test_a_bare_hash_is_enough_on_one_network(autojump_clock: MockClock) -> None:
    segment = SimSegment()
    async with open_world(1) as world:
        sharer = await world.add_peer("sharer", up=mbit(80), segment=segment)
        getter = await world.add_peer("getter", segment=segment)
        link = await sharer.share("file.bin", {(): DATA})
        fetch = getter.fetch(MagnetLink(link.share, "file.bin", None, ()))
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_the_getter_may_be_there_first(autojump_clock: MockClock) -> None:
    segment = SimSegment()
    async with open_world(1) as world:
        elsewhere = await world.add_peer("elsewhere")
        link = await elsewhere.share("file.bin", {(): DATA})
        getter = await world.add_peer("getter", segment=segment)
        fetch = getter.fetch(MagnetLink(link.share, "file.bin", None, ()))
        await trio.sleep(30)
        assert not fetch.member.complete.is_set(), "nobody on its network has it yet"
        sharer = await world.add_peer("sharer", segment=segment)
        await sharer.share("file.bin", {(): DATA})
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_another_network_does_not_hear_it(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        sharer = await world.add_peer("sharer", segment=SimSegment())
        getter = await world.add_peer("getter", segment=SimSegment())
        link = await sharer.share("file.bin", {(): DATA})
        fetch = getter.fetch(MagnetLink(link.share, "file.bin", None, ()))
        await trio.sleep(60)
        assert not fetch.member.links


async def test_who_comes_to_the_network_later_is_found_there(autojump_clock: MockClock) -> None:
    home, elsewhere = SimSegment(), SimSegment()
    async with open_world(1) as world:
        sharer = await world.add_peer("sharer", segment=home)
        getter = await world.add_peer("getter", segment=elsewhere)
        link = await sharer.share("file.bin", {(): DATA})
        fetch = getter.fetch(MagnetLink(link.share, "file.bin", None, ()))
        await trio.sleep(60)
        assert not fetch.member.links
        assert getter.lan is not None
        getter.lan.move(None)
        await trio.sleep(60)
        getter.lan.move(home)
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA
        assert not any(elsewhere.announced.values())


def test_the_name_tells_nothing_of_the_share() -> None:
    share = ShareId(bytes(range(32)))
    assert len(lan_key(share)) == 32
    assert lan_key(share) == lan_key(share)
    assert share.hex()[:8] not in lan_key(share)
    assert len({lan_key(share), lan_key(share, b"secret"), lan_key(ShareId(bytes(32)))}) == 3
