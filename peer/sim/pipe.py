"""One direction of a simulated connection, and the access links that it shares with others.

The model. A stream's bytes wait in the sender's kernel (`SEND_BYTES`, the only part that a sender sees as
back-pressure), pass its uplink in chunks of about `CHUNK_BYTES`, fly for the latency of both hosts, and
pass the receiver's downlink. An uplink takes one chunk from each stream in turn, chosen only when it is
free; a stream that has little to send goes first. A downlink serves in order of arrival. Bytes that have
left the sender and were not read count against a window, as TCP's receive window, which has room for the
path's bandwidth-delay product.

Modelled: shared rates, fairness by turns, latency, back-pressure, order, end of stream after data, a reset
where a side closes with data unread or gets data after its close, as kernels do (what had arrived before the
reset is still readable, as on Linux).
Not modelled: packet loss and slow start (loss shows as stalls), headers, acknowledgements' own bytes, a
network core that is narrower than the access links.
"""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.bell import Bell
from peer.limits import KIB, MIB, UNSENT_BYTES
from peer.sim.agenda import Agenda

if TYPE_CHECKING:
    from peer.sim.network import Connection, SimHost

CHUNK_BYTES = 16 * KIB
"""What an uplink sends of one stream before it is another's turn: the grain of fairness, and the cost of a
simulated MiB (64 chunks, two events each)."""

HEADER_BYTES = 72
"""A write that is no longer goes with the chunk that follows it: the header of a frame, with its payload."""

SPARSE_BYTES = 512
"""A stream that has no more to send need not wait for its turn: as fair queues in kernels and routers do."""

SEND_BYTES = UNSENT_BYTES
"""As the real transport leaves in the kernel at some 25 Mbit/s; it follows the rate, this does not."""

WINDOW_MIN_BYTES = 256 * KIB
WINDOW_MAX_BYTES = 4 * MIB
"""About what Linux' buffers tune themselves to."""


@dataclass(slots=True)
class Chunk:
    """Writes that travel together; ``size`` bytes."""

    size: int
    parts: list[bytes | bytearray]


EOF: Final = Chunk(0, [])
"""The end of the stream, which travels beside data and rides for free."""

RESET: Final = Chunk(0, [])
"""The end of the connection, likewise."""


class Uplink:
    """A host's way out: one chunk from each waiting stream in turn. A chunk's arrival is settled when it is
    chosen, so that the uplink itself is woken only where something waits for it."""

    def __init__(self, agenda: Agenda, rate: float | None) -> None:
        self.rate = rate
        self.carried_bytes = 0
        self._agenda = agenda
        self._ring: deque[Pipe] = deque()
        self._sparse: deque[Pipe] = deque()
        self._free_at = 0.0
        self._is_due = False

    def offer(self, pipe: "Pipe") -> None:
        """The pipe may have something to send: give it a place in the ring if it has none."""
        if pipe.in_ring:
            return
        pipe.in_ring = True
        (self._sparse if pipe.queued <= SPARSE_BYTES else self._ring).append(pipe)
        if not self._is_due:
            self._is_due = True
            if self._free_at > self._agenda.now():
                self._agenda.at(self._free_at, self._serve)
            else:
                self._serve()

    def _serve(self) -> None:
        """All that is sparse, and one chunk."""
        now, rate = self._agenda.now(), self.rate
        full = False
        while ring := self._sparse or (() if full else self._ring):
            pipe = ring.popleft()
            pipe.in_ring = False
            chunk = pipe.take()
            if chunk is None:
                continue
            if pipe.has_more:
                pipe.in_ring = True
                self._ring.append(pipe)
            self.carried_bytes += chunk.size
            free_at = max(now, self._free_at)
            if rate is not None:
                free_at = self._free_at = free_at + chunk.size / rate
                full = ring is self._ring and free_at > now
            pipe.launch(chunk, now, free_at)
        self._is_due = bool(self._ring)
        if self._is_due:
            self._agenda.at(self._free_at, self._serve)


class Downlink:
    """A host's way in: in order of arrival, so one event a chunk is enough."""

    def __init__(self, agenda: Agenda, rate: float | None) -> None:
        self.rate = rate
        self.carried_bytes = 0
        self._agenda = agenda
        self._free_at = 0.0

    def enter(self, pipe: "Pipe", chunk: Chunk) -> None:
        """Bring the chunk to its pipe's end when all that came before it is through."""
        self.carried_bytes += chunk.size
        now = self._agenda.now()
        if self.rate is not None:
            self._free_at = max(now, self._free_at) + chunk.size / self.rate
        if self._free_at > now:
            self._agenda.at(self._free_at, pipe.land, chunk)
        else:
            pipe.land(chunk)


