"""A daemon and its trackers: told of shares that are closed, told again when they are back, listened to."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from peer.control.protocol import Get, Share, Status, Stop
from peer.daemon.herald import Herald
from peer.ids import ShareId
from peer.net.channel import MessageChannel
from peer.sim.world import write_file
from peer.wire.messages import Announce, Announced, AnnounceEvent
from tests.sim.machines import DATA, machines
from tracker.server import TrackerServer


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


@pytest.mark.parametrize("silent", [False, True])
async def test_a_share_that_goes_while_it_is_announced_is_taken_back_once(
    silent: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracker was told twice; and also when the share was open, and spoke for itself by then."""
    said: list[AnnounceEvent] = []
    message, exchange = Herald._message, Herald._exchange

    def noted(self: Herald, share: ShareId, event: AnnounceEvent) -> Announce:
        said.append(event)
        return message(self, share, event)

    async def interrupted(
        self: Herald, channel: MessageChannel, share: ShareId, event: AnnounceEvent
    ) -> Announced:
        answer = await exchange(self, channel, share, event)
        if event is AnnounceEvent.PROGRESS:
            self.remove(share, silent=silent)
        return answer

    monkeypatch.setattr(Herald, "_message", noted)
    monkeypatch.setattr(Herald, "_exchange", interrupted)
    async with machines("a") as (world, [a]):
        house = world.network.add_host("tracker", latency=0.005)
        server = TrackerServer(house.transport(), Random(0))
        await server.listen(None, 7700)
        world.nursery.start_soon(server.run)
        write_file(a.files, ("data", "film.bin"), DATA)
        await a.ask(Share("/data/film.bin", trackers=(f"{house.address}:7700",)))
        await trio.sleep(1000)
    taken_back = [] if silent else [AnnounceEvent.STOPPED]
    assert said == [AnnounceEvent.STARTED, AnnounceEvent.PROGRESS, *taken_back]


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
