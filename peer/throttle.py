"""The rate of receiving: readers pause, TCP tells the senders."""

import trio

from peer.ids import LinkId, ShareId
from peer.pacing import Pacer


class Throttle:
    """Paces the readers of one share's links. Bytes are paid for after they were read, headers included."""

    def __init__(self, share: ShareId, pacer: Pacer) -> None:
        self._share = share
        self._pacer = pacer
        self._waiting: dict[LinkId, trio.Event] = {}

    def room(self, link: LinkId) -> int | None:
        """How much to read next, None for any; 0 while what was read is not paid for."""
        return 0 if link in self._waiting else self._pacer.quantum(self._share)

    async def wait_room(self, link: LinkId) -> int | None:
        """Wait until what was read is paid for; how much to read next, None for any."""
        event = self._waiting.get(link)
        if event is not None:
            await event.wait()
        return self._pacer.quantum(self._share)

    def received(self, link: LinkId, count: int) -> None:
        """So many bytes have come."""
        if self._pacer.quantum(self._share) is None:
            return
        event = trio.Event()
        self._waiting[link] = event
        if self._pacer.ask(self._share, link, count, lambda: self._paid(link)):
            self._paid(link)

    def left(self, link: LinkId) -> None:
        """The link is gone."""
        self._paid(link)
        self._pacer.withdraw(self._share, link)

    def _paid(self, link: LinkId) -> None:
        event = self._waiting.pop(link, None)
        if event is not None:
            event.set()
