"""What the other side must not send while a conversation is open, and a session to send it to."""

from peer.buffers import BufferPool
from peer.errors import RejectCode
from peer.ids import RequestId
from peer.limits import PINGS_OPEN_MAX
from peer.wire.codec import encode
from peer.wire.messages import Bitfield, Bye, Cancel, Data, Have, Ping, Pong, Reject, Request, RequestManifest
from peer.wire.session import Session
from tests.pure.wire_helpers import BY_KIND, PIECE, feed, frame, make_hello, wire


def asked_session() -> tuple[Session, RequestId]:
    """A session with one open request for a piece of 8 bytes and a manifest of at most 100."""
    us = Session(buffers=BufferPool(), manifest_bytes_max=100)
    us.greet(make_hello(window=2))
    feed(us, wire(make_hello()))
    return us, us.request(PIECE, 8)[0]


def data(offset: int, total: int, payload: bytes, request: int = 0) -> bytes:
    return encode(Data(RequestId(request), offset, total, len(payload))) + payload


R0, R1 = RequestId(0), RequestId(1)
VIOLATIONS: dict[str, tuple[bytes, str]] = {
    "data that nobody asked for": (data(0, 8, b"x", request=1), "request 1 is not open"),
    "data after its answer is complete": (
        data(0, 8, bytes(8)) + data(0, 8, bytes(8)),
        "request 0 is not open",
    ),
    "data after a reject": (
        wire(Reject(R0, RejectCode.BUSY)) + data(0, 8, bytes(8)),
        "request 0 is not open",
    ),
    "a total that is not the piece's length": (data(0, 9, b"x"), "9 bytes in total where 8"),
    "a total that changes": (data(0, 8, b"x") + data(1, 7, b"x"), "7 bytes in total where 8"),
    "data from the middle": (data(4, 8, b"x"), "offset 4 where 0"),
    "data with a gap": (data(0, 8, b"xx") + data(3, 8, b"x"), "offset 3 where 2"),
    "data twice": (data(0, 8, b"xx") + data(0, 8, b"xx"), "offset 0 where 2"),
    "data beyond the end": (data(0, 8, bytes(5)) + data(5, 8, bytes(4)), "offset 9 of 8"),
    "data without bytes": (
        frame({"kind": "data", "id": 0, "offset": 0, "total": 8, "payload": 0}),
        "data.payload is not an integer from 1",
    ),
    "a reject of nothing": (wire(Reject(R1, RejectCode.BUSY)), "request 1 is not open"),
    "a reject twice": (wire(Reject(R0, RejectCode.BUSY)) * 2, "request 0 is not open"),
    "more requests than our window": (
        b"".join(wire(Request(RequestId(i), PIECE)) for i in range(3)),
        "2 requests are open, which is the whole window",
    ),
    "a manifest request beyond the window": (
        b"".join(wire(RequestManifest(RequestId(i))) for i in range(3)),
        "2 requests are open, which is the whole window",
    ),
    "a cancel does not free a slot": (
        wire(Request(R0, PIECE))
        + wire(Request(R1, PIECE))
        + wire(Cancel(R0))
        + wire(Request(RequestId(2), PIECE)),
        "2 requests are open, which is the whole window",
    ),
    "a request id twice": (wire(Request(R0, PIECE)) * 2, "request id 0 is not above"),
    "a request id that goes back": (
        wire(Request(R1, PIECE)) + wire(RequestManifest(R0)),
        "request id 0 is not above",
    ),
    "a cancel of nothing": (wire(Cancel(R0)), "request 0 was never made"),
    "a cancel twice": (wire(Request(R0, PIECE)) + wire(Cancel(R0)) * 2, "request 0 is cancelled twice"),
    "a bitfield twice": (wire(Bitfield(2)) * 2, "a second bitfield"),
    "an empty bitfield twice": (wire(Bitfield(0)) * 2, "a second bitfield"),
    "a have before the bitfield": (wire(BY_KIND[Have]), "a have before the bitfield"),
    "a pong to no ping": (wire(Pong(1)), "a pong that does not answer"),
    "a flood of pings": (
        b"".join(wire(Ping(i)) for i in range(PINGS_OPEN_MAX + 1)),
        f"{PINGS_OPEN_MAX} pings are open already",
    ),
    "a second hello": (wire(make_hello()), "hello is not allowed while open"),
    "something after goodbye": (wire(BY_KIND[Bye]) + wire(Ping(1)), "ping is not allowed while closed"),
    "an unknown message after goodbye is still nonsense": (
        wire(BY_KIND[Bye]) + b"\0\0\0\1\xc0",
        "a header is not a map",
    ),
    "no frame": (b"GET / HTTP/1.1\r\n\r\n", "a header of 1195725856 bytes"),
}
