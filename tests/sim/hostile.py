"""Peers that misbehave, for tests: each answers whoever connects, in its own bad way."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
import trio.lowlevel

from peer.buffers import BufferPool
from peer.errors import LocalProtocolError, ManyhandsError, RejectCode
from peer.greeting import Greeted, greet, welcome
from peer.ids import Address, KnownPeer, NodeId, PieceIndex, RequestId
from peer.limits import PROTOCOL_VERSION, WINDOW_DEFAULT
from peer.magnet import MagnetLink
from peer.net.transport import Stream
from peer.sim.network import SimHost
from peer.sim.world import PORT, World
from peer.wire.codec import encode
from peer.wire.messages import Choke, Data, Have, Hello, Interested, Peers
from peer.wire.session import RequestReceived, Session

Behaviour = Callable[[Greeted], Awaitable[None]]


async def live(
    world: World, name: str, link: MagnetLink, behaviour: Behaviour, *, window: int = WINDOW_DEFAULT
) -> SimHost:
    """A host whose every visitor is greeted properly and then treated badly."""
    host = world.network.add_host(name, up=None, down=None, latency=0.001)
    node = NodeId(name.encode().ljust(32, b"."))
    (listener,) = await host.transport(node).listen(None, PORT)

    async def answer(theirs: Hello) -> Hello:
        return Hello(PROTOCOL_VERSION, link.share, node, window, PORT)

    async def receive(stream: Stream) -> None:
        try:
            greeted = await welcome(stream, Session(buffers=BufferPool()), answer)
            await behaviour(greeted)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ManyhandsError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def accept() -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(receive, await listener.accept())

    world.nursery.start_soon(accept)
    return host


async def visit(world: World, name: str, link: MagnetLink, target: Address, behaviour: Behaviour) -> None:
    """A host that dials a node, greets it properly and treats it badly."""
    host = world.network.add_host(name, up=None, down=None, latency=0.001)
    node = NodeId(name.encode().ljust(32, b"."))
    stream = await host.transport(node).dial(target)
    hello = Hello(PROTOCOL_VERSION, link.share, node, WINDOW_DEFAULT, PORT)
    greeted = await greet(stream, Session(buffers=BufferPool()), hello, None)

    async def misbehave() -> None:
        try:
            await behaviour(greeted)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    world.nursery.start_soon(misbehave)


async def claim_everything(greeted: Greeted, piece_count: int) -> None:
    """Say that all pieces are here, and that requests are welcome."""
    bits = bytearray(b"\xff" * ((piece_count + 7) // 8))
    if piece_count % 8:
        bits[-1] = 0xFF << (8 - piece_count % 8) & 0xFF
    await greeted.stream.send_all(greeted.session.bitfield(bytes(bits)))
    await greeted.stream.send_all(greeted.session.send(Choke(False)))


async def each_request(
    greeted: Greeted, answer: Callable[[RequestId, PieceIndex | None], Awaitable[None]]
) -> None:
    """Call back for each request until the visitor goes."""
    session = greeted.session
    while count := await greeted.stream.receive_into(session.get_buffer()):
        for event in session.buffer_updated(count):
            if isinstance(event, RequestReceived):
                await answer(event.id, event.piece)


async def ignore(request: RequestId, piece: PieceIndex | None) -> None:
    """No answer."""
    await trio.lowlevel.checkpoint()


def silent(piece_count: int) -> Behaviour:
    """Claims everything and sends nothing."""

    async def behave(greeted: Greeted) -> None:
        await claim_everything(greeted, piece_count)
        await each_request(greeted, ignore)

    return behave


def dribble(piece_count: int, piece_length: int) -> Behaviour:
    """Answers every request, a byte a second."""

    async def behave(greeted: Greeted) -> None:
        async def answer(request: RequestId, piece: PieceIndex | None) -> None:
            length = piece_length if piece is not None else 100
            await greeted.stream.send_all(greeted.session.data_header(request, 0, length, length))
            for _ in range(length):
                await greeted.stream.send_all(b"\0")
                await trio.sleep(1)

        await claim_everything(greeted, piece_count)
        await each_request(greeted, answer)

    return behave


def liar(piece_count: int, piece_length: int) -> Behaviour:
    """Answers every request at once, with zeros."""

    async def behave(greeted: Greeted) -> None:
        async def lie(request: RequestId, piece: PieceIndex | None) -> None:
            length = piece_length if piece is not None else 100
            await greeted.stream.send_all(greeted.session.data_header(request, 0, length, length))
            await greeted.stream.send_all(bytes(length))

        await claim_everything(greeted, piece_count)
        await each_request(greeted, lie)

    return behave


def hoarder(piece_count: int, length: int) -> Behaviour:
    """Answers the request for the manifest with all of so many bytes but the last, and stands still."""

    async def behave(greeted: Greeted) -> None:
        async def answer(request: RequestId, piece: PieceIndex | None) -> None:
            await greeted.stream.send_all(greeted.session.data_header(request, 0, length, length))
            await greeted.stream.send_all(bytes(length - 1))

        await claim_everything(greeted, piece_count)
        await each_request(greeted, answer)

    return behave


def unsolicited(piece_count: int) -> Behaviour:
    """Sends pieces that nobody asked for."""

    async def behave(greeted: Greeted) -> None:
        await claim_everything(greeted, piece_count)
        await greeted.stream.send_all(encode(Data(RequestId(0), 0, 10, 10)) + bytes(10))
        await trio.sleep(1000)

    return behave


def raw(data: bytes) -> Behaviour:
    """Sends these bytes after the greeting."""

    async def behave(greeted: Greeted) -> None:
        await greeted.stream.send_all(data)
        await trio.sleep(1000)

    return behave


def flooder(piece_count: int, every: float = 0.01) -> Behaviour:
    """Repeats haves, chokes and unchokes for ever, with a pause in between."""

    async def behave(greeted: Greeted) -> None:
        await claim_everything(greeted, piece_count)
        session, stream = greeted.session, greeted.stream
        known = Have(tuple(PieceIndex(piece) for piece in range(min(8, piece_count))))
        while True:
            for message in (known, Choke(True), Choke(False)):
                await stream.send_all(session.send(message))
            await trio.sleep(every)

    return behave


def fickle(piece_count: int) -> Behaviour:
    """Claims everything, has lost each piece when it is asked for it, and has it again at once."""

    async def behave(greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream

        async def refuse(request: RequestId, piece: PieceIndex | None) -> None:
            await stream.send_all(session.reject(request, RejectCode.NOT_HELD))
            if piece is not None:
                await stream.send_all(session.send(Have((piece,))))

        await claim_everything(greeted, piece_count)
        await each_request(greeted, refuse)

    return behave


def same_piece_for_ever(piece_count: int, piece_length: int, piece: int = 0) -> Behaviour:
    """Wants one piece again and again, and takes it."""

    async def behave(greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream
        await stream.send_all(session.bitfield(bytes((piece_count + 7) // 8)))
        await stream.send_all(session.send(Interested(True)))

        async def ask() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while True:
                    while session.window_left > 0:
                        _, frame = session.request(PieceIndex(piece), piece_length)
                        await stream.send_all(frame)
                    await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while count := await stream.receive_into(session.get_buffer()):
                for _ in session.buffer_updated(count):
                    pass
            nursery.cancel_scope.cancel()

    return behave


def deaf(piece_count: int, piece_length: int, data: bytes) -> Behaviour:
    """Serves what it is asked for, late, and never minds a cancel."""

    async def behave(greeted: Greeted) -> None:
        async def answer(request: RequestId, piece: PieceIndex | None) -> None:
            if piece is None:
                return
            await trio.sleep(0.5)
            part = data[piece * piece_length : (piece + 1) * piece_length]
            with suppress(LocalProtocolError):  # cancelled: it sends all the same, where the session lets it
                await greeted.stream.send_all(greeted.session.data_header(request, 0, len(part), len(part)))
                await greeted.stream.send_all(part)

        await claim_everything(greeted, piece_count)
        await each_request(greeted, answer)

    return behave


def gossip(piece_count: int, count: int) -> Behaviour:
    """Claims everything and tells of many addresses at which nobody answers."""

    async def behave(greeted: Greeted) -> None:
        await claim_everything(greeted, piece_count)
        session, stream = greeted.session, greeted.stream
        for start in range(0, count, 50):
            told = [KnownPeer(Address(f"203.0.{n >> 8}.{n & 255}", 7701)) for n in range(start, start + 50)]
            await stream.send_all(session.send(Peers(tuple(told))))
            await trio.sleep(1)
        await each_request(greeted, ignore)

    return behave
