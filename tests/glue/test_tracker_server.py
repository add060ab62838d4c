"""The tracker's server: answers honest peers, whatever company they come in."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer import limits
from peer.errors import ByeCode, ConnectionLost, UsageError
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.net.transport import Stream
from peer.published import NOBODY
from peer.wire.codec import encode
from peer.wire.messages import Announce, Announced, AnnounceEvent, Bye, Found, Hello, Search
from tests.glue.memory_transport import MemoryNetwork, MemoryTransport
from tracker.registry import Registry
from tracker.server import ServerLimits, ServerStatistics, TrackerServer

SHARE = ShareId(b"s" * 32)
TRACKER = Address("192.0.2.1", 7700)
STARTED = AnnounceEvent.STARTED


def announce(node: int = 1, *, event: AnnounceEvent = STARTED, left: int = 5, port: int = 7701) -> Announce:
    return Announce(1, SHARE, NodeId(bytes([node]) * 32), port, event, left, 50)


class House:
    """A running tracker and the network around it."""

    def __init__(self, *, registry: Registry | None = None, bounds: ServerLimits | None = None) -> None:
        self.network = MemoryNetwork()
        self.transport = self.network.transport(TRACKER.host)
        self.server = TrackerServer(self.transport, Random(1), registry=registry, bounds=bounds)

    def host(self, number: int) -> MemoryTransport:
        return self.network.transport(f"10.0.{number // 250}.{number % 250 + 1}")

    async def ask(self, number: int = 1, message: Announce | None = None) -> Announced:
        """One honest exchange from one host."""
        channel = await self.host(number).channel(TRACKER)
        await channel.send(message or announce(number))
        answer = await channel.receive()
        await channel.aclose()
        await wait_all_tasks_blocked()
        assert isinstance(answer, Announced), answer
        return answer

    async def counts(self) -> ServerStatistics:
        """The server's counts when it has come to rest."""
        await wait_all_tasks_blocked()
        self.server.check_invariants()
        return self.server.statistics()


@asynccontextmanager
async def running(
    *, registry: Registry | None = None, bounds: ServerLimits | None = None
) -> AsyncIterator[House]:
    house = House(registry=registry, bounds=bounds)
    assert await house.server.listen(None, TRACKER.port) == [TRACKER]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        yield house
        nursery.cancel_scope.cancel()
    assert (await house.counts()).connections == 0
    assert TRACKER not in house.network.listeners


async def goodbye(channel: MessageChannel) -> Bye:
    """The tracker's last word; the connection ends after it."""
    bye = await channel.receive()
    assert isinstance(bye, Bye)
    with pytest.raises(ConnectionLost):
        await channel.receive()
    return bye


async def test_second_peer_is_told_the_first_at_its_observed_address(autojump_clock: MockClock) -> None:
    async with running() as house:
        assert (await house.ask(1)).peers == ()
        answer = await house.ask(2)
        assert [peer.address for peer in answer.peers] == [Address("10.0.0.2", 7701)]
        assert (await house.counts()).answered == 2
        assert trio.current_time() < 1, "nothing waited for a deadline"


async def test_several_exchanges_on_one_connection_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with running() as house:
        channel = await house.host(1).channel(TRACKER)
        for _ in range(limits.TRACKER_EXCHANGES_MAX):
            await channel.send(announce())
            assert isinstance(await channel.receive(), Announced)
        with pytest.raises(ConnectionLost):
            await channel.receive()
        assert trio.current_time() == 0


async def test_every_exchange_has_its_own_patience(autojump_clock: MockClock) -> None:
    async with running() as house:
        channel = await house.host(1).channel(TRACKER)
        for _ in range(5):
            await trio.sleep(limits.TRACKER_REQUEST_S - 1)
            await channel.send(announce())
            assert isinstance(await channel.receive(), Announced)


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x01\x00\x01", b"\x00\x00\x00\x02\xc1\xc1"],
    ids=["http", "huge", "oversize", "not msgpack"],
)
async def test_garbage_gets_a_goodbye_and_harms_nobody(sent: bytes, autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)
        await stream.send_all(sent)
        assert (await goodbye(MessageChannel(stream))).code is ByeCode.PROTOCOL
        assert (await house.counts()).faulty == 1
        await house.ask(2)


