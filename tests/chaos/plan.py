"""From a seed to what will happen: who is there, on which links, and which faults befall them. Pure.

Each seed draws its own mix of faults ("swarm testing": Groce, Zhang, Eide, Chen, Regehr, ISSTA 2012): a run
in which everything happens at once hides what a run with two kinds of trouble shows, since one fault keeps
the others from mattering. Every event is complete in itself, so that a failing plan can be made smaller by
leaving events, peers and kinds out (`shrink.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from peer.limits import KIB, PIECE_BYTES_MIN

SAFETY_S: Final = 25.0
"""Faults strike for so long, in virtual seconds; then everything heals."""

LIVENESS_S: Final = 600.0
"""So long after that every honest peer must have everything."""


class Fault(Enum):
    """What can go wrong."""

    CRASH = "crash"  # kill -9; the same machine comes back
    POWER = "power"  # power loss after some storage operation; it comes back with what its disk kept
    LEAVE = "leave"  # says goodbye and never comes back
    LATE = "late"  # comes when the others are half done
    ORIGIN_LEAVES = "origin-leaves"  # for good, as soon as the others have every piece between them
    PARTITION = "partition"
    CUT = "cut"  # one way
    VANISH = "vanish"  # half-open: a connection that neither side is told is dead
    RESET = "reset"
    STALL = "stall"
    RESHAPE = "reshape"  # an access link becomes another
    LIAR = "liar"  # answers with bytes that are not the share's
    SILENT = "silent"  # claims everything, answers nothing
    DRIBBLER = "dribbler"  # a byte a second
    UNSOLICITED = "unsolicited"  # sends what nobody asked for
    FLOODER = "flooder"  # repeats haves and chokes without end
    GARBAGE = "garbage"  # bytes that are no protocol
    FREE_RIDER = "free-rider"
    DISK_FULL = "disk-full"
    FAILING_SYNC = "failing-sync"
    LYING_SYNC = "lying-sync"
    READ_ERRORS = "read-errors"
    WRITE_ERRORS = "write-errors"
    NO_DESCRIPTORS = "no-descriptors"
    TRACKER_DEATH = "tracker-death"
    CLOCK_SKEW = "clock-skew"
    BUGGIFY = "buggify"  # the rare ways of peer/buggify.py
    RESTART = "restart"  # stopped in order, and the same command given again
    READ_ONLY = "read-only"  # what the kernel makes of a file system with errors
    LATE_ERRORS = "late-errors"  # told when a file is closed, or of what was done all the same
    TOUCH = "touch"  # somebody's program gives files another time
    SLOW_JOBS = "slow-jobs"  # what runs on threads takes time, and is overtaken
    ONLY = "only"  # the same share, other files of it (`--only`)
    RELIMIT = "relimit"  # rate limits change while it runs
    MOVE = "move"  # the machine is cut off without a word, and is back at another address
    TWO_ADDRESSES = "two-addresses"  # machines with two; others are told of either
    LYING_TRACKER = "lying-tracker"  # a second one, which makes things up
    CLOCK_JUMPS = "clock-jumps"  # in between the writes of one job
    GOSSIP = "gossip"  # tells of nobody, of everybody under wrong names, and of ourselves
    CROWD = "crowd"  # one machine with many identities, which wants nothing and stays
    BACKLOG = "backlog"  # hardly anybody may wait to be accepted
    UNEVEN_DISKS = "uneven-disks"  # each machine's jobs take their own time


NEWER: Final = (
    Fault.ONLY, Fault.RELIMIT, Fault.MOVE, Fault.TWO_ADDRESSES, Fault.LYING_TRACKER, Fault.CLOCK_JUMPS,
    Fault.GOSSIP, Fault.CROWD, Fault.BACKLOG, Fault.UNEVEN_DISKS,
)  # fmt: skip
"""Drawn apart: what the others do in a seed has stayed the same since before these came."""

HOSTILE: Final = (
    Fault.LIAR, Fault.SILENT, Fault.DRIBBLER, Fault.UNSOLICITED, Fault.FLOODER, Fault.GARBAGE, Fault.GOSSIP,
    Fault.CROWD,
)  # fmt: skip
"""Whole hosts, there from the beginning."""

THROUGHOUT: Final = (
    Fault.ORIGIN_LEAVES, Fault.BUGGIFY, Fault.SLOW_JOBS, Fault.TWO_ADDRESSES, Fault.LYING_TRACKER,
    Fault.BACKLOG, Fault.UNEVEN_DISKS,
)  # fmt: skip
"""How the world is, all the while."""

NETWORK: Final = (Fault.PARTITION, Fault.CUT, Fault.VANISH, Fault.RESET, Fault.STALL, Fault.RESHAPE)

DISK: Final = (
    Fault.DISK_FULL, Fault.FAILING_SYNC, Fault.LYING_SYNC, Fault.READ_ERRORS, Fault.WRITE_ERRORS,
    Fault.NO_DESCRIPTORS, Fault.READ_ONLY, Fault.LATE_ERRORS,
)  # fmt: skip

MACHINE: Final = (
    Fault.CRASH, Fault.POWER, Fault.RESTART, Fault.LEAVE, Fault.TRACKER_DEATH, Fault.CLOCK_SKEW, Fault.TOUCH,
    Fault.ONLY, Fault.RELIMIT, Fault.MOVE, Fault.CLOCK_JUMPS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """An honest machine, or one that only takes. Rates in bytes a second, times in virtual seconds.

    knows: by number, whom it is told of at the beginning; 0 is the origin. paced: the node keeps to a rate
    somewhat below its uplink's (`--up`), else it is the network that holds it up.
    """

    number: int
    up: float
    down: float | None
    latency: float
    joins_at: float
    knows: tuple[int, ...]
    tracker: bool
    has_it: bool = False
    free_rider: bool = False
    paced: bool = False

    @property
    def name(self) -> str:
        return f"peer{self.number}"


@dataclass(frozen=True, slots=True)
class Event:
    """One fault: from `at` until `until`. peer, other: whom it concerns. amount: what it needs to know."""

    at: float
    until: float
    fault: Fault
    peer: int
    other: int
    amount: float
    seed: int


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Everything that will happen. files: path below the share and size; the path () is a single file.

    hostile: each is a host whose behaviour is a fault. faults: the kinds that were drawn.
    """

    seed: int
    files: tuple[tuple[tuple[str, ...], int], ...]
    peers: tuple[PeerPlan, ...]
    hostile: tuple[Fault, ...]
    events: tuple[Event, ...]
    faults: frozenset[Fault]

    @property
    def total_bytes(self) -> int:
        return sum(size for _, size in self.files)

    def describe(self) -> str:
        """A line for each part."""
        kinds = ", ".join(sorted(fault.value for fault in self.faults)) or "none"
        lines = [f"{len(self.files)} files, {self.total_bytes} bytes; faults: {kinds}"]
        for peer in self.peers:
            lines.append(
                f"  {peer.name}: up {peer.up / KIB:.0f} KiB/s, joins {peer.joins_at:.1f} s, knows"
                f" {list(peer.knows)}{', tracker' * peer.tracker}{', has it' * peer.has_it}"
                f"{', free rider' * peer.free_rider}"
            )
        lines += [f"  hostile: {fault.value}" for fault in self.hostile]
        lines += [
            f"  {event.at:6.2f}-{event.until:5.2f} s {event.fault.value} peer{event.peer}"
            f" (peer{event.other}, {event.amount:.3f})"
            for event in self.events
        ]
        return "\n".join(lines)


