"""On a slow link a TLS record comes in pieces: who waits for all of it is woken twice, not a dozen times.

A relay between two real streams plays the slow link: it passes some bytes on, waits until the receiver has
seen to them, and passes on the next. How long that takes does not matter, and nothing sleeps.
"""

import fcntl
import os
import socket
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from peer.ids import Address
from peer.limits import FRAME_READ_BYTES, NAP_STEP_S
from peer.net.naps import Naps
from peer.net.recordgate import (
    LARGE_BYTES,
    NAP_BYTES,
    NAP_S_MAX,
    QUICK_RECORDS,
    RECORD_BYTES_MIN,
    SLOW_WAITS,
    SURE_BYTES_MAX,
    RecordGate,
)
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


# --- naps: the gate on a socket of its own, and a clock that the test turns


class Wire:
    """A gate that knows its link to be slow, over two ends of a connection."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.far = socket.create_connection(listener.getsockname())
            self.near, _ = listener.accept()
        self.near.setblocking(False)
        self.gate = RecordGate(self.near)
        self.gate.slow = True
        self.gate.took(lambda: 0)

    def send(self, data: bytes) -> None:
        there = arrived(self.near)
        self.far.sendall(data)
        while arrived(self.near) < there + len(data):  # loopback: it is there when this thread looks, or soon
            pass

    def read(self, count: int) -> None:
        self.near.recv(count)
        self.gate.took(lambda: 0)

    def teach(self, *, bytes_per_s: float, now: float) -> float:
        """Have one record come at this rate. When it was whole."""
        self.send(HEADER + bytes(RECORD // 2))
        assert not self.gate.is_open(0, now)
        assert self.gate.nap == 0, "of a link whose rate is not known nobody knows how long to sleep"
        assert wanted(self.near) == len(HEADER) + RECORD, "the kernel calls when all is there"
        self.send(bytes(RECORD // 2))
        now += RECORD / 2 / bytes_per_s
        self.gate.waited()
        assert self.gate.is_open(0, now)
        self.read(len(HEADER) + RECORD)
        return now


HEADER = b"\x17\x03\x03" + RECORD.to_bytes(2, "big")


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    with wire.far, wire.near:
        yield wire


@pytest.mark.parametrize("rate", [20e3, 200e3, 1.4e6])
def test_on_a_link_of_known_rate_bytes_gather_and_the_kernel_is_not_asked_to_call(
    wire: Wire, rate: float
) -> None:
    """Linux acknowledges every second packet while SO_RCVLOWAT is not reached."""
    now = wire.teach(bytes_per_s=rate, now=1.0)
    wire.send(HEADER + bytes(RECORD // 4))
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap == pytest.approx(min(max(RECORD * 3 / 4 / rate, NAP_STEP_S), NAP_S_MAX))
    assert wire.gate.nap * rate <= NAP_BYTES, "no more comes than a receive window holds"
    assert wanted(wire.near) <= RECORD_BYTES_MIN
    wire.send(bytes(RECORD * 3 // 4))
    assert wire.gate.is_open(0, now + wire.gate.nap)


def test_on_a_fast_link_nobody_naps(wire: Wire) -> None:
    now = wire.teach(bytes_per_s=1e8, now=1.0)
    wire.send(HEADER + bytes(RECORD // 4))
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap == 0


def test_when_nothing_has_come_in_a_nap_the_next_byte_wakes_and_the_end_is_seen(wire: Wire) -> None:
    now = wire.teach(bytes_per_s=100e3, now=1.0)
    wire.send(HEADER + bytes(100))
    assert not wire.gate.is_open(0, now)
    assert not wire.gate.is_open(0, now), "asked again at once: the nap is not over"
    assert wire.gate.nap
    now += wire.gate.nap
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap == 0
    assert wanted(wire.near) == len(HEADER) + 101
    wire.send(b"x")
    wire.gate.waited()
    assert not wire.gate.is_open(0, now + 5)
    assert wire.gate.nap, "it goes on: sleep until the rest should be there"
    assert not wire.gate.is_open(0, now + 6)
    wire.far.close()
    wire.gate.waited()  # woken with less than was asked for
    assert wire.gate.is_open(0, now + 7)


def test_a_pause_does_not_count_into_the_rate(wire: Wire) -> None:
    """Or the first record after it would be slept for as if it came as slowly."""
    now = wire.teach(bytes_per_s=1e6, now=1.0)
    wire.send(HEADER + bytes(100))
    assert not wire.gate.is_open(0, now)
    now += wire.gate.nap
    assert not wire.gate.is_open(0, now)
    now += 60
    wire.send(bytes(1400))
    wire.gate.waited()
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap <= 2 * NAP_STEP_S


def test_a_small_message_is_not_slept_for(wire: Wire) -> None:
    now = wire.teach(bytes_per_s=20e3, now=1.0)
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap == 0
    wire.send(b"\x17\x03\x03\x00\x30" + bytes(0x30))
    wire.gate.waited()
    assert wire.gate.is_open(0, now + 1)


def test_bytes_of_the_same_moment_and_looks_without_any_change_no_rate(wire: Wire) -> None:
    now = wire.teach(bytes_per_s=200e3, now=1.0)
    wire.send(HEADER + bytes(100))
    assert not wire.gate.is_open(0, now)
    nap = wire.gate.nap
    assert not wire.gate.is_open(0, now + NAP_STEP_S / 4), "sooner than the nap was for"
    assert wire.gate.nap == nap
    wire.send(bytes(2000))
    assert not wire.gate.is_open(0, now)
    assert wire.gate.nap == pytest.approx(nap - 2000 / 200e3)


# --- when the gate is in use


def whole_records(wire: Wire, count: int, payload: int) -> None:
    for number in range(count):
        wire.send(HEADER[:3] + payload.to_bytes(2, "big") + bytes(payload))
        assert wire.gate.is_open(0, float(number))
        wire.read(len(HEADER) + payload)


def test_a_record_that_wakes_its_reader_so_often_comes_over_a_slow_link(wire: Wire) -> None:
    gate = RecordGate(wire.near)
    for waits, slow in ((SLOW_WAITS - 1, False), (SLOW_WAITS, True)):
        for _ in range(waits):
            gate.waited()
        gate.took(lambda: 0)
        assert gate.slow is slow


def test_a_link_that_is_slow_again_is_not_taken_for_quick_by_one_record(wire: Wire) -> None:
    whole_records(wire, QUICK_RECORDS, RECORD)
    assert not wire.gate.slow
    for _ in range(SLOW_WAITS):
        wire.gate.waited()
    wire.gate.took(lambda: 0)
    whole_records(wire, QUICK_RECORDS - 1, RECORD)
    assert wire.gate.slow


def test_small_records_say_nothing_of_the_link(wire: Wire) -> None:
    whole_records(wire, 2 * QUICK_RECORDS, LARGE_BYTES - len(HEADER) - 1)
    assert wire.gate.slow
    whole_records(wire, QUICK_RECORDS, LARGE_BYTES - len(HEADER))
    assert not wire.gate.slow


def test_a_record_in_parts_shows_that_the_link_is_still_slow(wire: Wire) -> None:
    whole_records(wire, QUICK_RECORDS - 1, RECORD)
    wire.teach(bytes_per_s=1e6, now=100.0)
    whole_records(wire, QUICK_RECORDS - 1, RECORD)
    assert wire.gate.slow


def test_what_openssl_has_in_part_it_must_be_asked_for(wire: Wire) -> None:
    """The rest of that record has no header that could be looked at."""
    wire.gate.left_open()
    wire.send(HEADER + bytes(100))  # what only looks like one
    assert wire.gate.is_open(0, 1.0)
    assert wanted(wire.near) == 1


def test_what_openssl_has_decrypted_is_not_waited_for(wire: Wire) -> None:
    wire.gate.took(lambda: 100)
    assert wire.gate.is_open(100, 1.0)
    assert not wire.gate.is_open(101, 1.0), "the rest can come with it"


@pytest.mark.parametrize("rest", [8000, SURE_BYTES_MAX])
def test_of_a_payload_all_is_waited_for_that_is_known_to_come(wire: Wire, rest: int) -> None:
    """Its records cost more than it: 22 bytes each, of which a header, a type and a seal."""
    wire.send(HEADER[:3] + (1000).to_bytes(2, "big"))
    assert not wire.gate.is_open(rest, 1.0)
    assert wanted(wire.near) == rest + RECORD_BYTES_MIN * (1 if rest <= RECORD else 2)


def test_of_a_longer_payload_the_next_record_is_waited_for(wire: Wire) -> None:
    wire.send(HEADER)
    assert not wire.gate.is_open(SURE_BYTES_MAX + 1, 1.0)
    assert wanted(wire.near) == len(HEADER) + RECORD


class Wakeful(Naps):
    """Nobody sleeps, but who would have is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def sleep(self, seconds: float) -> None:
        self.count += 1
        await trio.lowlevel.checkpoint()


async def test_the_stream_naps_when_its_gate_says_so_and_loses_nothing() -> None:
    payload = os.urandom(RECORD * 3)
    async with known_slow_pair() as (sender, receiver, link):
        receiver._gate._rate = 100e3
        receiver._naps = naps = Wakeful()
        link.piece = RECORD // 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, payload)
            data, _ = await receive(receiver, len(payload))
        assert data == payload
        assert naps.count
