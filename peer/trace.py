"""What happened, as JSON lines, so that a run can be drawn: who sent which piece to whom, when.

Each line is an object with ``t`` (seconds since the trace began, by trio's clock), ``event`` and fields of
that event. The first line, ``begin``, has ``wall`` (seconds since 1970): traces of several nodes are laid
over each other by it.

| event | fields |
|---|---|
| begin | wall, node |
| share | share, pieces, piece_bytes, bytes, held, have (the bitfield in hex, where it is only partly held) |
| link | node, address, dialled |
| unlink | node, reason, received, sent |
| got | piece, bytes, node |
| sent | piece, bytes, node |
| bad | piece, node |
| phase | phase |
"""

import json
from collections.abc import Callable
from typing import Protocol

import trio

Field = str | int | float | bool | None


class EventTrace(Protocol):
    """Takes events. Must not block for long, and not raise."""

    def event(self, event: str, **fields: Field) -> None:
        """Something happened now."""


class NoTrace:
    """Nobody asked for a trace."""

    def event(self, event: str, **fields: Field) -> None:
        return None


class LineTrace:
    """Writes lines through a function; ``wall`` is the time of day now."""

    def __init__(self, write: Callable[[str], object], wall: float, node: str) -> None:
        self._write = write
        self._begun = trio.current_time()
        self.event("begin", wall=wall, node=node)

    def event(self, event: str, **fields: Field) -> None:
        line = {"t": round(trio.current_time() - self._begun, 6), "event": event, **fields}
        self._write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
