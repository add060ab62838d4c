"""The simulated network: trio's conformance, the fluid rates that theory gives, and each fault."""

import itertools

import pytest
import trio
import trio.testing

from peer.errors import DialError, UsageError
from peer.ids import Address, NodeId
from peer.limits import MIB
from peer.net.transport import Transport
from peer.sim import pipe
from peer.sim.network import Connection, SimHost, SimNetwork, mbit
from peer.sim.stream import BACKLOG_MAX, SimStream
from tests.memoryfile import memory_file
from tests.sim.simulated import simulated

LATENCY = 0.01


async def join(one: SimHost, two: SimHost) -> tuple[SimStream, SimStream]:
    """A connection: the end of ``one``, which dials, and the end of ``two``."""
    transport: Transport = two.transport()  # the seam, checked by the type
    (listener,) = await transport.listen(None, 0)
    async with listener:
        near = await one.transport().dial(listener.address)
        far = await listener.accept()
        assert isinstance(far, SimStream)
        return near, far


def only(network: SimNetwork) -> Connection:
    (connection,) = network.connections()
    return connection


async def take(stream: SimStream, count: int) -> None:
    buffer = memoryview(bytearray(256 * 1024))
    while count:
        got = await stream.receive_into(buffer[: min(count, len(buffer))])
        assert got
        count -= got


async def is_silent(stream: SimStream, seconds: float = 1000) -> bool:
    with trio.move_on_after(seconds) as scope:
        await stream.receive_some(1)
    return scope.cancelled_caught


# --- a stream as trio wants it


@pytest.mark.parametrize("kind", ["no limits", "slow and far", "one host"])
@simulated
async def test_behaves_as_trio_wants_a_stream_to(network: SimNetwork, kind: str) -> None:
    number = itertools.count()

    async def connected() -> tuple[SimStream, SimStream]:
        n = next(number)
        if kind == "slow and far":
            one = network.add_host(f"one{n}", up=mbit(8), down=mbit(16), latency=LATENCY)
            two = network.add_host(f"two{n}", up=mbit(4), down=mbit(40), latency=LATENCY)
        else:
            one = network.add_host(f"one{n}")
            two = one if kind == "one host" else network.add_host(f"two{n}")
        return await join(one, two)

    async def clogged() -> tuple[SimStream, SimStream]:
        one, two = await connected()
        for stream in (one, two):
            with trio.move_on_after(60):
                while True:
                    await stream.send_all(b"\0" * 65536)
        return one, two

    await trio.testing.check_half_closeable_stream(connected, clogged)


