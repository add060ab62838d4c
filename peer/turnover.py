"""Parts with links that serve nobody, so that there is room for those that do."""

from collections.abc import Mapping

from peer.bitfield import Bitfield
from peer.errors import ByeCode
from peer.ids import LinkId
from peer.link import Link
from peer.swarm.peerbook import LinkView, PeerBook


def make_room(book: PeerBook, links: Mapping[LinkId, Link], have: Bitfield | None, now: float) -> None:
    """Close what the book holds for surplus. Called every tick. have: our pieces, None while unknown."""
    full = have is not None and have.is_full
    if not (full or book.is_crowded):
        return
    views = [
        LinkView(
            link.id,
            we_need=link.wanted,
            it_needs=link.wants_us,
            both_complete=full and link.pieces is not None and link.pieces.is_full,
            moved_at=link.moved_at,
        )
        for link in links.values()
    ]
    complete = {view.link for view in views if view.both_complete}
    for number in book.surplus(views, now):
        reason = "we both have everything" if number in complete else "others may have more use of this place"
        links[number].close(ByeCode.USELESS, reason)
