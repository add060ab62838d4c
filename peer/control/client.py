"""A command's side of the conversation with the daemon of its home: one request, its answers, the end."""

from collections.abc import Callable
from types import TracebackType

import trio

from peer.control.protocol import (
    Body,
    Done,
    Failed,
    FrameReader,
    Progress,
    Request,
    decode_answer,
    encode_request,
)
from peer.errors import ConnectionLost, ExitCode, ManyhandsError
from peer.limits import CONTROL_ANSWER_S, CONTROL_REPLY_BYTES_MAX

RECEIVE_BYTES = 256 * 1024


class DaemonError(ManyhandsError):
    """What the daemon could not do, in its own words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.INTERNAL


class ControlClient:
    """Owns a stream to a daemon. One request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = FrameReader(CONTROL_REPLY_BYTES_MAX)
        self._id = 0

    async def ask(self, request: Request, progress: Callable[[Body], None] | None = None) -> Body:
        """Ask, and wait for the end of it; ``progress`` is told what comes meanwhile.

        Raises DaemonError with what the daemon says, ConnectionLost if it goes away or says nothing for long,
        RemoteProtocolError for what makes no sense.
        """
        self._id += 1
        try:
            await self._stream.send_all(encode_request(self._id, request))
            while True:
                with trio.move_on_after(CONTROL_ANSWER_S) as scope:
                    answer = await self._next()
                if scope.cancelled_caught:
                    raise ConnectionLost(f"the daemon has not answered for {CONTROL_ANSWER_S:.0f} s")
                if answer.id not in (self._id, 0):
                    continue
                match answer:
                    case Progress():
                        if progress is not None:
                            progress(answer.body)
                    case Done():
                        return answer.body
                    case Failed():
                        raise DaemonError(answer.code, answer.text)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the daemon has gone away: look at its log, and start it again") from error

    async def _next(self) -> Progress | Done | Failed:
        while (frame := self._reader.next_frame()) is None:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise ConnectionLost("the daemon has gone away: look at its log, and start it again")
            self._reader.feed(data)
        return decode_answer(frame)

    async def aclose(self) -> None:
        """Hang up."""
        await trio.aclose_forcefully(self._stream)

    async def __aenter__(self) -> "ControlClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
