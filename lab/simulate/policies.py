"""Policies for a run, by name or from a user's own file: the same in the small world and in the large one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from lab.simulate.own import Own, OwnChoker, OwnPicker
from lab.simulate.rule import Candidate
from lab.simulate.scenario import POLICIES
from peer.errors import UsageError
from peer.ids import LinkId
from peer.swarm.choker import Choker, PeerView
from peer.swarm.orders import ORDERS
from peer.swarm.policies import MakeChoker, MakePicker, Policies
from peer.swarm.slots import UplinkView

Introduce = Callable[[list[Candidate], int, Random], Sequence[Candidate]]
"""Whom of these the tracker tells a newcomer of, so many at most."""

LOTTERY: Final = 4
"""A policy of whom to introduce chooses among so many times the peers that are told."""


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

    def __init__(self, rng: Random, piece_bytes: int) -> None:
        super().__init__(rng, piece_bytes)
        self._served: tuple[LinkId, ...] = ()

    @property
    def has_free_slot(self) -> bool:
        return True

    def serves(self, link: LinkId) -> bool:
        return link in self._served

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        super().round(now, (), True)
        return self.refill(now, peers, seeding)

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        self._served = tuple(peer.link for peer in peers if peer.interested)
        return self._served


def complete_first(peers: list[Candidate], count: int, rng: Random) -> list[Candidate]:
    """Whoever has most: what Kraken's tracker calls the completeness policy."""
    return sorted(peers, key=lambda peer: -peer.share)[:count]


PIECE: Final[dict[str, MakePicker]] = ORDERS
CHOKE: Final[dict[str, MakeChoker]] = {"reciprocation": Choker, "even": EvenChoker, "none": NoChoker}
PEER: Final[dict[str, Introduce | None]] = {"anybody": None, "complete-first": complete_first}
KINDS: Final = POLICIES


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen for a run. parts: a name for each kind. own: takes the place of those that it has a
    method for."""

    name: str
    parts: dict[str, str]
    own: Own | None = None

    def of_a_node(self) -> Policies:
        """What one node decides by, with an object of the user's class that is its alone."""
        make_picker, make_choker = PIECE[self.parts["piece"]], CHOKE[self.parts["choke"]]
        if self.own is not None:
            rule = self.own.make()
            if "choose_piece" in self.own.methods:
                make_picker = partial(OwnPicker, rule)
            if "choose_peers" in self.own.methods:
                make_choker = partial(OwnChoker, rule)
        return Policies(make_picker, make_choker)

    def of_the_tracker(self) -> Introduce | None:
        """Whom newcomers are told of in one run; None: anybody."""
        if self.own is not None and "introduce" in self.own.methods:
            return self.own.make().introduce
        return PEER[self.parts["peer"]]

    def order_of_pieces(self) -> str:
        """For real processes, which can be told no more than that. Raises UsageError for anything else."""
        other = (
            self.own.name
            if self.own is not None
            else next(
                (self.parts[kind] for kind in ("choke", "peer") if self.parts[kind] != KINDS[kind][0]), None
            )
        )
        if other is not None:
            orders = ", ".join(KINDS["piece"])
            raise UsageError(
                f"policy {other} is for the simulated worlds: real processes are the peer that users run, and"
                f" take {orders} (--world small runs the same nodes with it)"
            )
        return self.parts["piece"]


def by_name(parts: dict[str, str]) -> Chosen:
    """The policies of these names, for some or all of ``piece``, ``choke`` and ``peer``."""
    parts = {kind: parts.get(kind, names[0]) for kind, names in KINDS.items()}
    shown = [parts["piece"], parts["choke"]] + [parts["peer"]] * (parts["peer"] != KINDS["peer"][0])
    return Chosen("+".join(shown), parts)


def parse(text: str, base: Chosen) -> Chosen:
    """``random+even``, ``in-order``, ``mine.py:Greedy``, ``mine.py:Greedy+even``: what is named replaces that
    part of ``base``.

    Raises UsageError: one line that says what is wrong.
    """
    chosen, others, named = dict(base.parts), list[str](), dict[str, str]()
    for word in text.split("+"):
        kind = next((kind for kind, names in KINDS.items() if word in names), None)
        if kind is not None:
            if kind in named:
                raise UsageError(
                    f"policy {text}: {named[kind]} and {word} are both of {kind}: name one of them"
                )
            chosen[kind] = named[kind] = word
        else:
            others.append(word)
    if not others:
        return by_name(chosen)
    own = "+".join(others)
    if ":" not in own:
        if own.endswith(".py"):
            raise UsageError(f"policy {own} names no class: write {own}:Class")
        known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in KINDS.items())
        raise UsageError(f"there is no policy {others[0]!r}: there are {known}; or FILE.py:Class")
    return Chosen(text, chosen, Own(own))
