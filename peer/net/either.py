"""A listening side that takes both: TLS, and plaintext from labs and trusted links.

A TLS connection begins with a handshake record, whose first byte is 22; a plain one begins with the length
of a header under 64 KiB, whose first byte is 0. A look at that byte, without taking it, tells them apart.
For trackers: a peer decides by itself what it accepts.
"""

from peer.ids import Address, NodeId
from peer.net.tcp import TcpStream, TcpTransport
from peer.net.tls import TlsTransport
from peer.net.transport import Listener, Stream

TLS_HANDSHAKE_RECORD = 0x16


class EitherTransport:
    """Listens for both; dials with TLS."""

    def __init__(self, tls: TlsTransport, tcp: TcpTransport) -> None:
        self._tls = tls
        self._tcp = tcp

    async def dial(self, address: Address, expected: NodeId | None = None) -> Stream:
        return await self._tls.dial(address, expected)

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        return await self._tcp.listen(host, port)

    async def accept(self, stream: Stream) -> Stream:
        """Wait for the first byte, then go on as it says. The caller sets the deadline."""
        if isinstance(stream, TcpStream) and await stream.peek() == TLS_HANDSHAKE_RECORD:
            return await self._tls.accept(stream)
        return stream
