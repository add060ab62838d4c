"""Two nodes of the public swarm, and TLS streams between them over real loopback sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peer.identity import Identity
from peer.net.swarmca import SwarmAuthority
from peer.net.tls import TlsStream, TlsTransport

HERE, THERE = Identity.generate(), Identity.generate()
PUBLIC = SwarmAuthority.public()
DIALLING, ACCEPTING = TlsTransport(HERE, PUBLIC), TlsTransport(THERE, PUBLIC)


async def connected(
    client: TlsTransport = DIALLING, server: TlsTransport = ACCEPTING, host: str = "127.0.0.1"
) -> tuple[TlsStream, TlsStream]:
    (listener,) = await server.listen(host, 0)
    accepted: list[TlsStream] = []

    async def accept() -> None:
        accepted.append(await server.accept(await listener.accept()))

    async with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            dialled = await client.dial(listener.address)
        return dialled, accepted[0]


@asynccontextmanager
async def pair(host: str = "127.0.0.1") -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    one, two = await connected(host=host)
    async with one, two:
        yield one, two
