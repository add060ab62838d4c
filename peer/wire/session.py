"""One peer connection as a state machine: bytes in, events out; commands in, bytes out. No stream, no clock.

Theory of operation. `rules.record` decides what either side may say; the session is its owner's side of that.
What we send is encoded, recorded, and returned as bytes for the stream. What arrives is framed, recorded, and
told as events. The exception's class says who broke the rules: LocalProtocolError we (a bug), and nothing was
sent; RemoteProtocolError they, and all that the session is still good for is a goodbye.

Data goes straight to its place: when the header of a `Data` frame is read, memory for the whole answer is
borrowed (if it is its first part) and the reader is told to receive there. Answers do not interleave, so that
is one buffer a connection. A cancelled answer gives its memory back, but not while a part of it is arriving:
the stream may be writing into it at this moment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from peer.buffers import Buffers
from peer.errors import LocalProtocolError, ProtocolError, RejectCode, RemoteProtocolError
from peer.ids import PieceIndex, RequestId
from peer.limits import MANIFEST_BYTES_MAX, PIECE_BYTES_MAX, WINDOW_MAX
from peer.wire.codec import clip_text, encode
from peer.wire.events import (
    Answered,
    BitfieldReceived,
    ByeReceived,
    CancelReceived,
    ChokeReceived,
    DataProgress,
    Event,
    HaveReceived,
    HelloReceived,
    InterestedReceived,
    PeersReceived,
    PingReceived,
    PongReceived,
    Rejected,
    RequestReceived,
)
from peer.wire.framing import FrameReader, Part
from peer.wire.messages import (
    Bitfield,
    Bye,
    Cancel,
    Choke,
    Data,
    Have,
    Hello,
    Interested,
    Message,
    Peers,
    Ping,
    Pong,
    Reject,
    Request,
    RequestManifest,
)
from peer.wire.requests import Answer, RuleError
from peer.wire.rules import Side, State, record

__all__ = [
    "Answered",
    "BitfieldReceived",
    "ByeReceived",
    "CancelReceived",
    "ChokeReceived",
    "DataProgress",
    "Event",
    "HaveReceived",
    "HelloReceived",
    "InterestedReceived",
    "PeersReceived",
    "PingReceived",
    "PongReceived",
    "Rejected",
    "RequestReceived",
    "Session",
    "SessionStatistics",
    "State",
]

_SIMPLE: Final = frozenset({Have, Interested, Choke, Ping, Pong, Peers, Bye})
_NOTHING: Final = memoryview(b"")


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """Counts since the start. Bytes: headers and payload; dropped: data whose request we had cancelled."""

    frames_received: int
    frames_unknown: int
    bytes_received: int
    data_received: int
    data_dropped: int
    frames_sent: int
    bytes_sent: int
    data_sent: int
    requests_open: int
    requests_owed: int


class Session:
    """Both directions of one connection. ``manifest_bytes_max``: the longest manifest that we would take."""

    def __init__(self, *, buffers: Buffers, manifest_bytes_max: int = MANIFEST_BYTES_MAX) -> None:
        self._buffers = buffers
        self._manifest_bytes_max = manifest_bytes_max
        self._reader = FrameReader()
        self._us = Side()
        self._them = Side()
        self._arriving: Data | Bitfield | None = None  # whose payload is due
        self._bits = bytearray()
        self._failure: ProtocolError | None = None  # why nothing can be received any more
        self._data_received = self._data_dropped = 0
        self._frames_sent = self._bytes_sent = self._data_sent = 0

    # --- state

    @property
    def state(self) -> State:
        """Where we stand; OPEN when both have said hello."""
        return self._us.state

    @property
    def local(self) -> Hello | None:
        """What we said; None before `greet`."""
        return self._us.hello

    @property
    def remote(self) -> Hello | None:
        """What the other side said, once it has."""
        return self._them.hello

    @property
    def requests_open(self) -> int:
        """Requests of ours that hold a slot of the other side's window, cancelled ones included."""
        return len(self._us.requests)

    @property
    def window_left(self) -> int:
        """How many more requests we may make now."""
        return self._us.window_left(self._them)

    @property
    def may_ping(self) -> bool:
        """Whether the rules allow us one more ping before the next pong."""
        return self._us.may_ping

    # --- what we send: whole frames, for the stream in the order of the calls. All raise LocalProtocolError.

    @property
    def unknown_frames(self) -> int:
        """Frames of unknown kind that were skipped so far."""
        return self._reader.unknown_frames

    @property
    def frames_received(self) -> int:
        """Frames whose header came whole so far."""
        return self._reader.frames

    @property
    def inside_header(self) -> bool:
        """Whether the other side has begun a message and not finished its header."""
        return self._reader.inside_header

    def greet(self, hello: Hello) -> bytes:
        """Our hello: at once for who dialled, after `HelloReceived` for who accepted."""
        if hello.window > WINDOW_MAX:
            raise LocalProtocolError(f"a window of {hello.window} is more than we would keep")
        return self._send(hello)[0]

    def send(self, message: Message) -> bytes:
        """A message that needs no more than itself. The reason of a goodbye is cut to fit."""
        if type(message) not in _SIMPLE:
            raise LocalProtocolError(f"{type(message).__name__.lower()} has a method of its own")
        if type(message) is Bye:
            message = Bye(message.code, clip_text(message.reason))
        return self._send(message)[0]

    def bitfield(self, bits: bytes) -> bytes:
        """Which pieces we hold; once, as soon as we have the manifest."""
        return self._send(Bitfield(len(bits)), len(bits))[0] + bits

    def request(self, piece: PieceIndex, length: int) -> tuple[RequestId, bytes]:
        """Ask for a piece, which is ``length`` bytes long."""
        if not 0 < length <= PIECE_BYTES_MAX:
            raise LocalProtocolError(f"no piece is {length} bytes long")
        request = self._us.requests.next_id
        frame, answer = self._send(Request(request, piece))
        assert answer is not None, "a request has been recorded"
        answer.total = length
        return request, frame

    def request_manifest(self) -> tuple[RequestId, bytes]:
        """Ask for the manifest."""
        request = self._us.requests.next_id
        return request, self._send(RequestManifest(request))[0]

    def cancel(self, request: RequestId) -> bytes:
        """Withdraw a request of ours, which holds its slot until it is answered. No bytes if it has been."""
        if self._us.requests.has_ended(request):
            return b""
        frame, answer = self._send(Cancel(request))
        arriving = self._arriving
        if answer is not None and not (isinstance(arriving, Data) and arriving.id == request):
            self._give_back(answer)
        return frame

    def data_header(self, request: RequestId, offset: int, total: int, payload: int) -> bytes:
        """The header of a part of an answer; exactly ``payload`` bytes must follow it on the stream."""
        frame = self._send(Data(request, offset, total, payload), payload)[0]
        self._them.requests.add_data(request, payload)
        self._data_sent += payload
        return frame

    def reject(self, request: RequestId, code: RejectCode) -> bytes:
        """Answer a request with no (more) data."""
        return self._send(Reject(request, code))[0]

    def _send(self, message: Message, payload: int = 0) -> tuple[bytes, Answer | None]:
        frame = encode(message)
        try:
            answer = record(message, self._us, self._them)
        except RuleError as error:
            raise LocalProtocolError(str(error)) from None
        self._frames_sent += 1
        self._bytes_sent += len(frame) + payload
        return frame, answer

    # --- what we receive

    def get_buffer(self) -> memoryview:
        """Where to receive the next bytes: never empty, good until the next `buffer_updated`.

        Raises RemoteProtocolError for a violation that came right after the last events.
        """
        if self._failure is not None:
            raise self._failure
        return self._reader.get_buffer()

    def buffer_updated(self, count: int) -> list[Event]:
        """``count`` bytes were received into the buffer. Raises RemoteProtocolError.

        A violation that follows good messages in the same bytes is raised by the next call, so that what came
        before it is not lost.
        """
        if self._failure is not None:
            raise self._failure
        reader = self._reader
        events: list[Event] = []
        reader.buffer_updated(count)
        next_event, them, us = reader.next_event, self._them, self._us
        try:
            while (item := next_event()) is not None:
                if isinstance(item, Part):
                    self._got_part(item, events)
                    continue
                answer = record(item, them, us)
                event = _EVENTS[type(item)](self, item, answer)
                if event is not None:
                    events.append(event)
        except RuleError as error:
            self._failure = RemoteProtocolError(str(error))
        except RemoteProtocolError as error:
            self._failure = error
        if not events and self._failure is not None:
            raise self._failure
        return events

    def discard(self, event: Event) -> None:
        """Nobody will look at the event: give back the memory that came with it."""
        if isinstance(event, Answered):
            self._buffers.release(event.buffer)

    def eof(self) -> None:
        """The stream has ended. Raises ConnectionLost if that was in the middle of a frame."""
        self._raise_failure()
        self._them.state = State.CLOSED
        self._reader.eof()

    def close(self) -> None:
        """Give back all memory. Only when nobody is receiving any more."""
        self._us.state = self._them.state = State.CLOSED
        self._arriving = None
        self._failure = self._failure or LocalProtocolError("this session is closed")
        for answer in self._us.requests.close_all():
            self._give_back(answer)
        self._them.requests.close_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _bitfield_begins(self, message: Bitfield, _: Answer | None) -> Event | None:
        if not message.payload:  # a share of empty files has no piece
            return BitfieldReceived(b"")
        self._bits = bytearray(message.payload)
        self._reader.payload_into(memoryview(self._bits))
        self._arriving = message
        return None

    def _data_begins(self, message: Data, answer: Answer) -> None:
        if answer.piece is None and message.total > self._manifest_bytes_max:
            raise RuleError(f"a manifest of {message.total} bytes is too long")
        self._arriving = message
        if answer.cancelled:
            return  # the reader drops what has no destination
        if answer.buffer is None:
            answer.buffer = self._buffers.acquire(message.total)
        self._reader.payload_into(answer.buffer[message.offset : message.offset + message.payload])

    def _got_part(self, part: Part, events: list[Event]) -> None:
        """Payload has arrived where it belongs."""
        message = self._arriving
        if part.left == 0:
            self._arriving = None
        if isinstance(message, Data):
            self._got_data(message.id, part, events)
        elif part.left == 0:
            events.append(BitfieldReceived(bytes(self._bits)))
            self._bits = bytearray()

    def _got_data(self, request: RequestId, part: Part, events: list[Event]) -> None:
        requests = self._us.requests
        answer = requests.get(request)
        self._data_received += part.count
        events.append(DataProgress(request, answer.piece, part.count, answer.cancelled))
        if answer.cancelled:
            self._data_dropped += part.count
            if part.left == 0:
                self._give_back(answer)
        if requests.add_data(request, part.count):
            buffer, answer.buffer = answer.buffer or _NOTHING, None
            events.append(Answered(request, answer.piece, buffer, answer.cancelled))

    def _rejected(self, message: Reject, answer: Answer) -> Event:
        self._give_back(answer)
        return Rejected(message.id, answer.piece, message.code, answer.cancelled)

    def _give_back(self, answer: Answer) -> None:
        if answer.buffer is not None:
            self._buffers.release(answer.buffer)
            answer.buffer = None

    # --- looking in

    def statistics(self) -> SessionStatistics:
        """A snapshot."""
        reader = self._reader
        return SessionStatistics(
            frames_received=reader.frames,
            frames_unknown=reader.unknown_frames,
            bytes_received=reader.bytes,
            data_received=self._data_received,
            data_dropped=self._data_dropped,
            frames_sent=self._frames_sent,
            bytes_sent=self._bytes_sent,
            data_sent=self._data_sent,
            requests_open=len(self._us.requests),
            requests_owed=len(self._them.requests),
        )

    def check_invariants(self) -> None:
        """Raise AssertionError if the state contradicts itself."""
        self._reader.check_invariants()
        self._us.check_invariants(self._them)
        self._them.check_invariants(self._us)
        if isinstance(self._arriving, Data):
            answer = self._us.requests.get(self._arriving.id)
            assert answer.buffer is not None or answer.cancelled, "data arrives and nobody knows where to"


_EVENTS: Final[dict[type[Any], Callable[[Session, Any, Any], Event | None]]] = {
    Hello: lambda _, message, __: HelloReceived(message),
    Bitfield: Session._bitfield_begins,
    Have: lambda _, message, __: HaveReceived(message.pieces),
    Interested: lambda _, message, __: InterestedReceived(message.on),
    Choke: lambda _, message, __: ChokeReceived(message.on),
    Request: lambda _, message, __: RequestReceived(message.id, message.piece),
    RequestManifest: lambda _, message, __: RequestReceived(message.id, None),
    Data: Session._data_begins,
    Reject: Session._rejected,
    Cancel: lambda _, message, answer: CancelReceived(message.id) if answer is not None else None,
    Ping: lambda _, message, __: PingReceived(message.number),
    Pong: lambda _, message, __: PongReceived(message.number),
    Peers: lambda _, message, __: PeersReceived(message.peers),
    Bye: lambda _, message, __: ByeReceived(message.code, message.reason),
}