@simulated
async def test_a_sender_is_held_back_by_a_reader_that_does_not_read(network: SimNetwork) -> None:
    one, two = await join(network.add_host("one"), network.add_host("two"))
    sent = 0
    with trio.move_on_after(100):
        while True:
            await one.send_all(b"x" * 1000)
            sent += 1000
    assert sent <= pipe.SEND_BYTES + pipe.WINDOW_MIN_BYTES + pipe.CHUNK_BYTES
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.wait_send_all_might_not_block)
        await trio.testing.wait_all_tasks_blocked()
        await take(two, pipe.WINDOW_MIN_BYTES // 2)


@simulated
async def test_slices_arrive_whole_and_in_order(network: SimNetwork) -> None:
    data = bytes(range(256)) * 5000
    file = memory_file(data)
    one, two = await join(network.add_host("one", up=mbit(40)), network.add_host("two"))
    expected = b"head" + data[1000:1_000_000] + b"x" * 100_000
    received = bytearray()

    async def send() -> None:
        await one.send_slice(b"head", file, 1000, 999_000)
        await one.send_slice(b"x" * 100_000, file, 0, 0)
        with pytest.raises(EOFError):
            await one.send_slice(b"", file, len(data) - 10, 11)
        await one.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while part := await two.receive_some():
            received += part
    assert received == expected


@simulated
async def test_each_end_knows_who_the_other_is(network: SimNetwork) -> None:
    one, two = network.add_host("one"), network.add_host("two")
    (listener,) = await two.transport(NodeId(b"2" * 32)).listen(None, 7701)
    for host in ("two", two.address):
        near = await one.transport(NodeId(b"1" * 32)).dial(Address(host, 7701), NodeId(b"2" * 32))
        far = await listener.accept()
        assert near.remote == Address(two.address, 7701)
        assert far.remote.host == one.address
        assert (near.peer, far.peer) == (b"2" * 32, b"1" * 32)
    with pytest.raises(DialError, match="another node"):
        await one.transport(NodeId(b"1" * 32)).dial(Address("two", 7701), NodeId(b"3" * 32))


# --- dialling and listening


@simulated
async def test_nobody_there(network: SimNetwork) -> None:
    one, two = network.add_host("one", latency=LATENCY), network.add_host("two", latency=LATENCY)
    begin = trio.current_time()
    with pytest.raises(DialError, match="refused"):
        await one.transport().dial(Address("two", 7701))
    assert trio.current_time() - begin == pytest.approx(4 * LATENCY)
    with pytest.raises(DialError, match="no route"):
        await one.transport().dial(Address("192.0.2.1", 7701))
    (listener,) = await two.transport().listen(None, 7701)
    with pytest.raises(UsageError, match=r"port 7701 is already taken: .*--port"):
        await two.transport().listen(None, 7701)
    await listener.aclose()
    with pytest.raises(DialError, match="refused"):
        await one.transport().dial(Address("two", 7701))
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@simulated
async def test_who_finds_the_backlog_full_comes_again_as_linux_does(network: SimNetwork) -> None:
    one, two = network.add_host("one"), network.add_host("two")
    (listener,) = await two.transport().listen(None, 7701)
    for _ in range(BACKLOG_MAX):
        await one.transport().dial(Address("two", 7701))
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.transport().dial, Address("two", 7701))
        await trio.sleep(6.9)
        await listener.accept()
    assert trio.current_time() - begin == pytest.approx(7.0), "it tried after 1 and 3 s, in vain"
    with pytest.raises(DialError, match="timed out"):
        await one.transport().dial(Address("two", 7701))
    assert trio.current_time() - begin == pytest.approx(7.0 + 127.0)
    await listener.aclose()


@simulated
async def test_a_host_has_more_addresses_and_moves_to_another(network: SimNetwork) -> None:
    one, two = network.add_host("one"), network.add_host("two")
    (listener,) = await two.transport().listen(None, 7701)
    first, second = Address(two.address, 7701), Address(network.add_address(two), 7701)
    for address in (first, second):
        stream = await one.transport().dial(address)
        assert stream.remote == address
        await listener.accept()
    network.move(two)
    assert await is_silent(stream), "nobody is told"
    for address in (first, second):
        with pytest.raises(DialError, match="no route"):
            await one.transport().dial(address)
    await one.transport().dial(Address(two.address, 7701))
    assert (await listener.accept()).remote.host == one.address
    await listener.aclose()


@simulated
async def test_a_cancelled_dial_leaves_no_connection(network: SimNetwork) -> None:
    one, two = network.add_host("one", latency=LATENCY), network.add_host("two", latency=LATENCY)
    (listener,) = await two.transport().listen(None, 7701)
    with trio.move_on_after(3 * LATENCY):
        await one.transport().dial(Address("two", 7701))
    far = await listener.accept()
    assert await far.receive_some() == b""
    await far.aclose()
    assert network.connections() == []


# --- rates


async def timed(*transfers: tuple[SimHost, SimHost, int]) -> list[float]:
    """Run transfers at once; seconds until each is complete, the dial not counted."""
    pairs = [await join(source, target) for source, target, _ in transfers]
    begin = trio.current_time()
    seconds = [0.0] * len(transfers)

    async def receive(index: int, count: int) -> None:
        await take(pairs[index][1], count)
        seconds[index] = trio.current_time() - begin

    async with trio.open_nursery() as nursery:
        for index, (_, _, count) in enumerate(transfers):
            nursery.start_soon(pairs[index][0].send_all, bytes(count))
            nursery.start_soon(receive, index, count)
    return seconds


@simulated
async def test_one_stream_goes_at_the_slower_rate(network: SimNetwork) -> None:
    fast = network.add_host("fast", up=mbit(40), down=mbit(40), latency=LATENCY)
    slow = network.add_host("slow", up=mbit(4), down=mbit(8), latency=LATENCY)
    # A chunk passes one link after the other, so the other link adds its time for one chunk.
    assert await timed((fast, slow, MIB)) == [pytest.approx(MIB / 1e6 + 2 * LATENCY, rel=0.02)]
    assert await timed((slow, fast, MIB)) == [pytest.approx(MIB / 5e5 + 2 * LATENCY, rel=0.02)]


