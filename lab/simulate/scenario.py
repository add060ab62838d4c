"""The scenario language: a TOML file that says who is there, on which links, and what goes wrong.

::

    title = "Ten peers behind one origin"

    [share]
    size = "8MiB"

    [origin]
    up = "16mbit"             # as `tc` writes rates
    dies_at = "30s"           # optional: it is switched off

    [[peers]]                 # one table for each group
    count = 10
    up = "1.6mbit"
    down = "none"             # or a rate
    latency = "5ms"           # one way, of the access link
    joins_at = "0s"           # the first of them
    every = "0s"              # and one more so long after the one before
    behaviour = "honest"      # or "free-rider": sends nothing
    stays = "forever"         # or a time after completion
    crashes_at = "20s"        # optional: power loss, with what the disk had not made durable
    returns_at = "25s"        # and the same machine again, going on where its disk stands

Pure. Rates in bytes a second, sizes in bytes, times in seconds. Every mistake is a UsageError, one line that
names the key, and the nearest one that there is.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from math import inf
from typing import Any, Final

from lab import bounds, units
from peer.errors import UsageError
from peer.units import parse_duration

PEERS_MAX: Final = 500
"""In one scenario: whole nodes, each some hundred kilobytes and a task for every connection."""

SHARE_BYTES_MAX: Final = 256 << 20
"""Every simulated disk holds a copy in memory."""


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
    behaviour: Behaviour = Behaviour.HONEST
    stays: float = inf
    crashes_at: float | None = None
    returns_at: float | None = None

    @property
    def given(self) -> float | None:
        """The uplink that it puts at the others' service."""
        return 0.0 if self.behaviour is Behaviour.FREE_RIDER else self.up


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

    @property
    def peers(self) -> int:
        return sum(group.count for group in self.groups)

    def bound(self) -> float | None:
        """Nobody can have everybody complete sooner (Kumar & Ross, all there from the beginning, downlinks
        counted); None where an uplink is not limited."""
        ups = [group.given for group in self.groups for _ in range(group.count)]
        if self.origin.up is None or any(up is None for up in ups):
            return None
        downs = [group.down for group in self.groups if group.down is not None]
        rates = [8 * up for up in ups if up is not None]
        down = 8 * min(downs) if downs else None
        return float(bounds.kumar_ross(8.0 * self.size, [8 * self.origin.up], rates, down).time)


def parse(text: str) -> Scenario:
    """Read a scenario. Raises UsageError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not TOML: {error}") from error
    _known(document, ("title", "share", "origin", "peers"), "the scenario")
    share = _table(document, "share")
    _known(share, ("size",), "[share]")
    if "size" not in share:
        raise UsageError('[share] needs a size, such as size = "8MiB"')
    scenario = Scenario(
        size=_read(share, "size", _size, "[share]", 0),
        title=_read(document, "title", _text, "the scenario", "A swarm"),
        origin=_origin(_table(document, "origin")),
        groups=tuple(_group(group, number) for number, group in enumerate(_tables(document), 1)),
    )
    if not scenario.peers:
        raise UsageError("nobody is there to fetch anything: add [[peers]] with a count")
    if scenario.peers > PEERS_MAX:
        raise UsageError(f"{scenario.peers} peers are too many for whole nodes: at most {PEERS_MAX}")
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
        behaviour=_read(table, "behaviour", _behaviour, where, Behaviour.HONEST),
        stays=_read(table, "stays", _stay, where, inf),
        crashes_at=_read(table, "crashes_at", _time, where, None),
        returns_at=_read(table, "returns_at", _time, where, None),
    )
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


def _size(value: Any) -> int:
    size = int(units.parse_size(_text(value)) / 8)
    if not 0 < size <= SHARE_BYTES_MAX:
        raise ValueError(
            f"must be more than nothing and at most {SHARE_BYTES_MAX >> 20} MiB: each disk is memory"
        )
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


def _behaviour(value: Any) -> Behaviour:
    try:
        return Behaviour(_text(value))
    except ValueError:
        raise ValueError(f"there are {', '.join(Behaviour)}") from None
