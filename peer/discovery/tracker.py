"""Telling trackers that we are here, and being told who else is.

Theory of operation. One task for each tracker; none waits for another, so a dead, hanging or raving tracker
costs nothing but its own task. A task alternates between one exchange (dial, announce, answer, close; a
deadline over all of it) and a pause. After an answer the pause is the tracker's interval, within bounds of
ours; shorter, but growing, while the node says that it needs peers (`more`). After a failure it is a back-off
that doubles with each further one, as in BEP 15; needing peers does not shorten it. Every pause has jitter,
so that a swarm whose tracker comes back does not come back at one instant.

Events follow what a tracker has heard: `started` until it has answered once, then `progress`, and `completed`
once in between. When `run` is cancelled, whoever may have us in its list is told `stopped`, within a second.

What a tracker says is a hint and nothing more: whether an address is worth a dial, and whether it may be
dialled at all, is decided where the addresses of all informants come together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import trio

from peer import limits
from peer.errors import ManyhandsError, RemoteProtocolError
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.net.transport import Transport
from peer.paths import printable
from peer.wire.messages import Announce, Announced, AnnounceEvent, Bye, KnownPeer

LEAST_JITTER = 0.75
"""A back-off is between this part of its full length and all of it."""

REFUSAL = "the tracker refuses"


@dataclass(frozen=True, slots=True)
class TrackerStatistics:
    """How it stands with one tracker. Times in trio's clock.

    answered_at, seeders, leechers, peers: of its last answer. error: one line on the last attempt, None if it
    went well. next_at: when it is asked next, None while it is being asked.
    """

    tracker: Address
    answered_at: float | None
    seeders: int
    leechers: int
    peers: int
    error: str | None
    failures: int
    """Since the last answer."""
    next_at: float | None


class _Contact:
    """What we know of one tracker, and it of us."""

    def __init__(self, tracker: Address) -> None:
        self.tracker = tracker
        self.answer: Announced | None = None
        self.answered_at: float | None = None
        self.error: str | None = None
        self.failures = 0
        self.listed = False
        """It may have us in its list: an announce was sent."""
        self.completed = False
        """It has not heard yet that we have everything now."""
        self.more = False
        self.more_gap = limits.TRACKER_MORE_S_MIN
        self.regular_at = 0.0
        self.early_at = 0.0
        self.woken = trio.Event()
        self.pausing = False

    @property
    def next_at(self) -> float:
        """When it is asked next. A back-off is not shortened by anything."""
        if self.failures:
            return self.regular_at
        if self.completed:
            return 0.0
        return min(self.regular_at, self.early_at) if self.more else self.regular_at

    @property
    def event(self) -> AnnounceEvent:
        if self.answer is None:
            return AnnounceEvent.STARTED
        return AnnounceEvent.COMPLETED if self.completed else AnnounceEvent.PROGRESS


class TrackerClient:
    """Announces one share to several trackers, for as long as `run` runs.

    left: bytes that this node still needs, asked for at each announce; at least 1 while that is not known.
    port: where this node listens, 0 if it does not. found: called with the peers of each answer, never with
    ourselves, and the address where the socket saw the tracker that named them; it must not block or raise.
    """

    def __init__(
        self,
        transport: Transport,
        trackers: Sequence[Address],
        *,
        share: ShareId,
        node: NodeId,
        port: int,
        left: Callable[[], int],
        found: Callable[[list[KnownPeer], Address], None],
        rng: Random,
    ) -> None:
        self._transport = transport
        self._contacts = [_Contact(tracker) for tracker in dict.fromkeys(trackers)]
        self._share = share
        self._node = node
        self._port = port
        self._left = left
        self._found = found
        self._rng = rng

    async def run(self) -> None:
        """Announce until cancelled. Raises nothing for whatever trackers do; returns at once without any."""
        async with trio.open_nursery() as nursery:
            for contact in self._contacts:
                nursery.start_soon(self._keep_contact, contact)

    def more(self) -> None:
        """Peers are needed: ask sooner. Holds for one answer, so say it again while it is so."""
        for contact in self._contacts:
            contact.more = True
            contact.woken.set()

    def completed(self) -> None:
        """Everything is here now: tell each tracker at once. To be called once."""
        for contact in self._contacts:
            contact.completed = contact.listed  # one that never heard of us will hear `started`, nothing left
            contact.woken.set()

    def statistics(self) -> tuple[TrackerStatistics, ...]:
        """How it stands with each tracker, in the order in which they were given."""
        return tuple(_statistics_of(contact) for contact in self._contacts)

    async def _keep_contact(self, contact: _Contact) -> None:
        try:
            while True:
                await self._report(contact)
                contact.pausing = True
                while trio.current_time() < (until := contact.next_at):
                    contact.woken = trio.Event()
                    with trio.move_on_at(until):
                        await contact.woken.wait()
                contact.pausing = False
        finally:
            if contact.listed:
                with trio.move_on_after(limits.TRACKER_STOP_S, shield=True):
                    await self._say_stopped(contact)

    async def _report(self, contact: _Contact) -> None:
        """One announce, come what may; then set the time of the next."""
        event = contact.event
        try:
            with trio.fail_after(limits.TRACKER_EXCHANGE_S):
                answer, informant = await self._exchange(contact, event)
        except Exception as error:  # whatever it did, it is a tracker's trouble and not the node's
            contact.error = _one_line(error)
            pause = limits.TRACKER_BACKOFF_S_MIN / LEAST_JITTER * 2.0 ** min(contact.failures, 30)
            pause = min(pause, limits.TRACKER_BACKOFF_S_MAX) * self._rng.uniform(LEAST_JITTER, 1.0)
            contact.regular_at = trio.current_time() + pause
            contact.failures += 1
            return
        self._answered(contact, event, answer)
        peers = [peer for peer in answer.peers if peer.node != self._node]
        if peers:
            self._found(peers, informant)

    def _answered(self, contact: _Contact, event: AnnounceEvent, answer: Announced) -> None:
        """Note an answer, and when to ask again."""
        now = trio.current_time()
        still_needed = contact.more and contact.answer is not None
        contact.more_gap = (
            min(2 * contact.more_gap, limits.TRACKER_MORE_S_MAX)
            if still_needed
            else limits.TRACKER_MORE_S_MIN
        )
        contact.answer, contact.answered_at = answer, now
        contact.error, contact.failures = None, 0
        contact.more = False
        if event is AnnounceEvent.COMPLETED:
            contact.completed = False
        interval = min(max(answer.interval, limits.TRACKER_REPORT_S_MIN), limits.TRACKER_REPORT_S_MAX)
        contact.regular_at = now + interval * self._rng.uniform(0.85, 1.0)
        contact.early_at = now + contact.more_gap * self._rng.uniform(1.0, 1.25)

    async def _exchange(self, contact: _Contact, event: AnnounceEvent) -> tuple[Announced, Address]:
        """Dial, announce, be answered: what it says, and where the socket saw it."""
        stopped = event is AnnounceEvent.STOPPED
        stream = await self._transport.dial(contact.tracker)
        try:
            channel = MessageChannel(stream)
            announce = Announce(
                version=limits.PROTOCOL_VERSION,
                share=self._share,
                node=self._node,
                port=self._port,
                event=event,
                left=self._left(),
                want=0 if stopped else limits.TRACKER_ANSWER_PEERS_WANTED,
            )
            contact.listed = True
            await channel.send(announce)
            answer = await channel.receive()
        finally:
            await trio.aclose_forcefully(stream)
        if isinstance(answer, Bye):
            raise RemoteProtocolError(f"{REFUSAL}: {answer.reason or answer.code.name.lower()}")
        if not isinstance(answer, Announced):
            raise RemoteProtocolError(f"answers with {type(answer).__name__.lower()}")
        return answer, stream.remote

    async def _say_stopped(self, contact: _Contact) -> None:
        try:
            await self._exchange(contact, AnnounceEvent.STOPPED)
        except Exception as error:  # it forgets us by itself
            contact.error = _one_line(error)


def _statistics_of(contact: _Contact) -> TrackerStatistics:
    answer = contact.answer
    return TrackerStatistics(
        tracker=contact.tracker,
        answered_at=contact.answered_at,
        seeders=answer.seeders if answer else 0,
        leechers=answer.leechers if answer else 0,
        peers=len(answer.peers) if answer else 0,
        error=contact.error,
        failures=contact.failures,
        next_at=contact.next_at if contact.pausing else None,
    )


def _one_line(error: Exception) -> str:
    """What went wrong, for a terminal: no line breaks, escapes or other tricks of a tracker's own words."""
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {limits.TRACKER_EXCHANGE_S:.0f} s"
    text = str(error) if isinstance(error, ManyhandsError) else f"{type(error).__name__}: {error}"
    return printable(text[: limits.REASON_BYTES_MAX]) or "failed"
