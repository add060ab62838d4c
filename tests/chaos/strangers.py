"""Who lies about who is where: a second tracker, a gossip among peers, and a crowd that is one machine."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import trio

from peer.buffers import BufferPool
from peer.errors import ByeCode, ManyhandsError
from peer.greeting import Greeted, greet
from peer.ids import Address, KnownPeer, NodeId
from peer.limits import EXCHANGE_INTERVAL_S, PROTOCOL_VERSION, WINDOW_DEFAULT
from peer.magnet import MagnetLink
from peer.net.channel import MessageChannel
from peer.net.transport import Listener, Stream
from peer.sim.world import PORT, World
from peer.wire.codec import encode
from peer.wire.messages import Announced, Bye, Hello, Peers
from peer.wire.session import Session
from tests.sim import hostile

TRACKER_PORT: Final = 7702
TOLD_MAX: Final = 30
IDENTITIES: Final = 11
"""Of the crowd's machine: more than LINKS_PER_HOST_MAX."""

RETURN_S: Final = 5.0

Everybody = Callable[[], Sequence[KnownPeer]]
"""Who can be told of, rightly."""


def rumours(rng: Random, everybody: Sequence[KnownPeer]) -> tuple[KnownPeer, ...]:
    """Addresses of nobody, and of everybody with and without the names of others."""
    told = [
        KnownPeer(Address(f"203.0.113.{rng.randrange(1, 255)}", PORT)) for _ in range(rng.randrange(TOLD_MAX))
    ]
    for peer in everybody:
        node = rng.choice((peer.node, None, NodeId(rng.randbytes(32)), rng.choice(everybody).node))
        told.append(KnownPeer(peer.address, node))
    rng.shuffle(told)
    return tuple(told)


async def keep_lying_tracker(world: World, rng: Random, everybody: Everybody) -> Address:
    """A tracker, named so, that answers each question in another bad way."""
    host = world.network.add_host("tracker of lies", latency=0.02)
    (listener,) = await host.transport().listen(None, TRACKER_PORT)

    async def answer(stream: Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ManyhandsError):
            channel = MessageChannel(stream)
            with trio.move_on_after(rng.choice((0.1, 5.0, 60.0))):
                await channel.receive()
                match rng.randrange(6):
                    case 0:
                        await stream.send_all(encode(Bye(ByeCode.PROTOCOL, "no")))
                    case 1:
                        await stream.send_all(rng.randbytes(100))
                    case 2:
                        await trio.sleep(60)
                    case 3:
                        await channel.send(Announced(100_000, 1000, 0, ()))
                    case _:
                        await channel.send(Announced(rng.randrange(100), 9, 9, rumours(rng, everybody())))
        await trio.aclose_forcefully(stream)

    world.nursery.start_soon(_accept, listener, answer)
    return Address(host.address, TRACKER_PORT)


async def _accept(listener: Listener, answer: Callable[[Stream], object]) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await listener.accept())  # type: ignore[arg-type]


def gossip(piece_count: int, rng: Random, everybody: Everybody) -> hostile.Behaviour:
    """Claims everything, gives nothing, and tells rumours as often as one may."""

    async def behave(greeted: Greeted) -> None:
        await hostile.claim_everything(greeted, piece_count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, greeted)
            await hostile.each_request(greeted, hostile.ignore)
            nursery.cancel_scope.cancel()

    async def tell(greeted: Greeted) -> None:
        while True:
            await greeted.stream.send_all(greeted.session.send(Peers(rumours(rng, everybody()))))
            await trio.sleep(EXCHANGE_INTERVAL_S)

    return behave


async def crowd(
    world: World, link: MagnetLink, piece_count: int, targets: Callable[[], list[Address]]
) -> None:
    """One machine with many identities: each visits everybody again and again, holds nothing and stays."""
    host = world.network.add_host("crowd", latency=0.001)

    async def stay(number: int, target: Address) -> None:
        node = NodeId(f"crowd {number}".encode().ljust(32, b"."))
        stream: Stream | None = None
        with suppress(ManyhandsError, trio.BrokenResourceError, trio.ClosedResourceError):
            stream = await host.transport(node).dial(target)
            hello = Hello(PROTOCOL_VERSION, link.share, node, WINDOW_DEFAULT, 0)
            greeted = await greet(stream, Session(buffers=BufferPool()), hello, None)
            await stream.send_all(greeted.session.bitfield(bytes((piece_count + 7) // 8)))
            await hostile.each_request(greeted, hostile.ignore)
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def live(number: int) -> None:
        while True:
            async with trio.open_nursery() as nursery:
                for target in targets():
                    nursery.start_soon(stay, number, target)
            await trio.sleep(RETURN_S)

    for number in range(IDENTITIES):
        world.nursery.start_soon(live, number)
