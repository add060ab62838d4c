"""Other orders than rarest first, for those who ask for them. Pure.

Rarest first is what makes a swarm fast, and the default. *In order* is for who wants to read the beginning
while the rest comes: it is dear in a swarm, since everybody holds the same pieces and has nothing to give
(`lab scale --order in-order` shows it). *Random* is between the two, and there for comparison.
"""

from typing import Final

from peer.ids import LinkId, PieceIndex
from peer.limits import PICKER_BLOCK_PIECES
from peer.swarm.picker import Picker
from peer.swarm.policies import MakePicker


class RandomPicker(Picker):
    """Any piece, as likely as any other."""

    def choose(self, link: LinkId) -> PieceIndex | None:
        return self.choose_any(link)


class InOrderPicker(Picker):
    """The first piece that is missing, as a plain download or a player would."""

    @property
    def takes_hints(self) -> bool:
        return False

    def choose(self, link: LinkId) -> PieceIndex | None:
        for at, (held, open_) in enumerate(zip(self._holdings(link).blocks, self._open, strict=True)):
            both = held & open_
            if both:
                return PieceIndex(at * PICKER_BLOCK_PIECES + (both & -both).bit_length() - 1)
        return None

    def choose_any(self, link: LinkId) -> PieceIndex | None:
        return self.choose(link)


ORDERS: Final[dict[str, MakePicker]] = {"rarest": Picker, "random": RandomPicker, "in-order": InOrderPicker}
"""By the names that people use; the first is the default."""
