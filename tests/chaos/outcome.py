"""What comes of a plan that is played."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from peer.buggify import Point
from peer.sim.trace import Trace
from tests.chaos.violation import Violation, first_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan. failure: one line, None if all held. seconds: virtual, till all were complete."""

    digest: str
    seconds: float
    kind: str | None = None
    failure: str | None = None
    error: BaseException | None = None
    story: str = ""
    fired: Mapping[Point, int] = field(default_factory=dict)


class Game(Protocol):
    """What plays a plan. seconds: virtual, till all were complete."""

    trace: Trace
    seconds: float


def outcome_of(game: Game, go: Callable[[], None]) -> Outcome:
    """What became of a game that ``go`` plays to its end. Never raises for what the program did."""
    try:
        go()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        first = first_of(error)
        kind = first.kind if isinstance(first, Violation) else type(first).__name__
        text = " ".join(str(first).split())[:300]
        return Outcome(game.trace.digest(), game.seconds, kind, text, error, game.trace.recent())
    return Outcome(game.trace.digest(), game.seconds)