async def test_a_garbler_that_does_not_even_read_is_dropped(autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)
        await stream.send_all(b"\xff\xff\xff\xff")
        await trio.sleep(limits.GOODBYE_GRACE_S + 0.1)
        assert (await house.counts()).connections == 0


async def test_other_messages_than_announces_are_a_fault(autojump_clock: MockClock) -> None:
    async with running() as house:
        channel = await house.host(1).channel(TRACKER)
        await channel.send(Hello(1, SHARE, NodeId(b"1" * 32), 5, 7701))
        assert "announce" in (await goodbye(channel)).reason


async def test_who_takes_its_leave_is_not_told_off(autojump_clock: MockClock) -> None:
    async with running() as house:
        channel = await house.host(1).channel(TRACKER)
        await channel.send(announce())
        assert isinstance(await channel.receive(), Announced)
        await channel.send(Bye(ByeCode.GOODBYE, ""))
        with pytest.raises(ConnectionLost):
            await channel.receive()
        counts = await house.counts()
        assert (counts.answered, counts.faulty, counts.connections) == (1, 0, 0)


async def test_another_version_is_told_so(autojump_clock: MockClock) -> None:
    async with running() as house:
        channel = await house.host(1).channel(TRACKER)
        await channel.send(Announce(99, SHARE, NodeId(b"1" * 32), 1, STARTED, 0, 0))
        assert (await goodbye(channel)).code is ByeCode.WRONG_VERSION


@pytest.mark.parametrize("sent", [b"", b"\x00", encode(announce())[:-1]])
async def test_silence_and_half_a_frame_end_at_the_deadline(sent: bytes, autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)
        if sent:
            await stream.send_all(sent)
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(limits.TRACKER_REQUEST_S)
        assert (await house.counts()).late == 1


async def test_a_byte_now_and_then_buys_no_time(autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)

        async def drip() -> None:
            for byte in encode(announce()):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.9)

        with pytest.raises(trio.BrokenResourceError):
            await drip()
        assert trio.current_time() <= limits.TRACKER_REQUEST_S + 1


async def test_who_does_not_take_the_answer_is_dropped(autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)
        await stream.send_all(encode(announce()))
        await trio.sleep(limits.TRACKER_ANSWER_S + 0.1)
        statistics = await house.counts()
        assert (statistics.connections, statistics.late, statistics.answered) == (0, 1, 0)


async def test_who_goes_in_the_middle_is_counted_as_lost(autojump_clock: MockClock) -> None:
    async with running() as house:
        stream = await house.host(1).dial(TRACKER)
        await stream.send_all(encode(announce())[:7])
        await stream.aclose()
        assert (await house.counts()).lost == 1


# --- the door


async def test_one_address_has_its_own_limit(autojump_clock: MockClock) -> None:
    async with running(bounds=ServerLimits(connections=10, connections_per_address=2)) as house:
        crowd = [await house.host(1).dial(TRACKER) for _ in range(5)]
        statistics = await house.counts()
        assert (statistics.connections, statistics.refused) == (2, 3)
        assert [await stream.receive_some() for stream in crowd[2:]] == [b"", b"", b""]
        await house.ask(2)
        await trio.sleep(limits.TRACKER_REQUEST_S + 0.1)
        await house.ask(1)


class Knocker:
    """Counts the handshakes that a tracker begins with each host."""

    def __init__(self, house: House) -> None:
        self.begun: Counter[str] = Counter()
        house.transport.handshake = self._handshake

    async def _handshake(self, stream: Stream) -> Stream:
        self.begun[stream.remote.host] += 1
        return stream


async def knock_without_end(house: House, host: str) -> None:
    """Come a hundred times a second, and go when the handshake should be over."""
    transport = house.network.transport(host)
    while True:
        stream = await transport.dial(TRACKER)
        await trio.sleep(0.01)
        await stream.aclose()


