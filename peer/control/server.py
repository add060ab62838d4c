"""The daemon's ear: connections of commands, their requests, and the answers.

One task reads a connection. What can be answered at once is; everything else runs in a task of its own, a
few at a time for each connection. What is no request is answered with an error and harms nothing; what is no
frame ends the connection, for nobody knows where the next one begins.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Protocol

import trio

from peer.control.protocol import (
    Body,
    Done,
    Failed,
    FrameReader,
    MalformedError,
    Progress,
    Request,
    decode_request,
    encode_answer,
    encode_packed,
)
from peer.errors import ExitCode, ManyhandsError, RemoteProtocolError
from peer.limits import (
    CONTROL_ANSWERS_BYTES,
    CONTROL_CONNECTIONS_MAX,
    CONTROL_PENDING_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    CONTROL_SEND_S,
)

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 64 * 1024

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
"""The other side is."""


class Handler(Protocol):
    """Who does what is asked."""

    def quick(self, request: Request) -> bytes | None:
        """A packed body, if it can be had at once."""

    async def perform(self, request: Request, report: Callable[[Body], Awaitable[None]]) -> Body:
        """Do it; raises ManyhandsError for what cannot be done."""


class ControlServer:
    """Serves streams that have proved to be of the right user."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end; closes the stream. Raises nothing for whatever the other side does."""
        self._connections += 1
        try:
            if self._connections > CONTROL_CONNECTIONS_MAX:
                with trio.move_on_after(CONTROL_SEND_S):
                    await stream.send_all(_refusal(0, "too many commands talk to the daemon: try again"))
                return
            await _Conversation(stream, self._handler).run()
        except _GONE:
            pass
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)


class _Taken(Enum):
    """Of the frames that are here. BROKEN: what comes is no stream of frames."""

    ALL = "all"
    SOME = "some"
    BROKEN = "broken"


class _Conversation:
    def __init__(self, stream: trio.abc.Stream, handler: Handler) -> None:
        self._stream = stream
        self._handler = handler
        self._reader = FrameReader(CONTROL_REQUEST_BYTES_MAX)
        self._sending = trio.Lock()
        self._pending: set[int] = set()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                # Here and not outside: a nursery puts what is raised in it into a group. Who hangs up with an
                # answer unread, as Ctrl-C does, resets the connection.
                with suppress(*_GONE):
                    await self._listen(nursery)
                nursery.cancel_scope.cancel()  # nobody is left who wants to know

    async def _listen(self, nursery: trio.Nursery) -> None:
        while data := await self._stream.receive_some(RECEIVE_BYTES):
            self._reader.feed(data)
            taken = _Taken.SOME
            while taken is _Taken.SOME:
                answers: list[bytes] = []
                taken = self._take(answers, nursery)
                if answers:
                    await self._send(b"".join(answers))
            if taken is _Taken.BROKEN:
                return

    def _take(self, answers: list[bytes], nursery: trio.Nursery) -> _Taken:
        """Go through the frames that are here, for as long as the answers to them are not too much at once: a
        few bytes of request may be answered with a megabyte."""
        while len(answers) < CONTROL_PENDING_MAX and sum(map(len, answers)) < CONTROL_ANSWERS_BYTES:
            try:
                frame = self._reader.next_frame()
                if frame is None:
                    return _Taken.ALL
                id, request = decode_request(frame)
            except MalformedError as error:
                answers.append(_refusal(error.id, str(error)))
            except RemoteProtocolError as error:
                answers.append(_refusal(0, str(error)))
                return _Taken.BROKEN
            else:
                answer = self._begin(id, request, nursery)
                if answer is not None:
                    answers.append(answer)
        return _Taken.SOME

    def _begin(self, id: int, request: Request, nursery: trio.Nursery) -> bytes | None:
        packed = self._handler.quick(request)
        if packed is not None:
            return encode_packed(id, packed)
        if id in self._pending:
            return _refusal(id, f"request {id} is under way already")
        if len(self._pending) >= CONTROL_PENDING_MAX:
            return _refusal(id, f"more than {CONTROL_PENDING_MAX} requests at once")
        self._pending.add(id)
        nursery.start_soon(self._perform, id, request)
        return None

    async def _perform(self, id: int, request: Request) -> None:
        async def report(body: Body) -> None:
            await self._send(encode_answer(Progress(id, body)))

        body: Body = {}
        failed: Failed | None
        try:
            body = await self._handler.perform(request, report)
        except BaseExceptionGroup as group:
            # Who asked has hung up. What else went wrong on the way out must not end the daemon.
            cancelled = group.subgroup(trio.Cancelled)
            if cancelled is not None:
                raise cancelled from None
            failed = _failed(id, group)
        except Exception as error:
            failed = _failed(id, error)
        else:
            failed = None
        finally:
            self._pending.discard(id)
        with suppress(*_GONE):
            await self._send(encode_answer(failed or Done(id, body)))

    async def _send(self, data: bytes) -> None:
        """Send whole frames. Who does not take them is gone."""
        with trio.move_on_after(CONTROL_SEND_S) as scope:
            async with self._sending:
                await self._stream.send_all(data)
        if scope.cancelled_caught:
            self._scope.cancel()


def _failed(id: int, error: BaseException) -> Failed:
    leaf = _leaf(error)
    if isinstance(leaf, ManyhandsError):
        return Failed(id, int(leaf.exit_code), str(leaf))
    if not isinstance(leaf, _GONE):
        logger.error("a command failed in a way that it should not", exc_info=error)
    return Failed(id, ExitCode.INTERNAL, f"internal error: {leaf!r} (please report it)")


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _refusal(id: int, text: str) -> bytes:
    return encode_answer(Failed(id, ExitCode.USAGE, text))
