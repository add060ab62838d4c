"""What this node gives to one swarm: answers to requests, at the rate that is allowed, from the store.

The policies decide (`swarm/upload.py` what to send, `swarm/choker.py` to whom, `swarm/rates.py` when); this
finds the bytes and keeps the books of both sides in step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from peer.alarm import Alarm, Timer
from peer.bitfield import Bitfield
from peer.buggify import Point, buggify
from peer.connection import Outgoing
from peer.errors import RejectCode, RemoteProtocolError, StorageError, StorageLackError
from peer.ids import LinkId, PieceIndex, RequestId, ShareId
from peer.limits import WINDOW_DEFAULT
from peer.link import Link
from peer.pacing import Pacer
from peer.store.filesystem import FileSlice
from peer.store.layout import Layout
from peer.swarm.upload import Cancelled, Chunk, Deferred, Upload, UploadStatistics

SMALL_CHUNK_BYTES = 700


class PieceReader(Protocol):
    """Where pieces are read from: a shared folder, or a download that is still growing."""

    def slices(self, piece: PieceIndex, offset: int, length: int) -> Sequence[FileSlice]:
        """The bytes as slices of open files, good until the next call. Raises StorageError."""

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether the files behind the piece are still what was hashed. Raises StorageError."""

    def prefetch(self, piece: PieceIndex) -> None:
        """The piece will be read soon."""


