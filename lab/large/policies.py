"""Policies by name, and policies from a user's own file.

A user's class has any of three methods; what it has not stays as the node does it::

    class Greedy:
        def choose_piece(self, pieces, copies, rng):
            return min(pieces, key=copies)

        def choose_peers(self, peers, slots, seeding, rng):
            return sorted(peers, key=lambda peer: -peer.received_bytes)[:slots]

        def introduce(self, peers, count, rng):
            return rng.sample(peers, count)

* ``choose_piece`` is asked what to request of one connection next. ``pieces``: a list of piece numbers,
  ascending, never empty. ``copies(piece)``: how many connected peers hold it. Returns one of ``pieces``.
* ``choose_peers`` is asked whom to serve until the next round. ``peers``: those that want something, each
  with ``link`` (its number), ``received_rate``, ``received_bytes``, ``sent_bytes`` and ``joined_at``.
  ``slots``: how many the node would serve. ``seeding``: whether it has everything. Returns some of ``peers``.
* ``introduce`` is the tracker: whom is a newcomer told of? ``peers``: some that are there, at random, each
  with ``number``, ``share`` (0 to 1, how much it has) and ``links``. Returns at most ``count`` of them.

``rng`` is a `random.Random` of the seed: use it and nothing else for chance. Each peer has an object of its
own, made without arguments (``introduce`` has one for the whole world).
"""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from lab.large.peers import MakeChoker
from lab.simulate.scenario import POLICIES
from peer.bitfield import Bitfield
from peer.errors import UsageError
from peer.ids import LinkId, PieceIndex
from peer.limits import PICKER_BLOCK_PIECES
from peer.swarm.choker import Choker, PeerView
from peer.swarm.orders import ORDERS, MakePicker
from peer.swarm.picker import Picker
from peer.swarm.piecesets import bits_of
from peer.swarm.slots import UplinkView


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peer that a newcomer may be told of. share: how much it has, 0 to 1. links: how many it has."""

    number: int
    share: float
    links: int


Introduce = Callable[[list[Candidate], int, Random], Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class Policies:
    """How peers pick pieces, whom they serve, whom a newcomer is told of (None: anybody)."""

    name: str = "rarest+reciprocation"
    make_picker: MakePicker = Picker
    make_choker: MakeChoker = Choker
    introduce: Introduce | None = None
    parts: dict[str, str] = field(default_factory=dict)


class EvenChoker(Choker):
    """Whoever got least is next, whatever he gave: as a seed always does."""

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        return super().round(now, peers, True, uplink)

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        return super().refill(now, peers, True)


class NoChoker(Choker):
    """Everybody who wants something is served, all at once."""

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        super().round(now, (), True)
        return tuple(peer.link for peer in peers if peer.interested)

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        return tuple(peer.link for peer in peers if peer.interested)


def complete_first(peers: list[Candidate], count: int, rng: Random) -> list[Candidate]:
    """Whoever has most: what Kraken's tracker calls the completeness policy."""
    return sorted(peers, key=lambda peer: -peer.share)[:count]


PIECE: Final[dict[str, MakePicker]] = ORDERS
CHOKE: Final[dict[str, MakeChoker]] = {"reciprocation": Choker, "even": EvenChoker, "none": NoChoker}
PEER: Final[dict[str, Introduce | None]] = {"anybody": None, "complete-first": complete_first}
KINDS: Final = POLICIES


def by_name(parts: dict[str, str]) -> Policies:
    """The policies of these names, for some or all of ``piece``, ``choke`` and ``peer``."""
    parts = {kind: parts.get(kind, names[0]) for kind, names in KINDS.items()}
    shown = [parts["piece"], parts["choke"]] + [parts["peer"]] * (parts["peer"] != KINDS["peer"][0])
    return Policies("+".join(shown), PIECE[parts["piece"]], CHOKE[parts["choke"]], PEER[parts["peer"]], parts)


def parse(text: str, base: Policies) -> Policies:
    """``random+even``, ``in-order``, ``mine.py:Greedy``: what is named replaces that part of ``base``.

    Raises UsageError: one line that says what is wrong.
    """
    chosen, user = dict(base.parts), None
    for word in text.split("+") if ".py" not in text else [text]:
        kind = next((kind for kind, names in KINDS.items() if word in names), None)
        if kind is not None:
            chosen[kind] = word
        elif ":" in word:
            user = load(word)
        else:
            known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in KINDS.items())
            raise UsageError(f"there is no policy {word!r}: there are {known}; or FILE.py:Class")
    return by_name(chosen) if user is None else _of_user(text, user, by_name(chosen))


