"""Manners on one event loop: who sends alone, and when a busy stream lets others run."""

from types import TracebackType

import trio

from peer.limits import TURN_BYTES, TURN_CALL_BYTES


class Turn:
    """Counts what a stream moved without waiting, and says when it is somebody else's turn.

    A checkpoint costs some microseconds and a pass over every ready task and descriptor: one for each read
    would cost bulk transfers several percent, none at all would starve the other streams.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = TURN_BYTES
        """The turn is over at 0; who looks before `yield_if_over` spares a coroutine."""

    def spend(self, count: int) -> None:
        """Note one call that moved ``count`` bytes and did not wait."""
        self.left -= count + TURN_CALL_BYTES

    def waited(self) -> None:
        """Note that others have just run."""
        self.left = TURN_BYTES

    async def yield_if_over(self) -> None:
        """A checkpoint if the turn is over. Call it before a step, never after: its cancellation then means
        that the step did not happen."""
        if self.left <= 0:
            await trio.lowlevel.checkpoint()
            self.left = TURN_BYTES


class Exclusive:
    """Raises `trio.BusyResourceError` when a second task enters: a frame in a frame is a torn stream."""

    __slots__ = ("_busy", "_message")

    def __init__(self, message: str) -> None:
        self._message = message
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._busy = False