def draw(seed: int) -> FaultPlan:
    """The plan of a seed: the same one for ever, as long as this file stays as it is."""
    rng, other = Random(seed), Random(f"newer {seed}")
    density = rng.choice((0.0, 0.12, 0.25, 0.4))
    chance = {Fault.BUGGIFY: 0.4, Fault.SLOW_JOBS: 0.3}
    older = [fault for fault in Fault if fault not in NEWER]
    faults = frozenset(fault for fault in older if rng.random() < chance.get(fault, density))
    files = _files(rng)
    peers = _peers(rng, faults, sum(size for _, size in files))
    events = _events(rng, faults, peers)
    density = other.choice((0.0, 0.12, 0.25, 0.4))
    newer = frozenset(fault for fault in NEWER if other.random() < density)
    events += _events(other, newer, peers)
    hostile = tuple(fault for fault in HOSTILE if fault in faults | newer)
    in_order = tuple(sorted(events, key=lambda event: event.at))
    return FaultPlan(seed, files, peers, hostile, in_order, faults | newer)


def _files(rng: Random) -> tuple[tuple[tuple[str, ...], int], ...]:
    """A file of some pieces, or a folder of large, small and empty ones."""
    if rng.random() < 0.5:
        return (((), rng.randint(2, 24) * PIECE_BYTES_MIN - rng.randrange(PIECE_BYTES_MIN)),)
    sizes = [rng.choice((0, 100, 5000, 20_000, 60_000, 150_000)) for _ in range(rng.randint(2, 6))]
    sizes[0] = max(sizes[0], 40_000)
    return tuple(((f"d{number % 2}", f"f{number}"), size) for number, size in enumerate(sizes))


