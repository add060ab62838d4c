"""Tells trackers and the local network of the complete shares, whether they are open or closed.

A share that rests costs no task and no connection of its own: one task for each tracker goes through all of
its shares and announces those that are due, many on one connection. Who then wants one dials us, and the node
opens it. If a tracker says that somebody is fetching, the share is opened as well, so that we dial them:
perhaps nobody can dial us.

Trouble with a tracker is a pause that doubles; nothing that it does ends more than its own conversation.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from random import Random

import trio

from peer import limits
from peer.errors import RemoteProtocolError
from peer.ids import Address, ShareId
from peer.net.channel import MessageChannel
from peer.net.transport import Transport
from peer.paths import printable
from peer.services import Services
from peer.wire.messages import Announce, Announced, AnnounceEvent, Bye, KnownPeer, Message


@dataclass(slots=True)
class TrackerNews:
    """How it stands with one tracker. error: one line on the last conversation, None if it went well."""

    shares: int = 0
    error: str | None = None
    answered_at: float | None = None


class _Beat:
    """One tracker and the shares that it is told of."""

    def __init__(self, tracker: Address) -> None:
        self.tracker = tracker
        self.news = TrackerNews()
        self.told: dict[ShareId, bool] = {}
        """The shares; True where the tracker may have us in its list."""
        self.stopping: list[ShareId] = []
        self.asking: ShareId | None = None
        """The share of the announce that is under way, if the tracker must hear when that one is dropped."""
        self.failures = 0
        self.woken = trio.Event()
        self._due: list[tuple[float, int, ShareId]] = []
        self._numbers = count()
        self._times: dict[ShareId, float] = {}

    def schedule(self, share: ShareId, when: float) -> None:
        self._times[share] = when
        heapq.heappush(self._due, (when, next(self._numbers), share))

    def drop(self, share: ShareId, *, silent: bool) -> None:
        self._times.pop(share, None)
        listed = self.told.pop(share, False)
        if silent:
            if self.asking == share:
                self.asking = None
        elif listed and share not in self.stopping:
            self.stopping.append(share)
            self.woken.set()

    def next_due(self) -> float:
        """When the next announce is due; infinite for never."""
        while self._due and self._times.get(self._due[0][2]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else float("inf")

    def take_due(self, now: float) -> ShareId | None:
        """A share whose time has come; it must be scheduled again."""
        if self.next_due() > now:
            return None
        share = heapq.heappop(self._due)[2]
        del self._times[share]
        return share


class Herald:
    """See the module. ``wanted`` is told of a share that somebody is fetching, of whom the tracker names, and
    of the address where the socket saw the tracker; it must not block or raise."""

    def __init__(
        self, services: Services, wanted: Callable[[ShareId, list[KnownPeer], Address], None]
    ) -> None:
        self._services = services
        self._transport: Transport = services.transport
        self._rng: Random = services.rng
        self._wanted = wanted
        self._beats: dict[Address, _Beat] = {}
        self._near: dict[ShareId, trio.CancelScope] = {}
        self._shares: dict[ShareId, tuple[Address, ...]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Until cancelled; then trackers are told that we leave, within a second."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for beat in self._beats.values():
                nursery.start_soon(self._walk, beat)
            for share in list(self._shares)[-limits.LAN_SHARES_MAX :]:
                self._come_near(share)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # shares that close from now on find nobody to tell of them

    def add(self, share: ShareId, trackers: Iterable[Address]) -> None:
        """Announce this share from now on. With other trackers than before: to those."""
        wanted = tuple(dict.fromkeys(trackers))
        if self._shares.get(share) == wanted:
            return
        self.remove(share)
        self._shares[share] = wanted
        now = trio.current_time()
        for tracker in wanted:
            beat = self._beats.get(tracker)
            if beat is None:
                beat = self._beats[tracker] = _Beat(tracker)
                if self._nursery is not None:
                    self._nursery.start_soon(self._walk, beat)
            if share in beat.stopping:
                beat.stopping.remove(share)
            beat.told[share] = False
            beat.schedule(share, now)
            beat.woken.set()
        self._come_near(share)

    def remove(self, share: ShareId, *, silent: bool = False) -> None:
        """Announce it no more. silent: tell no tracker, somebody else speaks for the share now."""
        for tracker in self._shares.pop(share, ()):
            self._beats[tracker].drop(share, silent=silent)
        scope = self._near.pop(share, None)
        if scope is not None:
            scope.cancel()

    def news(self) -> dict[Address, TrackerNews]:
        """How it stands with each tracker that has shares of ours."""
        for beat in self._beats.values():
            beat.news.shares = len(beat.told)
        return {tracker: beat.news for tracker, beat in self._beats.items() if beat.told}

    # --- the local network

    def _come_near(self, share: ShareId) -> None:
        if self._nursery is None or share in self._near:
            return
        while len(self._near) >= limits.LAN_SHARES_MAX:
            self._near.pop(next(iter(self._near))).cancel()
        scope = self._near[share] = trio.CancelScope()
        self._nursery.start_soon(self._be_near, share, scope)

    async def _be_near(self, share: ShareId, scope: trio.CancelScope) -> None:
        services = self._services

        def found(address: Address) -> None:  # they see us as well, and dial when they want something
            return None

        with scope:
            await services.lan.take_part(share, services.port, found)

    # --- trackers

    async def _walk(self, beat: _Beat) -> None:
        try:
            while True:
                until = beat.next_due()
                if trio.current_time() < until and not beat.stopping:
                    beat.woken = trio.Event()
                    with trio.move_on_at(until):
                        await beat.woken.wait()
                    continue
                pause = await self._converse(beat)
                if pause:
                    await trio.sleep(pause)
        finally:
            beat.stopping += [share for share, listed in beat.told.items() if listed]
            if beat.stopping:
                with trio.move_on_after(limits.TRACKER_STOP_S, shield=True):
                    while beat.stopping and not await self._converse(beat):
                        pass

    async def _converse(self, beat: _Beat) -> float:
        """One connection's worth of announces. Returns how long to leave the tracker alone."""
        asked: ShareId | None = None
        try:
            with trio.fail_after(limits.TRACKER_EXCHANGE_S):
                stream = await self._transport.dial(beat.tracker)
                try:
                    channel = MessageChannel(stream)
                    if beat.stopping:
                        await self._stop(channel, beat)
                        return 0.0
                    for _ in range(limits.TRACKER_EXCHANGES_MAX):
                        asked = beat.take_due(trio.current_time())
                        if asked is None:
                            break
                        await self._announce(channel, beat, asked, stream.remote)
                        asked = None
                finally:
                    await trio.aclose_forcefully(stream)
        except Exception as error:  # whatever it did, it is a tracker's trouble and not the node's
            return self._failed(beat, asked, error)
        beat.news.error, beat.failures = None, 0
        beat.news.answered_at = trio.current_time()
        return 0.0

    def _failed(self, beat: _Beat, asked: ShareId | None, error: Exception) -> float:
        late = isinstance(error, trio.TooSlowError)
        text = f"no answer within {limits.TRACKER_EXCHANGE_S:.0f} s" if late else str(error)
        beat.news.error = printable(text[: limits.REASON_BYTES_MAX]) or type(error).__name__
        pause = min(limits.HERALD_RETRY_S * 2.0 ** min(beat.failures, 30), limits.TRACKER_BACKOFF_S_MAX)
        beat.failures += 1
        beat.stopping.clear()  # it forgets by itself
        if asked is not None and asked in beat.told:
            beat.schedule(asked, trio.current_time())
        return pause * self._rng.uniform(0.75, 1.0)

    async def _announce(
        self, channel: MessageChannel, beat: _Beat, share: ShareId, informant: Address
    ) -> None:
        event = AnnounceEvent.PROGRESS if beat.told.get(share) else AnnounceEvent.STARTED
        beat.asking = share
        try:
            answer = await self._exchange(channel, share, event)
            if share not in beat.told:  # removed meanwhile
                if beat.asking == share and share not in beat.stopping:
                    beat.stopping.append(share)
                return
        finally:
            beat.asking = None
        beat.told[share] = True
        interval = min(max(answer.interval, limits.TRACKER_REPORT_S_MIN), limits.TRACKER_REPORT_S_MAX)
        beat.schedule(share, trio.current_time() + interval * self._rng.uniform(0.85, 1.0))
        if answer.leechers:
            peers = [peer for peer in answer.peers if peer.node != self._services.node]
            self._wanted(share, peers, informant)

    async def _stop(self, channel: MessageChannel, beat: _Beat) -> None:
        """Leave many shares at once: all is said before the first answer is waited for, time is short."""
        leaving = [beat.stopping.pop() for _ in range(min(len(beat.stopping), limits.TRACKER_EXCHANGES_MAX))]
        for share in leaving:
            await channel.send(self._message(share, AnnounceEvent.STOPPED))
        for _ in leaving:
            _checked(await channel.receive())

    async def _exchange(self, channel: MessageChannel, share: ShareId, event: AnnounceEvent) -> Announced:
        await channel.send(self._message(share, event))
        return _checked(await channel.receive())

    def _message(self, share: ShareId, event: AnnounceEvent) -> Announce:
        services = self._services
        return Announce(
            version=limits.PROTOCOL_VERSION,
            share=share,
            node=services.node,
            port=services.port,
            event=event,
            left=0,
            want=0 if event is AnnounceEvent.STOPPED else limits.TRACKER_ANSWER_PEERS_WANTED,
        )


def _checked(answer: Message) -> Announced:
    """An answer that is one. Raises RemoteProtocolError."""
    if isinstance(answer, Bye):
        raise RemoteProtocolError(f"the tracker refuses: {answer.reason or answer.code.name.lower()}")
    if not isinstance(answer, Announced):
        raise RemoteProtocolError(f"answers with {type(answer).__name__.lower()}")
    return answer
