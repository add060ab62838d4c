"""Listens to what honest nodes say to each other, for what nobody of good manners says."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from peer.ids import NodeId
from peer.link import Link
from peer.wire.session import ChokeReceived, Event, InterestedReceived
from tests.chaos.violation import demand


def listening(honest: Collection[NodeId]) -> AbstractContextManager[Any]:
    """While inside, a choke or an interest of the honest that repeats the one before is a Violation."""

    def handle(self: Link, event: Event) -> None:
        if isinstance(event, ChokeReceived) and self.node in honest:
            demand(event.on != self.chokes_us, "repeated", f"choke {event.on} by {self.address}, again")
        elif isinstance(event, InterestedReceived) and self.node in honest:
            demand(event.on != self.wants_us, "repeated", f"interest {event.on} by {self.address}, again")
        real(self, event)

    real = Link.handle
    return patch.object(Link, "handle", handle)
