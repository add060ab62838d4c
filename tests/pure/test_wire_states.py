"""Who may say what in which state of a conversation, written out once more here."""

from collections.abc import Callable

import pytest

from peer.buffers import BufferPool
from peer.errors import LocalProtocolError, RejectCode, RemoteProtocolError
from peer.ids import RequestId
from peer.wire.messages import (
    Announce,
    Announced,
    Bitfield,
    Bye,
    Cancel,
    Choke,
    Data,
    Have,
    Hello,
    Interested,
    Message,
    Peers,
    Ping,
    Pong,
    Reject,
    Request,
    RequestManifest,
)
from peer.wire.session import Session, State
from tests.pure.wire_helpers import BY_KIND, PIECE, feed, make_hello, open_pair, wire

SILENT, GREETED, OPEN, CLOSED = State.SILENT, State.GREETED, State.OPEN, State.CLOSED
TABLE: dict[type[Message], set[State]] = {
    Hello: {SILENT},
    Bye: {SILENT, GREETED, OPEN},
    Bitfield: {OPEN},
    Have: {OPEN},
    Interested: {OPEN},
    Choke: {OPEN},
    Request: {OPEN},
    RequestManifest: {OPEN},
    Data: {OPEN},
    Reject: {OPEN},
    Cancel: {OPEN},
    Ping: {OPEN},
    Pong: {OPEN},
    Peers: {OPEN},
    Announce: set(),
    Announced: set(),
}
PAIRS = [(state, kind) for state in State for kind in TABLE]


def hear(state: State) -> Session:
    """A session whose other side is in that state, and everything else ready for any message."""
    us = Session(buffers=BufferPool())
    if state is OPEN:
        us.greet(make_hello())
    if state in (GREETED, OPEN, CLOSED):
        feed(us, wire(make_hello()))
    if state is OPEN:
        us.request(PIECE, 8)
        us.send(Ping(1))
    if state is CLOSED:
        feed(us, wire(BY_KIND[Bye]))
    return us


@pytest.mark.parametrize(
    ("state", "kind"), PAIRS, ids=lambda x: x.value if isinstance(x, State) else x.__name__
)
def test_what_they_may_say_when(state: State, kind: type[Message]) -> None:
    us = hear(state)
    prelude = b""
    if state is OPEN and kind is Have:
        prelude = wire(BY_KIND[Bitfield])
    if state is OPEN and kind is Cancel:
        prelude = wire(BY_KIND[Request])
    feed(us, prelude)
    if state in TABLE[kind]:
        feed(us, wire(BY_KIND[kind]))
    else:
        with pytest.raises(
            RemoteProtocolError, match=f"{kind.__name__.lower()} is not allowed while {state.value}"
        ):
            feed(us, wire(BY_KIND[kind]))


def speak(session: Session, kind: type[Message]) -> object:
    """Say it, by whatever method is for it."""
    special: dict[type[Message], Callable[[], object]] = {
        Hello: lambda: session.greet(make_hello()),
        Bitfield: lambda: session.bitfield(b"\0"),
        Request: lambda: session.request(PIECE, 5),
        RequestManifest: session.request_manifest,
        Data: lambda: session.data_header(RequestId(0), 0, 8, 4),
        Reject: lambda: session.reject(RequestId(0), RejectCode.BUSY),
        Cancel: lambda: session.cancel(RequestId(0)),
    }
    return special.get(kind, lambda: session.send(BY_KIND[kind]))()


@pytest.mark.parametrize(
    ("state", "kind"), PAIRS, ids=lambda x: x.value if isinstance(x, State) else x.__name__
)
def test_what_we_may_say_when(state: State, kind: type[Message]) -> None:
    us = Session(buffers=BufferPool())
    if state is not SILENT:
        us.greet(make_hello())
    if state is OPEN:
        feed(us, wire(make_hello()))
        if kind is Have:
            us.bitfield(b"")
        if kind is Cancel:
            us.request(PIECE, 5)
        feed(us, wire(Ping(1)) + wire(BY_KIND[Request]))
    if state is CLOSED:
        us.send(BY_KIND[Bye])
    assert us.state is state
    if state in TABLE[kind]:
        speak(us, kind)
    else:
        before = us.statistics()
        with pytest.raises(LocalProtocolError):
            speak(us, kind)
        assert us.statistics() == before
    us.check_invariants()


@pytest.mark.parametrize(
    "kind", [Hello, Bitfield, Request, RequestManifest, Data, Reject, Cancel, Announce, Announced]
)
def test_what_needs_bookkeeping_does_not_go_through_send(kind: type[Message]) -> None:
    a, _ = open_pair()
    with pytest.raises(LocalProtocolError):
        a.send(BY_KIND[kind])
