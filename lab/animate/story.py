"""Traces of several peers laid over each other: who had what, who sent which piece to whom, when.

Reads what `peer.trace` writes, one file a peer. Peers that left no trace are seen through the eyes of the
others: they appear when they send something. Pure: takes lines, knows no files; times in seconds.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from peer.errors import UsageError

EVENTS_MAX: Final = 400_000
"""Pieces that arrived, in one animation: about ten megabytes of page, and what a browser replays at once."""

PEERS_MAX: Final = 1000
"""Rows of one page."""

CELLS_MAX: Final = 20_000_000
"""Peers times pieces: a byte each in the reader's browser, and a time."""

TAIL: Final = 0.04
"""Share of its length that an animation goes on after the last piece, to be looked at."""

KINDS: Final[Mapping[str, Mapping[str, type | tuple[type, ...]]]] = {
    "begin": {"wall": (int, float), "node": str},
    "share": {"share": str, "pieces": int, "piece_bytes": int, "bytes": int, "held": int},
    "link": {"node": str},
    "unlink": {"node": str},
    "got": {"piece": int, "bytes": int, "node": str},
    "bad": {"piece": int, "node": str},
}
"""What is read of each event; other events are passed over, as a later version may write more."""


@dataclass(slots=True)
class Actor:
    """One peer. traced: it left a trace itself. origin: it had everything when it came."""

    name: str
    traced: bool
    origin: bool = False
    got_bytes: int = 0
    sent_bytes: int = 0
    done: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What the page shows. Events are lists, [time, kind, ...], in order of time:

    ``[t, "g", to, from, piece]`` arrived and verified · ``[t, "b", to, from, piece]`` arrived and was bad ·
    ``[t, "h", peer, pieces]`` is here, with these pieces (None: all) · ``[t, "c", a, b]``, ``[t, "d", a, b]``
    connected, no longer connected.
    """

    share: str
    pieces: int
    piece_bytes: int
    total_bytes: int
    seconds: float
    actors: list[Actor]
    events: list[list[Any]]

    @property
    def origin_bytes(self) -> int:
        return sum(actor.sent_bytes for actor in self.actors if actor.origin)

    @property
    def moved_bytes(self) -> int:
        return sum(actor.sent_bytes for actor in self.actors)


@dataclass(slots=True)
class _Trace:
    """One file: its node, and its events with absolute times."""

    name: str
    node: str
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)


def read(traces: Iterable[tuple[str, Iterable[str]]]) -> Story:
    """The story of several traces, each given as (name, lines). Raises UsageError, naming trace and line."""
    files = [_read_one(name, lines) for name, lines in traces]
    by_node: dict[str, _Trace] = {}
    for file in files:
        if file.node in by_node:
            raise UsageError(
                f"{file.name} and {by_node[file.node].name} are traces of one peer: name one of them"
            )
        by_node[file.node] = file
    shares = {e["share"]: e for file in files for _, e in file.events if e["event"] == "share"}
    if not shares:
        raise UsageError("nobody took part in a share: a trace is written by peer get --trace FILE")
    if len(shares) > 1:
        names = " and ".join(sorted(share[:8] for share in shares)[:3])
        raise UsageError(f"the traces are of different shares ({names}): name those of one share")
    return _Teller(by_node, next(iter(shares.values()))).tell()


def _read_one(name: str, lines: Iterable[str]) -> _Trace:
    trace: _Trace | None = None
    wall = 0.0
    broken: str | None = None
    for number, line in enumerate(lines, 1):
        if broken is not None:
            raise UsageError(broken)
        event = _event(line)
        if event is None:  # the last line of a peer that was killed may be half
            broken = f"{name}, line {number}, is no event of a trace (peer get --trace FILE writes them)"
        elif event["event"] == "begin":
            if trace is None:
                trace = _Trace(name, event["node"])
            wall = float(event["wall"]) - float(event["t"])
        elif trace is None:
            raise UsageError(f"{name} is no trace: its first line must be a begin")
        else:
            trace.events.append((wall + float(event["t"]), event))
    if trace is None:
        raise UsageError(f"{name} is no trace: it is empty, or not written by peer get --trace")
    return trace


def _event(line: str) -> dict[str, Any] | None:
    """The event of a line; None if it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    if not isinstance(event.get("t"), int | float) or not abs(event["t"]) < 1e12:
        return None
    for key, kinds in KINDS.get(event["event"], {}).items():
        value = event.get(key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return None
        if isinstance(value, int | float) and not 0 <= value < 1e15:
            return None
    return event


class _Teller:
    """Puts the traces together. Make it, call `tell` once."""

    def __init__(self, traces: Mapping[str, _Trace], share: Mapping[str, Any]) -> None:
        self._traces = traces
        self._share = share
        self._pieces = int(share["pieces"])
        self._actors: list[Actor] = []
        self._number: dict[str, int] = {}
        self._held: list[set[int]] = []
        self._events: list[list[Any]] = []
        self._links: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)

    def tell(self) -> Story:
        merged = sorted(
            ((at, node, event) for node, trace in self._traces.items() for at, event in trace.events),
            key=lambda item: item[0],
        )
        self._introduce(merged)
        for at, node, event in merged:
            handle: Callable[[float, int, dict[str, Any]], None] | None = getattr(
                self, f"_on_{event['event']}", None
            )
            if handle is not None:
                handle(at, self._number[node], event)
        begun = self._beginning()
        last = max((event[0] for event in self._events if event[1] == "g"), default=begun)
        seconds = max((last - begun) * (1 + TAIL), 0.1)
        for told in self._events:
            told[0] = round(max(0.0, told[0] - begun), 4)
        for actor in self._actors:
            actor.done = None if actor.done is None else round(max(0.0, actor.done - begun), 4)
        return Story(
            share=str(self._share["share"]),
            pieces=self._pieces,
            piece_bytes=int(self._share["piece_bytes"]),
            total_bytes=int(self._share["bytes"]),
            seconds=round(seconds, 4),
            actors=self._actors,
            events=[event for event in self._events if event[0] <= seconds],
        )

    def _introduce(self, merged: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
        """Number everybody: origins first, then as their files were named, then who left no trace."""
        first: dict[str, dict[str, Any]] = {}
        for _, node, event in merged:
            if event["event"] == "share":
                first.setdefault(node, event)
        took_part = [node for node in self._traces if node in first]
        took_part.sort(key=lambda node: first[node]["held"] < self._pieces)
        receivers = set(took_part)
        others = {
            event["node"]: None
            for _, _, event in merged
            if event["event"] in ("got", "bad") and event["node"] not in receivers
        }
        if len(took_part) + len(others) > PEERS_MAX:
            raise UsageError(f"more than {PEERS_MAX:,} peers are too many for one page: name fewer traces")
        if sum(event["event"] == "got" for _, _, event in merged) > EVENTS_MAX:
            raise UsageError(f"more than {EVENTS_MAX:,} pieces are too many for one page: name fewer traces")
        if (len(took_part) + len(others)) * self._pieces > CELLS_MAX:
            raise UsageError(
                f"{self._pieces:,} pieces of that many peers are too many for one page: name fewer traces"
            )
        for node in took_part:
            full = bool(first[node]["held"] == self._pieces)
            self._add(node, Actor(self._traces[node].name, traced=True, origin=full))
        # Who sends without having been seen to receive had it all, as far as anybody knows.
        nobody_else = not any(actor.origin for actor in self._actors)
        for node in others:
            self._add(node, Actor(f"{node[:6]} (no trace)", traced=False, origin=nobody_else))
        for node in self._traces:
            self._number.setdefault(node, -1)

    def _add(self, node: str, actor: Actor) -> None:
        self._number[node] = len(self._actors)
        self._actors.append(actor)
        self._held.append(set())

    def _beginning(self) -> float:
        """When the first origin met somebody: whoever waits for it before that only waits."""
        origins = {number for number, actor in enumerate(self._actors) if actor.origin and actor.traced}
        links = [event[0] for event in self._events if event[1] == "c" and origins & {event[2], event[3]}]
        return float(min(links or (event[0] for event in self._events), default=0.0))

    def _on_share(self, at: float, peer: int, event: dict[str, Any]) -> None:
        held = int(event["held"])
        pieces: list[int] | None = None
        if held < self._pieces:
            pieces = _bits(event.get("have"), self._pieces) if held else []
        if pieces is None:
            self._actors[peer].done = at
        self._held[peer] = set(range(self._pieces) if pieces is None else pieces)
        self._events.append([at, "h", peer, pieces])

    def _on_got(self, at: float, peer: int, event: dict[str, Any]) -> None:
        if event["piece"] >= self._pieces:
            return
        sender = self._number[event["node"]]
        self._events.append([at, "g", peer, sender, event["piece"]])
        self._actors[peer].got_bytes += event["bytes"]
        self._actors[sender].sent_bytes += event["bytes"]
        self._held[peer].add(event["piece"])
        if len(self._held[peer]) == self._pieces:
            self._actors[peer].done = at

    def _on_bad(self, at: float, peer: int, event: dict[str, Any]) -> None:
        if event["piece"] < self._pieces:
            self._events.append([at, "b", peer, self._number[event["node"]], event["piece"]])

    def _on_link(self, at: float, peer: int, event: dict[str, Any], change: int = 1) -> None:
        """A connection is up while all who could tell of it say so: a killed peer never says goodbye."""
        other = self._number.get(event["node"], -1)
        if other < 0 or peer < 0 or other == peer:
            return
        pair = (min(peer, other), max(peer, other))
        counts = self._links[pair]
        was = bool(counts) and min(counts.values()) > 0
        counts[peer] = max(0, counts.get(peer, 0) + change)
        now = min(counts.values()) > 0
        if now != was:
            self._events.append([at, "c" if now else "d", *pair])

    def _on_unlink(self, at: float, peer: int, event: dict[str, Any]) -> None:
        self._on_link(at, peer, event, -1)


def _bits(text: Any, pieces: int) -> list[int]:
    """The pieces of a bitfield in hex, as on the wire; none if it is not one."""
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        return []
    return [n for n in range(min(pieces, 8 * len(data))) if data[n // 8] & (0x80 >> n % 8)]