@simulated
async def test_no_limit_takes_no_time(network: SimNetwork) -> None:
    assert await timed((network.add_host("one"), network.add_host("two"), 4 * MIB)) == [0.0]


@simulated
async def test_a_far_stream_is_not_held_back_by_the_window(network: SimNetwork) -> None:
    one = network.add_host("one", up=mbit(80), latency=0.05)
    two = network.add_host("two", down=mbit(80), latency=0.05)
    assert await timed((one, two, 8 * MIB)) == [pytest.approx(8 * MIB / 1e7 + 0.1, rel=0.02)]


@simulated
async def test_an_uplink_is_shared_evenly(network: SimNetwork) -> None:
    origin = network.add_host("origin", up=mbit(8))
    seconds = await timed(*((origin, network.add_host(f"p{n}"), MIB) for n in range(4)))
    assert seconds == [pytest.approx(4 * MIB / 1e6, rel=0.03)] * 4  # the last chunks go one after the other
    assert origin.statistics().sent_bytes == 4 * MIB


@simulated
async def test_what_one_stream_leaves_the_others_take(network: SimNetwork) -> None:
    origin = network.add_host("origin", up=mbit(8))
    slow = network.add_host("slow", down=mbit(1))
    fast = network.add_host("fast")
    slow_s, fast_s = await timed((origin, slow, MIB), (origin, fast, 7 * MIB))
    assert fast_s == pytest.approx(8 * MIB / 1e6, rel=0.06)
    assert slow_s == pytest.approx(8 * MIB / 1e6, rel=0.06)


@simulated
async def test_a_downlink_is_shared(network: SimNetwork) -> None:
    target = network.add_host("target", down=mbit(8))
    seconds = await timed(*((network.add_host(f"p{n}"), target, MIB) for n in range(4)))
    assert max(seconds) == pytest.approx(4 * MIB / 1e6, rel=0.02)
    assert min(seconds) > 0.8 * max(seconds)
    assert target.statistics().received_bytes == 4 * MIB


@simulated
async def test_both_ways_do_not_share(network: SimNetwork) -> None:
    one = network.add_host("one", up=mbit(8), down=mbit(8))
    two = network.add_host("two", up=mbit(8), down=mbit(8))
    assert max(await timed((one, two, MIB), (two, one, MIB))) == pytest.approx(MIB / 1e6, rel=0.04)


@simulated
async def test_a_link_can_change(network: SimNetwork) -> None:
    one, two = network.add_host("one", up=mbit(8)), network.add_host("two")

    async def faster() -> None:
        await trio.sleep(1)
        one.shape(up=mbit(80), down=None, latency=LATENCY)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(faster)
        (seconds,) = await timed((one, two, 2_000_000))
    assert seconds == pytest.approx(1 + 1e6 / 1e7 + LATENCY, rel=0.03)


@simulated
async def test_a_way_that_gets_shorter_keeps_the_order(network: SimNetwork) -> None:
    a, b = network.add_host("a", latency=0.5), network.add_host("b")
    one, two = await join(a, b)
    await one.send_all(b"first, ")
    await trio.testing.wait_all_tasks_blocked()
    a.shape(up=None, down=None, latency=0.0)
    await one.send_all(b"second")
    received = b""
    while len(received) < 13:
        received += await two.receive_some()
    assert received == b"first, second"


@simulated
async def test_a_simulated_mib_costs_few_events(network: SimNetwork) -> None:
    one = network.add_host("one", up=mbit(8), latency=LATENCY)
    two = network.add_host("two", down=mbit(8), latency=LATENCY)
    before = network.agenda._made
    await timed((one, two, 4 * MIB))
    assert network.agenda._made - before <= 4 * 64 * 3 + 10


# --- faults


@simulated
async def test_reset_tells_both_sides_and_keeps_what_had_arrived(network: SimNetwork) -> None:
    one, two = await join(network.add_host("one"), network.add_host("two"))
    await one.send_all(b"before")
    only(network).reset()
    assert await two.receive_some() == b"before"
    for stream in (one, two):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


