"""What a daemon may say of its shares, going by what it has acknowledged: one register for each thing that a
command can change. Pure.

A command may take effect at any moment between its beginning and its end. So a register holds what it may
be: what was written last for sure, and whatever was written by commands that were under way then or
later. One that failed, or whose asker never heard of its end, may have had its effect or not.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from peer.ids import ShareId

_ticks = count()
"""Moments: what happens in one virtual instant has an order all the same."""


@dataclass(slots=True, eq=False)
class Write:
    """One command's change of one register. ended: None while it is under way."""

    value: Any
    begun: int
    ended: int | None = None


class Register:
    """What one thing may be now."""

    def __init__(self, value: Any) -> None:
        self._writes = [Write(value, -2, -1)]

    @property
    def values(self) -> set[Any]:
        return {write.value for write in self._writes}

    @property
    def settled(self) -> bool:
        """Nothing that may change it is under way."""
        return all(write.ended is not None for write in self._writes)

    def begin(self, value: Any) -> Write:
        write = Write(value, next(_ticks))
        self._writes.append(write)
        return write

    def end(self, write: Write, *, sure: bool) -> None:
        """It is over. sure: it was acknowledged, so what had ended before it began is no more."""
        write.ended = next(_ticks)
        if sure and write in self._writes:
            self._writes = [
                other for other in self._writes if other.ended is None or other.ended >= write.begun
            ]

    def discard(self, write: Write) -> None:
        """It certainly had no effect."""
        self._writes = [other for other in self._writes if other is not write]


@dataclass(slots=True)
class Known:
    """What one share may be. place: its role, and where it is."""

    known: Register = field(default_factory=lambda: Register(False))
    paused: Register = field(default_factory=lambda: Register(False))
    up: Register = field(default_factory=lambda: Register(None))
    down: Register = field(default_factory=lambda: Register(None))
    place: Register = field(default_factory=lambda: Register(None))

    @property
    def settled(self) -> bool:
        return self.known.settled and self.paused.settled

    @property
    def surely(self) -> bool:
        """Known, whatever became of what was under way."""
        return self.known.values == {True}


class Change:
    """What a command may do to registers, from its beginning to its end."""

    def __init__(self) -> None:
        self._writes: list[tuple[Register, Write]] = []

    def write(self, register: Register, value: Any) -> None:
        self._writes.append((register, register.begin(value)))

    def forget(self, share: Known) -> None:
        """It removes a share: who brings it again brings it afresh."""
        for register, value in (
            (share.known, False),
            (share.paused, False),
            (share.up, None),
            (share.down, None),
        ):
            self.write(register, value)

    def end(self, *, sure: bool) -> None:
        for register, write in self._writes:
            register.end(write, sure=sure)
        self._writes = []

    def discard(self) -> None:
        for register, write in self._writes:
            register.discard(write)
        self._writes = []


class Model:
    """All shares. Of one that nobody has named nothing is known."""

    def __init__(self) -> None:
        self.shares: defaultdict[ShareId, Known] = defaultdict(Known)

    def __iter__(self) -> Iterator[tuple[ShareId, Known]]:
        return iter(list(self.shares.items()))

    def wrong(self, rows: dict[ShareId, dict[str, Any]]) -> str | None:
        """What of a list cannot be, in one line; None where all of it can."""
        for share in {**self.shares, **rows}:
            allowed, row = self.shares[share], rows.get(share)
            name = share.hex()[:12]
            if (row is not None) not in allowed.known.values:
                return f"{name} is {'' if row else 'not '}known"
            if row is None:
                continue
            for said, register in (
                (row["paused"], allowed.paused),
                (row["up"], allowed.up),
                (row["down"], allowed.down),
                ((row["role"], row["path"]), allowed.place),
            ):
                if said not in register.values:
                    return f"{name} is {said!r}, where {sorted(map(repr, register.values))} were acknowledged"
        return None
