"""Rate limits applied: the pure limiter says when, this wakes the writer or reader that waits for it."""

from collections.abc import Callable

import trio

from peer.alarm import Alarm, Timer
from peer.ids import LinkId, ShareId
from peer.swarm.rates import RateLimiter


class Pacer:
    """One direction of a node. A flow is a link of a share; the share is its group in the limiter."""

    def __init__(self, rate: float | None, alarm: Alarm) -> None:
        self.limiter = RateLimiter(rate, trio.current_time())
        self._timer = Timer(alarm, self._pass_on)
        self._waiting: dict[tuple[ShareId, LinkId], Callable[[], None]] = {}
        self.quantum: Callable[[ShareId], int | None] = self.limiter.quantum_bytes
        """The most to ask for at once; None where there is no limit and nothing to ask. Asked at every read
        and every chunk, so without a call in between."""

    def set_rate(self, rate: float | None) -> None:
        """Change the node's limit (bytes a second, None for no limit) while running."""
        self.limiter.set_rate(rate, trio.current_time())
        self._pass_on()

    def set_share_rate(self, share: ShareId, rate: float | None) -> None:
        """Change the limit of one share."""
        self.limiter.set_group_rate(share, rate, trio.current_time())
        self._pass_on()

    def rate(self, share: ShareId) -> float | None:
        """The most that a share can have: the lower of its own limit and the node's; None for no limit."""
        rates = [rate for rate in (self.limiter.rate, self.limiter.group_rate(share)) if rate is not None]
        return min(rates, default=None)

    def ask(
        self,
        share: ShareId,
        link: LinkId,
        count: int,
        granted: Callable[[], None],
        *,
        continues: bool = False,
    ) -> bool:
        """May so many bytes go now? If not, ``granted`` is called once they may.

        continues: they belong to what the last ones began.
        """
        if self.limiter.ask((share, link), count, trio.current_time(), share, continues=continues):
            return True
        self._waiting[share, link] = granted
        self._set_alarm()
        return False

    def refund(self, share: ShareId, link: LinkId, count: int) -> None:
        """So many bytes of the last grant were not used."""
        if count:
            self.limiter.refund((share, link), count, share)

    def withdraw(self, share: ShareId, link: LinkId) -> None:
        """The link is gone."""
        self._waiting.pop((share, link), None)
        self.limiter.withdraw((share, link))

    def _pass_on(self) -> None:
        for flow in self.limiter.grants(trio.current_time()):
            callback = self._waiting.pop(flow, None)  # type: ignore[call-overload]
            if callback is not None:
                callback()
        self._set_alarm()

    def _set_alarm(self) -> None:
        wake = self.limiter.next_wake(trio.current_time())
        if wake is not None:
            self._timer.at(wake)
