"""This node's part in one swarm: its links, what it takes in, what it gives out, and whom it knows.

A member that has only a link goes through phases: it looks for the manifest (`ManifestQuest`), it looks what
it has already (`Target`), it fetches the rest (`Intake`) while it serves what it has (`Outflow`), it puts the
files in their place, it seeds. A member that shares begins at the end. It decides nothing about pieces or
peers itself: the policies do, and this hands them to each other.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import partial
from itertools import count

import trio

from peer.bitfield import Bitfield, Block
from peer.choking import Choking
from peer.connection import Connection, Ending, Outgoing
from peer.dialler import Dialler
from peer.discovery.exchange import Exchange
from peer.discovery.tracker import TrackerClient
from peer.errors import ByeCode, RejectCode, RemoteProtocolError, StorageError
from peer.finding import Finding
from peer.greeting import Greeted, window
from peer.holding import Holding
from peer.ids import Address, LinkId, PieceIndex, RequestId, ShareId
from peer.intake import Intake
from peer.limits import GOODBYE_GRACE_S, LANDED_LOOK_S, LINK_TICK_S, LINKS_ENOUGH, PROTOCOL_VERSION, TICK_S
from peer.link import LOST, Link
from peer.manifest import Manifest
from peer.news import News
from peer.outflow import Outflow, PieceReader
from peer.partings import Partings
from peer.services import AGENT, Services
from peer.swarm.availability import Availability
from peer.swarm.download import Download
from peer.swarm.known import Source
from peer.swarm.metadata import ManifestQuest
from peer.swarm.peerbook import PeerBook, Turned
from peer.target import Target
from peer.throttle import Throttle
from peer.turnover import make_room
from peer.watching import watch_sources
from peer.wire.messages import Hello, KnownPeer
from peer.wire.session import Answered, DataProgress, Rejected, Session


class Phase(Enum):
    """What a member is busy with."""

    LOOKING = "looking for the share"
    CHECKING = "checking what is here"
    FETCHING = "fetching"
    COMPLETING = "completing"
    SEEDING = "seeding"


class Member:
    """See the module. A sharer gives ``holding``, a getter ``target``; with neither it finds the manifest."""

    def __init__(
        self,
        share: ShareId,
        services: Services,
        *,
        holding: Holding | None = None,
        target: Target | None = None,
        trackers: Sequence[Address] = (),
    ) -> None:
        self.share = share
        self.services = services
        self._phase = Phase.LOOKING
        self.links: dict[LinkId, Link] = {}
        self.complete = trio.Event()
        """Everything wanted is here, verified and in its place."""
        self.book = PeerBook(
            services.node, services.rng, last_heard=self._last_heard, links_max=services.links_max
        )
        self.dialler = Dialler(
            self.book, services.transport, hello=self.hello, session=self.session, serve=self.serve
        )
        self._finding = Finding(share, self.links, services.workers)
        self.holding: Holding | None = None
        self.intake: Intake | None = None
        self.outflow: Outflow | None = None
        self.trackers: TrackerClient | None = None
        self.partings = Partings()
        self.unreadable: dict[str, None] = {}
        """One line for each trouble with what we share, once each, in order."""
        self.started_at = self.progressed_at = trio.current_time()
        self._given = holding
        self._target = target
        self._tracker_addresses = trackers
        self._choking: Choking | None = None
        self._throttle = Throttle(share, services.down)
        self._numbers = count(1)
        self._available = Availability(0)
        self._news = News(self.links, services.alarm, waiting=self._has_requests_of, idle=self._is_idle)
        self._exchange = Exchange(self.book, self.links)
        self._nursery: trio.Nursery | None = None
        self._alone = trio.Event()

    @property
    def quest(self) -> ManifestQuest:
        """The search for the manifest."""
        return self._finding.quest

    @property
    def found(self) -> trio.Event:
        """The manifest is known, or known to be bad."""
        return self._finding.found

    @property
    def manifest(self) -> tuple[Manifest, bytes] | None:
        """What a getter fetches, and its encoding; None while it is not known."""
        return self._finding.manifest

    @property
    def phase(self) -> Phase:
        """What it is busy with."""
        return self._phase

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.services.trace.event("phase", phase=phase.name.lower())

    # --- lifetime

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled. Raises StorageError, ContentError when the share cannot be had."""
        services = self.services
        watch = partial(watch_sources, services.workers, self.unreadable.setdefault, self._news.held)
        async with trio.open_nursery() as nursery:
            self.trackers = TrackerClient(
                services.transport,
                self._tracker_addresses,
                share=self.share,
                node=services.node,
                port=services.port,
                left=self._bytes_left,
                found=self._told_by_tracker,
                rng=services.rng,
            )
            if self._given is not None:
                self._open(self._given)
                nursery.start_soon(watch, self._given.reader, self._given.have)
            nursery.start_soon(self.trackers.run)
            nursery.start_soon(self.dialler.run)
            nursery.start_soon(services.lan.take_part, self.share, services.port, self._found_nearby)
            nursery.start_soon(self._keep_time)
            self._nursery = nursery
            try:
                task_status.started()
                if self._given is None:
                    nursery.start_soon(watch, *await self._fetch())
                self._enter(Phase.SEEDING)
                self.complete.set()
                await trio.sleep_forever()
            finally:  # before the nursery closes: whoever brought it one more link would end with an error
                self._nursery = None

    async def goodbye(self) -> None:
        """Tell every connected peer that we leave, and give them a moment to hear it."""
        for link in list(self.links.values()):
            link.close(ByeCode.GOODBYE, "leaving")
        if self.links:
            self._alone = trio.Event()
            with trio.move_on_after(2 * GOODBYE_GRACE_S):
                await self._alone.wait()

    def accept(self, greeted: Greeted) -> bool:
        """Take an accepted connection; False if this member is not running (any more)."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(self.serve, greeted, None)
        return True

    async def _fetch(self) -> tuple[PieceReader | None, Bitfield, float]:
        target = self._target
        if target is not None and (known := await target.recall(self.share)):
            self._finding.know(*known)
        manifest = await self._finding.wait()
        if target is None:  # the manifest was all that was wanted
            await trio.sleep_forever()
        self._enter(Phase.CHECKING)
        holding, wanted = await target.prepare(*manifest)
        services = self.services
        make_picker = services.policies.make_picker
        download = Download(holding.layout.piece_length, holding.have, wanted, services.rng, make_picker)
        self.intake = Intake(
            holding.manifest,
            holding.layout,
            target.store,
            download,
            holding.have,
            links=self.links,
            workers=self.services.workers,
            buffers=self.services.buffers,
            alarm=self.services.alarm,
            trace=self.services.trace,
            wanted_bytes=target.wanted_bytes,
            resumed_bytes=target.resumed_bytes,
            held=self._news.held,
            expelled=self._expel,
        )
        self._enter(Phase.FETCHING)
        self.progressed_at = trio.current_time()
        self._open(holding)
        await self.intake.run()
        self._enter(Phase.COMPLETING)
        await target.complete(holding.have.discard)
        if self.trackers is not None:
            self.trackers.completed()
        return target.as_source(), holding.have, LANDED_LOOK_S

    def _open(self, holding: Holding) -> None:
        """From now on the manifest is known and pieces can be served."""
        services = self.services
        self.holding = holding
        self._available = Availability(holding.layout.piece_count)
        services.trace.event(
            "share",
            share=self.share.hex(),
            pieces=holding.layout.piece_count,
            piece_bytes=holding.manifest.piece_bytes,
            bytes=holding.layout.total_bytes,
            held=holding.have.count,
            have=None if holding.have.is_empty or holding.have.is_full else holding.have.to_bytes().hex(),
        )
        self.outflow = Outflow(
            self.share,
            holding.data,
            holding.layout,
            holding.reader,
            holding.have,
            links=self.links,
            holders=self._available,
            pacer=services.up,
            alarm=services.alarm,
            lost=self._lost,
        )
        self._choking = Choking(
            services.policies.make_choker(services.rng, holding.manifest.piece_bytes),
            self.links,
            self.outflow,
            seeding=lambda: self.complete.is_set() or self._given is not None,
            limit=lambda: services.up.rate(self.share),
        )
        for link in list(self.links.values()):
            self._show(link)

    async def _keep_time(self) -> None:
        look_at = 0.0
        while True:
            now = trio.current_time()
            if now >= look_at:
                look_at = now + LINK_TICK_S
                self._look_at_links(now)
            self._finding.tick(now)
            if self._choking is not None:
                self._choking.tick(now)
            self._exchange.tick(now)
            make_room(self.book, self.links, None if self.holding is None else self.holding.have, now)
            if self.trackers is not None and self._is_short_of_links():
                self.trackers.more()
            await self.services.alarm.sleep(TICK_S)

    def _look_at_links(self, now: float) -> None:
        for link in list(self.links.values()):
            link.tick(now)
        for number in self.book.overdue(now):
            self.links[number].close(ByeCode.DUPLICATE)

    # --- links: from greeting to end

    def hello(self) -> Hello:
        """Ours, as of now."""
        services = self.services
        return Hello(PROTOCOL_VERSION, self.share, services.node, window(), services.port, AGENT)

    def session(self) -> Session:
        """A new connection's state machine."""
        return Session(buffers=self.services.buffers)

    async def serve(self, greeted: Greeted, dialled: Address | None) -> None:
        """Run the link of a greeted connection until it ends. ``dialled``: where we dialled, if we did."""
        number = LinkId(next(self._numbers))
        hello, remote = greeted.hello, greeted.stream.remote
        verdict = self.book.connected(
            number, hello.node, trio.current_time(), remote=remote, dialled=dialled, listens=hello.port
        )
        connection = Connection(greeted.stream, greeted.session, greeted.early)
        address = self.book.address_of(number) or dialled or remote
        link = Link(number, self, connection, node=hello.node, address=address, dialled=dialled is not None)
        if isinstance(verdict, Turned):
            link.close(verdict.code, verdict.reason)
            try:
                await link.run()
            finally:
                self._throttle.left(number)  # for what it said before it heard that
            return
        if verdict.close is not None and verdict.close in self.links:
            self.links[verdict.close].close(ByeCode.DUPLICATE)
        self.links[number] = link
        trace = self.services.trace
        trace.event("link", node=link.node.hex(), address=str(link.address), dialled=link.dialled)
        self._show(link)
        ending: Ending | None = None
        try:
            ending = await link.run()
        finally:
            self._left(link)
            # Also where we are stopped: the same peer may be at the door in this moment.
            clean = ending is None or link.ended_well(ending)
            self.book.disconnected(number, trio.current_time(), clean=clean)
        trace.event(
            "unlink",
            node=link.node.hex(),
            reason=ending.reason,
            received=link.received_bytes,
            sent=link.sent_bytes,
        )
        self._look_back(link, ending)

    def _show(self, link: Link) -> None:
        """A link meets what we know: tell it our pieces, and the policies about it."""
        if self.holding is None or self.outflow is None:
            return
        try:
            link.learn_size(self.holding.layout.piece_count)
        except RemoteProtocolError as error:
            link.close(ByeCode.PROTOCOL, str(error))
            return
        link.joined = True
        if link.pieces is not None:
            self._available.join(link.pieces)
        link.show(self.holding.have)
        self.outflow.joined(link)
        if self.intake is not None:
            self.intake.joined(link)
        if link.wants_us and self._choking is not None:
            self._choking.changed()

    def _left(self, link: Link) -> None:
        del self.links[link.id]
        if not self.links:
            self._alone.set()
        self._throttle.left(link.id)
        self._exchange.left(link)
        if link.joined:
            if link.pieces is not None:
                self._available.leave(link.pieces)
            if self.outflow is not None:
                self.outflow.left(link)
            if self.intake is not None:
                self.intake.left(link)
        self._finding.left(link)
        if self._choking is not None:
            self._choking.left(link)
        link.session.close()

    def _look_back(self, link: Link, ending: Ending) -> None:
        self.partings.ended(link, ending)
        if ending.fault:
            self.book.ban(link.node, link.host, ending.reason)
        elif ending.code in (ByeCode.USELESS, ByeCode.FULL):
            self.book.rest(link.address, trio.current_time(), for_now=ending.code is ByeCode.FULL)
        self.dialler.wake()

    def _expel(self, link: Link, reason: str) -> None:
        self.partings.expels(link, reason)
        self.book.ban(link.node, link.host, reason)

    def _is_short_of_links(self) -> bool:
        return not self.complete.is_set() and self._given is None and len(self.links) < LINKS_ENOUGH

    def _last_heard(self, number: LinkId) -> float:
        return self.links[number].connection.received_at

    # --- what the links report

    def link_offers(self, link: Link) -> None:
        if self.holding is None:
            self._finding.offered(link)
            return
        link.learn_size(self.holding.layout.piece_count)
        if link.pieces is not None:
            self._available.join(link.pieces)
        if self.intake is not None:
            self.intake.offered(link)

    def link_has(self, link: Link, news: Sequence[Block]) -> None:
        if link.pieces is not None:
            self._available.gain(news, link.pieces)
        if self.intake is not None:
            self.intake.got_haves(link, news)

    def link_chokes(self, link: Link, on: bool) -> None:
        if self.intake is not None:
            self.intake.choked(link, on)

    def link_wants(self, link: Link, on: bool) -> None:
        if self._choking is not None:
            self._choking.wants(link, on)

    def link_progressed(self, link: Link, event: DataProgress) -> None:
        self.progressed_at = link.heard_at
        if event.piece is None:
            self._finding.progressed(link, event.received, self.progressed_at)
        elif self.intake is not None:
            self.intake.progressed(link, event)

    def link_answered(self, link: Link, event: Answered) -> None:
        if self.intake is not None:
            self.intake.answered(link, event)
        if event.piece is not None:
            return
        data = bytes(event.buffer)
        self.services.buffers.release(event.buffer)
        if not event.cancelled and (reason := self._finding.answered(link, data)):
            self._expel(link, reason)

    def link_rejected(self, link: Link, event: Rejected) -> None:
        if event.piece is None:
            self._finding.left(link)
        elif event.code in LOST and (left := link.lost(event.piece)) is not None:
            self._available.lose(event.piece, left)
        if self.intake is not None:
            self.intake.rejected(link, event)

    def link_asks(self, link: Link, request: RequestId, piece: PieceIndex | None) -> None:
        if self.outflow is None:
            link.charge()
            link.reject(request, RejectCode.NOT_HELD)
        else:
            self.outflow.asked(link, request, piece)

    def link_cancels(self, link: Link, request: RequestId) -> None:
        if self.outflow is not None:
            self.outflow.cancelled(link, request)

    def link_tells(self, link: Link, peers: tuple[KnownPeer, ...]) -> None:
        if self._exchange.heard(link, trio.current_time()):
            self.dialler.learned(peers, Source.EXCHANGE, link.host)

    def link_outgoing(self, link: Link) -> Outgoing | None:
        return self.outflow.next_outgoing(link) if self.outflow is not None else None

    def link_sent(self, link: Link, outgoing: Outgoing) -> None:
        if self.outflow is not None:
            self.outflow.sent(outgoing)
        if outgoing.piece is not None and outgoing.offset + outgoing.payload == outgoing.total:
            self.services.trace.event(
                "sent", piece=outgoing.piece, bytes=outgoing.total, node=link.node.hex()
            )

    def link_unreadable(self, link: Link, outgoing: Outgoing, error: OSError | EOFError) -> None:
        if outgoing.piece is not None:
            self._lost(outgoing.piece, StorageError(f"cannot be read: {error}"))

    def link_room(self, link: Link, received: int) -> int | None:
        room = self._throttle.room(link.id, received)
        return room if self.intake is None or self.intake.has_room() else 0

    async def link_wait_room(self, link: Link) -> int | None:
        if self.intake is not None:
            await self.intake.wait_room()
        return await self._throttle.wait_room(link.id)

    # --- pieces

    def _lost(self, piece: PieceIndex, error: StorageError) -> None:
        """A piece can no longer be read: it is not offered to anybody new, and the sharer is told."""
        if self.holding is not None:
            self.holding.have.discard(piece)
        self.unreadable.setdefault(str(error))

    # --- discovery

    def learned(self, peers: Iterable[KnownPeer], source: Source) -> None:
        """The user, or a link, names peers."""
        self.dialler.learned(peers, source)

    def _has_requests_of(self, number: LinkId) -> bool:
        return self.outflow is not None and self.outflow.upload.has_work(number)

    def _is_idle(self) -> bool:
        return self.outflow is None or self.outflow.is_idle()

    def _told_by_tracker(self, peers: list[KnownPeer], tracker: Address) -> None:
        self.dialler.learned(peers, Source.TRACKER, tracker.host)

    def _found_nearby(self, address: Address) -> None:
        self.dialler.learned([KnownPeer(address)], Source.LAN)

    def _bytes_left(self) -> int:
        if self.holding is None:
            return 1
        layout = self.holding.layout
        return sum(layout.piece_length(PieceIndex(piece)) for piece in self.holding.have.missing())