async def others_do_not_wait(house: House, seconds: int) -> None:
    """One of another network asks every second."""
    for number in range(seconds):
        await trio.sleep(1)
        before = trio.current_time()
        await house.ask(number)
        assert trio.current_time() == before


@pytest.mark.parametrize(
    "hosts", [["10.9.9.9"], ["::ffff:10.9.9.9", "10.9.9.9"], ["2001:db8::1", "2001:db8::2"]]
)
async def test_a_network_gets_so_many_handshakes_and_others_do_not_wait(
    hosts: list[str], autojump_clock: MockClock
) -> None:
    """A handshake costs milliseconds of processor time, and a stranger could have as many as he liked."""
    seconds = 5
    async with running() as house:
        knocker = Knocker(house)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(knock_without_end, house, hosts[number % len(hosts)])
            await others_do_not_wait(house, seconds)
            nursery.cancel_scope.cancel()
        begun = sum(knocker.begun[host] for host in hosts)
        earned = seconds * limits.TRACKER_HANDSHAKES_PER_NETWORK_PER_S
        assert 0.9 * earned < begun <= limits.TRACKER_HANDSHAKES_PER_NETWORK_BURST + earned + 1
        assert (await house.counts()).delayed > 0


@pytest.mark.parametrize("host", ["10.9.9.9", "127.0.0.1"])
async def test_a_network_reports_so_often_and_others_do_not_wait(
    host: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each connection there may be many announces, which one network could have as fast as it liked."""
    burst, seconds = 100, 5
    monkeypatch.setattr(limits, "TRACKER_REPORTS_PER_NETWORK_BURST", burst)
    answered = 0
    async with running() as house:

        async def report_without_end() -> None:
            nonlocal answered
            for _ in range(2):
                channel = await house.network.transport(host).channel(TRACKER)
                for _ in range(limits.TRACKER_EXCHANGES_MAX):
                    await channel.send(announce())
                    await channel.receive()
                    answered += 1
                await channel.aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(report_without_end)
            await others_do_not_wait(house, seconds)
            nursery.cancel_scope.cancel()
        if host == "127.0.0.1":  # a laboratory's
            assert answered == 4 * 2 * limits.TRACKER_EXCHANGES_MAX
        else:
            earned = seconds * limits.TRACKER_REPORTS_PER_NETWORK_PER_S
            assert burst + 0.9 * earned < answered <= burst + earned + 1


async def test_who_waits_for_a_handshake_makes_room_in_a_full_house(autojump_clock: MockClock) -> None:
    async with running(bounds=ServerLimits(connections=20, connections_per_address=20)) as house:
        crowd = [house.network.transport("10.9.9.9") for _ in range(100)]
        for _ in range(limits.TRACKER_HANDSHAKES_PER_NETWORK_BURST):
            await (await crowd[0].dial(TRACKER)).aclose()
            await wait_all_tasks_blocked()
        waiting = [await transport.dial(TRACKER) for transport in crowd]
        assert (await house.counts()).connections == 20
        for number in range(10):
            await house.ask(number)
        assert trio.current_time() == 0
        assert (await house.counts()).displaced == 1, "the place that each of them had"
        assert await waiting[0].receive_some() == b""


async def test_who_waits_for_an_answer_makes_room_in_a_full_house(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few networks that announce without end could else fill the house for good."""
    monkeypatch.setattr(limits, "TRACKER_REPORTS_PER_NETWORK_BURST", 1)
    async with running(bounds=ServerLimits(connections=20, connections_per_address=20)) as house:
        crowd = [await house.network.transport("10.9.9.9").channel(TRACKER) for _ in range(20)]
        for channel in crowd:
            await channel.send(announce())
        await wait_all_tasks_blocked()
        for channel in crowd[:1]:  # it was answered, and asks again
            await channel.receive()
            await channel.send(announce())
        await wait_all_tasks_blocked()
        for number in range(3):
            await house.ask(number)
        assert trio.current_time() == 0
        assert (await house.counts()).displaced == 1, "the place that each of them had"


async def test_who_waits_for_the_searches_of_its_network_makes_room_in_a_full_house(
    autojump_clock: MockClock,
) -> None:
    """Sixty-four connections of each of eight addresses, all searching, locked everybody else out."""
    async with running(bounds=ServerLimits(connections=20, connections_per_address=20)) as house:
        crowd = [await house.network.transport("10.9.9.9").channel(TRACKER) for _ in range(20)]
        for channel in crowd:
            await channel.send(Search(1, ("red",), "", NOBODY, 0, 10))
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        for number in range(3):
            await house.ask(number)
        assert trio.current_time() == begun, "nobody of another network waits"
        assert house.server.statistics().displaced == 1, "the place that each of them had"
        assert isinstance(await crowd[0].receive(), Found), "whose turn it was is answered"
        with pytest.raises(ConnectionLost):
            await crowd[1].receive()
        for channel in crowd[2:]:
            assert isinstance(await channel.receive(), Found)


async def test_a_stop_does_not_wait_for_who_waits_for_a_handshake(autojump_clock: MockClock) -> None:
    house = House()
    await house.server.listen(None, TRACKER.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        for _ in range(limits.TRACKER_HANDSHAKES_PER_NETWORK_BURST):
            await (await house.host(1).dial(TRACKER)).aclose()
            await wait_all_tasks_blocked()
        late = [await house.host(1).dial(TRACKER) for _ in range(5)]
        await wait_all_tasks_blocked()
        assert house.server.statistics().delayed == 1, "the others wait behind the first"
        house.server.stop()
        assert [await stream.receive_some() for stream in late] == 5 * [b""]
    assert trio.current_time() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_laboratory_on_this_machine_does_not_wait(host: str, autojump_clock: MockClock) -> None:
    async with running() as house:
        for number in range(limits.TRACKER_HANDSHAKES_PER_NETWORK_BURST + 50):
            channel = await house.network.transport(host).channel(TRACKER)
            await channel.send(announce(number % 250))
            assert isinstance(await channel.receive(), Announced)
            await channel.aclose()
        assert trio.current_time() == 0
        assert (await house.counts()).delayed == 0


async def test_in_a_full_house_the_silent_make_room(autojump_clock: MockClock) -> None:
    """Regression guard: blocking instead would let 512 silent connections lock everybody out."""
    async with running(bounds=ServerLimits(connections=20, connections_per_address=20)) as house:
        crowd = [await house.host(number).dial(TRACKER) for number in range(20, 200)]
        assert (await house.counts()).connections == 20
        for number in range(10):
            await house.ask(number)
        statistics = await house.counts()
        assert (statistics.connections, statistics.displaced, statistics.late) == (19, 161, 0)
        assert await crowd[0].receive_some() == b"", "the oldest went first"
        assert trio.current_time() < 1


async def test_in_a_house_full_of_busy_ones_the_newcomer_is_refused(autojump_clock: MockClock) -> None:
    async with running(bounds=ServerLimits(connections=2, connections_per_address=2)) as house:
        for number in (1, 2):
            stream = await house.host(number).dial(TRACKER)
            await stream.send_all(encode(announce(number)))  # and does not take the answer
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost):
            await house.ask(3)
        assert (await house.counts()).refused == 1


async def test_trouble_while_accepting_passes(autojump_clock: MockClock) -> None:
    async with running() as house:
        house.network.listeners[TRACKER].trouble = OSError(24, "too many open files")
        await house.ask(1)
        assert trio.current_time() == pytest.approx(limits.ACCEPT_RETRY_S)


async def test_a_hanging_handshake_holds_its_slot_no_longer_than_allowed(autojump_clock: MockClock) -> None:
    async def hang(stream: Stream) -> Stream:
        await trio.sleep(3600)
        return stream

    async with running() as house:
        house.transport.handshake = hang
        stream = await house.host(1).dial(TRACKER)
        await trio.sleep(limits.TRACKER_HANDSHAKE_S + 0.1)
        assert await stream.receive_some() == b""
        assert (await house.counts()).late == 1


@pytest.mark.makes_a_bug
@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (ConnectionLost("certificate of another swarm"), "lost"),
        (trio.BrokenResourceError(), "lost"),
        (ValueError("a bug"), "failures"),
    ],
)
async def test_a_failing_handshake_does_not_kill_the_server(
    error: Exception, counted: str, autojump_clock: MockClock
) -> None:
    async def fail(stream: Stream) -> Stream:
        raise error

    async with running() as house:
        house.transport.handshake = fail
        stream = await house.host(1).dial(TRACKER)
        assert await stream.receive_some() == b""
        assert getattr(await house.counts(), counted) == 1
        house.transport.handshake = None
        await house.ask(2)