class Pipe:
    """Bytes from one host to another, in order."""

    def __init__(self, connection: "Connection", source: "SimHost", target: "SimHost") -> None:
        self.connection = connection
        self.source = source
        self.target = target
        self._network = connection.network
        self._agenda = self._network.agenda
        self.inbox: deque[bytes | bytearray | memoryview] = deque()
        self.queued = 0  # bytes that have not left the sender
        self.flight = 0  # bytes that have, and that the receiver has not read
        self.eof_landed = False
        self.broken = False  # by a reset: sending fails at once, reading after what had arrived
        self.reader_closed = False
        self.stalled = False
        self.in_ring = False
        self.room = Bell()
        self.data = Bell()
        self._queue: deque[bytes | bytearray] = deque()
        self._mark: Chunk | None = None  # EOF or RESET, which follows the queue
        self._flying: deque[Chunk] = deque()  # launched and not arrived, in order
        self._held: deque[Chunk] = deque()  # arrived while the way was cut
        self._epoch = 0  # arrivals of an earlier one do not happen: what was under way has been sent again
        self._owed = 0  # read, but the news cannot travel back
        self._arrival = 0.0

    # --- the sender's end

    def put(self, *parts: bytes | bytearray) -> None:
        """Queue at most `CHUNK_BYTES`, and a header; the caller waits for room first."""
        for part in parts:
            self._queue.append(part)
            self.queued += len(part)
        if not self.in_ring:
            self.kick()

    def finish(self) -> None:
        """After what is queued, the end."""
        if self._mark is None:
            self._mark = EOF
            self.kick()

    def reset(self) -> None:
        """Instead of what is queued, a reset."""
        if self.broken:
            return
        self._queue.clear()
        self.queued = 0
        self._mark = RESET
        self.kick()

    def kick(self) -> None:
        """Something changed: see whether there is something to carry."""
        if self.source is not self.target:
            self.source.uplink.offer(self)
            return
        while (chunk := self.take()) is not None:  # within one host: no link, no time
            self.land(chunk)

    # --- on the way

    @property
    def cut(self) -> bool:
        return self.stalled or (self._network.has_cuts and self._network.is_cut(self.source, self.target))

    @property
    def window(self) -> int:
        if self.source is self.target:
            return WINDOW_MIN_BYTES
        latency = self.source.latency + self.target.latency
        rates = [rate for rate in (self.source.uplink.rate, self.target.downlink.rate) if rate is not None]
        needed = 2 * latency * min(rates) if rates else WINDOW_MAX_BYTES * bool(latency)
        return int(min(WINDOW_MAX_BYTES, max(WINDOW_MIN_BYTES, needed)))

    @property
    def has_more(self) -> bool:
        """Whether anything has not left the sender."""
        return bool(self._queue) or self._mark is not None

    def take(self) -> Chunk | None:
        """The next chunk, small writes put together; None if there is nothing, or nothing may leave."""
        if self.cut:
            return None
        queue = self._queue
        if not queue:
            mark, self._mark = self._mark, None
            return mark
        if self.flight >= WINDOW_MIN_BYTES and self.flight >= self.window:
            return None
        part = queue.popleft()
        parts, size = [part], len(part)
        most = CHUNK_BYTES + size if size <= HEADER_BYTES else CHUNK_BYTES
        while queue and (more := size + len(queue[0])) <= most:
            parts.append(queue.popleft())
            size = more
        self.queued -= size
        self.flight += size
        self.room.ring()
        return Chunk(size, parts)

    def launch(self, chunk: Chunk, now: float, at: float) -> None:
        """Out of the uplink at that time: fly. A latency that shrinks never lets a chunk overtake another."""
        self._arrival = max(self._arrival, at + self.source.latency + self.target.latency)
        self._flying.append(chunk)
        if self._arrival > now:
            self._agenda.at(self._arrival, self._arrive, self._epoch)
        else:
            self._arrive(self._epoch)

    def _arrive(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        chunk = self._flying.popleft()
        if self.connection.vanished:
            self.connection.refuse(self)
        elif self.cut:
            self._held.append(chunk)  # TCP sends it again when the way is free
        else:
            self.target.downlink.enter(self, chunk)

    def unblock(self) -> None:
        """The way may be free again, or the way back: go on where it is."""
        if self.connection.vanished:
            self._held.clear()
            return
        if self._held and not self.cut:
            # All that is under way comes after it: TCP hands nothing on before the gap is filled.
            again = [*self._held, *self._flying]
            self._held.clear()
            self._flying.clear()
            self._epoch += 1
            now = self._agenda.now()
            for chunk in again:
                self.launch(chunk, now, now)
        if self._owed and not self._network.is_cut(self.target, self.source):
            self.flight -= self._owed
            self._owed = 0
        self.kick()

    # --- the receiver's end

    def land(self, chunk: Chunk) -> None:
        """Out of the downlink, into the receiver's buffer."""
        if self.connection.vanished:
            self.connection.refuse(self)
        elif self.broken:
            pass  # what was under way when the connection broke
        elif chunk is RESET:
            self.connection.reset()
        elif self.reader_closed:
            if chunk is not EOF:
                self.connection.other_way(self).reset()
        elif chunk is EOF:
            self.eof_landed = True
            self.data.ring()
        else:
            self.inbox.extend(chunk.parts)
            self.data.ring()
            self._network.trace_landing(self, chunk.size)

    def read(self, count: int) -> None:
        """The receiver has taken that many bytes out of the inbox: the window opens."""
        network = self._network
        if self.connection.vanished or (network.has_cuts and network.is_cut(self.target, self.source)):
            self._owed += count
            return
        self.flight -= count
        if self._queue:
            self.kick()

    def break_off(self) -> None:
        """A reset came: nothing more passes, whoever waits is told."""
        self.broken = True
        self._queue.clear()
        self._held.clear()
        self.queued = 0
        self._mark = None
        self.room.ring()
        self.data.ring()

    def check_invariants(self) -> None:
        """Every byte is counted exactly once."""
        unread = sum(len(part) for part in self.inbox)
        assert self.queued == sum(len(part) for part in self._queue)
        assert self._owed >= 0
        assert unread + self._owed <= self.flight <= WINDOW_MAX_BYTES + CHUNK_BYTES + HEADER_BYTES