def _peers(rng: Random, faults: frozenset[Fault], size: int) -> tuple[PeerPlan, ...]:
    count = rng.randint(1, 4)
    seconds = rng.uniform(3, SAFETY_S)  # about so long will the transfer take, so that faults meet it
    sources = 1 + (rng.random() < 0.25)
    peers = []
    for number in range(sources + count):
        has_it = number < sources
        share = rng.uniform(0.3, 1.5) if has_it else rng.uniform(0.1, 1.5)
        late = Fault.LATE in faults and not has_it and rng.random() < 0.5
        earlier = [other for other in range(number) if rng.random() < 0.5]
        tracker = not number or rng.random() < 0.5
        if not tracker and 0 not in earlier:  # who is left alone with peers that leave is nobody's fault
            earlier.insert(0, 0)
        peers.append(
            PeerPlan(
                number=number,
                up=max(8 * KIB, size * count / seconds * share),
                down=None if rng.random() < 0.5 else max(16 * KIB, size / seconds * rng.uniform(1, 8)),
                latency=rng.choice((0.0, 0.001, 0.01, 0.05, 0.15)),
                joins_at=rng.uniform(3, SAFETY_S * 0.8) if late else rng.random() * 0.5,
                knows=tuple(earlier),
                tracker=tracker,
                has_it=has_it,
                free_rider=Fault.FREE_RIDER in faults and not has_it and rng.random() < 0.4,
                paced=rng.random() < 0.3,
            )
        )
    return tuple(peers)


def _events(rng: Random, faults: frozenset[Fault], peers: Sequence[PeerPlan]) -> tuple[Event, ...]:
    events = []
    getters = [peer.number for peer in peers if not peer.has_it]
    striking = {*NETWORK, *DISK, *MACHINE}
    for fault in Fault:  # in their order: that of a set is no order
        if fault not in faults or fault not in striking:
            continue
        for _ in range(1 if fault is Fault.LEAVE else rng.randint(1, 3)):
            at = rng.uniform(0.1, SAFETY_S * 0.9)
            about = getters if fault in {*DISK, Fault.LEAVE} and rng.random() < 0.8 else range(len(peers))
            events.append(
                Event(
                    at=at,
                    until=min(SAFETY_S, at + rng.choice((0.5, 2.0, 8.0, SAFETY_S))),
                    fault=fault,
                    peer=rng.choice(about),
                    other=rng.randrange(len(peers)),
                    amount=rng.random(),
                    seed=rng.getrandbits(30),
                )
            )
    return tuple(events)
