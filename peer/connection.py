"""One peer connection: a session's bytes over a stream, with one task that reads and one that writes.

Theory of operation. The reader feeds received bytes to the session and hands its events to the handler; it
never waits for the writer, or two peers with full outboxes would wait for each other for ever. The writer is
the only task that sends. It drains small messages first (a goodbye, a cancel or a have must not queue behind
bulk data) and, when there are none, asks the handler for one chunk of bulk data: what to send is decided when
the socket is ready for it and not before, so a cancelled request costs at most one chunk.

A frame is never torn: nobody but the writer touches the stream, and nobody cancels the writer except to close
the connection. Whoever ends first, ends both; `run` returns why, and never raises for anything that the other
side or the network did.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from peer.bell import Bell
from peer.buggify import Point, buggify
from peer.errors import ByeCode, ConnectionLost, RemoteProtocolError
from peer.ids import Address, PieceIndex, RequestId
from peer.limits import (
    FRAME_S,
    GOODBYE_GRACE_S,
    IDLE_S,
    KEEPALIVE_S,
    OUTBOX_BYTES_MAX,
    TAKING_BYTES_PER_S,
)
from peer.net.transport import Stream
from peer.store.filesystem import FileSlice
from peer.wire.messages import Bye, Message, Ping
from peer.wire.session import Event, Session

SHORT_READ_BYTES = 5


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each chunk makes one
class Outgoing:
    """One `Data` frame to send: part of the answer to a request. ``body`` is file slices or ready bytes.

    piece: None for the manifest.
    """

    request: RequestId
    piece: PieceIndex | None
    offset: int
    total: int
    payload: int
    body: tuple[FileSlice, ...] | memoryview


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is over. code: what was said in goodbye, None where it just broke."""

    reason: str
    code: ByeCode | None = None
    ours: bool = False

    @property
    def fault(self) -> bool:
        """Whether the other side broke the protocol."""
        return self.ours and self.code in (ByeCode.PROTOCOL, ByeCode.CORRUPT)


class Handler(Protocol):
    """What a connection needs of whoever owns it. All but `wait_room` must return at once."""

    def handle(self, event: Event) -> None:
        """Something arrived. May raise RemoteProtocolError if it makes no sense here."""

    def gather(self) -> None:
        """Something is about to be sent: queue what may as well go along in the same packet."""

    def next_outgoing(self) -> Outgoing | None:
        """The socket is ready: the chunk to send now, or None. `Connection.wake` after None."""

    def sent(self, outgoing: Outgoing) -> None:
        """The chunk is with the kernel."""

    def unreadable(self, outgoing: Outgoing, error: OSError | EOFError) -> None:
        """The file could not give the bytes that were promised; the connection is closed."""

    def room(self, received: int) -> int | None:
        """How many bytes there is room for, or None for any. 0: `wait_room` first. received: how many came
        with the last read, headers included. May raise RemoteProtocolError."""

    async def wait_room(self) -> int | None:
        """Return when there is room for what may arrive next: how many bytes, or None for any."""


