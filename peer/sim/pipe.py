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
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import trio

from peer.bell import Bell
from peer.limits import KIB, MIB, UNSENT_BYTES
from peer.sim.agenda import Agenda

if TYPE_CHECKING:
    from peer.sim.network import Connection, SimHost

CHUNK_BYTES = 16 * KIB
"""What an uplink sends of one stream before it is another's turn: the grain of fairness, and the cost of a
simulated MiB (64 chunks, two or three events each)."""

HEADER_BYTES = 72
"""A write that is no longer goes with the chunk that follows it: the header of a frame, with its payload."""

SPARSE_BYTES = 512
"""A stream that has no more to send need not wait for its turn: as fair queues in kernels and routers do."""

SEND_BYTES = UNSENT_BYTES
"""As the real transport leaves in the kernel at some 25 Mbit/s; it follows the rate, this does not."""

WINDOW_MIN_BYTES = 256 * KIB
WINDOW_MAX_BYTES = 4 * MIB
"""About what Linux' buffers tune themselves to."""


class Mark(Enum):
    """What travels beside data."""

    EOF = "eof"
    RESET = "reset"


@dataclass(slots=True)
class Chunk:
    """Writes that travel together; ``size`` bytes."""

    size: int
    parts: list[bytes | bytearray]


Parcel: TypeAlias = Chunk | Mark


def size_of(parcel: Parcel) -> int:
    """Bytes that it takes on a link: marks ride for free."""
    return 0 if isinstance(parcel, Mark) else parcel.size


class Uplink:
    """A host's way out: one chunk from each waiting stream in turn."""

    def __init__(self, agenda: Agenda, rate: float | None) -> None:
        self.rate = rate
        self.carried_bytes = 0
        self._agenda = agenda
        self._ring: deque[Pipe] = deque()
        self._sparse: deque[Pipe] = deque()
        self._busy = False

    def offer(self, pipe: "Pipe") -> None:
        """The pipe may have something to send: give it a place in the ring if it has none."""
        if not pipe.in_ring and pipe.ready():
            pipe.in_ring = True
            (self._sparse if pipe.queued <= SPARSE_BYTES else self._ring).append(pipe)
            if not self._busy:
                self._serve()

    def _serve(self) -> None:
        while not self._busy and (ring := self._sparse or self._ring):
            pipe = ring.popleft()
            pipe.in_ring = False
            parcel = pipe.take()
            if parcel is None:
                continue
            if pipe.ready():
                pipe.in_ring = True
                self._ring.append(pipe)
            size = size_of(parcel)
            self.carried_bytes += size
            if self.rate is None or size == 0:
                pipe.launch(parcel)
            else:
                self._busy = True
                self._agenda.after(size / self.rate, self._sent, pipe, parcel)

    def _sent(self, pipe: "Pipe", parcel: Parcel) -> None:
        self._busy = False
        pipe.launch(parcel)
        self._serve()


class Downlink:
    """A host's way in: in order of arrival, so one event a chunk is enough."""

    def __init__(self, agenda: Agenda, rate: float | None) -> None:
        self.rate = rate
        self.carried_bytes = 0
        self._agenda = agenda
        self._free_at = 0.0

    def enter(self, pipe: "Pipe", parcel: Parcel) -> None:
        """Bring the parcel to its pipe's end when all that came before it is through."""
        now = trio.current_time()
        size = size_of(parcel)
        self.carried_bytes += size
        if self.rate is not None:
            self._free_at = max(now, self._free_at) + size / self.rate
        if self._free_at > now:
            self._agenda.at(self._free_at, pipe.land, parcel)
        else:
            pipe.land(parcel)


