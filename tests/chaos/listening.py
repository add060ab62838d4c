"""Listens to what honest nodes say to each other, for what nobody of good manners says; and to the log."""

import logging
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
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


class _Caught(logging.Handler):
    """The first exception that was logged."""

    found: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self.found is None:
            self.found = f"{record.getMessage()}: {record.exc_info[1]!r}"


@contextmanager
def nothing_caught() -> Iterator[None]:
    """A node or a tracker that survives a bug of ours, and logs it, is a Violation at the end."""
    handler = _Caught(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    demand(handler.found is None, "bug", str(handler.found))
