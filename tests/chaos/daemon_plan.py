"""Draws from a seed what people do to a daemon, and what befalls its machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

BUSY_S: Final = 40.0
"""Virtual seconds of commands and faults; then all heals."""

REMOTE: Final = ("one.bin", "two.bin", "one.bin", "tree")
"""Shares that others have, by name: two of one name, and a folder."""

LOCAL: Final = ("/data/own.bin", "/moved/own.bin", "/data/dir", "/in/one.bin")
"""What is shared from the machine: the same bytes in two places, and what a get brings."""

FOLDERS: Final = ("/in", "/out", "/in")


class Do(Enum):
    """What happens: commands first, then what people do to files, then faults."""

    GET = "get"
    SHARE = "share"
    PAUSE = "pause"
    RESUME = "resume"
    PAUSE_ALL = "pause all"
    RESUME_ALL = "resume all"
    REMOVE = "remove"
    LIMITS = "limits"
    LIST = "list"
    STATUS = "status"
    STOP = "stop"
    EDIT = "edit"
    LOSE = "lose"
    KILL = "kill -9"
    POWER = "power loss"
    FULL = "full disk"
    FAIL = "failing operations"
    SOURCE = "source leaves"
    CUT = "network cut"
    GUEST = "guest fetches"


COMMANDS: Final = {
    Do.GET: 6,
    Do.SHARE: 4,
    Do.PAUSE: 3,
    Do.RESUME: 3,
    Do.PAUSE_ALL: 1,
    Do.RESUME_ALL: 1,
    Do.REMOVE: 3,
    Do.LIMITS: 2,
    Do.LIST: 1,
    Do.STATUS: 1,
}
"""How often each is drawn."""

FAULTS: Final = (Do.STOP, Do.KILL, Do.POWER, Do.FULL, Do.FAIL, Do.SOURCE, Do.CUT)


@dataclass(frozen=True, slots=True)
class Action:
    """What, where: an index into what it is about. amount: from 0 to 1. line: whose connection; None: one of
    its own. hangs_up: the asker goes away so many seconds after asking; None: waits."""

    number: int
    at: float
    do: Do
    what: int
    where: int
    amount: float
    seed: int
    hangs_up: float | None
    line: int | None

    def describe(self) -> str:
        gone = "" if self.hangs_up is None else f", hangs up after {self.hangs_up:.3f} s"
        about = f"{self.what} {self.where} {self.amount:.2f}{gone}"
        return f"{self.number:3} at {self.at:7.3f} {self.do.value}: {about}"


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """slow: jobs of the disk take time. rate: of whoever has the shares, bytes a second."""

    seed: int
    slow: bool
    rate: float
    actions: tuple[Action, ...]

    def only(self, numbers: Sequence[int]) -> "DaemonPlan":
        """The same with these actions alone."""
        kept = tuple(action for action in self.actions if action.number in numbers)
        return DaemonPlan(self.seed, self.slow, self.rate, kept)

    def describe(self) -> str:
        lines = [
            f"seed {self.seed}: jobs {'slow' if self.slow else 'at once'}, {self.rate:.0f} bytes a second"
        ]
        return "\n".join(lines + [action.describe() for action in self.actions])


def draw(seed: int) -> DaemonPlan:
    """The plan of a seed. Commands come in bursts: what meets, meets within milliseconds."""
    rng = Random(seed)
    faults = [fault for fault in FAULTS if rng.random() < 0.4]
    actions: list[Action] = []

    def add(at: float, do: Do, what: int) -> None:
        hangs_up = rng.choice((0.0, 0.005, 0.03, 0.3, 3.0)) * rng.random() if rng.random() < 0.15 else None
        line = rng.randrange(2) if rng.random() < 0.3 else None
        where, amount, own = rng.randrange(12), rng.random(), rng.getrandbits(30)
        actions.append(Action(len(actions), at, do, what, where, amount, own, hangs_up, line))

    for _ in range(rng.randint(6, 12)):
        at, what = rng.uniform(0, BUSY_S), rng.randrange(12)
        spread = rng.choice((0.0, 0.02, 0.1, 1.0))
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            [do] = rng.choices(list(COMMANDS), list(COMMANDS.values()))
            about = what if rng.random() < 0.8 else rng.randrange(12)
            add(at + spread * rng.random(), do, about)
        if faults and rng.random() < 0.5:
            add(at + spread * rng.random(), rng.choice(faults), what)
        if rng.random() < 0.2:
            add(at + rng.uniform(-1, 1), rng.choice((Do.EDIT, Do.LOSE)), what)
        if rng.random() < 0.3:
            add(at + rng.uniform(0, 1), Do.GUEST, what)
    actions.sort(key=lambda action: action.at)
    return DaemonPlan(seed, rng.random() < 0.6, rng.choice((30e3, 100e3, 1e6)), tuple(actions))
