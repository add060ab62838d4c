"""Plain TCP over real loopback sockets: trio's conformance, bulk transfers, and each way to fail."""

import errno
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from peer.errors import DialError, UsageError
from peer.ids import Address
from peer.limits import UNSENT_BYTES, UNSENT_BYTES_MAX, UNSENT_BYTES_MIN
from peer.net import tcp
from peer.net.congestion import CongestionControl
from peer.net.outward import reachable
from peer.net.sendqueue import unsent_bytes_for
from peer.net.tcp import TcpStream, TcpTransport, observed_address
from peer.net.transport import Listener
from peer.store.filesystem import File
from tests.loopback import HOSTS
from tests.memoryfile import memory_file, real_file

TRANSPORT = TcpTransport()


async def connected(host: str = "127.0.0.1") -> tuple[TcpStream, TcpStream]:
    (listener,) = await TRANSPORT.listen(host, 0)
    async with listener:
        dialled = await TRANSPORT.dial(listener.address)
        accepted = await listener.accept()
        assert isinstance(accepted, TcpStream)
        return dialled, accepted


async def clogged() -> tuple[TcpStream, TcpStream]:
    one, two = await connected()
    for stream in (one, two):
        with trio.move_on_after(0):
            while True:
                await stream.send_all(b"\0" * 65536)
    sockets = [one._socket, two._socket]
    while sum(map(fill, sockets)):  # a busy kernel moves bytes to the other end, and makes room, a bit later
        select.select([], sockets, [], 0.05)
    return one, two


