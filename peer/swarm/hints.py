"""What to do when a link rejects a request with ELSEWHERE: "others are about to have this piece, take from me
what only I can give".

An origin knows what it is sending to whom; those who ask it do not, and several ask for the same piece before
any of them can have announced it. So the piece counts as not held by that link for now, and another is asked
for. It counts as held again as soon as nothing else can be asked of the link, so that a hint costs whoever
wants only a few pieces one round trip. The other side gives it once for each piece; who says it again says
"busy".
"""

from peer.bitfield import in_blocks
from peer.ids import PieceIndex
from peer.swarm.policies import PiecePolicy
from peer.swarm.supplier import Supplier


class Hints:
    """The hints that all links gave, as the picker sees them."""

    def __init__(self, picker: PiecePolicy) -> None:
        self._picker = picker

    def follow(self, supplier: Supplier, piece: PieceIndex) -> bool:
        """The link says that the piece is coming from elsewhere. False: it has said so before."""
        bit = 1 << piece
        if supplier.hinted & bit:
            return False
        supplier.hinted |= bit
        if self._picker.takes_hints and self._picker.remove(supplier.link, piece):
            supplier.elsewhere.append(piece)
        return True

    def drop(self, supplier: Supplier) -> bool:
        """Count as held again what was left to others. Whether there was anything."""
        if not supplier.elsewhere:
            return False
        self._picker.add_blocks(supplier.link, in_blocks(supplier.elsewhere))
        supplier.elsewhere.clear()
        return True
