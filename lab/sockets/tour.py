"""A station of the tour: what it asks, what was done and seen, what one learns from it."""

import errno
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from peer.errors import ManyhandsError

Fact: TypeAlias = str | int | float | bool


class StationError(ManyhandsError):
    """A station that cannot be shown on this machine; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: who made it, what came of it, and what the kernel says of the connection then.

    at_s: when it was done, since the station began; waited_s: how long the call took to return.
    """

    at_s: float
    who: str
    call: str
    saw: str
    states: str = ""
    waited_s: float = 0.0


@dataclass(slots=True)
class Log:
    """What happens at a station, in order of time."""

    quick: bool = False
    steps: list[Step] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def step(self, who: str, call: str, saw: str, states: str = "") -> None:
        """Something that this process did just now."""
        self.steps.append(Step(time.monotonic() - self.began, who, call, saw, states))

    def fact(self, name: str, value: Fact) -> None:
        """A number or a name that the lesson rests on."""
        self.facts[name] = value

    def remark(self, text: str) -> None:
        """What could not be shown here, in one line; the station goes on."""
        self.remarks.append(text)

    def attempt(self, who: str, call: str, action: Callable[[], object]) -> bool:
        """Do something that may be refused, and note what the system said. Whether it worked."""
        try:
            action()
        except OSError as error:
            self.step(who, call, said(error))
            return False
        self.step(who, call, "works")
        return True


@dataclass(frozen=True, slots=True)
class Station:
    """number and title; `question` before, `lesson` after; run(log) does it."""

    number: int
    title: str
    question: str
    run: Callable[[Log], str]


STATIONS: Final = (
    "two_processes",
    "two_lives",
    "two_sockets",
    "the_queue",
    "kinds",
    "how_many",
    "ports",
    "both_at_once",
)
"""Modules of this folder, in the order of the tour; each has a `STATION`."""


def station(number: int) -> Station:
    """One station by its number, from 1; imported when it is visited."""
    found = importlib.import_module(f"lab.sockets.{STATIONS[number - 1]}").STATION
    assert isinstance(found, Station)
    assert found.number == number
    return found


def said(error: OSError) -> str:
    """An error as the system names it: symbol and words."""
    if not error.errno:
        return f"{type(error).__name__}: {error}"
    return f"{errno.errorcode.get(error.errno, error.errno)}: {os.strerror(error.errno)}"
