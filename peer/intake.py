"""What this node takes from one swarm: pieces asked for, verified, written, made durable.

The policy (`swarm/download.py`) decides what to ask of whom; this performs its commands, and moves the bytes.
Verifying and writing are one job on a worker thread, because a hop costs as much as hashing 300 KiB. How many
bytes may wait for that is bounded: beyond it the readers of all links pause, and TCP tells the senders.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from peer.alarm import Alarm, Timer
from peer.bitfield import Bitfield, Block
from peer.buffers import Buffers
from peer.buggify import Point, buggify
from peer.errors import ByeCode, StorageError, StorageFullError, StorageLackError
from peer.ids import LinkId, NodeId, PieceIndex
from peer.limits import (
    CHECKPOINT_BYTES,
    CHECKPOINT_S,
    DISK_RETRY_S,
    LACK_RETRY_S,
    SYNC_FAILURES_MAX,
    UNVERIFIED_BYTES_MAX,
)
from peer.link import Link
from peer.manifest import Manifest
from peer.store.layout import Layout
from peer.store.verify import piece_matches
from peer.swarm.commands import Announce, Ask, Command, Expel, Express, Finished, Probe, Withdraw
from peer.swarm.download import Download, DownloadStatistics, PieceState
from peer.trace import EventTrace
from peer.wire.session import Answered, DataProgress, Rejected
from peer.workers import Lane, Workers

LATE_SAVE = 5


class PieceWriter(Protocol):
    """Where verified pieces go. Blocking; called from worker threads."""

    def write_piece(self, piece: PieceIndex, data: memoryview) -> None:
        """Write a verified piece and note it in the journal. Raises StorageError."""

    def checkpoint(self, *, keep_cached: bool = True) -> None:
        """Make what was written so far durable, then say so in the journal. Raises StorageError.

        keep_cached: whether somebody will read it soon.
        """

    def take_lost(self) -> Sequence[PieceIndex]:
        """Pieces that were written and must not be believed any more; each once."""

    def holds(self, piece: PieceIndex) -> bool:
        """Whether the piece is (still) believed to be there. Does not block."""

    @property
    def wanted(self) -> Bitfield:
        """The pieces of the files that are asked for; others may be here from before."""


@dataclass(frozen=True, slots=True)
class IntakeStatistics:
    """Counts in bytes, since the start of this run."""

    download: DownloadStatistics
    unverified_bytes: int
    paused: str | None


class Intake:
    """The fetching side of a member. Callbacks: ``held`` for every new piece, ``expelled`` for a liar."""

    def __init__(
        self,
        manifest: Manifest,
        layout: Layout,
        store: PieceWriter,
        download: Download,
        have: Bitfield,
        *,
        links: Mapping[LinkId, Link],
        workers: Workers,
        buffers: Buffers,
        alarm: Alarm,
        trace: EventTrace,
        wanted_bytes: int,
        resumed_bytes: int,
        held: Callable[[PieceIndex], None],
        expelled: Callable[[Link, str], None],
    ) -> None:
        self._manifest = manifest
        self._layout = layout
        self._store = store
        self._have = have
        self._links = links
        self._workers = workers
        self._buffers = buffers
        self._timer = Timer(alarm, self._tick)
        self._trace = trace
        self._held = held
        self._expelled = expelled
        self.download = download
        self.finished = trio.Event()
        self.progressed_at = trio.current_time()
        self.paused: str | None = None
        """Why nothing is written now: a full disk. None when all is well."""
        self._unverified_bytes = 0
        self._unsaved_bytes = 0
        self._room = trio.Event()
        self._due = trio.Event()
        self._failed_syncs = 0
        self._nursery: trio.Nursery | None = None
        self._probed: dict[LinkId, float] = {}
        """When each link was asked whether anybody is there, until something is heard of it."""
        self._without_place: set[LinkId] = set()
        """Links whose window is full of our request for the manifest: the policy hears of each when that is
        answered. The link itself remembers its pieces and whether it chokes us."""
        self.wanted_bytes = wanted_bytes
        self.resumed_bytes = resumed_bytes
        """What of it was here before this run."""
        self.sources: dict[NodeId, int] = {}
        """Verified payload bytes by the id of the node that sent them."""
        self.lost_bytes = 0
        """Of what was wanted and here, what a failed sync took; it is fetched again, and counted again. And
        what came of others: one that was here from before, and was lost, comes again as well."""

    @property
    def held_bytes(self) -> int:
        """Of what is wanted, what is here and verified."""
        return self.resumed_bytes + sum(self.sources.values()) - self.lost_bytes

    # --- lifetime

    async def run(self) -> None:
        """Verify, write and make durable until everything wanted is here. Raises StorageError."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_durable)
            settled = False
            try:
                while not settled:
                    if not self.download.finished:
                        await self.finished.wait()
                    self.finished = trio.Event()
                    await self._save()  # what it may lose is fetched again, while there is somebody
                    settled = self.download.finished
            finally:
                # Here, not after the nursery: links live on while it closes, and a piece that they bring to a
                # closed nursery would never give its buffer back.
                self._nursery = None
            nursery.cancel_scope.cancel()

    async def _keep_durable(self) -> None:
        while True:
            with trio.move_on_after(CHECKPOINT_S * (LATE_SAVE if buggify(Point.LATE_SAVE) else 1)):
                await self._due.wait()
            self._due = trio.Event()
            if self._unsaved_bytes:
                self._unsaved_bytes = 0
                await self._save()

    async def _save(self) -> None:
        """Make durable. What a failed sync may have lost is fetched again, unless syncs go on failing."""
        try:
            asked_for = any(link.wants_us for link in self._links.values())
            await self._on_disk(partial(self._store.checkpoint, keep_cached=asked_for))
        except StorageError:
            self._failed_syncs += 1
            if self._failed_syncs == SYNC_FAILURES_MAX:
                raise
        else:
            self._failed_syncs = 0
        self._fetch_lost()

    def _fetch_lost(self) -> None:
        """Want again what the store no longer believes."""
        for piece in self._store.take_lost():
            # A piece whose writer has not been back yet is not had: `_take` finds out by itself.
            if self.download.state(piece) is PieceState.HAVE:
                self._have.discard(piece)
                if piece in self._store.wanted:
                    self.lost_bytes += self._layout.piece_length(piece)
                now = trio.current_time()
                self.perform(self.download.lost(piece, now), now)

    async def _on_disk(self, job: Callable[[], None]) -> None:
        """Run a storage job; a full disk, or a lack of descriptors, only makes us wait."""
        while True:
            try:
                await self._workers.run(Lane.DISK, job)
            except (StorageFullError, StorageLackError) as error:
                self._fetch_lost()
                self._pause(str(error))
                await trio.sleep(DISK_RETRY_S if isinstance(error, StorageFullError) else LACK_RETRY_S)
            except StorageError:
                self._pause(None)  # other trouble by now; a job that still lacks room says so again
                raise
            else:
                self._pause(None)
                return

    def _pause(self, why: str | None) -> None:
        if (why is None) != (self.paused is None):
            now = trio.current_time()
            self.perform(self.download.hold(why is not None, now), now)
        self.paused = why

    # --- links

    def joined(self, link: Link) -> None:
        """A link is here, with or without its pieces."""
        now = trio.current_time()
        window = link.session.window_left  # a request for the manifest, also a cancelled one, holds a place
        if window <= 0:
            self._without_place.add(link.id)
            return
        self.perform(self.download.joined(link.id, window, now), now)
        if link.pieces is not None:
            self.perform(self.download.bitfield(link.id, link.pieces, now), now)
        if not link.chokes_us:
            self.perform(self.download.choked(link.id, False, now), now)

    def _got_place(self, link: Link) -> None:
        """Our request for the manifest, made before the link was here, is no longer open there."""
        if link.id in self._without_place:
            self._without_place.remove(link.id)
            self.joined(link)
        else:
            now = link.heard_at
            self.perform(self.download.widened(link.id, now), now)

    def left(self, link: Link) -> None:
        if link.id in self._without_place:
            self._without_place.remove(link.id)
            return
        now = trio.current_time()
        self.perform(self.download.left(link.id, now), now)

    def offered(self, link: Link) -> None:
        """The link's pieces are known now."""
        if link.pieces is not None and link.id not in self._without_place:
            now = trio.current_time()
            self.perform(self.download.bitfield(link.id, link.pieces, now), now)

    def got_haves(self, link: Link, news: Sequence[Block]) -> None:
        if link.id in self._without_place:
            return
        now = link.heard_at
        self.perform(self.download.have_blocks(link.id, news, now), now)

    def choked(self, link: Link, on: bool) -> None:
        if link.id in self._without_place:
            return
        now = link.heard_at
        self.perform(self.download.choked(link.id, on, now), now)

    def progressed(self, link: Link, event: DataProgress) -> None:
        if event.piece is not None:
            now = self.progressed_at = link.heard_at
            self.perform(self.download.progressed(link.id, event.piece, event.received, now), now)

    def rejected(self, link: Link, event: Rejected) -> None:
        """A piece, or the manifest, does not come from there."""
        if event.piece is None:
            self._got_place(link)
            return
        now = link.heard_at
        self.perform(self.download.rejected(link.id, event.piece, event.code, now), now)

    def answered(self, link: Link, event: Answered) -> None:
        """All bytes of a piece are here, or of the manifest, which is not ours to read."""
        if event.piece is None:
            self._got_place(link)
            return
        now = link.heard_at
        state = self.download.state
        was_verifying = state(event.piece) is PieceState.VERIFYING
        self.perform(self.download.arrived(link.id, event.piece, now), now)
        taken = not was_verifying and state(event.piece) is PieceState.VERIFYING
        if not taken or event.cancelled or self._nursery is None:
            self._buffers.release(event.buffer)
            if taken:
                self.perform(self.download.unstored(link.id, event.piece, now), now)
            return
        self._unverified_bytes += len(event.buffer)
        self._nursery.start_soon(self._take, link, event.piece, event.buffer)

    def has_room(self) -> bool:
        """Whether there is room for another piece."""
        return self._unverified_bytes <= (0 if buggify(Point.NO_ROOM) else UNVERIFIED_BYTES_MAX)

    async def wait_room(self) -> None:
        """Return when there is room for another piece."""
        while not self.has_room():
            await self._room.wait()

    # --- commands

    def perform(self, commands: Iterable[Command], now: float) -> None:
        """Do what the policy wants done."""
        for command in commands:
            match command:
                case Ask(link, piece):
                    self._links[link].ask(piece, self._layout.piece_length(piece))
                case Withdraw(link, piece):
                    self._links[link].withdraw(piece)
                case Announce(piece):
                    self._held(piece)
                case Express(link, interested):
                    self._links[link].express(interested)
                case Probe(link):
                    self._probed[link] = now
                    self._links[link].connection.probe()
                case Expel(link, reason):
                    liar = self._links[link]
                    liar.close(ByeCode.CORRUPT, reason)
                    self._expelled(liar, reason)
                case Finished():
                    self.finished.set()
        when = self.download.next_deadline(now)
        if when is not None:
            self._timer.at(when)

    def _tick(self) -> None:
        if self._nursery is not None:
            now = trio.current_time()
            self._see_who_is_there(now)
            self.perform(self.download.tick(now), now)

    def _see_who_is_there(self, now: float) -> None:
        for number, probed_at in list(self._probed.items()):
            link = self._links.get(number)
            if link is None:
                del self._probed[number]
            elif link.connection.is_heard_since(probed_at):
                del self._probed[number]
                held_up = not link.connection.has_room
                self.perform(self.download.alive(number, now, held_up=held_up), now)

    # --- pieces

    async def _take(self, link: Link, piece: PieceIndex, buffer: memoryview) -> None:
        """Verify a piece and write it, or send its sender away."""
        size = len(buffer)
        good = False

        def job() -> None:
            nonlocal good
            if not good:  # a second try after a full disk need not hash again
                good = piece_matches(buffer, self._manifest.piece_digest(piece))
            if good:
                self._store.write_piece(piece, buffer)

        try:
            await self._on_disk(job)
        finally:
            self._buffers.release(buffer)
            self._unverified_bytes -= size
            self._room.set()
            self._room = trio.Event()
        now = trio.current_time()
        if not good:
            self._trace.event("bad", piece=piece, node=link.node.hex())
            self.perform(self.download.failed(link.id, piece, now), now)
            if link.id not in self._links:
                self._expel_absent(link, f"piece {piece} did not verify")
            return
        if not self._store.holds(piece):  # a sync failed before we were back
            self.perform(self.download.unstored(link.id, piece, now), now)
            return
        self._have.add(piece)
        self._trace.event("got", piece=piece, bytes=size, node=link.node.hex())
        self.sources[link.node] = self.sources.get(link.node, 0) + size
        if piece not in self._store.wanted:
            self.lost_bytes += size
        self._unsaved_bytes += size
        if self._unsaved_bytes >= CHECKPOINT_BYTES or buggify(Point.EARLY_SAVE):
            self._due.set()
        self.perform(self.download.verified(link.id, piece, now), now)

    def _expel_absent(self, liar: Link, reason: str) -> None:
        """Its sender was gone before a bad piece was looked at. It may be back by now."""
        for link in list(self._links.values()):
            if link.node == liar.node:
                link.close(ByeCode.CORRUPT, reason)
        self._expelled(liar, reason)

    def statistics(self) -> IntakeStatistics:
        """As it stands now."""
        return IntakeStatistics(self.download.statistics(), self._unverified_bytes, self.paused)
