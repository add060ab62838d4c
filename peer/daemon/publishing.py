"""Keeps the published names of a daemon's shares in the catalogues of their trackers, open or closed."""

import logging
from collections.abc import Callable

import trio

from peer.daemon.records import ShareRecord
from peer.discovery.publishing import Publisher
from peer.errors import ManyhandsError
from peer.ids import Address, ShareId
from peer.published import PublishedShare
from peer.services import Services
from peer.workers import Lane

logger = logging.getLogger(__name__)


class Publishing:
    """``sign`` makes the entry of a record that has a name to be published. Blocking; raises StorageError."""

    def __init__(self, services: Services, sign: Callable[[ShareRecord], PublishedShare]) -> None:
        self._services = services
        self._sign = sign
        self._kept: dict[ShareId, tuple[ShareRecord, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Until cancelled; names stay listed until they expire."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for record, scope in self._kept.values():
                nursery.start_soon(self._publish, record, scope)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def keep(self, record: ShareRecord) -> None:
        """Go by this record from now on: publish it, or no longer."""
        before = self._kept.get(record.share)
        if before is not None:
            known = before[0]
            if (known.publish, known.trackers, known.paused) == (
                record.publish,
                record.trackers,
                record.paused,
            ):
                return
        self.drop(record.share)
        if record.publish is not None and record.complete and not record.paused:
            scope = trio.CancelScope()
            self._kept[record.share] = (record, scope)
            if self._nursery is not None:
                self._nursery.start_soon(self._publish, record, scope)

    def drop(self, share: ShareId) -> None:
        """Publish it no more."""
        before = self._kept.pop(share, None)
        if before is not None:
            before[1].cancel()

    async def _publish(self, record: ShareRecord, scope: trio.CancelScope) -> None:
        services = self._services
        extra = {"share": record.share.hex()}
        with scope:
            try:
                entry = await services.workers.run(Lane.DISK, self._sign, record)
            except ManyhandsError as error:
                logger.warning("cannot publish %s: %s", record.publish, error, extra=extra)
                return
            trackers = [Address.parse(text) for text in record.trackers]
            publisher = Publisher(
                services.transport,
                trackers,
                entry,
                rng=services.rng,
                say=lambda line: logger.info("%s", line, extra=extra),
            )
            await publisher.run()
