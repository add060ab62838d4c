"""What `lab scale` measures: one file, one origin, N downloaders, two ways to bring it to all of them.

Pure: rates in bytes a second, sizes in bytes, times in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from lab import bounds
from peer.errors import UsageError

PEERS_MAX: Final = 128
"""Downloaders on one machine: each is a Python process of some 60 MB."""

HOURS_MAX: Final = 24
"""Longer than that is a slip of the pen."""


class Mode(StrEnum):
    """Who serves."""

    CLIENT_SERVER = "client-server"
    SWARM = "peer-to-peer"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The links, and what is not as it should be (which counts for the swarm only).

    mixed: every second peer has half the uplink, every other one and a half. late: so many come when half of
    the bound has passed (all but one, where there are no more). leave: who is done goes at once. origin_dies,
    tracker_dies: in the middle. order: which pieces are asked for first.
    """

    file_bytes: int
    origin_up: float
    peer_up: float
    mixed: bool = False
    free_riders: int = 0
    late: int = 0
    leave: bool = False
    origin_dies: bool = False
    tracker_dies: bool = False
    order: str = "rarest"

    def uplinks(self, mode: Mode, peers: int) -> list[float]:
        """Each downloader's uplink: none in client-server, where nobody else serves."""
        if mode is Mode.CLIENT_SERVER:
            return [0.0] * peers
        riders = min(self.free_riders, peers)
        factors = [(0.5, 1.5)[n % 2] if self.mixed else 1.0 for n in range(peers)]
        return [self.peer_up * f if n >= riders else 0.0 for n, f in enumerate(factors)]

    def come_late(self, mode: Mode, peers: int) -> int:
        """How many downloaders come at half time: somebody must be there for the clock to begin."""
        return 0 if mode is Mode.CLIENT_SERVER else min(self.late, peers - 1)

    def bound(self, mode: Mode, peers: int) -> float:
        """No schedule is faster (Kurose & Ross; downlinks are not limited here)."""
        bits, up = 8.0 * self.file_bytes, 8 * self.origin_up
        if mode is Mode.CLIENT_SERVER:
            return float(bounds.client_server(bits, up, peers, None).time)
        ups = [8 * rate for rate in self.uplinks(mode, peers)]
        return float(bounds.kumar_ross(bits, [up], ups, None).time)

    def first_copy(self) -> float:
        """Before this nobody can have all of it."""
        return self.file_bytes / self.origin_up

    def check(self, counts: Sequence[int]) -> None:
        """Raises UsageError for what cannot be."""
        if self.origin_up <= 0:
            raise UsageError("--origin-up must be more than zero: nothing would ever arrive")
        if self.peer_up <= 0:
            raise UsageError(
                "--peer-up must be more than zero: for peers that give nothing there is --free-riders"
            )
        if self.file_bytes < 1:
            raise UsageError("--file must be at least one byte")
        if min(counts) < 1:
            raise UsageError("--peers must be at least 1")
        if max(counts) > PEERS_MAX:
            raise UsageError(
                f"--peers {max(counts)} is more than {PEERS_MAX}: each is a process of its own"
                " (lab simulate has thousands, in virtual time)"
            )
        hours = sum(self.bound(mode, peers) for mode, peers in plan(counts)) / 3600
        if hours > HOURS_MAX:
            raise UsageError(
                f"this takes at least {hours:,.0f} hours: a smaller --file, fewer --peers"
                " or a faster --origin-up"
            )
        for name, count in (("--free-riders", self.free_riders), ("--late", self.late)):
            if count and count >= max(counts):
                raise UsageError(f"{name} {count} leaves nobody else: there are at most {max(counts)} peers")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement. seconds: until the last downloader was done, counted from the origin's first
    connection. origin_bytes: payload that came from the origin. wasted: the worst share of the file that one
    downloader got twice."""

    mode: str
    peers: int
    bound: float
    seconds: float
    first: float
    mean: float
    origin_bytes: int
    wasted: float

    @property
    def efficiency(self) -> float:
        """1 is what no schedule can beat."""
        return self.bound / self.seconds

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(counts: Sequence[int]) -> Iterator[tuple[Mode, int]]:
    """What is measured, the shortest runs first."""
    for peers in sorted(set(counts)):
        yield Mode.SWARM, peers
        yield Mode.CLIENT_SERVER, peers