class Outflow:
    """The serving side of a member. ``lost`` is told of pieces that can no longer be read."""

    def __init__(
        self,
        share: ShareId,
        manifest_data: bytes,
        layout: Layout,
        store: PieceReader,
        have: Bitfield,
        *,
        links: Mapping[LinkId, Link],
        holders: Callable[[PieceIndex], int],
        pacer: Pacer,
        alarm: Alarm,
        lost: Callable[[PieceIndex, StorageError], None],
    ) -> None:
        self._share = share
        self._manifest = memoryview(manifest_data)
        self._layout = layout
        self._store = store
        self._links = links
        self._pacer = pacer
        self._alarm = alarm
        self._lost = lost
        self._looks: dict[LinkId, Timer] = {}
        """When to look again at links that were deferred."""
        self._granted: dict[LinkId, int] = {}
        self._asking: dict[LinkId, int] = {}
        self.upload = Upload(
            layout.piece_length,
            layout.piece_count,
            have,
            manifest_bytes=len(manifest_data),
            available=holders,
        )

    # --- links and requests

    def joined(self, link: Link) -> None:
        self.upload.joined(link.id, WINDOW_DEFAULT, trio.current_time())

    def left(self, link: Link) -> None:
        self.upload.left(link.id)
        self._settle(link, 0)  # before the limiter forgets the link
        self._pacer.withdraw(self._share, link.id)
        self._looks.pop(link.id, None)
        self._asking.pop(link.id, None)

    def choke(self, link: Link) -> None:
        """Serve the link no more; what it still waits for is refused."""
        if not link.choked:
            for request in self.upload.choke(link.id):
                link.reject(request, RejectCode.CHOKED)
            link.choke(True)

    def unchoke(self, link: Link) -> None:
        """Serve the link from now on."""
        if link.choked:
            self.upload.unchoke(link.id)
            link.choke(False)

    def asked(self, link: Link, request: RequestId, piece: PieceIndex | None) -> None:
        """A request arrived. Raises RemoteProtocolError for a piece that the share has not."""
        if piece is not None and piece >= self._layout.piece_count:
            raise RemoteProtocolError(f"asked for piece {piece} of {self._layout.piece_count}")
        refusal = self.upload.asked(link.id, request, piece, trio.current_time())
        if refusal is not None:
            link.charge()
            link.reject(request, refusal)
            return
        if piece is not None:
            self._store.prefetch(piece)
        link.connection.wake()

    def cancelled(self, link: Link, request: RequestId) -> None:
        """The other side no longer wants this answer."""
        if self.upload.cancel(link.id, request) is not Cancelled.UNKNOWN:
            link.reject(request, RejectCode.CANCELLED)

    # --- the writer asks

    def next_outgoing(self, link: Link) -> Outgoing | None:
        """The next chunk for this link, if there is one and it may go now; else its writer is woken later."""
        if not self.upload.has_work(link.id):
            if self._granted:  # what it was granted for was cancelled or refused meanwhile
                self._settle(link, 0)
            return None
        now = trio.current_time()
        allowed = quantum = self._pacer.quantum(self._share)
        if quantum is not None:
            deferred = self.upload.deferred(link.id, now)
            if deferred is not None:  # before the limiter is asked: tokens shall not wait with us
                self._look_again(link, deferred)
                return None
            allowed = self._allowance(link, quantum, now)
            if allowed == 0:
                return None
        if buggify(Point.SMALL_CHUNK):
            allowed = SMALL_CHUNK_BYTES if allowed is None else min(allowed, SMALL_CHUNK_BYTES)
        chunk = self.upload.next_chunk(link.id, now, allowed)
        if isinstance(chunk, Chunk):
            if self._granted:
                self._settle(link, chunk.length)
            return self._outgoing(link, chunk)
        self._settle(link, 0)
        if isinstance(chunk, Deferred):
            self._look_again(link, chunk)
        return None

    def _look_again(self, link: Link, deferred: Deferred) -> None:
        timer = self._looks.get(link.id)
        if timer is None:
            timer = self._looks[link.id] = Timer(self._alarm, link.connection.wake)
        timer.at(deferred.until)

    def _allowance(self, link: Link, quantum: int, now: float) -> int:
        """How many bytes may go now under a limit; 0 for none until the link is woken."""
        if link.id in self._granted:
            return self._granted[link.id]
        if link.id in self._asking:
            return 0
        count = min(quantum, self.upload.chunk_bytes(link.id, now))
        self._asking[link.id] = count
        begun = self.upload.has_begun(link.id)
        if self._pacer.ask(self._share, link.id, count, lambda: self._grant(link), continues=begun):
            self._granted[link.id] = self._asking.pop(link.id)
            return count
        return 0

    def _grant(self, link: Link) -> None:
        if link.id in self._asking:
            self._granted[link.id] = self._asking.pop(link.id)
            link.connection.wake()

    def _settle(self, link: Link, used: int) -> None:
        """A grant is used once; what was not needed goes back."""
        granted = self._granted.pop(link.id, None)
        if granted is not None:
            self._pacer.refund(self._share, link.id, granted - used)

    def _outgoing(self, link: Link, chunk: Chunk) -> Outgoing | None:
        if chunk.piece is None:
            body = self._manifest[chunk.offset : chunk.offset + chunk.length]
            return Outgoing(chunk.request, None, chunk.offset, chunk.total, chunk.length, body)
        try:
            slices = tuple(self._store.slices(chunk.piece, chunk.offset, chunk.length))
        except StorageError as error:
            self.upload.unreadable(link.id, chunk)
            if isinstance(error, StorageLackError):  # the piece is as good as it was, only not now
                link.reject(chunk.request, RejectCode.BUSY)
            else:
                link.reject(chunk.request, RejectCode.UNREADABLE)
                self._lost(chunk.piece, error)
            return None
        return Outgoing(chunk.request, chunk.piece, chunk.offset, chunk.total, chunk.length, slices)

    def sent(self, outgoing: Outgoing) -> None:
        """A chunk is with the kernel: look whether its file changed while it was read."""
        if outgoing.piece is None:
            return
        try:
            if self._store.still_good(outgoing.piece):
                return
        except StorageLackError:
            return  # it cannot be looked at just now; whoever opens it for the next chunk looks
        except StorageError as error:
            self._lost(outgoing.piece, error)
        else:
            self._lost(outgoing.piece, StorageError("changed while it was being sent"))

    def is_idle(self) -> bool:
        """Whether the uplink has nothing to do for this swarm."""
        limited = self._pacer.quantum(self._share) is not None
        return self.upload.is_idle(trio.current_time(), limited=limited)

    def statistics(self) -> UploadStatistics:
        """As it stands now."""
        return self.upload.statistics(trio.current_time())
