"""The tracker's conversations: connections come in, questions are answered, nobody can hold it up.

Theory of operation. One task accepts for each listener, one task attends to each connection, one sweeps the
registry and the catalogue. A connection is served exchange by exchange: one `Announce`, one `Announced`; one
`Publish`, one `Published`; one `Search`, one `Found`. What the registry records is the address that the
socket saw; on a transport that authenticates, the node id must be the proven one. A published entry must be
signed by its publisher, and on such a transport come from its publisher.

Strangers may push on four things, and each has its limit. *Time*: a handshake, a request and an answer have
deadlines, for the whole of each, so a byte now and then buys nothing. *Connections*: an address has its own
limit, and over it is closed at once; when the house is full, the newcomer takes the place of whoever has been
here longest without having asked anything yet (or again), because an honest exchange takes milliseconds. So a
crowd of silent connections cannot lock honest peers out. *Work*: an address's searches come one after the
other, at a rate; so do its handshakes, which cost more than the question that they are for, and its announces
and publications, each after as many at once as a classroom or a daemon's shares need. (This machine's own
addresses have no such rates: a laboratory runs hundreds of peers on one.) *Exceptions*: whatever a
conversation raises ends that conversation and is counted; a bug of ours is logged as well.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import TypeVar, TypeVarTuple

import trio

from peer import limits
from peer.errors import ConnectionLost, ManyhandsError, RemoteProtocolError
from peer.identity import is_signed
from peer.ids import Address, NodeId
from peer.net.channel import MessageChannel
from peer.net.transport import Listener, Stream, Transport
from peer.published import check_published
from peer.wire.codec import clip_text
from peer.wire.messages import Announce, Announced, Bye, Found, Message, Publish, Published, Search
from tracker.catalogue import Catalogue, CatalogueStatistics
from tracker.counting import count_down, count_up
from tracker.observed import Observed, observe
from tracker.registry import Registry, RegistryStatistics
from tracker.turnstile import Turns, Turnstile

logger = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How many connections at once. See peer/limits.py for the reasons."""

    connections: int = limits.TRACKER_CONNECTIONS_MAX
    connections_per_address: int = limits.TRACKER_CONNECTIONS_PER_ADDRESS_MAX


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """connections: now. The other counts: since the start."""

    connections: int
    accepted: int
    answered: int
    refused: int
    """Closed at once: their address, or everything, was at its limit."""
    delayed: int
    """Waited for their handshake or their answer, because their network had come too often."""
    displaced: int
    """Silent ones that had to make room."""
    late: int
    """Did not ask, or did not take the answer, in time."""
    faulty: int
    """Broke the protocol."""
    lost: int
    """Went away in the middle of something."""
    failures: int
    """Ended by a bug of ours."""
    registry: RegistryStatistics
    catalogue: CatalogueStatistics


@dataclass(slots=True)
class _Counts:
    accepted: int = 0
    answered: int = 0
    refused: int = 0
    displaced: int = 0
    late: int = 0
    faulty: int = 0
    lost: int = 0
    failures: int = 0


