"""The tracker client: announces on time, believes little, and lets no tracker stop anything."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import msgpack  # type: ignore[import-untyped]
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer import limits
from peer.discovery.tracker import TrackerClient, TrackerStatistics
from peer.errors import ByeCode, ConnectionLost
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.net.transport import Stream
from peer.wire.messages import Announce, Announced, AnnounceEvent, Bye, Hello, KnownPeer, Message
from tests.glue.memory_transport import MemoryNetwork
from tracker.server import TrackerServer

SHARE, NODE = ShareId(b"s" * 32), NodeId(b"n" * 32)
TRACKER = Address("192.0.2.1", 7700)
OTHER = Address("192.0.2.2", 7700)
PEER = KnownPeer(Address("198.51.100.7", 7701), NodeId(b"p" * 32))
ANSWER = Announced(60, 1, 1, (PEER,))
STARTED, PROGRESS, COMPLETED, STOPPED = AnnounceEvent

Answer = Message | Callable[[Stream], Awaitable[None]]


class FakeTracker:
    """Notes what it is told and answers as it is told to; a callable answer does as it likes."""

    def __init__(self, network: MemoryNetwork, address: Address = TRACKER, answer: Answer = ANSWER) -> None:
        self.transport = network.transport(address.host)
        self.address = address
        self.answer = answer
        self.heard: list[tuple[float, Announce]] = []
        self.conversations = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await self.transport.listen(None, self.address.port)
        task_status.started()
        async with listener, trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self.attend, await listener.accept())

    async def attend(self, stream: Stream) -> None:
        self.conversations += 1
        try:
            await self.talk(stream)
        except (ConnectionLost, trio.BrokenResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def talk(self, stream: Stream) -> None:
        channel = MessageChannel(stream)
        message = await channel.receive()
        assert isinstance(message, Announce)
        self.heard.append((trio.current_time(), message))
        if callable(self.answer):
            await self.answer(stream)
        else:
            await channel.send(self.answer)
        with pytest.raises(ConnectionLost):
            await channel.receive()

    @property
    def events(self) -> list[AnnounceEvent]:
        return [announce.event for _, announce in self.heard]

    @property
    def pauses(self) -> list[float]:
        return [late - early for (early, _), (late, _) in pairwise(self.heard)]


class Scene:
    """A network, trackers in it, and one client."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.found: list[tuple[list[KnownPeer], Address]] = []
        self.left = 100
        self.client: TrackerClient
        self.nursery: trio.Nursery
        self.ended_at = -1.0

    async def tracker(self, address: Address = TRACKER, answer: Answer = ANSWER) -> FakeTracker:
        fake = FakeTracker(self.network, address, answer)
        await self.nursery.start(fake.run)
        return fake

    @asynccontextmanager
    async def client_of(self, *trackers: Address, node: NodeId = NODE) -> AsyncIterator[TrackerClient]:
        """A running client; its end is timed."""
        self.client = TrackerClient(
            self.network.transport("10.0.0.1"),
            trackers,
            share=SHARE,
            node=node,
            port=7701,
            left=lambda: self.left,
            found=lambda peers, informant: self.found.append((peers, informant)),
            rng=Random(3),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.client.run)
            yield self.client
            nursery.cancel_scope.cancel()
            begun = trio.current_time()
        self.ended_at = trio.current_time() - begun

    def state(self, index: int = 0) -> TrackerStatistics:
        return self.client.statistics()[index]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with trio.open_nursery() as nursery:
        made.nursery = nursery
        yield made
        nursery.cancel_scope.cancel()


async def test_it_announces_and_tells_who_was_found(autojump_clock: MockClock, scene: Scene) -> None:
    fake = await scene.tracker()
    async with scene.client_of(TRACKER):
        await wait_all_tasks_blocked()
        assert fake.heard == [(0, Announce(1, SHARE, NODE, 7701, STARTED, 100, 50))]
        assert scene.found == [([PEER], TRACKER)]
        state = scene.state()
        assert (state.tracker, state.answered_at, state.error) == (TRACKER, 0, None)
        assert (state.seeders, state.leechers, state.peers, state.failures) == (1, 1, 1, 0)
        assert state.next_at is not None
        assert 51 <= state.next_at <= 60


