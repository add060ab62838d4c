"""The end of a download: what to do with a link that has room when every piece it holds is in flight
elsewhere.

The last pieces decide when the last peer is done. Which link will be free first cannot be known when they are
asked for, so they are bound late:

* A piece that has *not begun* to arrive is asked of a second link (and a third, each a little later than the
  one before). The requests are tied: when one begins to be answered the others are withdrawn, so a queue that
  moves faster than expected wins, and next to nothing is sent twice. (Dean and Barroso, "The Tail at Scale",
  2013: tied requests.)
* A piece that *has begun* is asked again only of a link that would finish it several times sooner, from
  scratch, and only while the bytes thrown away that way stay within a budget. When the second link begins,
  whichever is expected later is withdrawn.

What it does not do: ask everybody for everything, as BitTorrent's first endgame did; nor keep two answers
running side by side to see which comes first.
"""

from collections.abc import Iterable
from math import inf

from peer.limits import ENDGAME_ASKS_MAX, ENDGAME_GAIN_MIN, ENDGAME_LOOKS_MAX, ENDGAME_TIE_S
from peer.swarm.supplier import Asked, Supplier

TIE_GAIN = 1.0


def expected_end(asked: Asked, now: float, guess: float) -> float:
    """Seconds until this answer is complete, as far as one can know; inf where nothing is to be expected."""
    supplier = asked.supplier
    if asked.received:
        return supplier.seconds_for(asked.remaining, now, guess)
    if supplier.choked or supplier.silent or supplier.expelled:
        return inf
    if asked.due_at == asked.asked_at:
        wait = asked.supplier.outstanding / guess if guess else inf
        return max(asked.asked_at + wait - now, now - asked.asked_at)
    return max(asked.due_at - now, now - asked.due_at)


def late_piece(
    supplier: Supplier, flights: Iterable[list[Asked]], now: float, guess: float, budget: int
) -> Asked | None:
    """The request whose piece this link should be asked for as well, or None.

    ``flights`` are the live requests for each piece in flight, earliest asked first, of pieces that the link
    holds. ``guess`` is a rate for links whose own is not known, ``budget`` the bytes that may be thrown away.
    """
    best: Asked | None = None
    best_end = 0.0
    looks = 0
    for flight in flights:
        first = flight[0]
        if first.piece in supplier.asks:
            continue
        looks += 1
        if looks > ENDGAME_LOOKS_MAX:
            break
        if len(flight) >= ENDGAME_ASKS_MAX:
            continue
        if now - flight[-1].asked_at < ENDGAME_TIE_S:
            continue
        end = min(expected_end(asked, now, guess) for asked in flight)
        if end <= best_end:
            continue
        begun = max(asked.received for asked in flight)
        ours = supplier.seconds_for(supplier.outstanding + first.length, now, guess)
        if ours * (ENDGAME_GAIN_MIN if begun else TIE_GAIN) > end:
            continue
        if begun > budget:
            continue
        best, best_end = first, end
        if end == inf:
            break
    return best


def losers(flight: list[Asked], begun: Asked, now: float, guess: float) -> list[Asked]:
    """Which of the requests for one piece to withdraw now that one of them has begun to be answered."""
    ends = [(expected_end(asked, now, guess), i) for i, asked in enumerate(flight)]
    started = [(end, i) for (end, i), asked in zip(ends, flight, strict=True) if asked.received]
    best_end, best = min(started)
    keep = {best}
    # A link that has not begun yet may still be so much faster that it is worth waiting for.
    for end, i in ends:
        if not flight[i].received and end * ENDGAME_GAIN_MIN < best_end:
            keep.add(i)
    return [asked for i, asked in enumerate(flight) if i not in keep]
