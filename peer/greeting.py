"""The first words on a connection: who dialled says hello at once, who accepted looks at it and answers.

Both sides check the same things about the other's hello: that it is not ourselves, and that it proved to be
(or on a plain transport says to be) who was expected. What comes in the same packet is kept and handed on.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from peer.buggify import Point, buggify
from peer.errors import ByeCode, ConnectionLost, RemoteProtocolError
from peer.ids import NodeId
from peer.limits import GOODBYE_GRACE_S, WINDOW_DEFAULT
from peer.net.transport import Stream
from peer.wire.messages import Bye, Hello
from peer.wire.session import ByeReceived, Event, HelloReceived, Session


class Refused(ConnectionLost):
    """One side does not want this connection. ``ours``: we said so."""

    def __init__(self, code: ByeCode, reason: str, *, ours: bool) -> None:
        super().__init__(reason or code.name.lower().replace("_", " "))
        self.code = code
        self.ours = ours


SMALL_WINDOW = 2


@dataclass(frozen=True, slots=True)
class Greeted:
    """A connection whose hellos are exchanged. early: what came together with the other side's."""

    stream: Stream
    session: Session
    hello: Hello
    early: tuple[Event, ...]


def window() -> int:
    """How many requests we let the other side have open."""
    return SMALL_WINDOW if buggify(Point.SMALL_WINDOW) else WINDOW_DEFAULT


async def greet(stream: Stream, session: Session, hello: Hello, expected: NodeId | None) -> Greeted:
    """As the side that dialled. Raises ConnectionLost (also `Refused`), RemoteProtocolError, trio's stream
    errors. The caller sets the deadline and closes the stream on any error."""
    await stream.send_all(session.greet(hello))
    theirs, early = await _their_hello(stream, session)
    check = _objection(theirs, hello, stream, expected)
    if check is None and theirs.share != hello.share:
        check = (ByeCode.PROTOCOL, "answered for another share")
    if check is not None:
        raise await _refusal(stream, session, *check)
    return Greeted(stream, session, theirs, early)


async def welcome(
    stream: Stream, session: Session, answer: Callable[[Hello], Awaitable[Hello | tuple[ByeCode, str]]]
) -> Greeted:
    """As the side that accepted. ``answer`` gives our hello for theirs, or why not. Raises as `greet`."""
    theirs, early = await _their_hello(stream, session)
    ours = await answer(theirs)
    if isinstance(ours, Hello):
        check = _objection(theirs, ours, stream, None)
        if check is None:
            await stream.send_all(session.greet(ours))
            return Greeted(stream, session, theirs, early)
        ours = check
    raise await _refusal(stream, session, *ours)


def _objection(
    theirs: Hello, ours: Hello, stream: Stream, expected: NodeId | None
) -> tuple[ByeCode, str] | None:
    if theirs.node == ours.node:
        return ByeCode.SELF, "this is ourselves"
    if stream.peer is not None and stream.peer != theirs.node:
        return ByeCode.PROTOCOL, "claims another id than it proved"
    if expected is not None and theirs.node != expected:
        return ByeCode.PROTOCOL, "is not the node that was expected there"
    return None


async def _their_hello(stream: Stream, session: Session) -> tuple[Hello, tuple[Event, ...]]:
    while True:
        count = await stream.receive_into(session.get_buffer())
        if count == 0:
            session.eof()
            raise ConnectionLost("closed before its hello")
        try:
            events = session.buffer_updated(count)
        except RemoteProtocolError as error:  # another version, or no hello at all: say so
            raise await _refusal(stream, session, error.bye_code, str(error)) from error
        if not events:
            continue
        first, *rest = events
        if isinstance(first, HelloReceived):
            return first.hello, tuple(rest)
        if isinstance(first, ByeReceived):
            raise Refused(first.code, first.reason, ours=False)
        raise RemoteProtocolError("began with something other than a hello")


async def _refusal(stream: Stream, session: Session, code: ByeCode, reason: str) -> Refused:
    """Say so, if anybody still listens: why we refuse is what people are told, not that it hung up first."""
    with trio.move_on_after(GOODBYE_GRACE_S), suppress(trio.BrokenResourceError, ConnectionLost):
        await stream.send_all(session.send(Bye(code, reason)))
    return Refused(code, reason, ours=True)
