"""Finding the manifest: whom to ask for it, and what to believe.

A getter that has only a link knows nothing but the hash of the manifest. Any connected peer that has sent a
bitfield has the manifest. We ask a few at once, because it is small and everything else waits for it; the
first answer whose hash is the share id is the manifest, whoever sent it. Who is slow keeps its request, and
others are asked beside it, unless all the answers that are not whole take too much memory: then who has
stood still longest loses its link. A peer whose answer has another hash lied and is expelled. An answer that
has the right hash and is still no legal manifest is the link's fault, not the peer's: then there is nothing
to be had anywhere. Reading it takes long, and is the caller's.
"""

from dataclasses import dataclass

from blake3 import blake3

from peer.errors import ManifestError
from peer.ids import LinkId, ShareId
from peer.limits import (
    MANIFEST_ASKS_MAX,
    MANIFEST_HELD_BYTES_MAX,
    MANIFEST_PATIENCE_S,
    MANIFEST_PROGRESS_BYTES,
)


@dataclass(frozen=True, slots=True)
class AskManifest:
    """Ask this link for the manifest."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class WithdrawManifest:
    """Cancel the request for the manifest on this link."""

    link: LinkId


class ManifestQuest:
    """Whom to ask for the manifest of one share."""

    def __init__(self, share: ShareId) -> None:
        self._share = share
        self._holders: dict[LinkId, None] = {}
        """Links that have it and were not asked yet, in order of arrival."""
        self._asked: dict[LinkId, float] = {}
        """Links that were asked, and when each was last seen to get on (seconds)."""
        self._received: dict[LinkId, int] = {}
        """Bytes of these since then."""
        self._held: dict[LinkId, int] = {}
        """Bytes of these since they were asked."""
        self._slow: set[LinkId] = set()
        self.liars = 0
        """Peers whose answer had the wrong hash."""

    def offered(self, link: LinkId, now: float) -> list[AskManifest]:
        """The link has the manifest."""
        if link not in self._asked:
            self._holders[link] = None
        return self._ask(now)

    def left(self, link: LinkId, now: float) -> list[AskManifest]:
        """The link is gone, or has refused."""
        self._holders.pop(link, None)
        self._forget(link)
        return self._ask(now)

    def progressed(self, link: LinkId, count: int, now: float) -> None:
        """So many bytes of the answer have arrived."""
        if link in self._asked:
            self._received[link] += count
            self._held[link] += count
            if self._received[link] >= MANIFEST_PROGRESS_BYTES:
                self._received[link] = 0
                self._asked[link] = now
                self._slow.discard(link)

    def tick(self, now: float) -> list[AskManifest]:
        """Slow links keep their request, but no longer hold the place of another."""
        for link, since in self._asked.items():
            if now - since > MANIFEST_PATIENCE_S:
                self._slow.add(link)
        return self._ask(now)

    def surplus(self) -> list[LinkId]:
        """Links whose answers take memory that others need: forgotten here, and to be ended."""
        held = sum(self._held.values())
        if held <= MANIFEST_HELD_BYTES_MAX:
            return []
        gone: list[LinkId] = []
        for link in sorted(self._asked, key=lambda link: self._asked[link]):
            if held <= MANIFEST_HELD_BYTES_MAX:
                break
            if self._held[link]:
                held -= self._held[link]
                gone.append(link)
        for link in gone:
            self._forget(link)
        return gone

    def answered(self, link: LinkId, data: bytes) -> list[WithdrawManifest] | None:
        """The whole answer of a link: whom to cancel, or None for a lie."""
        self._forget(link)
        if blake3(data).digest() != self._share:
            self.liars += 1
            return None
        return [WithdrawManifest(other) for other in self._asked]

    def _ask(self, now: float) -> list[AskManifest]:
        asks = []
        while self._holders and len(self._asked) < MANIFEST_ASKS_MAX + 2 * len(self._slow):
            link = next(iter(self._holders))
            del self._holders[link]
            self._asked[link] = now
            self._received[link] = self._held[link] = 0
            asks.append(AskManifest(link))
        return asks

    def _forget(self, link: LinkId) -> None:
        self._asked.pop(link, None)
        self._received.pop(link, None)
        self._held.pop(link, None)
        self._slow.discard(link)

    def check_invariants(self) -> None:
        """For tests and the simulator."""
        if not self._slow <= self._asked.keys() or self._holders.keys() & self._asked.keys():
            raise ManifestError("quest: a link is in two states at once")
