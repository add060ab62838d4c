"""The scenario language: a TOML file that says who is there, on which links, and what goes wrong.

::

    title = "Ten peers behind one origin"
    ends_at = "10m"           # optional: then it is over, whoever is there

    [share]
    size = "8MiB"
    piece = "64KiB"           # large world only; else what a node chooses for the size

    [origin]
    up = "16mbit"             # as `tc` writes rates
    dies_at = "30s"           # optional: it is switched off

    [network]                 # large world only
    neighbours = 20           # links that each peer looks for; it takes in as many again

    [policies]                # the node's own are the first of each
    piece = "rarest"          # random, in-order
    choke = "reciprocation"   # even, none
    peer = "anybody"          # complete-first: whom the tracker tells of

    [[peers]]                 # one table for each group
    count = 10
    up = "1.6mbit"
    down = "none"             # or a rate
    latency = "5ms"           # one way, of the access link
    joins_at = "0s"           # the first of them
    every = "0s"              # and one more so long after the one before
    arrivals = "regular"      # or "poisson": so long on average, at random
    behaviour = "honest"      # or "free-rider": sends nothing
    stays = "forever"         # or a time after completion
    crashes_at = "20s"        # optional: power loss, with what the disk had not made durable
    returns_at = "25s"        # and the same machine again, going on where its disk stands

Pure. Rates in bytes a second, sizes in bytes, times in seconds. Every mistake is a UsageError, one line that
names the key, and the nearest one that there is.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from itertools import accumulate
from math import inf
from random import Random
from typing import Any, Final

from lab import bounds, units
from peer.errors import UsageError
from peer.manifest import piece_bytes_for
from peer.units import parse_duration

POLICIES: Final = {
    "piece": ("rarest", "random", "in-order"),
    "choke": ("reciprocation", "even", "none"),
    "peer": ("anybody", "complete-first"),
}
"""By kind; the node's own first. `lab.simulate.policies` has them."""

PEERS_MAX: Final = 500
"""In the small world: whole nodes, each some hundred kilobytes and a task for every connection."""

SHARE_BYTES_MAX: Final = 256 << 20
"""In the small world every simulated disk holds a copy in memory."""

LARGE_PEERS_MAX: Final = 50_000
"""In the large world: each takes some hundred kilobytes."""

LARGE_PIECES_MAX: Final = 100_000
"""In the large world: each link of each peer has a bit for every piece."""

REAL_PEERS_MAX: Final = 64
"""Real processes, each some sixty megabytes."""

REAL_SHARE_BYTES_MAX: Final = 1 << 30
"""Every process has a copy on disk."""

SMALL_S_MAX: Final = 86_400.0
"""In the small world: an idle node looks around twice a second, and costs a second for each of its hours."""

LARGE_S_MAX: Final = 30 * 86_400.0
"""In the large world, likewise: an idle peer costs some seconds for each of its days."""

TITLE_CHARS: Final = 200
"""Three lines above a figure: more would leave no room for it."""


class World(StrEnum):
    """Where a scenario is run."""

    SMALL = "small"
    LARGE = "large"
    REAL = "real"


class Arrivals(StrEnum):
    """How the peers of a group come, one ``every`` so long."""

    REGULAR = "regular"
    POISSON = "poisson"


class Behaviour(StrEnum):
    """What a peer gives."""

    HONEST = "honest"
    FREE_RIDER = "free-rider"


@dataclass(frozen=True, slots=True)
class Group:
    """Peers that are alike."""

    count: int = 1
    up: float | None = None
    down: float | None = None
    latency: float = 0.005
    joins_at: float = 0.0
    every: float = 0.0
    arrivals: Arrivals = Arrivals.REGULAR
    behaviour: Behaviour = Behaviour.HONEST
    stays: float = inf
    crashes_at: float | None = None
    returns_at: float | None = None

    @property
    def given(self) -> float | None:
        """The uplink that it puts at the others' service."""
        return 0.0 if self.behaviour is Behaviour.FREE_RIDER else self.up

    def times(self, rng: Random) -> list[float]:
        """When each of them comes."""
        if self.arrivals is Arrivals.REGULAR or not self.every:
            return [self.joins_at + index * self.every for index in range(self.count)]
        gaps = accumulate(rng.expovariate(1 / self.every) for _ in range(self.count))
        return [self.joins_at + time for time in gaps]

    def last_comes(self, times: Sequence[float]) -> float:
        """When the last of them comes, or comes back; times: when each of them comes."""
        returns = [] if self.returns_at is None else [self.returns_at]
        return max([*times, *returns])