class _Visitor:
    """One connection, as far as time and place go. network: whom it shares its limits with; local: it comes
    from this machine."""

    __slots__ = ("_dismissed", "_waiting", "local", "network")

    def __init__(self, seen: Observed) -> None:
        self.network = seen.network
        self.local = seen.loopback
        self._waiting: trio.CancelScope | None = None
        self._dismissed = False

    @property
    def silent(self) -> bool:
        """Whether it is this visitor's turn to speak."""
        return self._waiting is not None

    def dismiss(self) -> None:
        """Let it finish what it is being told, if anything, and hear no more of it."""
        self._dismissed = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def turn(self, seconds: float, step: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T | None:
        """Wait for what the visitor does next; None if it was dismissed meanwhile. Raises TooSlowError."""
        with trio.move_on_after(seconds) as scope:
            self._waiting = scope
            try:
                return None if self._dismissed else await step(*args)
            finally:
                self._waiting = None
        if self._dismissed:
            return None
        raise trio.TooSlowError


class TrackerServer:
    """Answers announces, publications and searches. `listen`, then `run` until `stop` or cancellation."""

    def __init__(
        self,
        transport: Transport,
        rng: Random,
        *,
        registry: Registry | None = None,
        catalogue: Catalogue | None = None,
        bounds: ServerLimits | None = None,
    ) -> None:
        self._transport = transport
        self._rng = rng
        self._registry = registry if registry is not None else Registry()
        self._catalogue = catalogue if catalogue is not None else Catalogue(rng.getrandbits(63))
        self._bounds = bounds or ServerLimits()
        self._listeners: list[Listener] = []
        self._visitors: dict[_Visitor, None] = {}  # in order of arrival
        self._per_network: dict[str, int] = {}
        self._searches = Turns()
        self._handshakes = Turnstile(
            limits.TRACKER_HANDSHAKES_PER_NETWORK_PER_S, limits.TRACKER_HANDSHAKES_PER_NETWORK_BURST
        )
        self._reports = Turnstile(
            limits.TRACKER_REPORTS_PER_NETWORK_PER_S, limits.TRACKER_REPORTS_PER_NETWORK_BURST
        )
        self._counts = _Counts()
        self._stopping = trio.Event()

    async def listen(self, host: str | None, port: int) -> list[Address]:
        """Open the listeners; return where. Raises UsageError, which names the port if it is taken."""
        listeners = await self._transport.listen(host, port)
        self._listeners.extend(listeners)
        return [listener.address for listener in listeners]

    async def run(self) -> None:
        """Serve until `stop`, and then for as long as an answer under way needs, at most TRACKER_GRACE_S."""
        try:
            async with trio.open_nursery() as conversations:
                async with trio.open_nursery() as listening:
                    for listener in self._listeners:
                        listening.start_soon(self._accept_from, listener, conversations)
                    listening.start_soon(self._sweep)
                    await self._stopping.wait()
                    listening.cancel_scope.cancel()
                conversations.cancel_scope.deadline = trio.current_time() + limits.TRACKER_GRACE_S
                for visitor in self._visitors:
                    visitor.dismiss()
        finally:
            with trio.CancelScope(shield=True):  # or a cancellation closes the first alone
                for listener in self._listeners:
                    await listener.aclose()

    def stop(self) -> None:
        """Accept no more, finish the answers under way, and let `run` return."""
        self._stopping.set()

    def statistics(self) -> ServerStatistics:
        counts = self._counts
        return ServerStatistics(
            connections=len(self._visitors),
            accepted=counts.accepted,
            answered=counts.answered,
            refused=counts.refused,
            delayed=self._handshakes.delayed + self._reports.delayed,
            displaced=counts.displaced,
            late=counts.late,
            faulty=counts.faulty,
            lost=counts.lost,
            failures=counts.failures,
            registry=self._registry.statistics(),
            catalogue=self._catalogue.statistics(),
        )

    def check_invariants(self) -> None:
        """The places that are taken are those of the visitors, and no more than there are."""
        assert len(self._visitors) <= self._bounds.connections
        assert self._per_network == Counter(visitor.network for visitor in self._visitors)
        assert all(count <= self._bounds.connections_per_address for count in self._per_network.values())
        self._registry.check_invariants()
        self._catalogue.check_invariants()

    # --- the door

    async def _accept_from(self, listener: Listener, conversations: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                logger.warning("cannot accept connections just now: %s", error)
                await trio.sleep(limits.ACCEPT_RETRY_S)
                continue
            self._counts.accepted += 1
            visitor = self._admit(observe(stream.remote.host))
            if visitor is None:
                self._counts.refused += 1
                await trio.aclose_forcefully(stream)
            else:
                conversations.start_soon(self._attend, visitor, stream)

    def _admit(self, seen: Observed) -> _Visitor | None:
        """A place for one more, or None. May show somebody out who has been silent."""
        if self._per_network.get(seen.network, 0) >= self._bounds.connections_per_address:
            return None
        if len(self._visitors) >= self._bounds.connections:
            silent = next((v for v in self._visitors if v.silent), None)
            if silent is None:
                return None
            self._counts.displaced += 1
            self._leave(silent)
            silent.dismiss()
        visitor = _Visitor(seen)
        self._visitors[visitor] = None
        count_up(self._per_network, seen.network)
        return visitor

    def _leave(self, visitor: _Visitor) -> None:
        """Give the place back; again is harmless."""
        if visitor not in self._visitors:
            return
        del self._visitors[visitor]
        count_down(self._per_network, visitor.network)

    # --- one conversation

    async def _attend(self, visitor: _Visitor, stream: Stream) -> None:
        """Serve one connection to its end. Raises nothing but cancellation: the server lives on."""
        try:
            await self._converse(visitor, stream)
        except RemoteProtocolError:
            self._counts.faulty += 1
        except (ManyhandsError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._counts.lost += 1
        except trio.TooSlowError:
            self._counts.late += 1
        except Exception:
            self._counts.failures += 1
            logger.exception("a conversation with %s failed", stream.remote)
        finally:
            self._leave(visitor)
            await trio.aclose_forcefully(stream)

    async def _converse(self, visitor: _Visitor, stream: Stream) -> None:
        ready = await visitor.turn(limits.TRACKER_HANDSHAKE_S, self._greet, visitor, stream)
        if ready is None:
            return
        channel = MessageChannel(ready)
        try:
            for _ in range(limits.TRACKER_EXCHANGES_MAX):
                message = await visitor.turn(limits.TRACKER_REQUEST_S, self._listen, visitor, channel)
                if message is None:
                    break
                answer = await self._answer(message, ready, visitor)
                if answer is None:
                    break
                with trio.fail_after(limits.TRACKER_ANSWER_S):
                    await channel.send(answer)
                self._counts.answered += 1
        except RemoteProtocolError as error:
            with trio.move_on_after(limits.GOODBYE_GRACE_S), suppress(ConnectionLost):
                await channel.send(Bye(error.bye_code, clip_text(str(error))))
            raise
        finally:
            await trio.aclose_forcefully(ready)

    async def _greet(self, visitor: _Visitor, stream: Stream) -> Stream:
        """The transport's handshake, when it is its turn in its network. Who waits keeps one of his network's
        few places meanwhile."""
        if not visitor.local:
            await self._handshakes.go_through(visitor.network)
        return await self._transport.accept(stream)

    async def _listen(self, visitor: _Visitor, channel: MessageChannel) -> Message:
        """The next message, when it is its turn in its network. Who waits makes room in a full house, as who
        says nothing does: a few networks could else fill it for good."""
        message = await channel.receive()
        if isinstance(message, Announce | Publish) and not visitor.local:
            await self._reports.go_through(visitor.network)
        return message

    async def _answer(
        self, message: Message, stream: Stream, visitor: _Visitor
    ) -> Announced | Published | Found | None:
        """None if the visitor takes its leave, or was dismissed while it waited for its turn."""
        match message:
            case Bye():
                return None
            case Announce():
                self._check_sender(stream, message.node, "an announce")
                now, proven = trio.current_time(), stream.peer is not None
                return self._registry.announce(message, stream.remote.host, now, self._rng, proven=proven)
            case Publish():
                return self._publish(message, stream)
            case Search():
                return await self._search(message, visitor)
        raise RemoteProtocolError("a tracker answers announces, publications and searches only")

    async def _search(self, message: Search, visitor: _Visitor) -> Found | None:
        """Searches of one address come one after the other, each as long as what it looked at is worth: so an
        address that asks without end gets its part of the processor, and no more. Who waits for the others
        makes room in a full house, as who waits for a report does."""
        async with AsyncExitStack() as turn:

            async def wait_for_the_others() -> bool:
                await turn.enter_async_context(self._searches.of(visitor.network))
                return True

            if not await visitor.turn(limits.TRACKER_REQUEST_S, wait_for_the_others):
                return None
            before = self._catalogue.looks
            found = self._catalogue.search(message, trio.current_time(), self._registry.count)
            looks = self._catalogue.looks - before + limits.SEARCH_LOOKS_MIN
            await trio.sleep(looks / limits.SEARCH_LOOKS_PER_S)
            return found

    def _publish(self, message: Publish, stream: Stream) -> Published:
        entry = message.entry
        try:
            check_published(entry)
        except ValueError as error:
            raise RemoteProtocolError(f"cannot be published: {error}") from None
        node = entry.node
        self._check_sender(stream, node, "an entry")
        if not is_signed(entry):
            raise RemoteProtocolError("an entry whose signature is not its publisher's")
        return self._catalogue.publish(entry, node, stream.remote.host, trio.current_time())

    @staticmethod
    def _check_sender(stream: Stream, node: NodeId, what: str) -> None:
        if stream.peer is not None and stream.peer != node:
            raise RemoteProtocolError(f"{what} for a node that the connection does not belong to")

    async def _sweep(self) -> None:
        """Forget whose time is over, also while nobody announces."""
        while True:
            await trio.sleep(limits.EXPIRY_GRAIN_S)
            while self._registry.expire(trio.current_time()):
                await trio.lowlevel.checkpoint()
            while self._catalogue.expire(trio.current_time()):
                await trio.lowlevel.checkpoint()
