"""The ends of simulated connections: a stream, a listener and a transport, as the seam wants them."""

from collections import deque
from typing import TYPE_CHECKING

import trio

from peer.errors import DialError, UsageError
from peer.ids import Address, NodeId
from peer.net.transport import Listener, Stream
from peer.net.turn import Exclusive, Turn
from peer.sim.pipe import CHUNK_BYTES, HEADER_BYTES, SEND_BYTES, Pipe
from peer.store.filesystem import File

if TYPE_CHECKING:
    from peer.sim.network import SimHost

BACKLOG_MAX = 128
"""Connections that wait to be accepted: as Linux' default was for long. The SYN of one more is dropped."""


class SimStream(Stream):
    """One end of a connection."""

    def __init__(self, incoming: Pipe, outgoing: Pipe, remote: Address, peer: NodeId | None) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self._remote = remote
        self._peer = peer
        self._closed = False
        self._eof_sent = False
        self._turn = Turn()
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
        await trio.lowlevel.checkpoint()
        buffer = bytearray(max_bytes or 4 * CHUNK_BYTES)
        count = await self.receive_into(memoryview(buffer))
        return bytes(buffer[:count])

    async def receive_into(self, buffer: memoryview) -> int:
        with self._receiving:
            pipe, turn = self.incoming, self._turn
            if turn.left <= 0:
                await turn.yield_if_over()
            while True:
                if self._closed:
                    self._check_open()
                if pipe.inbox:
                    count = self._take(buffer)
                    turn.spend(count)
                    return count
                if pipe.eof_landed:
                    return 0
                if pipe.broken:
                    raise trio.BrokenResourceError("connection lost: reset by the other side")
                await pipe.data.wait()
                turn.waited()

    def _take(self, buffer: memoryview) -> int:
        """What was written together is read together, if there is room: a header does not tear the payload
        that follows it, as a kernel would where both are there. Half as many parts to handle."""
        inbox, room = self.incoming.inbox, len(buffer)
        filled = 0
        while inbox:
            part = inbox[0]
            size = len(part)
            if filled + size <= room:
                buffer[filled : filled + size] = inbox.popleft()
                filled += size
            elif filled:
                break
            else:
                view = memoryview(part)
                buffer[:] = view[:room]
                inbox[0] = view[room:]
                filled = room
                break
        self.incoming.read(filled)
        return filled

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending, memoryview(data) as view:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            await self._send(view)

    async def send_frames(self, data: bytes) -> None:
        with self._sending:
            self._check_sendable()
            turn, size = self._turn, len(data)
            if turn.left <= 0:
                await turn.yield_if_over()
            turn.spend(size)
            if self._room() >= size:
                self.outgoing.put(data)
            else:
                await self._send(memoryview(data))

    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        with self._sending:
            self._check_sendable()
            turn = self._turn
            if turn.left <= 0:
                await turn.yield_if_over()
            turn.spend(len(header) + count)
            parts = [header]
            if len(header) > HEADER_BYTES:
                await self._send(memoryview(header))
                parts.clear()
            while count:
                room = self._room() or await self._wait_room()
                wanted = min(room, count)
                buffer = bytearray(wanted)
                read = file.read_into(memoryview(buffer), offset)
                if read < wanted:
                    raise EOFError(f"the file ends at {offset + read}, {count - read} bytes too early")
                self.outgoing.put(*parts, buffer)
                parts.clear()
                offset += read
                count -= read

    async def _send(self, view: memoryview) -> None:
        self._check_sendable()
        sent = 0
        while sent < len(view):
            room = self._room() or await self._wait_room()
            part = bytes(view[sent : sent + room])
            self.outgoing.put(part)
            sent += len(part)

    def _room(self) -> int:
        """How much of one chunk may be put into the queue now. The headers of what fits come on top: else the
        last chunk would be cut short by theirs, and take an event of its own."""
        queued = self.outgoing.queued
        return min(CHUNK_BYTES, SEND_BYTES + 4 * HEADER_BYTES - queued) if queued < SEND_BYTES else 0

    async def _wait_room(self) -> int:
        """The same, when there is some."""
        while not (room := self._room()):
            await self.outgoing.room.wait()
            self._turn.waited()
            self._check_sendable()
        return room

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            await self._wait_room()

    async def send_eof(self) -> None:
        with self._sending:
            self._check_open()
            await trio.lowlevel.checkpoint()
            if not self._eof_sent:
                self._check_sendable()
                self._eof_sent = True
                self.outgoing.finish()

    async def aclose(self) -> None:
        # As kernels do: the other side must not think that we read what we did not.
        self.close(reset=bool(self.incoming.inbox))
        await trio.lowlevel.checkpoint()

    def close(self, *, reset: bool) -> None:
        """End this side of the connection at once, with a reset or behind what is queued."""
        if self._closed:
            return
        self._closed = True
        self.incoming.reader_closed = True
        if reset:
            self.outgoing.reset()
        else:
            self.outgoing.finish()
        self.incoming.data.ring()
        self.outgoing.room.ring()
        self.incoming.connection.end_closed()

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
        return len(self._waiting) >= self._host.network.backlog_max

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
            for stream in self._waiting:  # as kernels do with those that nobody has accepted
                stream.close(reset=True)
            self._waiting.clear()
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