@dataclass(frozen=True, slots=True)
class Origin:
    """Who has the share at the beginning."""

    up: float | None = None
    latency: float = 0.005
    dies_at: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated."""

    size: int
    title: str = "A swarm"
    origin: Origin = field(default_factory=Origin)
    groups: tuple[Group, ...] = ()
    ends_at: float | None = None
    piece_bytes: int | None = None
    neighbours: int | None = None
    policies: tuple[tuple[str, str], ...] = ()

    @property
    def peers(self) -> int:
        return sum(group.count for group in self.groups)

    @property
    def last_comes(self) -> float:
        """When the last peer comes, or comes back; about, where they come at random."""
        return max((group.last_comes(group.times(Random(0))) for group in self.groups), default=0.0)

    def check(self, world: World) -> None:
        """Raises UsageError, one line, for what this world has not."""
        limits = {
            World.SMALL: (PEERS_MAX, SHARE_BYTES_MAX, "each disk is memory"),
            World.LARGE: (LARGE_PEERS_MAX, None, ""),
            World.REAL: (REAL_PEERS_MAX, REAL_SHARE_BYTES_MAX, "each process has a copy"),
        }
        peers_max, size_max, why = limits[world]
        if self.peers > peers_max:
            kind = {World.SMALL: "whole nodes", World.REAL: "real processes"}.get(world, "one core")
            raise UsageError(
                f"{self.peers} peers are too many for {kind}: at most {peers_max}"
                + (" (--world large has thousands)" if world is not World.LARGE else "")
            )
        if size_max is not None and self.size > size_max:
            raise UsageError(f"[share] size must be at most {size_max >> 20} MiB in the {world} world: {why}")
        if world is not World.REAL:
            self._check_times(world, SMALL_S_MAX if world is World.SMALL else LARGE_S_MAX)
        if world is World.LARGE:
            pieces = -(-self.size // (self.piece_bytes or piece_bytes_for(self.size)))
            if pieces > LARGE_PIECES_MAX:
                raise UsageError(f"{pieces} pieces are too many: at most {LARGE_PIECES_MAX}, larger ones")
            return
        only_large = {
            "[share] piece": self.piece_bytes,
            "[network] neighbours": self.neighbours,
            "ends_at": self.ends_at,
            "arrivals": [g for g in self.groups if g.arrivals is not Arrivals.REGULAR] or None,
        }
        for name, value in only_large.items():
            if value is not None:
                raise UsageError(f"{name} is for --world large: the {world} world runs the node as it is")
        if world is World.REAL and any(group.crashes_at is not None for group in self.groups):
            raise UsageError("crashes_at is for the simulated worlds: no real machine loses power here")

    def _check_times(self, world: World, most: float) -> None:
        """Virtual time is not free: whoever is there ticks through all of it."""
        limit = f"at most {units.seconds(most)} in the {world} world, which ticks through all of it"
        if self.ends_at is not None:  # then nothing that comes later is simulated; the large world's only
            if self.ends_at > most and world is World.LARGE:
                raise UsageError(f"ends_at = {units.seconds(self.ends_at)}: {limit}")
            return
        for number, group in enumerate(self.groups, 1):
            last, back = group.joins_at + (group.count - 1) * group.every, group.returns_at or 0.0
            for key, value, time, what in (
                ("joins_at", group.joins_at, group.joins_at, ""),
                ("every", group.every, last, f"the last of {group.count} comes at {units.seconds(last)}, "),
                ("returns_at", back, back, ""),
            ):
                if time > most:
                    where = f"[[peers]] number {number}"
                    raise UsageError(f"{where}: {key} = {units.seconds(value)}: {what}{limit}")
        bound = self.bound()
        if bound is not None and bound > most:
            raise UsageError(
                f"[share] size: on these lines not all can have it before {units.seconds(bound)}, {limit}:"
                " make it smaller, or raise up and down"
            )

    def bound(self) -> float | None:
        """Nobody can have everybody complete sooner (Kumar & Ross, all there from the beginning, downlinks
        counted); None where no line is limited, or peers come and go for ever."""
        if self.ends_at is not None:
            return None
        ups = [group.given for group in self.groups for _ in range(group.count)]
        rates = [inf if up is None else 8 * up for up in ups]
        downs = [group.down for group in self.groups if group.down is not None]
        down = 8 * min(downs) if downs else None
        if self.origin.up is None:  # then it could serve them all, and what is left is the slowest downlink
            return None if down is None else 8.0 * self.size / down
        return float(bounds.kumar_ross(8.0 * self.size, [8 * self.origin.up], rates, down).time)


def parse(text: str) -> Scenario:
    """Read a scenario. Raises UsageError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not TOML: {error}") from error
    except (ValueError, RecursionError):  # the parser's own limits: thousands of digits, or of brackets
        raise UsageError("not a scenario: a number in it is too long, or lists are nested too deep") from None
    _known(document, ("title", "ends_at", "share", "origin", "network", "policies", "peers"), "the scenario")
    share, network, policies = (_table(document, key) for key in ("share", "network", "policies"))
    _known(share, ("size", "piece"), "[share]")
    _known(network, ("neighbours",), "[network]")
    _known(policies, tuple(POLICIES), "[policies]")
    if "size" not in share:
        raise UsageError('[share] needs a size, such as size = "8MiB"')
    scenario = Scenario(
        size=_read(share, "size", _size, "[share]", 0),
        title=_read(document, "title", _title, "the scenario", "A swarm"),
        origin=_origin(_table(document, "origin")),
        groups=tuple(_group(group, number) for number, group in enumerate(_tables(document), 1)),
        ends_at=_read(document, "ends_at", _time, "the scenario", None),
        piece_bytes=_read(share, "piece", _size, "[share]", None),
        neighbours=_read(network, "neighbours", _count, "[network]", None),
        policies=tuple(
            (kind, _read(policies, kind, _one_of(names), "[policies]", names[0]))
            for kind, names in POLICIES.items()
            if kind in policies
        ),
    )
    if not scenario.peers:
        raise UsageError("nobody is there to fetch anything: add [[peers]] with a count")
    return scenario


