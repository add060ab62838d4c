"""What a node decides by, where others may want to decide otherwise: which piece next, and whom to serve.

`Download` and whoever applies a choker know no more of them than this; what users run are `Picker` and
`Choker`, whose docstrings have the contracts. An experiment hands a node others (`peer.node.Node`), and
everything else of the node stays as it is: how much is asked ahead, the end of a download, how many slots
there are, in which order requests are answered. Pure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from peer.bitfield import Bitfield, Block
from peer.ids import LinkId, PieceIndex
from peer.swarm.choker import Choker, PeerView
from peer.swarm.picker import Picker
from peer.swarm.slots import UplinkView


class PiecePolicy(Protocol):
    """Which piece to ask a link for. It is told who holds what, and which pieces are needed and open.

    Whoever only wants another choice takes `Picker`'s books as they are and overrides `choose` and
    `choose_any`.
    """

    @property
    def takes_hints(self) -> bool:
        """Whether it does as well to choose another piece than this one, if a link says so."""

    @property
    def open_count(self) -> int: ...

    @property
    def needed_count(self) -> int: ...

    # --- what happens

    def join(self, link: LinkId) -> None: ...

    def leave(self, link: LinkId) -> None: ...

    def set_bits(self, link: LinkId, bits: Bitfield) -> None: ...

    def add_blocks(self, link: LinkId, news: Iterable[Block]) -> tuple[PieceIndex | None, bool]: ...

    def note(self, link: LinkId, news: Iterable[Block]) -> None: ...

    def remove(self, link: LinkId, piece: PieceIndex) -> bool: ...

    def take(self, piece: PieceIndex) -> None: ...

    def reopen(self, piece: PieceIndex) -> None: ...

    def need(self, piece: PieceIndex) -> None: ...

    def settle(self, piece: PieceIndex) -> None: ...

    # --- what is asked

    def choose(self, link: LinkId) -> PieceIndex | None:
        """The open piece to ask this link for; None if it holds none."""

    def choose_any(self, link: LinkId) -> PieceIndex | None:
        """The same for a newcomer, who has nothing to give yet and whom any piece helps."""

    def holds(self, link: LinkId, piece: PieceIndex) -> bool: ...

    def is_open(self, piece: PieceIndex) -> bool: ...

    def is_needed(self, piece: PieceIndex) -> bool: ...

    def availability(self, piece: PieceIndex) -> int: ...

    def has_open_held(self) -> bool: ...

    def witness(self, link: LinkId) -> PieceIndex | None: ...

    def check_invariants(self) -> None: ...


class ChokePolicy(Protocol):
    """Whom to serve until the next round."""

    @property
    def slots(self) -> int:
        """How many links it means to serve at once."""

    @property
    def has_free_slot(self) -> bool:
        """Whether `refill` would serve one more that is interested."""

    def serves(self, link: LinkId) -> bool:
        """Whether the link has a slot."""

    def round(
        self, now: float, peers: Sequence[PeerView], seeding: bool, uplink: UplinkView | None = None
    ) -> tuple[LinkId, ...]:
        """Give all slots anew. The links to serve until the next round; all others are choked."""

    def refill(self, now: float, peers: Sequence[PeerView], seeding: bool) -> tuple[LinkId, ...]:
        """Give free slots away between rounds. The links to serve from now on."""

    def next_round(self, now: float) -> float:
        """When `round` is due after one at ``now``."""

    def check_invariants(self) -> None: ...


MakePicker = Callable[[int, Bitfield, Random], PiecePolicy]
"""From the number of pieces, what is needed, and a source of randomness."""

MakeChoker = Callable[[Random, int], ChokePolicy]
"""From a source of randomness and the size of a piece."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Of one node, for all its shares. As it stands: what users run."""

    make_picker: MakePicker = Picker
    make_choker: MakeChoker = Choker
