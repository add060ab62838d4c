"""Whole messages over a stream: nothing but messages, RemoteProtocolError and ConnectionLost comes out."""

from random import Random

import msgpack  # type: ignore[import-untyped]
import pytest
import trio
import trio.testing

from peer import limits
from peer.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError, WrongVersionError
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.wire.codec import encode
from peer.wire.messages import Announce, Announced, AnnounceEvent, Data, Hello, KnownPeer, Ping
from tests.glue.memory_transport import MemoryStream

SHARE, NODE = ShareId(b"s" * 32), NodeId(b"n" * 32)
ANNOUNCE = Announce(1, SHARE, NODE, 7701, AnnounceEvent.STARTED, 100, 50)
ANNOUNCED = Announced(60, 1, 2, (KnownPeer(Address("192.0.2.1", 7701), NODE),) * 50)


def frame(fields: object, payload: bytes = b"") -> bytes:
    header: bytes = msgpack.packb(fields)
    return len(header).to_bytes(4, "big") + header + payload


def make_pair() -> tuple[MessageChannel, MemoryStream]:
    """A channel, and the raw stream at its other end."""
    ours, theirs = trio.testing.memory_stream_pair()
    address = Address("192.0.2.9", 7700)
    return MessageChannel(MemoryStream(ours, address)), MemoryStream(theirs, address)


async def test_messages_arrive_whole_and_in_order() -> None:
    channel, raw = make_pair()
    other = MessageChannel(raw)
    for message in (ANNOUNCE, ANNOUNCED, Ping(7)):
        await channel.send(message)
    assert [await other.receive() for _ in range(3)] == [ANNOUNCE, ANNOUNCED, Ping(7)]


async def test_byte_by_byte_with_more_behind() -> None:
    channel, raw = make_pair()
    async with trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in encode(ANNOUNCED) + encode(ANNOUNCE) + b"\x00\x00":
                await raw.send_all(bytes([byte]))

        nursery.start_soon(drip)
        assert await channel.receive() == ANNOUNCED
        assert await channel.receive() == ANNOUNCE


async def test_end_between_messages_and_inside_one_is_a_lost_connection() -> None:
    for tail in (b"", b"\x00", encode(ANNOUNCE)[:-1]):
        channel, raw = make_pair()
        await raw.send_all(encode(ANNOUNCE) + tail)
        await raw.send_eof()
        assert await channel.receive() == ANNOUNCE
        with pytest.raises(ConnectionLost):
            await channel.receive()


async def test_a_gone_reader_is_a_lost_connection() -> None:
    channel, raw = make_pair()
    await raw.aclose()
    with pytest.raises(ConnectionLost):
        await channel.send(ANNOUNCE)
    await channel.aclose()
    with pytest.raises(ConnectionLost):
        await channel.receive()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        (limits.HEADER_BYTES_MAX + 1).to_bytes(4, "big"),
        frame([1, 2, 3]),
        frame({"kind": 5}),
        frame({"kind": "announce"}),
        frame({"kind": "announced", "interval": True, "seeders": 0, "leechers": 0, "peers": []}),
        frame(
            {
                "kind": "announced",
                "interval": 60,
                "seeders": 0,
                "leechers": 0,
                "peers": [["10.0.0.1", 1, None]] * 10_000,
            }
        ),
        encode(Data(1, 0, 5, 5)),  # type: ignore[arg-type]
        encode(Data(1, 0, 5, 5)) + b"12345",  # type: ignore[arg-type]
        frame({"kind": "bitfield", "payload": 0}),
        frame({"kind": "news", "payload": -1}),
        frame({"kind": "news"}) * (limits.UNKNOWN_MESSAGES_MAX + 1),
    ],
)
async def test_garbage_is_the_remote_s_fault(sent: bytes) -> None:
    channel, raw = make_pair()
    await raw.send_all(sent)
    with pytest.raises(RemoteProtocolError):
        await channel.receive()


async def test_another_version_is_told_apart() -> None:
    channel, raw = make_pair()
    await raw.send_all(encode(Announce(2, SHARE, NODE, 1, AnnounceEvent.STARTED, 0, 0)))
    with pytest.raises(WrongVersionError):
        await channel.receive()


async def test_random_bytes_never_raise_anything_else() -> None:
    rng = Random(5)
    valid = encode(ANNOUNCED)
    for _ in range(300):
        channel, raw = make_pair()
        mutated = bytearray(valid)
        for _ in range(rng.randrange(1, 6)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        await raw.send_all(bytes(mutated))
        await raw.send_eof()
        try:
            while True:
                await channel.receive()
        except (RemoteProtocolError, ConnectionLost):
            pass


async def test_unknown_kinds_are_skipped_with_their_payload() -> None:
    channel, raw = make_pair()
    for _ in range(3):
        await raw.send_all(frame({"kind": "news", "payload": 9}, b"\xff" * 9) * limits.UNKNOWN_MESSAGES_MAX)
        await raw.send_all(encode(Ping(1)))
        assert await channel.receive() == Ping(1)


async def test_our_own_nonsense_is_our_fault() -> None:
    channel, _ = make_pair()
    with pytest.raises(LocalProtocolError):
        await channel.send(Hello(1, SHARE, NODE, -1, 0))


async def test_cancelled_receive_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    channel, raw = make_pair()
    whole = encode(ANNOUNCE)
    await raw.send_all(whole[:10])
    with trio.move_on_after(1):
        await channel.receive()
    await raw.send_all(whole[10:])
    assert await channel.receive() == ANNOUNCE
