"""Keeping a name in catalogues: each tracker is told again at the interval that it asks for.

One task for each tracker, as with announces, and the same manners: a back-off that doubles without an answer,
jitter in every pause. A refusal is no end: a name that is taken may be free tomorrow. What is new is said
once, through ``say``: listed, refused and why, not answering.
"""

from collections.abc import Callable, Sequence
from random import Random

import trio

from peer import limits
from peer.discovery.catalogue import CatalogueClient
from peer.discovery.tracker import LEAST_JITTER
from peer.errors import ManyhandsError
from peer.ids import Address
from peer.net.transport import Transport
from peer.published import PublishedShare
from peer.wire.messages import PublishCode, Published


class Publisher:
    """Publishes one entry at several trackers, for as long as `run` runs."""

    def __init__(
        self,
        transport: Transport,
        trackers: Sequence[Address],
        entry: PublishedShare,
        *,
        rng: Random,
        say: Callable[[str], None],
    ) -> None:
        self._clients = [CatalogueClient(transport, tracker) for tracker in dict.fromkeys(trackers)]
        self._entry = entry
        self._rng = rng
        self._say = say

    async def run(self) -> None:
        """Publish until cancelled. Raises nothing for whatever trackers do."""
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                nursery.start_soon(self._keep_listed, client)

    async def _keep_listed(self, client: CatalogueClient) -> None:
        failures, said = 0, ""
        while True:
            try:
                answer = await client.publish(self._entry)
            except ManyhandsError as error:
                line = f"not published: {error}"
                pause = min(
                    limits.TRACKER_BACKOFF_S_MIN * 2.0 ** min(failures, 30), limits.TRACKER_BACKOFF_S_MAX
                )
                failures += 1
            else:
                line = outcome(answer, self._entry, client.tracker)
                pause = min(
                    max(answer.interval, limits.TRACKER_REPORT_S_MIN), limits.CATALOGUE_INTERVAL_S_MAX
                )
                failures = 0
            if line != said:
                said = line
                self._say(line)
            await trio.sleep(pause * self._rng.uniform(LEAST_JITTER, 1.0))


def outcome(answer: Published, entry: PublishedShare, tracker: Address) -> str:
    """What a tracker's answer means, in one line."""
    where = f"at tracker {tracker}"
    reasons = {
        PublishCode.NAME_TAKEN: f"the name belongs to {answer.holder.hex()} {where} until that one lets it "
        "expire: choose another with --publish, or wait",
        PublishCode.PUBLISHER_FULL: f"this node has as many names {where} as one may have",
        PublishCode.ADDRESS_FULL: f"this address has as many names {where} as one may have",
        PublishCode.CATALOGUE_FULL: f"the catalogue {where} is full: names expire, this one is tried again",
        PublishCode.OUTDATED: f"this node published something newer under that name {where} (serial "
        f"{answer.serial}, this one is {entry.serial}): was the home restored from an old copy?",
        PublishCode.REFUSED: f"refused {where}",
    }
    reason = reasons.get(answer.code)
    if reason is None:
        return f"published as {entry.name} {where}, by {entry.node.hex()}"
    return f"not published as {entry.name}: {reason}"
