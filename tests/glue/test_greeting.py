"""The first words, where the other side no longer listens to them."""

from typing import cast

import pytest
import trio

from peer.buffers import BufferPool
from peer.errors import ByeCode
from peer.greeting import Refused, greet, welcome
from peer.ids import Address, NodeId, ShareId
from peer.net.transport import Stream
from peer.wire.messages import Hello
from peer.wire.session import Session
from tests.pure.wire_helpers import make_hello

OTHER = NodeId(b"o" * 32)


class Deaf:
    """Has said something, and takes nothing (any more)."""

    def __init__(self, said: bytes, takes: int, *, proven: NodeId | None = None) -> None:
        self._said = said
        self._takes = takes
        self._proven = proven

    @property
    def remote(self) -> Address:
        return Address("192.0.2.1", 7701)

    @property
    def peer(self) -> NodeId | None:
        return self._proven

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        data, self._said = self._said[: len(buffer)], self._said[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._takes -= 1
        if self._takes < 0:
            raise trio.BrokenResourceError


def hello_of(node: NodeId, share: bytes = b"s" * 32) -> Hello:
    plain = make_hello()
    return Hello(plain.version, ShareId(share), node, plain.window, plain.port, plain.agent)


def said(hello: Hello) -> bytes:
    return Session(buffers=BufferPool()).greet(hello)


OURS = hello_of(NodeId(b"u" * 32))


@pytest.mark.parametrize(
    ("stream", "expected", "code", "why"),
    [
        (Deaf(b"GET / HTTP/1.1\r\n\r\n", 1), None, ByeCode.PROTOCOL, "bytes"),
        (Deaf(said(hello_of(OTHER, b"t" * 32)), 1), None, ByeCode.PROTOCOL, "another share"),
        (Deaf(said(OURS), 1), None, ByeCode.SELF, "ourselves"),
        (Deaf(said(hello_of(OTHER)), 1), NodeId(b"x" * 32), ByeCode.PROTOCOL, "not the node"),
        (Deaf(said(hello_of(OTHER)), 1, proven=OURS.node), None, ByeCode.PROTOCOL, "than it proved"),
    ],
)
async def test_why_we_refuse_is_told_though_nobody_listens_any_more(
    stream: Deaf, expected: NodeId | None, code: ByeCode, why: str
) -> None:
    """It was "connection lost" then, and our own address was dialled again and again."""
    with pytest.raises(Refused, match=why) as caught:
        await greet(cast("Stream", stream), Session(buffers=BufferPool()), OURS, expected)
    assert caught.value.code is code
    assert caught.value.ours


async def test_a_stranger_who_hangs_up_is_refused_for_what_he_said() -> None:
    async def answer(theirs: Hello) -> tuple[ByeCode, str]:
        await trio.lowlevel.checkpoint()
        return ByeCode.UNKNOWN_SHARE, "this node does not have that share"

    deaf = Deaf(said(hello_of(OTHER)), 0)
    with pytest.raises(Refused, match="does not have"):
        await welcome(cast("Stream", deaf), Session(buffers=BufferPool()), answer)
