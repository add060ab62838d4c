"""TLS streams over real loopback sockets: bulk data both ways, each end of a stream."""

import os
import select
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from peer.limits import CLOSE_NOTIFY_S
from peer.net import tls
from peer.net.cork import CORK
from peer.net.tls import TlsStream
from tests.memoryfile import memory_file, real_file
from tests.real.tls_ends import DIALLING, connected, pair


async def clogged() -> tuple[TlsStream, TlsStream]:
    """Full to the brim both ways, at the end by records of one byte: what OpenSSL keeps of the last may be
    sent again as part of any other send."""
    one, two = await connected()
    while writable := select.select([], [one._socket, two._socket], [], 0.05)[1]:
        for sock in writable:
            with suppress(ssl.SSLWantWriteError):
                while select.select([], [sock], [], 0)[1]:
                    sock.send(b"\0" * 8192)
                while True:
                    sock.send(b"\0")
    return one, two


async def collect(stream: TlsStream, count: int) -> bytes:
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        n = await stream.receive_into(view[got:])
        assert n, f"the stream ended after {got} of {count} bytes"
        got += n
    return bytes(data)


async def test_behaves_as_trio_wants_a_stream_to() -> None:
    await trio.testing.check_half_closeable_stream(connected, clogged)


async def test_a_big_transfer_both_ways_at_once(tmp_path: Path) -> None:
    data = os.urandom(6 * 1024 * 1024 + 5)
    (tmp_path / "file").write_bytes(data)
    file = real_file(tmp_path / "file")
    back = os.urandom(5_000_000)
    slices = [(b"first", 0, 3_000_003), (b"", 3_000_003, 1), (b"third" * 20_000, 9, 1_000_000), (b"e", 0, 0)]
    expected = b"".join(header + data[offset : offset + count] for header, offset, count in slices)

    async def forth(stream: TlsStream) -> None:
        for header, offset, count in slices:
            await stream.send_slice(header, file, offset, count)

    async with pair() as (one, two):
        results: dict[str, bytes] = {}

        async def read(name: str, stream: TlsStream, count: int) -> None:
            results[name] = await collect(stream, count)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(forth, one)
            nursery.start_soon(two.send_all, back)
            nursery.start_soon(read, "there", two, len(expected))
            nursery.start_soon(read, "here", one, len(back))
        assert results["there"] == expected
        assert results["here"] == back
        assert 1 <= len(DIALLING._buffers) <= tls.BUFFERS_KEPT
    file.close()


async def test_a_file_that_ends_too_early_leaves_a_truncation() -> None:
    async with pair() as (one, two):
        await one.send_all(b"whole")
        with pytest.raises(EOFError, match="50 bytes too early"):
            await one.send_slice(b"head", memory_file(b"x" * 1000), 0, 1050)
        with pytest.raises(trio.BrokenResourceError):
            await one.send_all(b"more")
        await one.aclose()
        assert await collect(two, 5) == b"whole"
        with pytest.raises(trio.BrokenResourceError, match="cut off"):
            await two.receive_some()


@pytest.mark.skipif(CORK is None, reason="this system cannot")
async def test_packets_are_held_back_only_while_a_slice_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its last bytes would wait for 200 ms in the kernel."""
    seen: list[int] = []
    file = memory_file(b"x" * 1000)
    read_into = file.read_into
    async with pair() as (one, two):

        def in_force() -> int:
            return one._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)

        def look(buffer: memoryview, offset: int) -> int:
            seen.append(in_force())
            return read_into(buffer, offset)

        monkeypatch.setattr(file, "read_into", look)
        await one.send_slice(b"head", file, 0, 1000)
        assert in_force() == 0
        assert await collect(two, 1004) == b"head" + b"x" * 1000
        with pytest.raises(EOFError):
            await one.send_slice(b"head", file, 0, 1001)
        assert in_force() == 0
    assert seen == [1, 1]


async def test_a_clean_close_is_the_end() -> None:
    async with pair() as (one, two):
        await one.send_all(b"x" * 100_000)
        await one.aclose()
        assert await collect(two, 100_000) == b"x" * 100_000
        assert await two.receive_into(memoryview(bytearray(1))) == 0
        assert await two.receive_some() == b""


async def test_after_both_goodbyes_no_plain_byte_is_believed() -> None:
    async with pair() as (one, two):
        await two.send_eof()
        assert await one.receive_some() == b""
        await one.send_eof()
        os.write(two._socket.fileno(), b"injected")
        await trio.lowlevel.wait_readable(one._socket)
        assert await one.receive_some() == b""
        assert await one.receive_into(memoryview(bytearray(1))) == 0


async def test_a_connection_cut_off_is_not_the_end() -> None:
    async with pair() as (one, two):
        await one.send_all(b"x" * 100_000)
        one._torn = True  # as if killed: no close_notify
        await one.aclose()
        assert await collect(two, 100_000) == b"x" * 100_000
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="cut off"):
                await two.receive_into(memoryview(bytearray(1)))


async def test_a_cancelled_send_tears_the_stream_visibly(autojump_clock: trio.testing.MockClock) -> None:
    async with pair() as (one, two):
        with trio.move_on_after(1) as scope:
            while True:
                await one.send_all(b"x" * 1_000_000)
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match="not finished"):
            await one.send_slice(b"", memory_file(b""), 0, 0)
        await one.aclose()
        with pytest.raises(trio.BrokenResourceError, match="cut off"):
            await drain(two)


async def test_closing_does_not_wait_for_a_peer_that_does_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one, two = await clogged()
    begin = trio.current_time()
    await one.aclose()
    assert trio.current_time() - begin <= CLOSE_NOTIFY_S
    await trio.aclose_forcefully(two)


async def test_a_reader_may_wait_for_writing_beside_the_writer() -> None:
    """As it must to answer a key update while the kernel's queue is full."""
    one, two = await clogged()
    async with one, two, trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.wait_send_all_might_not_block)
            nursery.start_soon(one._wait_writable)
            await trio.testing.wait_all_tasks_blocked()
            outer.start_soon(drain, two)
        outer.cancel_scope.cancel()


async def test_both_that_wait_for_writing_hear_of_the_close() -> None:
    one, two = await clogged()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await one._wait_writable()

    async with one, two, trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(one)


async def drain(stream: TlsStream) -> None:
    while await stream.receive_some():
        pass
