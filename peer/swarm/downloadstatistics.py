"""What `Download` counts."""

from collections.abc import Collection
from dataclasses import dataclass

from peer.swarm.endgame import Endgame
from peer.swarm.pieces import Pieces
from peer.swarm.policies import PiecePolicy
from peer.swarm.progress import Received
from peer.swarm.supplier import Supplier


@dataclass(frozen=True, slots=True)
class DownloadStatistics:
    """A snapshot. Counts are of pieces or links unless they end in bytes; asks and withdrawals are of
    requests.

    duplicate_bytes: received for requests that were withdrawn. partial_bytes: of answers that broke off.
    corrupt_bytes: of pieces that did not verify. wasted_bytes: these together.
    """

    pieces: int
    have: int
    open: int
    in_flight: int
    verifying: int
    links: int
    links_unchoked: int
    links_hungry: int
    links_silent: int
    requests: int
    asks: int
    withdrawals: int
    received_bytes: int
    duplicate_bytes: int
    partial_bytes: int
    corrupt_bytes: int
    finished: bool

    @property
    def wasted_bytes(self) -> int:
        return self.duplicate_bytes + self.partial_bytes + self.corrupt_bytes


def snapshot(
    pieces: Pieces,
    picker: PiecePolicy,
    suppliers: Collection[Supplier],
    endgame: Endgame,
    received: Received,
    *,
    hungry: int,
    asks: int,
) -> DownloadStatistics:
    """As it stands now. hungry: links with room for which there is nothing open; asks: requests ever made."""
    return DownloadStatistics(
        pieces=len(pieces.bits),
        have=pieces.bits.count,
        open=picker.open_count,
        in_flight=len(pieces.flights),
        verifying=pieces.verifying_count,
        links=len(suppliers),
        links_unchoked=sum(not s.choked for s in suppliers),
        links_hungry=hungry,
        links_silent=sum(s.silent for s in suppliers),
        requests=sum(len(s.asks) for s in suppliers),
        asks=asks,
        withdrawals=endgame.withdrawals,
        received_bytes=received.total,
        duplicate_bytes=endgame.duplicate_bytes,
        partial_bytes=received.partial,
        corrupt_bytes=received.corrupt,
        finished=not picker.needed_count,
    )