async def test_it_reports_at_the_tracker_s_interval_and_says_stopped(
    autojump_clock: MockClock, scene: Scene
) -> None:
    fake = await scene.tracker()
    async with scene.client_of(TRACKER):
        await trio.sleep(600)
    assert fake.events == [STARTED, *[PROGRESS] * (len(fake.heard) - 2), STOPPED]
    assert 10 <= len(fake.heard) - 2 <= 12
    assert all(51 <= pause <= 60.01 for pause in fake.pauses[:-1])
    assert len({round(pause, 6) for pause in fake.pauses}) > 5, "jitter"
    assert fake.heard[-1][1].want == 0
    assert scene.ended_at == 0


async def test_completed_is_said_once_and_at_once(autojump_clock: MockClock, scene: Scene) -> None:
    fake = await scene.tracker()
    async with scene.client_of(TRACKER) as client:
        await trio.sleep(10)
        scene.left = 0
        client.completed()
        await trio.sleep(100)
    assert fake.events == [STARTED, COMPLETED, PROGRESS, STOPPED]
    assert [announce.left for _, announce in fake.heard] == [100, 0, 0, 0]
    assert fake.heard[1][0] == 10


async def test_completing_before_the_tracker_ever_answered_is_a_start_with_nothing_left(
    autojump_clock: MockClock, scene: Scene
) -> None:
    async with scene.client_of(TRACKER) as client:
        await trio.sleep(10)
        scene.left = 0
        client.completed()
        fake = await scene.tracker()
        await trio.sleep(60)
    assert fake.events[:2] == [STARTED, PROGRESS] or fake.events[:2] == [STARTED, STOPPED]
    assert fake.heard[0][1].left == 0


async def test_completing_while_it_announces_is_not_lost(autojump_clock: MockClock, scene: Scene) -> None:
    async def slowly(stream: Stream) -> None:
        await trio.sleep(5)
        await MessageChannel(stream).send(ANSWER)

    fake = await scene.tracker(answer=slowly)
    async with scene.client_of(TRACKER) as client:
        await trio.sleep(1)
        scene.left = 0
        client.completed()
        await trio.sleep(30)
    assert fake.events[:2] == [STARTED, COMPLETED]


# --- pauses


@pytest.mark.parametrize(("asked", "least", "most"), [(1, 25, 30), (2**32 - 1, 1530, 1800)])
async def test_a_tracker_s_interval_is_taken_within_bounds(
    autojump_clock: MockClock, scene: Scene, asked: int, least: float, most: float
) -> None:
    fake = await scene.tracker(answer=Announced(asked, 0, 0, ()))
    async with scene.client_of(TRACKER):
        await trio.sleep(5000)
    assert all(least <= pause <= most + 0.01 for pause in fake.pauses[:-1])


async def test_needing_peers_asks_sooner_but_ever_less_so(autojump_clock: MockClock, scene: Scene) -> None:
    fake = await scene.tracker(answer=Announced(1800, 0, 0, ()))
    async with scene.client_of(TRACKER) as client:
        for _ in range(600):
            client.more()
            await trio.sleep(0.5)
    pauses = fake.pauses[:-1]
    assert limits.TRACKER_MORE_S_MIN <= pauses[0] < 1.25 * limits.TRACKER_MORE_S_MIN + 0.5
    assert pauses[:4] == sorted(pauses[:4])
    assert max(pauses) <= 1.25 * limits.TRACKER_MORE_S_MAX + 0.5
    assert len(pauses) <= 9


