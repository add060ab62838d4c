"""How links of one share ended badly, for people: one line each, of few."""

from collections import deque

from peer.connection import Ending
from peer.errors import ByeCode
from peer.limits import EXPELLED_MAX, SENT_AWAY_MAX
from peer.link import Link
from peer.swarm.addresses import network_of

_THEIR_COMPLAINTS = frozenset({ByeCode.PROTOCOL, ByeCode.CORRUPT})


class Partings:
    """Who was sent away, by whom, and why. What others say is shown as they said it: escape it."""

    def __init__(self) -> None:
        self.expelled: deque[str] = deque(maxlen=EXPELLED_MAX)
        """One line for each of the last peers that were sent away for bad bytes."""
        self.broken_off: deque[str] = deque(maxlen=EXPELLED_MAX)
        """And for what else was against the protocol."""
        self._sent_away: dict[str, str] = {}

    @property
    def sent_away(self) -> tuple[str, ...]:
        """One line for each of the first networks from which somebody sent us away, as if we were to blame.
        Anybody may say so, as often as he likes: hence the first, and few."""
        return tuple(self._sent_away.values())

    def expels(self, link: Link, reason: str) -> None:
        """Its bytes were bad."""
        self.expelled.append(f"{link}: {reason}")

    def ended(self, link: Link, ending: Ending) -> None:
        """A link is over."""
        if ending.fault:
            if ending.code is not ByeCode.CORRUPT:  # which `expels` has told
                self.broken_off.append(f"{link}: {ending.reason}")
        elif ending.code in _THEIR_COMPLAINTS and len(self._sent_away) < SENT_AWAY_MAX:
            reason = ending.reason or f"{ending.code.name.lower()}, without a reason"
            self._sent_away.setdefault(network_of(link.host), f"{link} sent us away: {reason}")
