"""Peers that all stay connected to one seed and ask for all that they may. A process of its own.

usage: python -m tests.soak.guests LINK COUNT SECONDS

They have nothing. In turn one reads what it asked for as fast as it can, one a little now and then, one not
at all. After so many seconds it prints how many are linked, and how many bytes they were sent.
"""

import sys
from contextlib import suppress
from random import Random

import trio

from peer.buffers import BufferPool
from peer.errors import ManyhandsError
from peer.greeting import Greeted, greet
from peer.identity import Identity
from peer.ids import PieceIndex
from peer.limits import PROTOCOL_VERSION, WINDOW_DEFAULT
from peer.magnet import MagnetLink, parse
from peer.manifest import piece_bytes_for
from peer.net.swarmca import SwarmAuthority
from peer.net.tls import TlsTransport
from peer.wire.messages import Hello, Interested
from peer.wire.session import Answered, ChokeReceived, Event, Session

PAUSES_S = (0.0, 0.5, 3600.0)
"""After each read, of these in turn."""

AGAIN_S = 1.0


class Guest:
    """One of them. Sizes in bytes; the share is of whole pieces."""

    def __init__(self, number: int, link: MagnetLink) -> None:
        self.linked = False
        self.received = 0
        self._number = number
        self._link = link
        size = link.total_bytes or 0
        self._piece_bytes = piece_bytes_for(size)
        self._pieces = size // self._piece_bytes
        self._rng = Random(number)
        self._buffers = BufferPool()

    async def stay(self) -> None:
        """Until cancelled. Whoever is sent away comes again."""
        identity = Identity.generate()
        transport = TlsTransport(identity, SwarmAuthority.public())
        hello = Hello(PROTOCOL_VERSION, self._link.share, identity.node_id, WINDOW_DEFAULT, 0)
        while True:
            with suppress(ManyhandsError, trio.BrokenResourceError):
                async with await transport.dial(self._link.peers[0].address) as stream:
                    greeted = await greet(stream, Session(buffers=self._buffers), hello, None)
                    self.linked = True
                    await self._ask_and_read(greeted)
            self.linked = False
            await trio.sleep(AGAIN_S)

    async def _ask_and_read(self, greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream
        await stream.send_all(session.bitfield(bytes(-(-self._pieces // 8))))
        await stream.send_all(session.send(Interested(True)))
        for event in greeted.early:
            await self._handle(greeted, event)
        while count := await stream.receive_into(session.get_buffer()):
            self.received += count
            for event in session.buffer_updated(count):
                await self._handle(greeted, event)
            await trio.sleep(PAUSES_S[self._number % len(PAUSES_S)])

    async def _handle(self, greeted: Greeted, event: Event) -> None:
        session = greeted.session
        if isinstance(event, Answered):
            self._buffers.release(event.buffer)
        if isinstance(event, Answered) or (isinstance(event, ChokeReceived) and not event.on):
            while session.window_left > 0:
                piece = PieceIndex(self._rng.randrange(self._pieces))
                await greeted.stream.send_all(session.request(piece, self._piece_bytes)[1])


async def main(link: MagnetLink, count: int, seconds: float) -> None:
    """Invite them, and say what came of it."""
    guests = [Guest(number, link) for number in range(count)]
    async with trio.open_nursery() as nursery:
        for guest in guests:
            nursery.start_soon(guest.stay)
        await trio.sleep(seconds)
        print(sum(guest.linked for guest in guests), sum(guest.received for guest in guests))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, parse(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
