"""A local network for simulated nodes: everybody on it hears every announcement, after a moment."""

from collections.abc import Callable
from typing import Final

import trio

from peer.ids import Address, ShareId
from peer.net.lan import lan_key

HEARD_S: Final = 0.2
"""Between an announcement and its being heard."""


class SimSegment:
    """One broadcast domain."""

    def __init__(self) -> None:
        self.announced: dict[str, dict[Address, Callable[[Address], None]]] = {}


class SimLan:
    """One node's place on a segment, which it may leave for another one, or for none."""

    trouble: str | None = None

    def __init__(self, segment: SimSegment | None, host: str, secret: bytes = b"") -> None:
        self._segment = segment
        self._moved = trio.Event()
        self._host = host
        self._secret = secret

    def move(self, segment: SimSegment | None) -> None:
        """The cable is pulled (None), or is in another wall now."""
        self._segment = segment
        self._moved.set()
        self._moved = trio.Event()

    async def run(self) -> None:
        await trio.lowlevel.checkpoint()  # who moves it says so

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        key, own = lan_key(share, self._secret), Address(self._host, port)
        told: set[Address] = set()

        def hear(address: Address) -> None:
            if address not in told:
                told.add(address)
                found(address)

        while True:
            segment, moved = self._segment, self._moved
            if segment is not None:
                with trio.move_on_after(HEARD_S):
                    await moved.wait()
                    continue
                await self._be_there(segment.announced.setdefault(key, {}), own, hear, moved)
            else:
                await moved.wait()

    async def _be_there(
        self,
        others: dict[Address, Callable[[Address], None]],
        own: Address,
        hear: Callable[[Address], None],
        moved: trio.Event,
    ) -> None:
        for address, tell in list(others.items()):
            tell(own)
            hear(address)
        others[own] = hear
        try:
            await moved.wait()
        finally:
            del others[own]
