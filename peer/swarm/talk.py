"""How much a peer may say that brings nothing. Pure: time is an argument.

Every message costs its receiver a wake-up, a decoding and a look around. Most are paid for: a have by the
piece that is new, a request by the answer that we chose to give. The others (a have of what is known, choke
and unchoke, interest and none, a ping, a cancel of nothing, a request that is refused, a kind that we do not
know) are rare among honest
peers and free for those who only want to keep us busy. They share one budget for each link; who overdraws it
breaks the protocol and is sent away. Honest bursts fit: when a link is choked a whole window of requests is
refused, and an endgame cancels as many.
"""

from peer.errors import RemoteProtocolError
from peer.limits import TALK_BURST, TALK_PER_S


class TalkBudget:
    """The budget of one link, in messages."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(TALK_BURST)
        self._at = now

    def spend(self, now: float) -> None:
        """A message came that brought nothing. Raises RemoteProtocolError when there were too many."""
        self._left = min(TALK_BURST, self._left + (now - self._at) * TALK_PER_S) - 1.0
        self._at = now
        if self._left < 0:
            raise RemoteProtocolError("talks without end and to no purpose")
