"""How a member comes by its manifest: the quest decides whom to ask, this asks and listens."""

from collections.abc import Iterable, Mapping

import trio

from peer.errors import ByeCode, ManifestError
from peer.ids import LinkId, ShareId
from peer.link import Link
from peer.manifest import Manifest
from peer.swarm.metadata import AskManifest, ManifestQuest

WRONG_MANIFEST = "sent another manifest than the link names"


class Finding:
    """The search for one manifest. Once ``found`` is set, nothing more is asked."""

    def __init__(self, share: ShareId, links: Mapping[LinkId, Link]) -> None:
        self.quest = ManifestQuest(share)
        self.found = trio.Event()
        """The manifest is known, or known to be bad."""
        self.manifest: tuple[Manifest, bytes] | None = None
        self._bad: ManifestError | None = None
        self._links = links

    async def wait(self) -> tuple[Manifest, bytes]:
        """Until it is known. Raises ManifestError where the link names bytes that are no manifest."""
        await self.found.wait()
        if self.manifest is None:
            raise self._bad or ManifestError("the manifest is not known")
        return self.manifest

    def know(self, manifest: Manifest, data: bytes) -> None:
        """It is here: from a peer, or kept from an earlier run."""
        self.manifest = (manifest, data)
        self.found.set()

    def tick(self, now: float) -> None:
        """Called often: slow links no longer hold the place of another."""
        if not self.found.is_set():
            self._ask(self.quest.tick(now))

    def offered(self, link: Link) -> None:
        """The link has the manifest."""
        if not self.found.is_set():
            self._ask(self.quest.offered(link.id, trio.current_time()))

    def left(self, link: Link) -> None:
        """The link is gone, or has refused. (A refusal of what we cancelled since means nothing.)"""
        if not self.found.is_set():
            self._ask(self.quest.left(link.id, trio.current_time()))

    def answered(self, link: Link, data: bytes) -> str | None:
        """An answer is whole. Why its sender is to be sent away, or None."""
        if self.found.is_set():
            return None
        try:
            manifest, others = self.quest.answered(link.id, data)
        except ManifestError as error:
            self._bad = error
            self.found.set()
            return None
        if manifest is None:
            link.close(ByeCode.CORRUPT, WRONG_MANIFEST)
            return WRONG_MANIFEST
        for other in others:
            self._links[other.link].withdraw(None)
        self.know(manifest, data)
        return None

    def _ask(self, asks: Iterable[AskManifest]) -> None:
        for ask in asks:
            link = self._links.get(ask.link)
            if link is not None:
                link.ask_manifest()