async def test_an_announce_for_another_node_than_the_proven_one_is_refused(autojump_clock: MockClock) -> None:
    def proving(node: int) -> Callable[[Stream], Awaitable[Stream]]:
        async def handshake(stream: Stream) -> Stream:
            stream.proven = NodeId(bytes([node]) * 32)  # type: ignore[attr-defined]
            return stream

        return handshake

    async with running() as house:
        house.transport.handshake = proving(1)
        await house.ask(1, announce(1))
        house.transport.handshake = proving(6)
        channel = await house.host(6).channel(TRACKER)
        await channel.send(announce(1, event=AnnounceEvent.STOPPED))
        assert (await goodbye(channel)).code is ByeCode.PROTOCOL
        assert (await house.counts()).registry.members == 1


@pytest.mark.makes_a_bug
async def test_a_bug_of_ours_ends_one_conversation_only(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Registry):
        def announce(self, announce, host, now, rng, *, proven=False):  # type: ignore[no-untyped-def]
            if announce.port == 666:
                raise ZeroDivisionError
            return super().announce(announce, host, now, rng, proven=proven)

    async with running(registry=Broken()) as house:
        with pytest.raises(ConnectionLost):
            await house.ask(1, announce(1, port=666))
        assert (await house.counts()).failures == 1
        assert "10.0.0.2" in caplog.text
        await house.ask(2)


