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

    def room(self, link: LinkId, received: int) -> int | None:
        """So many bytes came with the last read. How much to read next, None for any; 0 while what was read
        is not paid for."""
        quantum = self._pacer.quantum(self._share)
        if quantum is None:
            return None
        if received:
            self._waiting[link] = trio.Event()
            if self._pacer.ask(self._share, link, received, lambda: self._paid(link)):
                self._paid(link)
        return 0 if link in self._waiting else quantum

    async def wait_room(self, link: LinkId) -> int | None:
        """Wait until what was read is paid for; how much to read next, None for any."""
        event = self._waiting.get(link)
        if event is not None:
            await event.wait()
        return self._pacer.quantum(self._share)

    def left(self, link: LinkId) -> None:
        """The link is gone."""
        self._paid(link)
        self._pacer.withdraw(self._share, link)

    def _paid(self, link: LinkId) -> None:
        event = self._waiting.pop(link, None)
        if event is not None:
            event.set()
