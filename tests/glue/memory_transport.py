"""A stand-in transport for conversations: lockstep streams, so nobody's words wait in a buffer.

Not a simulation of a network (that is peer/sim): no rates, no delays. It has what bad company needs:
addresses that hang or refuse, handshakes that fail, and streams whose other end is in the test's hands.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

from peer.errors import DialError, UsageError
from peer.ids import Address, NodeId
from peer.net.channel import MessageChannel
from peer.net.transport import Listener, Stream
from peer.store.filesystem import File


class MemoryStream(Stream):
    def __init__(self, inner: "trio.StapledStream[Any, Any]", remote: Address) -> None:
        self._inner = inner
        self._remote = remote
        self.proven: NodeId | None = None
        self.closed = False

    @property
    def remote(self) -> Address:
        return self._remote

    @property
    def peer(self) -> NodeId | None:
        return self.proven

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._inner.receive_some(max_bytes))

    async def receive_into(self, buffer: memoryview) -> int:
        data = await self._inner.receive_some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(bytes(data))

    async def send_frames(self, data: bytes) -> None:
        await self._inner.send_all(data)

    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self.closed = True
        await self._inner.aclose()


class MemoryListener(Listener):
    def __init__(self, network: "MemoryNetwork", address: Address) -> None:
        self._network = network
        self._address = address
        self.offer, self._offered = trio.open_memory_channel[MemoryStream](10_000)
        self.trouble: OSError | None = None
        """Raised once by the next accept."""

    @property
    def address(self) -> Address:
        return self._address

    async def accept(self) -> MemoryStream:
        stream = await self._offered.receive()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            self.offer.send_nowait(stream)
            raise trouble
        return stream

    async def aclose(self) -> None:
        self._network.listeners.pop(self._address, None)
        await self._offered.aclose()


class MemoryNetwork:
    """Who listens where. ``hanging`` addresses take a dial and never answer it."""

    def __init__(self) -> None:
        self.listeners: dict[Address, MemoryListener] = {}
        self.hanging: set[Address] = set()
        self.dials: list[tuple[float, Address]] = []

    def transport(self, host: str) -> "MemoryTransport":
        return MemoryTransport(self, host)


class MemoryTransport:
    """One host's view of the network."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host
        self._ports = iter(range(40_000, 60_000))
        self.handshake: Callable[[Stream], Awaitable[Stream]] | None = None

    async def dial(self, address: Address, expected: NodeId | None = None) -> MemoryStream:
        self._network.dials.append((trio.current_time(), address))
        await trio.lowlevel.checkpoint()
        if address in self._network.hanging:
            await trio.sleep_forever()
        listener = self._network.listeners.get(address)
        if listener is None:
            raise DialError(f"cannot reach {address}: connection refused")
        ours, theirs = trio.testing.lockstep_stream_pair()
        listener.offer.send_nowait(MemoryStream(theirs, Address(self._host, next(self._ports))))
        return MemoryStream(ours, address)

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        address = Address(host or self._host, port)
        if address in self._network.listeners:
            raise UsageError(f"port {port} is already taken: name another with --port")
        listener = self._network.listeners[address] = MemoryListener(self._network, address)
        return [listener]

    async def accept(self, stream: Stream) -> Stream:
        return stream if self.handshake is None else await self.handshake(stream)

    async def channel(self, address: Address) -> MessageChannel:
        """Dial, and speak messages."""
        return MessageChannel(await self.dial(address))
