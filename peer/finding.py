"""How a member comes by its manifest: the quest decides whom to ask, this asks and listens."""

from collections.abc import Iterable, Mapping

import trio

from peer.connection import Ending
from peer.errors import ByeCode
from peer.ids import LinkId, ShareId
from peer.link import Link
from peer.manifest import Manifest
from peer.swarm.metadata import AskManifest, ManifestQuest
from peer.workers import Lane, Workers

WRONG_MANIFEST = "sent another manifest than the link names"
NEVER_WHOLE = "the manifest does not get on, and others' answers need the memory"


class Finding:
    """The search for one manifest. Once it has arrived, nothing more is asked."""

    def __init__(self, share: ShareId, links: Mapping[LinkId, Link], workers: Workers) -> None:
        self.quest = ManifestQuest(share)
        self.found = trio.Event()
        """The manifest is known, or known to be bad."""
        self.manifest: tuple[Manifest, bytes] | None = None
        self._share = share
        self._data = b""
        self._arrived = trio.Event()
        self._links = links
        self._workers = workers

    async def wait(self) -> tuple[Manifest, bytes]:
        """Until it is known. Raises ManifestError where the link names bytes that are no manifest.

        For one task. A manifest of 100,000 files takes more than a second to be read: not on the event loop.
        """
        await self._arrived.wait()
        if self.manifest is not None:
            return self.manifest
        try:
            decoded = await self._workers.run(Lane.COMPUTE, Manifest.decode, self._data, self._share)
            self.manifest = (decoded, self._data)
        finally:
            self.found.set()
        return self.manifest

    def know(self, manifest: Manifest, data: bytes) -> None:
        """It is here, kept from an earlier run."""
        self.manifest = (manifest, data)
        self._arrived.set()
        self.found.set()

    def tick(self, now: float) -> None:
        """Called often: slow links no longer hold the place of another."""
        if not self._arrived.is_set():
            self._ask(self.quest.tick(now))

    def progressed(self, link: Link, count: int, now: float) -> None:
        """So many bytes of an answer have arrived, which is not whole yet."""
        self.quest.progressed(link.id, count, now)
        for number in self.quest.surplus():  # with a goodbye, they would hold it for that much longer
            self._links[number].connection.ended(Ending(NEVER_WHOLE, ByeCode.TOO_SLOW, ours=True))

    def offered(self, link: Link) -> None:
        """The link has the manifest."""
        if not self._arrived.is_set():
            self._ask(self.quest.offered(link.id, trio.current_time()))

    def left(self, link: Link) -> None:
        """The link is gone, or has refused. (A refusal of what we cancelled since means nothing.)"""
        if not self._arrived.is_set():
            self._ask(self.quest.left(link.id, trio.current_time()))

    def answered(self, link: Link, data: bytes) -> str | None:
        """An answer is whole. Why its sender is to be sent away, or None."""
        if self._arrived.is_set():
            return None
        others = self.quest.answered(link.id, data)
        if others is None:
            link.close(ByeCode.CORRUPT, WRONG_MANIFEST)
            return WRONG_MANIFEST
        for other in others:
            self._links[other.link].withdraw(None)
        self._data = data
        self._arrived.set()
        return None

    def _ask(self, asks: Iterable[AskManifest]) -> None:
        for ask in asks:
            link = self._links.get(ask.link)
            if link is not None:
                link.ask_manifest()
