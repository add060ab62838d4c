"""While a swarm begins: whose first piece is still under way. Pure.

A swarm grows by those who have something to give, so the first pieces matter most. Who serves all newcomers
at once serves those who asked first several times over: their connections have grown fast by then, and on a
full uplink they keep the others out. So in the first second in which pieces are asked for, nobody is given a
second one while somebody waits for a first. Handing it to the kernel is not enough, which holds it for long
on a full uplink; that it has arrived can be told by its asker asking again.

For an uplink that the kernel divides. Under `--up` pieces go in turns (`rates.py`), which does the same.

Thirty peers of 4 Mbit/s behind an origin of 40, in shaped namespaces: everybody's first piece is there after
0.75 s instead of 1.4 s.

Limits of this answer: it is for the beginning alone, or whoever connects again and again and takes nothing
could keep all others waiting; a second swarm's worth of newcomers, an hour later, is served as they come. Who
asks for two pieces and never for another holds the rest up for NEWCOMER_S. And so it is not for shares of few
pieces, where that is honest, and all is over in a moment.
"""

from peer.ids import LinkId
from peer.limits import BEGINNING_S, NEWCOMER_S


class Newcomers:
    """The links that asked for pieces in the beginning, and have not shown that they got one."""

    __slots__ = ("_ends_at", "_since")

    def __init__(self) -> None:
        self._since: dict[LinkId, float] = {}  # in the order of asking
        self._ends_at: float | None = None

    def asked(self, link: LinkId, now: float, *, given: bool) -> None:
        """The link asks for a piece. given: it has been handed a whole one before."""
        if self._ends_at is None:
            self._ends_at = now + BEGINNING_S
        if given:
            self._since.pop(link, None)
        elif now < self._ends_at:
            self._since.setdefault(link, now)

    def left(self, link: LinkId) -> None:
        """The link is gone, or is served no more."""
        self._since.pop(link, None)

    def others_wait(self, link: LinkId, now: float) -> bool:
        """Whether another link's first piece is under way."""
        while self._since:
            oldest = next(iter(self._since))
            if now - self._since[oldest] < NEWCOMER_S:
                break
            del self._since[oldest]
        return len(self._since) > (link in self._since)
