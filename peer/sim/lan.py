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
    """One node's place on a segment."""

    trouble: str | None = None

    def __init__(self, segment: SimSegment, host: str, secret: bytes = b"") -> None:
        self._segment = segment
        self._host = host
        self._secret = secret

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        key, own = lan_key(share, self._secret), Address(self._host, port)
        await trio.sleep(HEARD_S)
        others = self._segment.announced.setdefault(key, {})
        for address, hear in others.items():
            hear(own)
            found(address)
        others[own] = found
        try:
            await trio.sleep_forever()
        finally:
            del others[own]
