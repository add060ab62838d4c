"""The seam to the network: what a node needs of a connection, and who makes them.

Real sides: `net/tcp.py` (plain) and `net/tls.py`. Simulated side: `sim/network.py`. Nothing above this floor
knows which one it has.

A stream is a `trio.abc.HalfCloseableStream` with two additions for bulk data, so that payload bytes are never
copied through Python objects: `receive_into` a buffer of the caller's, and `send_slice` of a file.
One task reads and one task writes; a cancelled send leaves the stream unusable, and it must then be closed.
"""

from abc import abstractmethod
from typing import Protocol

import trio

from peer.ids import Address, NodeId
from peer.store.filesystem import File


class Stream(trio.abc.HalfCloseableStream):
    """One connection. Everything raises `trio.BrokenResourceError` when the other side is gone, and
    `trio.ClosedResourceError` after our own close, as trio's streams do.

    `receive_into`, `send_frames` and `send_slice` need not be a checkpoint each time, but give way often
    enough."""

    @property
    @abstractmethod
    def remote(self) -> Address:
        """The other side's address as the socket saw it, never as it was claimed."""

    @property
    @abstractmethod
    def peer(self) -> NodeId | None:
        """Who the other side proved to be; None on a transport that does not authenticate."""

    @abstractmethod
    async def receive_into(self, buffer: memoryview) -> int:
        """Read some bytes into the buffer; return how many, 0 at the end of the stream.

        A buffer of more than FRAME_READ_BYTES is for what is sure to come, the rest of a payload: it may be
        waited for until there is more of it.
        """

    @abstractmethod
    async def send_frames(self, data: bytes) -> None:
        """As `send_all`, for what is small and frequent."""

    @abstractmethod
    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        """Send the header, then ``count`` bytes of the file from ``offset``.

        Raises EOFError if the file ends before that, and OSError if it cannot be read: the frame is torn
        then, so the caller must close. The connection's own faults are never an OSError.
        """


class Listener(trio.abc.Listener[Stream]):
    """Accepts streams at one address. Fit for `trio.serve_listeners`; a lack of descriptors or memory is
    logged and waited out inside `accept`."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens, with the real port."""


class Transport(Protocol):
    """Makes streams."""

    async def dial(self, address: Address, expected: NodeId | None = None) -> Stream:
        """Connect. Raises `DialError`; also when the other side proves to be somebody else than expected."""

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        """Listen on the host, or on every address of the machine (IPv4 and IPv6) for None; port 0 takes a
        free one, the same for all. Raises `UsageError` that names the port when it is taken."""

    async def accept(self, stream: Stream) -> Stream:
        """Finish what must be done before an accepted stream is used (a handshake); may return another.

        The given stream is taken over, also when this raises `HandshakeError` or is cancelled. The caller
        sets the deadline. On the dialling side the other's refusal may show only at the first read: a dialled
        stream is up when something has been received on it.
        """
