"""What happened in a simulation, as one hash: two runs of a seed are the same run if it is equal."""

import hashlib
from collections import deque
from enum import Enum
from typing import Final, TypeAlias

import msgpack  # type: ignore[import-untyped]
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
        self._recent: deque[_Line] = deque(maxlen=TRACE_LINES_KEPT)
        self.lines = 0

    def add(self, kind: str, *fields: Field) -> None:
        """Note an event."""
        self.note(trio.current_time(), kind, *fields)

    def note(self, when: float, kind: str, *fields: Field) -> None:
        """The same, for who knows what time it is."""
        line = when, kind, fields
        self._hash.update(_pack(line))
        self._recent.append(line)
        self.lines += 1

    def digest(self) -> str:
        """The hash of everything so far, in hex."""
        return self._hash.hexdigest()

    def recent(self) -> str:
        """The last lines."""
        return "".join(
            f"{when!r} {kind} {' '.join(map(_text, fields))}\n" for when, kind, fields in self._recent
        )


_Line: TypeAlias = tuple[float, str, tuple[Field, ...]]


def _text(field: Field) -> str:
    if isinstance(field, bytes):
        return field.hex()
    if isinstance(field, Enum):
        return field.name
    if isinstance(field, tuple):
        return f"({','.join(map(_text, field))})"
    return repr(field)


def _name(field: object) -> str:
    if isinstance(field, Enum):
        return field.name
    raise TypeError(f"a trace takes plain values, not {type(field).__name__}")


_pack: Final = msgpack.Packer(default=_name).pack
