"""On a slow link a TLS record comes in pieces: who waits for all of it is woken twice, not a dozen times.

A relay between two real streams plays the slow link: it passes some bytes on, waits until the receiver has
seen to them, and passes on the next. How long that takes does not matter, and nothing sleeps.
"""

import fcntl
import os
import socket
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from peer.ids import Address
from peer.limits import FRAME_READ_BYTES
from peer.net.recordgate import QUICK_RECORDS
from peer.net.tls import TlsStream
from tests.real.tls_ends import ACCEPTING, DIALLING

RECORD = 16384


class SlowLink:
    """Passes ciphertext from the dialled to the accepted side; what goes back is passed on at once."""

    def __init__(self) -> None:
        self.piece = RECORD * 4
        self.passed = 0
        self._receiver: socket.socket | None = None
        self._waiting = False
        self._woken = 0

    def watch(self, stream: TlsStream) -> None:
        """Know from now on when the receiver waits for its socket, and when it is woken."""
        original = stream._wait_readable
        self._receiver = stream._socket

        async def watched() -> None:
            self._waiting = True
            try:
                await original()
            finally:
                self._waiting = False
                self._woken += 1

        stream._wait_readable = watched  # type: ignore[method-assign]

    async def run(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        while data := await source.receive_some(8 * RECORD):
            for start in range(0, len(data), self.piece):
                await self._pass(data[start : start + self.piece], sink)
                self.passed += 1
        with suppress(trio.BrokenResourceError):
            await sink.send_eof()

    async def _pass(self, piece: bytes, sink: trio.SocketStream) -> None:
        """Send to a receiver that waits; return when that has woken it, or is there and left it waiting."""
        if self._receiver is None:  # in the handshake
            await sink.send_all(piece)
            return
        while not self._waiting:
            await trio.lowlevel.checkpoint()
        woken, there = self._woken, arrived(self._receiver)
        await sink.send_all(piece)
        while self._woken == woken and not there + len(piece) <= arrived(self._receiver) < wanted(
            self._receiver
        ):
            await trio.lowlevel.checkpoint()


def arrived(sock: socket.socket) -> int:
    """Bytes that the kernel has for it."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def wanted(sock: socket.socket) -> int:
    """As many wake it."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@asynccontextmanager
async def slow_pair() -> AsyncIterator[tuple[TlsStream, TlsStream, SlowLink]]:
    link = SlowLink()
    (listener,) = await ACCEPTING.listen("127.0.0.1", 0)
    (middle,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    middle.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = middle.socket.getsockname()[1]
    accepted: list[TlsStream] = []
    ends: list[trio.SocketStream] = []

    async def accept() -> None:
        accepted.append(await ACCEPTING.accept(await listener.accept()))

    async def back(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some():
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass

    async with listener, middle, trio.open_nursery() as relay:

        async def between() -> None:
            ends.append(await middle.accept())
            ends.append(await trio.open_tcp_stream("127.0.0.1", listener.address.port))
            near, far = ends
            relay.start_soon(link.run, near, far)
            relay.start_soon(back, far, near)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            nursery.start_soon(between)
            dialled = await DIALLING.dial(Address("127.0.0.1", port))
        async with dialled, accepted[0] as receiver:
            link.watch(receiver)
            yield dialled, receiver, link
        relay.cancel_scope.cancel()
    for end in ends:
        await end.aclose()


async def receive(stream: TlsStream, count: int) -> tuple[bytes, int]:
    """The bytes, and how often the socket was waited for."""
    waits = 0
    original = stream._wait_readable

    async def counted() -> None:
        nonlocal waits
        waits += 1
        await original()

    stream._wait_readable = counted  # type: ignore[method-assign]
    data = bytearray(count)
    got = 0
    while got < count:
        more = await stream.receive_into(memoryview(data)[got:])
        assert more
        got += more
    stream._wait_readable = original  # type: ignore[method-assign]
    return bytes(data), waits


@asynccontextmanager
async def known_slow_pair() -> AsyncIterator[tuple[TlsStream, TlsStream, SlowLink]]:
    """The receiver has seen by now that the link is slow."""
    async with slow_pair() as (sender, receiver, link):
        link.piece = 1448
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, bytes(RECORD * 3))
            await receive(receiver, RECORD * 3)
        assert receiver._gate.slow
        yield sender, receiver, link


async def test_a_record_in_many_packets_is_waited_for_twice() -> None:
    payload = os.urandom(RECORD * 12)
    async with slow_pair() as (sender, receiver, link):
        link.piece = 1448
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, payload)
            data, waits = await receive(receiver, len(payload))
        assert data == payload
        assert receiver._gate.slow
        assert link.passed > 12 * 11
        assert waits < link.passed / 3, "the first record teaches that the link is slow; the others are quiet"


async def test_the_rest_of_a_chunk_is_one_read() -> None:
    """Its header comes with the first of three records, of which OpenSSL keeps what was not asked for."""
    chunk = os.urandom(2 * RECORD + 50)
    async with known_slow_pair() as (sender, receiver, _link):
        for _ in range(3):
            data = bytearray(len(chunk))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, chunk)
                first = await receiver.receive_into(memoryview(data)[:FRAME_READ_BYTES])
                assert await receiver.receive_into(memoryview(data)[first:]) == len(chunk) - first
            assert data == chunk


async def test_of_a_long_rest_more_is_seen_than_its_end() -> None:
    """A slow peer must not look like one that has stopped."""
    payload = os.urandom(RECORD * 8)
    async with known_slow_pair() as (sender, receiver, _link):
        data = bytearray(len(payload))
        got, reads = 0, 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, payload)
            while got < len(payload):
                got += await receiver.receive_into(memoryview(data)[got:])
                reads += 1
        assert data == payload
        assert reads >= 4


async def test_a_link_that_is_quick_again_is_seen() -> None:
    async with known_slow_pair() as (sender, receiver, link):
        link.piece = RECORD * 4
        for _ in range(2 * QUICK_RECORDS):  # one by one, so that each comes whole
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, bytes(RECORD))
                await receive(receiver, RECORD)
        assert not receiver._gate.slow


@pytest.mark.parametrize("size", [1, 40, 1000])
async def test_small_messages_are_not_held_back_on_a_slow_link(size: int) -> None:
    async with known_slow_pair() as (sender, receiver, _link):
        for number in range(5):
            message = bytes([number]) * size
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, message)
                data, _ = await receive(receiver, size)
            assert data == message


async def test_a_record_cut_off_in_the_middle_is_an_error_and_no_endless_loop() -> None:
    async with known_slow_pair() as (sender, receiver, _link):
        # half a record, straight into the socket, and then the end
        raw = socket.socket(fileno=os.dup(sender._socket.fileno()))
        raw.setblocking(False)
        raw.send(b"\x17\x03\x03\x40\x11" + bytes(5000))
        raw.shutdown(socket.SHUT_WR)
        raw.close()
        with pytest.raises(trio.BrokenResourceError):
            await receiver.receive_into(memoryview(bytearray(10)))


async def test_a_pause_in_the_middle_of_a_header_is_waited_out() -> None:
    async with slow_pair() as (sender, receiver, link):
        link.piece = 3  # even the header comes in two
        message = os.urandom(300)
        for _ in range(4):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, message)
                data, _ = await receive(receiver, len(message))
            assert data == message