class Pipe:
    """Bytes from one host to another, in order."""

    def __init__(self, connection: "Connection", source: "SimHost", target: "SimHost") -> None:
        self.connection = connection
        self.source = source
        self.target = target
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
        self._mark: Mark | None = None  # what follows the queue
        self._flying: deque[Parcel] = deque()  # launched and not arrived, in order
        self._held: deque[Parcel] = deque()  # arrived while the way was cut
        self._epoch = 0  # arrivals of an earlier one do not happen: what was under way has been sent again
        self._owed = 0  # read, but the news cannot travel back
        self._arrival = 0.0

    # --- the sender's end

    def put(self, *parts: bytes | bytearray) -> None:
        """Queue at most `CHUNK_BYTES`, and a header; the caller waits for room first."""
        for part in parts:
            self._queue.append(part)
            self.queued += len(part)
        self.kick()

    def finish(self) -> None:
        """After what is queued, the end."""
        if self._mark is None:
            self._mark = Mark.EOF
            self.kick()

    def reset(self) -> None:
        """Instead of what is queued, a reset."""
        if self.broken:
            return
        self._queue.clear()
        self.queued = 0
        self._mark = Mark.RESET
        self.kick()

    def kick(self) -> None:
        """Something changed: see whether there is something to carry."""
        if self.source is not self.target:
            self.source.uplink.offer(self)
            return
        while self.ready():  # within one host: no link, no time
            parcel = self.take()
            assert parcel is not None
            self.land(parcel)

    # --- on the way

    @property
    def cut(self) -> bool:
        return self.stalled or self.connection.network.is_cut(self.source, self.target)

    @property
    def window(self) -> int:
        if self.source is self.target:
            return WINDOW_MIN_BYTES
        latency = self.source.latency + self.target.latency
        rates = [rate for rate in (self.source.uplink.rate, self.target.downlink.rate) if rate is not None]
        needed = 2 * latency * min(rates) if rates else WINDOW_MAX_BYTES * bool(latency)
        return int(min(WINDOW_MAX_BYTES, max(WINDOW_MIN_BYTES, needed)))

    def ready(self) -> bool:
        """Whether `take` would return something."""
        if self.cut:
            return False
        if self._queue:
            return self.flight < WINDOW_MIN_BYTES or self.flight < self.window
        return self._mark is not None

    def take(self) -> Parcel | None:
        """The next chunk, small writes put together; None if there is nothing, or nothing may leave."""
        if not self.ready():
            return None
        if not self._queue:
            mark, self._mark = self._mark, None
            return mark
        queue = self._queue
        parts = [queue.popleft()]
        size = len(parts[0])
        most = CHUNK_BYTES + size if size <= HEADER_BYTES else CHUNK_BYTES
        while queue and size + len(queue[0]) <= most:
            parts.append(queue.popleft())
            size += len(parts[-1])
        self.queued -= size
        self.flight += size
        self.room.ring()
        return Chunk(size, parts)

    def launch(self, parcel: Parcel) -> None:
        """Out of the uplink: fly. A latency that shrinks never lets a chunk overtake another."""
        now = trio.current_time()
        self._arrival = max(self._arrival, now + self.source.latency + self.target.latency)
        self._flying.append(parcel)
        if self._arrival > now:
            self.connection.network.agenda.at(self._arrival, self._arrive, self._epoch)
        else:
            self._arrive(self._epoch)

    def _arrive(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        parcel = self._flying.popleft()
        if self.connection.vanished:
            self.connection.refuse(self)
        elif self.cut:
            self._held.append(parcel)  # TCP sends it again when the way is free
        else:
            self.target.downlink.enter(self, parcel)

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
            for parcel in again:
                self.launch(parcel)
        if self._owed and not self.connection.network.is_cut(self.target, self.source):
            self.flight -= self._owed
            self._owed = 0
        self.kick()

    # --- the receiver's end

    def land(self, parcel: Parcel) -> None:
        """Out of the downlink, into the receiver's buffer."""
        if self.connection.vanished:
            self.connection.refuse(self)
        elif self.broken:
            pass  # what was under way when the connection broke
        elif parcel is Mark.RESET:
            self.connection.reset()
        elif self.reader_closed:
            if parcel is not Mark.EOF:
                self.connection.other_way(self).reset()
        elif isinstance(parcel, Mark):
            self.eof_landed = True
            self.data.ring()
        else:
            self.inbox.extend(parcel.parts)
            self.data.ring()
            self.connection.network.trace_landing(self, parcel.size)

    def read(self, count: int) -> None:
        """The receiver has taken that many bytes out of the inbox: the window opens."""
        if self.connection.vanished or self.connection.network.is_cut(self.target, self.source):
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
