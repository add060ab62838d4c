"""The seam to the local network: who else here takes part in a swarm? Real side: `net/dnssd.py`; simulated:
`sim/lan.py`.

What is announced is not the share id, which is all that one needs to fetch the share, but a key derived from
it: whoever has the link recognises it, and a listener in a café learns nothing that helps him (he still sees
that somebody here uses this program; `--no-lan` keeps even that quiet). docs/decisions/lan-discovery.md.
"""

from collections.abc import Callable
from typing import Final, Protocol

import trio
from blake3 import blake3

from peer.ids import Address, ShareId
from peer.limits import LAN_KEY_BYTES

_CONTEXT: Final = "manyhands 2026 lan discovery key 1"


def lan_key(share: ShareId, secret: bytes = b"") -> str:
    """What a share is called on the local network: hexadecimal digits. secret: of a private swarm."""
    return blake3(secret + share, derive_key_context=_CONTEXT).digest(LAN_KEY_BYTES).hex()


class Lan(Protocol):
    """Announces this node's shares on the local network, and finds others'."""

    trouble: str | None
    """One line on why the local network cannot be used, None while it can."""

    async def run(self) -> None:
        """Keep in step with the networks that this machine is connected to, until cancelled. Trouble with
        them is a line in ``trouble``, and another try later."""

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        """Announce the share, call ``found`` for each address at which others announce it, until cancelled.
        Nothing of it happens before `run` does, or while there is no network.

        What it finds is hearsay: anybody on the network can announce anything.
        """


class NoLan:
    """The local network is left alone."""

    trouble: str | None = None

    async def run(self) -> None:
        await trio.lowlevel.checkpoint()

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        await trio.lowlevel.checkpoint()