@simulated
async def test_closing_with_unread_data_resets(network: SimNetwork) -> None:
    """As kernels do; a node that says goodbye and closes without reading may not be heard."""
    one, two = await join(network.add_host("one", up=mbit(1)), network.add_host("two"))
    await two.send_all(b"never read")
    await one.send_all(b"x" * pipe.SEND_BYTES)
    await one.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await take(two, pipe.SEND_BYTES)
    await two.aclose()
    assert network.connections() == []


@simulated
async def test_a_stall_holds_back_and_loses_nothing(network: SimNetwork) -> None:
    one, two = await join(network.add_host("one", latency=LATENCY), network.add_host("two"))
    await one.send_all(b"in flight")
    only(network).stall()
    await one.send_all(b", queued")
    assert await is_silent(two)
    only(network).resume()
    received = b""
    while len(received) < 17:
        received += await two.receive_some()
    assert received == b"in flight, queued"


@simulated
async def test_a_vanished_connection_says_nothing_for_ever(network: SimNetwork) -> None:
    one, two = await join(network.add_host("one"), network.add_host("two"))
    only(network).vanish()
    await one.send_all(b"lost")
    assert await is_silent(two)
    await one.aclose()
    assert await is_silent(two)
    with trio.move_on_after(100) as scope:
        await two.send_all(b"x" * MIB)
    assert scope.cancelled_caught
    await two.aclose()


@simulated
async def test_a_one_way_cut_stops_the_other_way_when_nothing_is_acknowledged(network: SimNetwork) -> None:
    a, b = network.add_host("a"), network.add_host("b")
    one, two = await join(a, b)
    network.cut(a, b)
    await one.send_all(b"held back")
    assert await is_silent(two)
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two.send_all, b"y" * MIB)
            await take(one, pipe.WINDOW_MIN_BYTES)
            assert await is_silent(one, 5)
    network.heal()
    assert await two.receive_some() == b"held back"
    assert not await is_silent(one)


@simulated
async def test_a_partition_separates_groups_and_heals(network: SimNetwork) -> None:
    a, b, c, d = (network.add_host(name) for name in "abcd")
    (listener,) = await b.transport().listen(None, 7701)
    near, far = await join(a, b)
    inside = await join(a, c)
    outside = await join(b, d)
    network.partition([a, c], [b])
    await near.send_all(b"held")
    assert await is_silent(far)
    for one, two in (inside, outside):
        await one.send_all(b"through")
        assert await two.receive_some() == b"through"
    with trio.move_on_after(15) as connect_deadline:
        await a.transport().dial(listener.address)
    assert connect_deadline.cancelled_caught

    async def heal() -> None:
        await trio.sleep(3)
        network.heal()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heal)
        begin = trio.current_time()
        await a.transport().dial(listener.address)
        assert trio.current_time() - begin == 3
    assert await far.receive_some() == b"held"


@simulated
async def test_a_crash_is_silent_until_the_machine_is_up_again(network: SimNetwork) -> None:
    a, b = network.add_host("a", latency=LATENCY), network.add_host("b", latency=LATENCY)
    (listener,) = await b.transport().listen(None, 7701)
    near, far = await join(a, b)
    idle, _ = await join(a, b)
    b.crash()
    await near.send_all(b"into the void")
    assert await is_silent(near)
    with trio.move_on_after(15) as connect_deadline:
        await a.transport().dial(listener.address)
    assert connect_deadline.cancelled_caught
    await trio.aclose_forcefully(far)  # its tasks die
    b.start()
    with pytest.raises(trio.BrokenResourceError):
        await near.receive_some()
    assert await is_silent(idle)  # nothing to send: nothing learned
    await idle.send_all(b"anybody?")
    with pytest.raises(trio.BrokenResourceError):
        await idle.receive_some()
    with pytest.raises(DialError, match="refused"):
        await a.transport().dial(listener.address)
    (again,) = await b.transport().listen(None, 7701)
    await a.transport().dial(again.address)


@simulated
async def test_hosts_need_names_of_their_own(network: SimNetwork) -> None:
    network.add_host("a")
    with pytest.raises(ValueError, match="already"):
        network.add_host("a")
    assert [host.address for host in network] == ["10.0.0.1"]