async def test_one_need_is_one_early_announce(autojump_clock: MockClock, scene: Scene) -> None:
    fake = await scene.tracker(answer=Announced(1800, 0, 0, ()))
    async with scene.client_of(TRACKER) as client:
        await trio.sleep(100)
        client.more()
        await trio.sleep(1000)
    assert [time for time, _ in fake.heard[:2]] == [0, 100], "the least pause was over long ago"
    assert len(fake.heard) == 3


async def test_back_off_doubles_up_to_five_minutes_and_need_does_not_shorten_it(
    autojump_clock: MockClock, scene: Scene
) -> None:
    async with scene.client_of(TRACKER) as client:
        for _ in range(4000):
            client.more()
            await trio.sleep(0.5)
        state = scene.state()
        assert state.error == f"cannot reach {TRACKER}: connection refused"
        assert state.answered_at is None
    times = [time for time, _ in scene.network.dials]
    pauses = [late - early for early, late in pairwise(times)]
    for count, pause in enumerate(pauses):
        longest = min(2**count * limits.TRACKER_BACKOFF_S_MIN / 0.75, limits.TRACKER_BACKOFF_S_MAX)
        assert 0.75 * longest - 0.01 <= pause <= longest + 0.01
    assert len(pauses) > 10
    assert scene.ended_at == 0, "who never heard of us is not told that we stop"


async def test_back_off_begins_anew_after_an_answer(autojump_clock: MockClock, scene: Scene) -> None:
    async with scene.client_of(TRACKER):
        await trio.sleep(300)
        fake = await scene.tracker()
        await trio.sleep(600)
        assert fake.heard
        assert scene.state().failures == 0
        assert scene.state().error is None


# --- bad company