class Connection:
    """Runs one session over one stream. ``early`` are events that came together with the greeting."""

    def __init__(self, stream: Stream, session: Session, early: Iterable[Event] = ()) -> None:
        self._stream = stream
        self.session = session
        self._early = list(early)
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._bell = Bell()
        self._woken = False
        self._ending: Ending | None = None
        self._closing = False
        self._scope: trio.CancelScope | None = None
        now = trio.current_time()
        self.received_at = now
        self._sent_at = now
        self._writing_since: float | None = None
        self._writing_s = IDLE_S  # what the other side is given for what is being written
        self._header_since: float | None = None  # when the message began whose header is not whole yet
        self._header_after = 0  # so many messages had come before it
        if session.inside_header:
            self._header_begins(now)
        self._has_room = True
        self._pings = 0

    @property
    def remote(self) -> Address:
        """The other side, as the socket saw it."""
        return self._stream.remote

    @property
    def is_closing(self) -> bool:
        """Whether a goodbye was said, or the end has come: the session then has nothing more to say."""
        return self._closing

    # --- what others may call, from any task; nothing here waits

    def send(self, message: Message) -> None:
        """Queue a small message."""
        if not self._closing:
            self.queue(self.session.send(message))

    def queue(self, frame: bytes) -> None:
        """Queue a frame that the session has encoded. A peer that lets them pile up is closed."""
        if self._closing:
            return
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        if self._outbox_bytes > OUTBOX_BYTES_MAX:
            self._end(Ending("does not read what we send", ByeCode.TOO_SLOW, ours=True))
        self.wake()

    def wake(self) -> None:
        """There may be something for the writer to do."""
        self._woken = True
        self._bell.ring()

    def probe(self) -> None:
        """Ask whether anybody is there: `is_heard_since` tells. Not while there is no room to read the pong:
        keep-alive needs the few pings that may be open then."""
        if self._has_room and self.session.may_ping and not self._closing:
            self._ping()

    @property
    def has_room(self) -> bool:
        """Whether there is room for what may arrive. Without it, nobody knows whether anything has."""
        return self._has_room

    def is_heard_since(self, time: float) -> bool:
        """Whether anything came after that time, or we would not know because there is no room to read it."""
        return not self._has_room or self.received_at > time

    def _ping(self) -> None:
        self._pings += 1
        self.send(Ping(self._pings))

    def close(self, code: ByeCode, reason: str = "") -> None:
        """Say goodbye, after what is queued, and end. The other side has a short grace to take it."""
        if self._closing or self._ending:
            return
        self._ending = Ending(reason, code, ours=True)
        self._outbox.append(self.session.send(Bye(code, reason)))
        self._closing = True
        if self._scope is not None:
            self._scope.deadline = trio.current_time() + GOODBYE_GRACE_S
        self.wake()

    def ended(self, ending: Ending) -> None:
        """Nothing more comes or goes: the other side said goodbye, or ours cannot be waited for."""
        self._end(ending)

    def tick(self, now: float) -> None:
        """Called every LINK_TICK_S: keep-alive, and the end of peers that are gone without a word."""
        silent = now - min(self._sent_at, self.received_at)
        if silent <= KEEPALIVE_S and self._header_since is self._writing_since is None:
            return  # as usual
        reading = self._has_room  # else it is we who keep the other side waiting
        if reading and self._header_since is not None and now - self._header_since > FRAME_S:
            self.close(ByeCode.TOO_SLOW, f"half a message for {FRAME_S:.0f} s")
        elif reading and now - self.received_at > IDLE_S:
            self._end(Ending(f"silent for {IDLE_S:.0f} s", ByeCode.IDLE, ours=True))
        elif self._writing_since is not None and now - self._writing_since > self._writing_s:
            self._end(Ending(f"took less than we sent in {self._writing_s:.0f} s", ByeCode.IDLE, ours=True))
        elif now - self._sent_at > KEEPALIVE_S and not self._outbox:
            # Also while we receive: who sends us a large piece on a slow link hears nothing else of us.
            if not self.session.may_ping:
                return  # the pongs wait with all the rest, for room here
            self._ping()

    # --- the lifetime

    async def run(self, handler: Handler) -> Ending:
        """Read and write until one side ends it; the stream is closed then."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if self._closing:
                    self._scope.deadline = trio.current_time() + GOODBYE_GRACE_S
                nursery.start_soon(self._write_loop, handler)
                await self._read_loop(handler)
        finally:
            self._closing = True
            await trio.aclose_forcefully(self._stream)
        return self._ending or Ending("closed")

    def _end(self, ending: Ending) -> None:
        """Stop both loops now."""
        self._ending = self._ending or ending
        self._closing = True
        if self._scope is not None:
            self._scope.cancel()

    async def _read_loop(self, handler: Handler) -> None:
        session, receive_into = self.session, self._stream.receive_into
        try:
            for event in self._early:
                self._handle(handler, event)
            self._early.clear()
            count = 0
            while True:
                limit = handler.room(count)
                if limit == 0:
                    limit = await self._wait_room(handler)
                if buggify(Point.SHORT_READ):
                    limit = SHORT_READ_BYTES if limit is None else min(limit, SHORT_READ_BYTES)
                buffer = session.get_buffer()
                count = await receive_into(buffer if limit is None else buffer[:limit])
                self.received_at = trio.current_time()
                if count == 0:
                    session.eof()
                    self._end(Ending("closed by the other side"))
                    return
                for event in session.buffer_updated(count):
                    self._handle(handler, event)
                if not session.inside_header:
                    self._header_since = None
                elif self._header_since is None or session.frames_received != self._header_after:
                    self._header_begins(self.received_at)
        except RemoteProtocolError as error:
            self.close(error.bye_code, str(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionLost) as error:
            self._end(Ending(str(error) or "connection lost"))

    def _header_begins(self, now: float) -> None:
        self._header_since, self._header_after = now, self.session.frames_received

    async def _wait_room(self, handler: Handler) -> int | None:
        """Wait for room here. That time is not the other side's."""
        before = trio.current_time()
        self._has_room = False
        limit = await handler.wait_room()
        self._has_room = True
        waited = trio.current_time() - before
        self.received_at += waited
        if self._header_since is not None:
            self._header_since += waited
        return limit

    def _handle(self, handler: Handler, event: Event) -> None:
        if self._closing:  # after our goodbye nothing that arrives matters
            self.session.discard(event)
            return
        handler.handle(event)

    async def _write_loop(self, handler: Handler) -> None:
        try:
            while True:
                self._woken = False  # a call of `wake` before this needs no second look
                if self._outbox:
                    await self._flush(handler)
                elif self._closing:
                    self._end(self._ending or Ending("closed"))
                    return
                elif (outgoing := handler.next_outgoing()) is not None:
                    await self._send_bulk(handler, outgoing)
                elif not self._woken:  # looking for a chunk may have queued a reject
                    self._writing_since = None
                    await self._bell.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(Ending(str(error) or "connection lost"))

    def _take_outbox(self, handler: Handler) -> bytes:
        """All small messages that wait, and those that go along."""
        if not self._closing:  # nothing may follow a goodbye
            handler.gather()
        if not self._outbox:
            return b""
        frames = b"".join(self._outbox)
        self._outbox.clear()
        self._outbox_bytes = 0
        return frames

    async def _flush(self, handler: Handler) -> None:
        frames = self._take_outbox(handler)
        self._begin_to_write(len(frames))
        await self._stream.send_frames(frames)

    def _begin_to_write(self, count: int) -> None:
        self._sent_at = self._writing_since = trio.current_time()
        self._writing_s = IDLE_S + count / TAKING_BYTES_PER_S

    async def _send_bulk(self, handler: Handler, outgoing: Outgoing) -> None:
        header = self._take_outbox(handler)
        header += self.session.data_header(
            outgoing.request, outgoing.offset, outgoing.total, outgoing.payload
        )
        self._begin_to_write(outgoing.payload)
        try:
            if isinstance(outgoing.body, memoryview):
                await self._stream.send_all(header)
                await self._stream.send_all(outgoing.body)
            else:
                for part in outgoing.body:
                    await self._stream.send_slice(header, part.file, part.offset, part.count)
                    header = b""
        except (OSError, EOFError) as error:
            # The header promised bytes that the file no longer has: only closing tells the truth now.
            handler.unreadable(outgoing, error)
            self._end(Ending(f"cannot read what was promised: {error}"))
            return
        handler.sent(outgoing)