def share_size(text: str) -> int:
    """A size given on the command line instead of the scenario's, in bytes. Raises UsageError."""
    return int(_read({"--size": text}, "--size", _size, "the command line", 0))


def _origin(table: Mapping[str, Any]) -> Origin:
    _known(table, ("up", "latency", "dies_at"), "[origin]")
    return Origin(
        up=_read(table, "up", _rate, "[origin]", None),
        latency=_read(table, "latency", _time, "[origin]", 0.005),
        dies_at=_read(table, "dies_at", _time, "[origin]", None),
    )


def _group(table: Mapping[str, Any], number: int) -> Group:
    where = f"[[peers]] number {number}"
    _known(table, Group.__slots__, where)
    group = Group(
        count=_read(table, "count", _count, where, 1),
        up=_read(table, "up", _rate, where, None),
        down=_read(table, "down", _rate, where, None),
        latency=_read(table, "latency", _time, where, 0.005),
        joins_at=_read(table, "joins_at", _time, where, 0.0),
        every=_read(table, "every", _time, where, 0.0),
        arrivals=Arrivals(_read(table, "arrivals", _one_of(tuple(Arrivals)), where, Arrivals.REGULAR)),
        behaviour=Behaviour(_read(table, "behaviour", _one_of(tuple(Behaviour)), where, Behaviour.HONEST)),
        stays=_read(table, "stays", _stay, where, inf),
        crashes_at=_read(table, "crashes_at", _time, where, None),
        returns_at=_read(table, "returns_at", _time, where, None),
    )
    if group.crashes_at is not None and group.crashes_at <= group.joins_at:
        raise UsageError(f"{where}: crashes_at must come after joins_at: nobody of them is there before")
    if group.returns_at is not None and (group.crashes_at is None or group.returns_at <= group.crashes_at):
        raise UsageError(f"{where}: returns_at must come after crashes_at")
    return group


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{key} must be a table: write [{key}]")
    return table


def _tables(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tables = document.get("peers", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise UsageError("peers must be tables: write [[peers]] before each group")
    return tables


def _known(table: Mapping[str, Any], keys: tuple[str, ...] | list[str] | Any, where: str) -> None:
    for key in table:
        if key not in keys:
            near = get_close_matches(key, list(keys), 1)
            hint = f": did you mean {near[0]}?" if near else f": there are {', '.join(keys)}"
            raise UsageError(f"{where} has no {key}{hint}")


def _read(table: Mapping[str, Any], key: str, read: Callable[[Any], Any], where: str, default: Any) -> Any:
    if key not in table:
        return default
    try:
        return read(table[key])
    except (ValueError, TypeError, UsageError) as error:
        raise UsageError(f"{where}: {key} = {table[key]!r}: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("must be text in quotes")
    return value


def _title(value: Any) -> str:
    if len(_text(value)) > TITLE_CHARS or not value.isprintable():
        raise ValueError(f"must be one line of at most {TITLE_CHARS} characters")
    return str(value)


def _size(value: Any) -> int:
    size = int(units.parse_size(_text(value)) / 8)
    if size < 1:
        raise ValueError("must be more than nothing")
    return size


def _rate(value: Any) -> float | None:
    if _text(value) == "none":
        return None
    rate = units.parse_rate(value) / 8
    if rate <= 0:
        raise ValueError('must be more than zero (for peers that give nothing: behaviour = "free-rider")')
    return rate


def _time(value: Any) -> float:
    return parse_duration(_text(value))


def _stay(value: Any) -> float:
    return inf if value == "forever" else _time(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a whole number, at least 1")
    return value


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if _text(value) not in names:
            raise ValueError(f"there are {', '.join(names)}")
        return str(value)

    return read