async def garbage(stream: Stream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def half_a_frame(stream: Stream) -> None:
    await stream.send_all(b"\x00\x00")
    await stream.aclose()


async def half_a_frame_and_silence(stream: Stream) -> None:
    await stream.send_all(b"\x00\x00")
    await trio.sleep(3600)


async def oversize(stream: Stream) -> None:
    await stream.send_all(b"\x7f\xff\xff\xff")


async def ten_thousand_peers(stream: Stream) -> None:
    peers = [["10.0.0.1", 7701, None]] * 10_000
    fields = {"kind": "announced", "interval": 60, "seeders": 1, "leechers": 1, "peers": peers}
    header: bytes = msgpack.packb(fields)
    await stream.send_all(len(header).to_bytes(4, "big") + header)


async def silence(stream: Stream) -> None:
    await trio.sleep(3600)


async def hang_up(stream: Stream) -> None:
    await stream.aclose()


BAD: dict[str, tuple[Answer, str]] = {
    "garbage": (garbage, "header of 1213486160 bytes"),
    "half a frame": (half_a_frame, "middle of a message"),
    "half a frame and silence": (half_a_frame_and_silence, "no answer within 30 s"),
    "oversize": (oversize, "header of 2147483647 bytes"),
    "10,000 peers": (ten_thousand_peers, "header of"),
    "silence": (silence, "no answer within 30 s"),
    "hang-up": (hang_up, "closed"),
    "another message": (Hello(1, SHARE, NODE, 1, 1), "answers with hello"),
    "refusal": (Bye(ByeCode.FULL), "the tracker refuses: full"),
    "refusal with words": (
        Bye(ByeCode.FULL, "no \x1b[31mroom\n\u202e"),
        r"refuses: no \x1b[31mroom\x0a\u202e",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_tracker_is_named_and_the_good_one_goes_on(
    autojump_clock: MockClock, scene: Scene, name: str
) -> None:
    answer, error = BAD[name]
    bad = await scene.tracker(OTHER, answer)
    good = await scene.tracker()
    async with scene.client_of(OTHER, TRACKER):
        await trio.sleep(200)
        assert error in (scene.state(0).error or ""), scene.state(0).error
        assert scene.state(0).error == (scene.state(0).error or "").strip()
        assert scene.state(0).answered_at is None
        assert scene.state(1).error is None
    assert {informant for _, informant in scene.found} == {TRACKER}
    assert good.events == [STARTED, PROGRESS, PROGRESS, PROGRESS, STOPPED]
    assert 2 < bad.conversations < 10, "asked again and again, with pauses"
    assert scene.ended_at <= limits.TRACKER_STOP_S


async def test_a_hanging_dial_is_given_up_and_does_not_delay_the_end(
    autojump_clock: MockClock, scene: Scene
) -> None:
    scene.network.hanging.add(TRACKER)
    async with scene.client_of(TRACKER):
        await trio.sleep(limits.TRACKER_EXCHANGE_S + 0.1)
        assert scene.state().error == "no answer within 30 s"
        assert scene.state().failures == 1
    assert scene.ended_at == 0


async def test_a_tracker_that_hangs_at_the_end_costs_a_second(
    autojump_clock: MockClock, scene: Scene
) -> None:
    fake = await scene.tracker()
    async with scene.client_of(TRACKER):
        await trio.sleep(5)
        fake.answer = silence
    assert fake.events == [STARTED, STOPPED]
    assert scene.ended_at == pytest.approx(limits.TRACKER_STOP_S)


async def test_whatever_a_transport_raises_stays_inside(
    autojump_clock: MockClock, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Stream:
        raise UnicodeError("label empty or\ntoo long")

    async with scene.client_of(TRACKER) as client:
        monkeypatch.setattr(client._transport, "dial", fail)
        await trio.sleep(100)
        assert scene.state().error == "UnicodeError: label empty or\\x0atoo long"


async def test_we_are_not_told_of_ourselves(autojump_clock: MockClock, scene: Scene) -> None:
    ourselves = KnownPeer(Address("10.0.0.1", 7701), NODE)
    await scene.tracker(answer=Announced(60, 0, 2, (ourselves, PEER)))
    await scene.tracker(OTHER, Announced(60, 0, 1, (ourselves,)))
    async with scene.client_of(TRACKER, OTHER):
        await trio.sleep(1)
    assert scene.found == [([PEER], TRACKER)]


async def test_without_trackers_there_is_nothing_to_do(autojump_clock: MockClock, scene: Scene) -> None:
    async with scene.client_of():
        await wait_all_tasks_blocked()
        assert scene.client.statistics() == ()


async def test_a_tracker_named_twice_is_one(autojump_clock: MockClock, scene: Scene) -> None:
    fake = await scene.tracker()
    async with scene.client_of(TRACKER, TRACKER):
        await trio.sleep(1)
    assert fake.events == [STARTED, STOPPED]


# --- with the real tracker


async def test_peers_find_each_other_again_within_an_interval_of_a_restart(
    autojump_clock: MockClock, scene: Scene
) -> None:
    """RELIABILITY row 12: the tracker comes back with an empty registry."""

    async def serve(server: TrackerServer, task_status: trio.TaskStatus[None]) -> None:
        await server.listen(None, TRACKER.port)
        task_status.started()
        await server.run()

    clients = [
        TrackerClient(
            scene.network.transport(f"10.0.0.{number}"),
            [TRACKER],
            share=SHARE,
            node=NodeId(bytes([number]) * 32),
            port=7701,
            left=lambda: 1,
            found=lambda peers, informant: None,
            rng=Random(number),
        )
        for number in range(1, 21)
    ]
    first, second = (TrackerServer(scene.network.transport(TRACKER.host), Random(n)) for n in (1, 2))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, first)
        for client in clients:
            nursery.start_soon(client.run)
        await trio.sleep(5)
        assert first.statistics().registry.members == 20
        first.stop()
        await trio.sleep(1)
        await nursery.start(serve, second)
        await trio.sleep(limits.ANNOUNCE_INTERVAL_S_MIN)
        assert second.statistics().registry.members == 20
        nursery.cancel_scope.cancel()