def load(text: str) -> type[Any]:
    """The class that ``FILE.py:Class`` names. Raises UsageError."""
    path, _, name = text.rpartition(":")
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}: write FILE.py:Class")
    spec = importlib.util.spec_from_file_location("user_policy", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UsageError(f"{path}{line}: {type(error).__name__}: {error}") from None
    found = getattr(module, name, None)
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    if not isinstance(found, type):
        raise UsageError(f"{path} has no class {name}: it has {', '.join(classes) or 'none'}")
    if not any(callable(getattr(found, method, None)) for method in METHODS):
        raise UsageError(f"{text} has none of the methods {', '.join(METHODS)}, so it would change nothing")
    return found


METHODS: Final = ("choose_piece", "choose_peers", "introduce")


def _of_user(name: str, user: type[Any], base: Policies) -> Policies:
    def make() -> Any:
        return _guarded(name, "__init__", user)

    def make_picker(count: int, needed: Bitfield, rng: Random) -> Picker:
        return _UserPicker(count, needed, rng, name, make())

    def make_choker(rng: Random, piece_bytes: int) -> Choker:
        return _UserChoker(rng, piece_bytes, name, make())

    make()  # so that what is wrong with making it is said before the run
    tracker: list[Any] = []

    def introduce(peers: list[Candidate], count: int, rng: Random) -> Sequence[Candidate]:
        if not tracker:
            tracker.append(make())
        told = _guarded(name, "introduce", tracker[0].introduce, list(peers), count, rng)
        return _some_of(name, "introduce", told, peers)[:count]

    return Policies(
        name,
        make_picker if hasattr(user, "choose_piece") else base.make_picker,
        make_choker if hasattr(user, "choose_peers") else base.make_choker,
        introduce if hasattr(user, "introduce") else base.introduce,
        base.parts,
    )


def _guarded(name: str, method: str, call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except Exception as error:
        raise UsageError(f"policy {name}: {method}: {type(error).__name__}: {error}") from None


def _some_of(name: str, method: str, told: Any, offered: Iterable[Any]) -> list[Any]:
    known = list(offered)
    if not isinstance(told, Iterable):
        raise UsageError(f"policy {name}: {method} must return a list, not {told!r}")
    chosen = list(told)
    for one in chosen:
        if not any(one is other for other in known):
            raise UsageError(f"policy {name}: {method} returned {one!r}, which is none of those offered")
    return chosen


class _UserPicker(Picker):
    def __init__(self, count: int, needed: Bitfield, rng: Random, name: str, user: Any) -> None:
        super().__init__(count, needed, rng)
        self._name, self._user = name, user

    def choose(self, link: LinkId) -> PieceIndex | None:
        pieces = [
            at * PICKER_BLOCK_PIECES + bit
            for at, (held, open_) in enumerate(zip(self._holdings(link).blocks, self._open, strict=True))
            for bit in bits_of(held & open_)
        ]
        if not pieces:
            return None
        chosen = _guarded(
            self._name, "choose_piece", self._user.choose_piece, pieces, self.availability, self._rng
        )
        if chosen not in pieces:
            raise UsageError(
                f"policy {self._name}: choose_piece returned {chosen!r}, which is none of the pieces offered"
            )
        return PieceIndex(chosen)

    def choose_any(self, link: LinkId) -> PieceIndex | None:
        return self.choose(link)


class _UserChoker(Choker):
    def __init__(self, rng: Random, piece_bytes: int, name: str, user: Any) -> None:
        super().__init__(rng, piece_bytes)
        self._name, self._user, self._served = name, user, ()

    _served: tuple[LinkId, ...]

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        super().round(now, peers, seeding, uplink)  # for the number of slots
        wanting = [peer for peer in peers if peer.interested]
        told = _guarded(
            self._name, "choose_peers", self._user.choose_peers, list(wanting), self.slots, seeding, self._rng
        )
        chosen = _some_of(self._name, "choose_peers", told, wanting)
        self._served = tuple(dict.fromkeys(peer.link for peer in chosen))
        return self._served

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        """A free slot is given away by the same rule, among those that have none."""
        wanting = {peer.link for peer in peers if peer.interested}
        self._served = tuple(link for link in self._served if link in wanting)
        free = self.slots - len(self._served)
        waiting = [peer for peer in peers if peer.interested and peer.link not in self._served]
        if free > 0 and waiting:
            told = _guarded(
                self._name, "choose_peers", self._user.choose_peers, waiting, free, seeding, self._rng
            )
            chosen = _some_of(self._name, "choose_peers", told, waiting)[:free]
            self._served += tuple(dict.fromkeys(peer.link for peer in chosen))
        return self._served
