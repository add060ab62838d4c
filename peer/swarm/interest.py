"""Which links hold something that we need, told to them only when it changes.

A link is interesting as long as one piece proves it, its *witness*: a piece that it holds and that we need.
Only when the witness is no longer needed another is looked for, so that a piece that came costs nothing on
the links that it was not the witness of.
"""

from peer.ids import PieceIndex
from peer.swarm.commands import Command, Express
from peer.swarm.hints import Hints
from peer.swarm.policies import PiecePolicy
from peer.swarm.supplier import Supplier


class Interest:
    """The witnesses of all links."""

    def __init__(self, picker: PiecePolicy, hints: Hints) -> None:
        self._picker = picker
        self._hints = hints
        self._watched: dict[PieceIndex, dict[Supplier, None]] = {}
        """Sets, in order of entry: a link that loses a piece and has it again must not grow them."""

    def review(self, supplier: Supplier, out: list[Command]) -> None:
        """What the link holds, or what we need, is not what it was: look for a witness."""
        witness = self._picker.witness(supplier.link)
        if witness is None and self._hints.drop(supplier):
            witness = self._picker.witness(supplier.link)
        if witness is not None:
            self.found(supplier, witness, out)
        elif supplier.interested:
            supplier.interested = False
            out.append(Express(supplier.link, False))

    def found(self, supplier: Supplier, piece: PieceIndex, out: list[Command]) -> None:
        """This piece proves the link interesting."""
        self._watched.setdefault(piece, {})[supplier] = None
        if not supplier.interested:
            supplier.interested = True
            out.append(Express(supplier.link, True))

    def settled(self, piece: PieceIndex, out: list[Command]) -> None:
        """The piece is needed no more, and proves nothing."""
        for supplier in self._watched.pop(piece, ()):
            if not (supplier.gone or supplier.expelled):
                self.review(supplier, out)

    def check_invariants(self, suppliers: list[Supplier]) -> None:
        """For tests: what we said to each link is true."""
        for supplier in suppliers:
            if not supplier.expelled:
                needed = self._picker.witness(supplier.link) is not None
                needed = needed or any(map(self._picker.is_needed, supplier.elsewhere))
                assert supplier.interested == needed, supplier.link
                assert not needed or any(supplier in watchers for watchers in self._watched.values())
