"""The ends of simulated connections: a stream, a listener and a transport, as the seam wants them."""

from collections import deque
from typing import TYPE_CHECKING

import trio

from peer.errors import DialError, UsageError
from peer.ids import Address, NodeId
from peer.net.transport import Listener, Stream
from peer.net.turn import Exclusive
from peer.sim.pipe import CHUNK_BYTES, SEND_BYTES, Pipe
from peer.store.filesystem import File

if TYPE_CHECKING:
    from peer.sim.network import SimHost

BACKLOG_MAX = 128
"""Connections that wait to be accepted: as Linux' default was for long; more are refused."""


class SimStream(Stream):
    """One end of a connection."""

    def __init__(self, incoming: Pipe, outgoing: Pipe, remote: Address, peer: NodeId | None) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self._remote = remote
        self._peer = peer
        self._closed = False
        self._eof_sent = False
        self._sending = Exclusive("another task is sending on this connection")
        self._receiving = Exclusive("another task is reading from this connection")

    @property
    def remote(self) -> Address:
        return self._remote

    @property
    def peer(self) -> NodeId | None:
        return self._peer

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        buffer = bytearray(max_bytes or 4 * CHUNK_BYTES)
        count = await self.receive_into(memoryview(buffer))
        return bytes(buffer[:count])

    async def receive_into(self, buffer: memoryview) -> int:
        with self._receiving:
            pipe = self.incoming
            if pipe.inbox or pipe.eof_landed or pipe.broken or self._closed:
                await trio.lowlevel.checkpoint()
            while True:  # parking is a checkpoint as well
                self._check_open()
                if pipe.inbox:
                    return self._take(buffer)
                if pipe.eof_landed:
                    return 0
                if pipe.broken:
                    raise trio.BrokenResourceError("connection lost: reset by the other side")
                await pipe.data.park()

    def _take(self, buffer: memoryview) -> int:
        inbox = self.incoming.inbox
        filled = 0
        while inbox and filled < len(buffer):
            part = inbox[0]
            count = min(len(part), len(buffer) - filled)
            buffer[filled : filled + count] = part[:count]
            filled += count
            if count == len(part):
                inbox.popleft()
            else:
                inbox[0] = part[count:]
        self.incoming.read(filled)
        return filled

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending, memoryview(data) as view:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            await self._send(view)

    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            await self._send(memoryview(header))
            while count:
                room = await self._room()
                buffer = bytearray(min(room, count))
                read = file.read_into(memoryview(buffer), offset)
                if read < len(buffer):
                    raise EOFError(f"the file ends at {offset + read}, {count - read} bytes too early")
                self.outgoing.put(bytes(buffer))
                offset += read
                count -= read

    async def _send(self, view: memoryview) -> None:
        self._check_sendable()
        sent = 0
        while sent < len(view):
            room = await self._room()
            part = bytes(view[sent : sent + room])
            self.outgoing.put(part)
            sent += len(part)

    async def _room(self) -> int:
        """Wait for room in the queue; how much of one chunk may be put there."""
        self._check_sendable()
        while not self.outgoing.has_room:
            await self.outgoing.room.park()
            self._check_sendable()
        return min(CHUNK_BYTES, SEND_BYTES - self.outgoing.queued)

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            await self._room()

    async def send_eof(self) -> None:
        with self._sending:
            self._check_open()
            await trio.lowlevel.checkpoint()
            if not self._eof_sent:
                self._check_sendable()
                self._eof_sent = True
                self.outgoing.finish()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self.incoming.reader_closed = True
            if self.incoming.inbox:
                self.outgoing.reset()  # as kernels do: the other side must not think that we read it
            else:
                self.outgoing.finish()
            self.incoming.data.unpark_all()
            self.outgoing.room.unpark_all()
            self.incoming.connection.end_closed()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed here")

    def _check_sendable(self) -> None:
        if self._closed or self._eof_sent:
            raise trio.ClosedResourceError("this connection was closed here for sending")
        if self.outgoing.broken:
            raise trio.BrokenResourceError("connection lost: reset by the other side")


class SimListener(Listener):
    """A listening port of a host."""

    def __init__(self, host: "SimHost", port: int, node: NodeId | None) -> None:
        self.node = node
        self._host = host
        self._address = Address(host.address, port)
        self._waiting: deque[SimStream] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def address(self) -> Address:
        return self._address

    @property
    def full(self) -> bool:
        return len(self._waiting) >= BACKLOG_MAX

    def offer(self, stream: SimStream) -> None:
        """A connection came in; the caller has looked whether there is room."""
        self._waiting.append(stream)
        self._news.unpark()

    async def accept(self) -> SimStream:
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed here")
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._waiting:
                return self._waiting.popleft()
            await self._news.park()
        raise trio.ClosedResourceError("this listener was closed here")

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._host.forget_listener(self._address.port)
            self._news.unpark_all()
            for stream in self._waiting:
                stream.outgoing.reset()
        await trio.lowlevel.checkpoint()


class SimTransport:
    """The `Transport` of one host. With a node id, both ends see each other's, as after a TLS handshake."""

    def __init__(self, host: "SimHost", node: NodeId | None) -> None:
        self._host = host
        self._node = node

    async def dial(self, address: Address, expected: NodeId | None = None) -> SimStream:
        stream = await self._host.connect(address, self._node)
        if expected is not None and stream.peer is not None and stream.peer != expected:
            await trio.aclose_forcefully(stream)
            raise DialError(f"cannot reach {address}: another node answers there")
        return stream

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        await trio.lowlevel.checkpoint()
        if host not in (None, self._host.name, self._host.address):
            raise UsageError(f"cannot listen on {host}: not an address of this machine")
        return [self._host.open_listener(port, self._node)]

    async def accept(self, stream: Stream) -> Stream:
        return stream