async def test_members_are_forgotten_while_nobody_announces(autojump_clock: MockClock) -> None:
    async with running() as house:
        await house.ask(1)
        await trio.sleep(limits.MEMBER_INTERVALS * limits.ANNOUNCE_INTERVAL_S_MIN + 2 * limits.EXPIRY_GRAIN_S)
        assert (await house.counts()).registry.members == 0


# --- the end


async def test_stop_finishes_the_answer_under_way_and_nothing_else(autojump_clock: MockClock) -> None:
    house = House()
    await house.server.listen(None, TRACKER.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        idle = await house.host(1).dial(TRACKER)
        asking = await house.host(2).channel(TRACKER)
        await asking.send(announce(2))
        await wait_all_tasks_blocked()
        house.server.stop()
        assert await idle.receive_some() == b""
        assert isinstance(await asking.receive(), Announced)
        with pytest.raises(ConnectionLost):
            await asking.receive()
    assert trio.current_time() == 0, "nothing left to wait for"


async def test_stop_waits_for_a_sluggard_no_longer_than_the_grace(autojump_clock: MockClock) -> None:
    house = House()
    await house.server.listen(None, TRACKER.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        stream = await house.host(1).dial(TRACKER)
        await stream.send_all(encode(announce()))
        house.server.stop()
    assert trio.current_time() == pytest.approx(limits.TRACKER_GRACE_S)


async def test_a_taken_port_is_said(autojump_clock: MockClock) -> None:
    async with running() as house:
        with pytest.raises(UsageError, match="7700"):
            await TrackerServer(house.transport, Random(1)).listen(None, TRACKER.port)


async def test_who_is_cancelled_closes_all_its_listeners(autojump_clock: MockClock) -> None:
    house = House()
    for port in (7700, 7702, 7703):
        await house.server.listen(None, port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        await wait_all_tasks_blocked()
        assert len(house.network.listeners) == 3
        nursery.cancel_scope.cancel()
    assert house.network.listeners == {}