def fill(sock: socket.socket) -> int:
    """Send to the brim, also into the last bit of room that a cancelled send left; how much that took."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += sock.send(b"\0" * 65536)
    return count


@asynccontextmanager
async def pair(host: str = "127.0.0.1") -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    one, two = await connected(host)
    async with one, two:
        yield one, two


async def collect(stream: TcpStream, count: int) -> bytes:
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        n = await stream.receive_into(view[got:])
        assert n, f"the stream ended after {got} of {count} bytes"
        got += n
    return bytes(data)


async def test_behaves_as_trio_wants_a_stream_to() -> None:
    await trio.testing.check_half_closeable_stream(connected, clogged)


@pytest.mark.parametrize("host", HOSTS)
async def test_each_side_sees_the_other_as_its_socket_did(host: str) -> None:
    async with pair(host) as (one, two):
        assert one.remote.host == two.remote.host == host
        assert one.remote.port == two._socket.getsockname()[1]
        assert two.remote.port == one._socket.getsockname()[1]
        assert one.peer is None


def test_ipv4_inside_ipv6_is_ipv4() -> None:
    assert observed_address(("::ffff:192.0.2.7", 7701, 0, 0)) == Address("192.0.2.7", 7701)
    assert observed_address(("2001:db8::1", 7701, 0, 0)) == Address("2001:db8::1", 7701)


FileMaker = Callable[[bytes], File]


@pytest.fixture(params=["sendfile", "no sendfile", "memory"])
def file_of(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileMaker:
    """A file by each of the ways to send it; sendfile refuses as some file systems do."""
    if request.param == "memory":
        return memory_file
    if request.param == "no sendfile":

        def refuse(*args: int) -> int:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(os, "sendfile", refuse)

    def make(data: bytes) -> File:
        path = tmp_path / "file"
        path.write_bytes(data)
        file = real_file(path)
        request.addfinalizer(file.close)
        return file

    return make


@pytest.mark.parametrize("host", HOSTS)
async def test_slices_arrive_whole_and_in_order(file_of: FileMaker, host: str) -> None:
    data = os.urandom(8 * 1024 * 1024 + 13)
    file = file_of(data)
    slices = [
        (b"first", 0, 1_000_003),
        (b"", 1_000_003, 64 * 1024),
        (b"third" * 50_000, 5, 7_000_000),
        (b"e", 0, 0),
    ]
    expected = b"".join(header + data[offset : offset + count] for header, offset, count in slices)
    async with pair(host) as (one, two), trio.open_nursery() as nursery:

        async def send() -> None:
            for header, offset, count in slices:
                await one.send_slice(header, file, offset, count)
            await one.send_eof()

        nursery.start_soon(send)
        assert await collect(two, len(expected)) == expected
        assert await two.receive_into(memoryview(bytearray(1))) == 0


async def test_a_file_that_ends_too_early_is_an_eof_error(file_of: FileMaker) -> None:
    file = file_of(b"x" * 100_000)
    async with pair() as (one, _):  # what there is fits the kernel's queues
        with pytest.raises(EOFError, match="50000 bytes too early"):
            await one.send_slice(b"head", file, 50_000, 100_000)


async def test_a_file_that_cannot_be_read_is_not_the_connections_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    file = real_file(path)

    def fail(*args: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "sendfile", fail)
    async with pair() as (one, _):
        with pytest.raises(OSError, match="Input/output"):
            await one.send_slice(b"", file, 0, 10)
    file.close()


def reset(stream: TcpStream) -> None:
    """Close so that the other side gets a reset, as from a crashed machine."""
    sock = stream.detach()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def test_a_reset_breaks_both_directions(file_of: FileMaker) -> None:
    file = file_of(b"x" * 1_000_000)
    async with pair() as (one, two):
        reset(two)
        with pytest.raises(trio.BrokenResourceError):
            await one.receive_into(memoryview(bytearray(10)))
        with pytest.raises(trio.BrokenResourceError):
            await one.send_slice(b"head", file, 0, 1_000_000)


async def test_a_reset_wakes_a_blocked_sender(file_of: FileMaker) -> None:
    file = file_of(b"x" * 32_000_000)
    async with pair() as (one, two), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await one.send_slice(b"head", file, 0, 32_000_000)

        await trio.testing.wait_all_tasks_blocked()
        reset(two)


async def test_closing_wakes_a_blocked_sender_and_reader(file_of: FileMaker) -> None:
    file = file_of(b"x" * 32_000_000)
    async with pair() as (one, _):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await one.send_slice(b"head", file, 0, 32_000_000)

            @nursery.start_soon
            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await one.receive_into(memoryview(bytearray(10)))

            await trio.testing.wait_all_tasks_blocked()
            await one.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await one.send_slice(b"", file, 0, 1)


async def test_two_senders_at_once_are_refused() -> None:
    one, two = await clogged()
    async with one, two, trio.open_nursery() as nursery:
        nursery.start_soon(one.wait_send_all_might_not_block)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await one.send_slice(b"head", memory_file(b""), 0, 0)
        nursery.cancel_scope.cancel()


async def test_a_stream_that_never_waits_lets_others_run() -> None:
    ran = 0
    async with pair() as (one, two), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def neighbour() -> None:
            nonlocal ran
            while True:
                await trio.lowlevel.checkpoint()
                ran += 1

        before = ran
        buffer = memoryview(bytearray(1000))
        for _ in range(1000):
            one._socket.send(b"x" * 1000)
            select.select([two._socket], [], [])  # always ready for the reader
            await two.receive_into(buffer)
        assert 1 < ran - before < 1000
        nursery.cancel_scope.cancel()


async def test_sendfile_that_never_waits_lets_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = real_file(path)
    ran = 0
    monkeypatch.setattr(os, "sendfile", lambda out, descriptor, offset, count: count)
    async with pair() as (one, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def neighbour() -> None:
            nonlocal ran
            while True:
                await trio.lowlevel.checkpoint()
                ran += 1

        await one.send_slice(b"", file, 0, 64 * 1024 * 1024)
        assert ran >= 32
        nursery.cancel_scope.cancel()
    file.close()


def test_the_unsent_queue_is_as_long_in_time_on_every_link() -> None:
    assert unsent_bytes_for(0) == unsent_bytes_for(500_000) == UNSENT_BYTES_MIN  # 4 Mbit/s
    assert unsent_bytes_for(5_000_000) == 128 * 1024
    assert unsent_bytes_for(1e10) == UNSENT_BYTES_MAX


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system cannot")
async def test_the_unsent_queue_follows_the_rate(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (one, _):

        def in_force() -> int:
            return one._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

        assert in_force() == UNSENT_BYTES
        for rate, expected in ((50_000_000, 1024 * 1024), (2_000_000, 64 * 1024), (1000, UNSENT_BYTES_MIN)):
            autojump_clock.jump(1)
            one._queue.sent(0)
            autojump_clock.jump(0.2)
            one._queue.sent(rate // 5)
            assert in_force() == expected


async def test_nobody_there_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]
        with pytest.raises(DialError, match=f"cannot reach 127.0.0.1:{port}: connection refused"):
            await TRANSPORT.dial(Address("127.0.0.1", port))


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "..", "with\0nul"])
async def test_a_name_that_no_resolver_takes_is_a_dial_error(host: str) -> None:
    with pytest.raises(DialError) as caught:
        await TRANSPORT.dial(Address(host, 7701))
    assert "\n" not in str(caught.value)


async def test_every_address_of_the_machine_has_the_same_port() -> None:
    """The one test that listens on the wildcard addresses, for the moment that it takes to look."""
    listeners = await TRANSPORT.listen(None, 0)
    hosts = {listener.address.host for listener in listeners}
    ports = {listener.address.port for listener in listeners}
    for listener in listeners:
        await listener.aclose()
    assert hosts <= {"0.0.0.0", "::"}
    assert "0.0.0.0" in hosts
    assert len(ports) == 1
    assert ports != {0}


async def test_a_taken_port_says_which_and_what_to_do() -> None:
    (listener,) = await TRANSPORT.listen("127.0.0.1", 0)
    port = listener.address.port
    with pytest.raises(UsageError, match=rf"port {port} is already taken: .*--port"):
        await TRANSPORT.listen("127.0.0.1", port)
    await listener.aclose()
    (again,) = await TRANSPORT.listen("127.0.0.1", port)
    assert again.address == Address("127.0.0.1", port)
    await again.aclose()


async def test_a_free_port_that_is_taken_on_one_family_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = tcp._listen_on_all, 0

    async def once_taken(names: list[tuple[int, tuple[Any, ...]]], port: int) -> list[Listener]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(errno.EADDRINUSE, "taken")
        return await real(names, port)

    monkeypatch.setattr(tcp, "_listen_on_all", once_taken)
    (listener,) = await TRANSPORT.listen("127.0.0.1", 0)
    assert calls == 2
    await listener.aclose()


def test_an_address_that_means_something_on_one_interface_keeps_its_name() -> None:
    number, name = socket.if_nameindex()[0]
    assert observed_address(("fe80::1", 7701, 0, number)) == Address(f"fe80::1%{name}", 7701)
    assert observed_address(("fe80::1", 7701, 0, 0)) == Address("fe80::1", 7701)
    assert observed_address(("::ffff:192.0.2.7", 7701, 0, number)) == Address("192.0.2.7", 7701)


def link_local() -> str | None:
    """Such an address of this machine, with its zone."""
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _, _, scope, _, name = line.split()
        if scope == "20":
            return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))}%{name}"
    return None


async def test_listening_at_a_link_local_address() -> None:
    """The zone got lost on the way to the socket: "invalid argument"."""
    host = link_local()
    if host is None:
        pytest.skip("this machine has no link-local address")
    dialled, accepted = await connected(host)
    assert dialled.remote.host == accepted.remote.host == host
    assert reachable(None, host, 7701) == []
    await trio.aclose_forcefully(dialled)
    await trio.aclose_forcefully(accepted)


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:7701: "):
        await TRANSPORT.listen("192.0.2.1", 7701)


async def test_accept_outlives_a_lack_of_descriptors(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (listener,) = await TRANSPORT.listen("127.0.0.1", 0)
    assert isinstance(listener, tcp.TcpListener)
    inner = listener._listener
    lacks = 3

    class Lacking:
        async def accept(self) -> trio.SocketStream:
            nonlocal lacks
            if lacks:
                lacks -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return await inner.accept()

    monkeypatch.setattr(listener, "_listener", Lacking())
    async with await TRANSPORT.dial(listener.address) as one, await listener.accept() as two:
        assert two.remote.port == one._socket.getsockname()[1]
    assert caplog.text.count("cannot accept connections just now") == 1
    await inner.aclose()


async def test_a_connection_reset_before_it_is_accepted_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (listener,) = await TRANSPORT.listen("127.0.0.1", 0)
    async with listener:
        reset(await TRANSPORT.dial(listener.address))
        async with await TRANSPORT.dial(listener.address) as one, await listener.accept() as two:
            assert two.remote.port == one._socket.getsockname()[1]


def test_a_real_connection_over_loopback_leaves_bbr() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
        except (AttributeError, OSError):
            pytest.skip("BBR cannot be had here")
        assert CongestionControl(sock).settled
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"reno")
