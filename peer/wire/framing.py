"""A byte stream to frames, without copying payload.

Theory of operation. Whoever owns the stream asks `get_buffer` where to receive to, receives, says how much it
was with `buffer_updated`, and then takes events with `next_event` until there is none (None: more bytes are
needed). Where a header is due, the buffer is small: many small frames arrive in one read, but of a payload
that follows only little gets in early. Where payload is due, the buffer is the payload's own destination, and
never longer than the payload, so the kernel (or OpenSSL) writes bytes where they will stay.

After a message that has a payload, and before the next event, the owner may name the destination with
`payload_into`; else the payload passes through a scratch buffer and is gone. Payload of unknown kinds always
does. A reader that has raised is of no further use: the stream has no place to go on from.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from peer.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from peer.limits import FRAME_PREFIX_BYTES, FRAME_READ_BYTES, HEADER_BYTES_MAX, SCRATCH_BYTES
from peer.wire.codec import Unknown, decode
from peer.wire.messages import Bitfield, Data, Message

_PREFIX: Final = Struct(">I")
assert _PREFIX.size == FRAME_PREFIX_BYTES


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and each read makes one
class Part:
    """Payload of the last message: ``count`` more bytes are where they belong, ``left`` are still to come."""

    count: int
    left: int


class FrameReader:
    """Reads frames from one direction of one stream."""

    def __init__(self) -> None:
        self._small = memoryview(bytearray(FRAME_READ_BYTES))
        self._buffer = self._small  # or one of just the right length, while a longer header arrives
        self._start = 0  # what is between start and end is received and not yet parsed
        self._end = 0
        self._left = 0  # payload that is still to come (or to be taken from the buffer)
        self._sink: memoryview | None = None  # where it goes, exactly that long; None: nowhere
        self._scratch: memoryview | None = None
        self._fresh = 0  # payload bytes already in place and not yet reported
        self._silent = False  # the payload of an unknown kind is not reported
        self._lent = 0  # length of the buffer that `get_buffer` gave out
        self._lent_payload = False
        self.frames = 0
        self.unknown_frames = 0
        self.bytes = 0

    def get_buffer(self) -> memoryview:
        """Where to receive the next bytes. Never empty; good until the next `buffer_updated`."""
        # Payload that is already in the buffer is taken by `next_event` first.
        self._lent_payload = self._left > 0 and self._start == self._end
        if not self._lent_payload:
            buffer = self._buffer[self._end :] if self._end else self._buffer
        elif self._sink is not None:
            buffer = self._sink
        else:
            if self._scratch is None:
                self._scratch = memoryview(bytearray(min(SCRATCH_BYTES, self._left)))
            buffer = self._scratch[: self._left]
        self._lent = len(buffer)
        if not self._lent:
            raise LocalProtocolError("take events until there are none before receiving more")
        return buffer

    def buffer_updated(self, count: int) -> None:
        """``count`` bytes were received into the buffer that `get_buffer` gave out."""
        if not 0 <= count <= self._lent:
            raise LocalProtocolError(f"{count} bytes cannot have been received into {self._lent}")
        self._lent = 0
        self.bytes += count
        if not self._lent_payload:
            self._end += count
            return
        self._left -= count
        if self._sink is not None:
            self._sink = self._sink[count:]
        if not self._silent:
            self._fresh += count

    def next_event(self) -> Message | Part | None:
        """The next message or part of its payload; None when more bytes are needed.

        Raises RemoteProtocolError for what is no frame.
        """
        while True:
            if self._left and self._start < self._end:
                self._take_early_payload()
            if self._fresh:
                part = Part(self._fresh, self._left)
                self._fresh = 0
                return part
            if self._left:
                return None
            self._sink = self._scratch = None
            header = self._next_header()
            if header is None:
                return None
            self.frames += 1
            message = decode(header)
            if isinstance(message, Unknown):
                self.unknown_frames += 1
                self._left, self._silent = message.payload, True
                continue
            if type(message) is Data or type(message) is Bitfield:
                self._left, self._silent = message.payload, False
            return message

    def payload_into(self, sink: memoryview) -> None:
        """Name where the payload of the message that `next_event` just returned goes: exactly that long."""
        if self._sink is not None or self._silent or not self._left or len(sink) != self._left:
            raise LocalProtocolError(f"no payload of {len(sink)} bytes is about to come")
        self._sink = sink

    @property
    def inside_frame(self) -> bool:
        """Whether an end of the stream here would be in the middle of a frame."""
        return self._left > 0 or self._start < self._end

    @property
    def inside_header(self) -> bool:
        """Whether a header has begun and is not whole yet."""
        return not self._left and self._start < self._end

    def eof(self) -> None:
        """The stream has ended. Raises ConnectionLost if it did so in the middle of a frame."""
        if self.inside_frame:
            raise ConnectionLost("the connection ended in the middle of a message")

    def _take_early_payload(self) -> None:
        """Copy what came together with the header: at most one small read."""
        count = min(self._left, self._end - self._start)
        if self._sink is not None:
            self._sink[:count] = self._buffer[self._start : self._start + count]
            self._sink = self._sink[count:]
        self._start += count
        self._left -= count
        if not self._silent:
            self._fresh += count

    def _next_header(self) -> memoryview | None:
        """The next whole header, or None after making room for the rest of it."""
        start = self._start
        have = self._end - start
        if not have and self._buffer is self._small:  # as after most reads
            self._start = self._end = 0
            return None
        need = FRAME_PREFIX_BYTES
        if have >= FRAME_PREFIX_BYTES:
            length: int = _PREFIX.unpack_from(self._buffer, start)[0]
            if not 0 < length <= HEADER_BYTES_MAX:
                raise RemoteProtocolError(f"a header of {length} bytes: 1 to {HEADER_BYTES_MAX} are allowed")
            need += length
            if have >= need:
                self._start = end = start + need
                return self._buffer[start + FRAME_PREFIX_BYTES : end]
        self._make_room(need)
        return None

    def _make_room(self, need: int) -> None:
        """Move the unparsed rest to the front of a buffer that can hold ``need`` bytes."""
        have = self._end - self._start
        target = self._small if need <= len(self._small) else self._buffer
        if need > len(target):
            # Exactly the header, so that nothing of what follows it gets in here.
            target = memoryview(bytearray(need))
        if have and (self._start or target is not self._buffer):
            target[:have] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = target, 0, have

    def check_invariants(self) -> None:
        """Raise AssertionError if the state contradicts itself."""
        assert 0 <= self._start <= self._end <= len(self._buffer)
        assert len(self._buffer) <= FRAME_PREFIX_BYTES + HEADER_BYTES_MAX
        assert self._left >= 0
        assert self._sink is None or len(self._sink) == self._left
        assert self._fresh >= 0
