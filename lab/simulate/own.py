"""The class that a user's own file holds, and what makes a node go by it. docs/scenarios.md is for whoever
writes one."""

import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from types import ModuleType

from lab.simulate.rule import METHODS, PolicyError, Rule, line_of, reason
from peer.bitfield import Bitfield
from peer.errors import UsageError
from peer.ids import LinkId, PieceIndex
from peer.swarm.choker import PeerView, round_after
from peer.swarm.picker import Picker
from peer.swarm.slots import Slots, UplinkView


class Own:
    """The class that ``FILE.py:Class`` names. Raises UsageError, one line, for whatever can be known to be
    wrong before a run."""

    def __init__(self, text: str) -> None:
        self.name = text
        path, _, name = text.rpartition(":")
        module = _load(path)
        found = getattr(module, name, None)
        if not isinstance(found, type):
            classes = [
                key
                for key, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            ]
            raise UsageError(f"{path} has no class {name}: it has {', '.join(classes) or 'none'}")
        self._class = found
        self.methods = [method for method in METHODS if callable(getattr(found, method, None))]
        if not self.methods:
            raise UsageError(
                f"{text} has none of the methods {', '.join(METHODS)}, so it would change nothing"
            )
        try:
            one = self.make()
        except PolicyError as error:
            raise UsageError(str(error)) from None
        for method in self.methods:
            one.check(method)

    def make(self) -> Rule:
        """An object of it. Raises PolicyError."""
        return Rule(self.name, self._class)


def _load(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}: write FILE.py:Class")
    name = f"policy {path}"  # no name that anything could be imported by
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file: its name must end in .py")
    module = sys.modules[name] = module_from_spec(spec)  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else line_of(error, path)
        raise UsageError(f"{path}{line}: {reason(error)}") from None
    return module


class OwnPicker(Picker):
    """The node's books of who holds what; the user's choice."""

    def __init__(self, rule: Rule, count: int, needed: Bitfield, rng: Random) -> None:
        super().__init__(count, needed, rng)
        self._rule = rule

    @property
    def takes_hints(self) -> bool:
        return self._rule.takes_hints

    def choose(self, link: LinkId) -> PieceIndex | None:
        pieces = self.candidates(link)
        return self._rule.choose_piece(pieces, self.availability, self._rng) if pieces else None

    def choose_any(self, link: LinkId) -> PieceIndex | None:
        return self.choose(link)


class OwnChoker:
    """The node's number of slots; the user's choice of whom to give them to."""

    def __init__(self, rule: Rule, rng: Random, piece_bytes: int) -> None:
        self._rule = rule
        self._rng = rng
        self._slots = Slots(piece_bytes)
        self._served: tuple[LinkId, ...] = ()
        self._rounds = 0

    @property
    def slots(self) -> int:
        return self._slots.count

    @property
    def has_free_slot(self) -> bool:
        return len(self._served) < self.slots

    def serves(self, link: LinkId) -> bool:
        return link in self._served

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        self._rounds += 1
        wanting = [peer for peer in peers if peer.interested]
        if uplink is not None:
            self._slots.resize(uplink, len(self._served), len(wanting))
        self._served = self._chosen(wanting, self.slots, seeding)
        return self._served

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        """A free slot is given away by the same rule, among those that have none."""
        wanting = {peer.link: peer for peer in peers if peer.interested}
        self._served = tuple(link for link in self._served if link in wanting)
        free = self.slots - len(self._served)
        waiting = [peer for link, peer in wanting.items() if link not in self._served]
        if free > 0:
            self._served += self._chosen(waiting, free, seeding)[:free]
        return self._served

    def next_round(self, now: float) -> float:
        return round_after(now, self._rounds, self._slots)

    def check_invariants(self) -> None:
        assert len(self._served) == len(set(self._served))

    def _chosen(self, peers: list[PeerView], slots: int, seeding: bool) -> tuple[LinkId, ...]:
        if not peers:
            return ()
        return tuple(peer.link for peer in self._rule.choose_peers(peers, slots, seeding, self._rng))
