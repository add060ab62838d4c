"""What happened in a simulation, as one hash: two runs of a seed are the same run if it is equal."""

import hashlib
from collections import deque
from enum import Enum
from typing import TypeAlias

import trio

TRACE_LINES_KEPT = 200
"""The end of the story, to look at when a run fails; the hash is over all of it."""

Field: TypeAlias = int | float | str | bytes | Enum | tuple["Field", ...] | None


class Trace:
    """A running hash of lines, each with its virtual time.

    Only plain values: an object's `repr` may hold its address in memory, which no two runs share.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._recent: deque[str] = deque(maxlen=TRACE_LINES_KEPT)
        self.lines = 0

    def add(self, kind: str, *fields: Field) -> None:
        """Note an event."""
        line = f"{trio.current_time()!r} {kind} {' '.join(map(_text, fields))}\n"
        self._hash.update(line.encode())
        self._recent.append(line)
        self.lines += 1

    def digest(self) -> str:
        """The hash of everything so far, in hex."""
        return self._hash.hexdigest()

    def recent(self) -> str:
        """The last lines."""
        return "".join(self._recent)


def _text(field: Field) -> str:
    if type(field) in _PLAIN:
        return repr(field)
    if isinstance(field, bytes):
        return field.hex()
    if isinstance(field, Enum):
        return field.name
    if isinstance(field, tuple):
        return f"({','.join(map(_text, field))})"
    raise TypeError(f"a trace takes plain values, not {type(field).__name__}")


_PLAIN = frozenset({int, float, str, bool, type(None)})
