"""What the fuzzers drive. A target takes bytes, and raises only where the code under test has a bug.

Everything that a target does follows from its bytes, so an input is all that is needed to see it again. Each
returns how it ended, in a few words: the number of different endings tells how far a run has looked around.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from peer.buffers import BufferPool
from peer.errors import (
    ByeCode,
    ConnectionLost,
    LinkError,
    LocalProtocolError,
    ManifestError,
    RejectCode,
    RemoteProtocolError,
)
from peer.ids import NodeId, PieceIndex, RequestId, ShareId
from peer.magnet import parse
from peer.manifest import Manifest
from peer.published import NOBODY, check_published
from peer.wire.codec import Unknown, decode, encode
from peer.wire.framing import FrameReader, Part
from peer.wire.messages import Bye, Choke, Have, Hello, Ping, Pong, Publish, Search
from peer.wire.session import Answered, PingReceived, RequestReceived, Session
from tests.fuzz.watch import Watch
from tracker.catalogue import Catalogue

SETUP_BYTES: Final = 4
"""Of a `wire` input: scenario, open requests, and in all a seed for the cuts and for what we do meanwhile."""

WINDOW: Final = 8
MANIFEST_BYTES_MAX: Final = 20_000
HELLO: Final = Hello(1, ShareId(bytes(32)), NodeId(bytes(32)), WINDOW, 7701, "fuzz")
THEIR_HELLO: Final = encode(Hello(1, ShareId(bytes(32)), NodeId(bytes(range(32))), WINDOW, 7702))


def piece_length(request: int) -> int:
    """How long the piece is that our request of that number asks for."""
    return 1 + request * 977 % 9000


def wire(data: bytes, watch: Watch) -> str:
    """A stream of frames into a session, cut anywhere, while its owner does this and that."""
    if len(data) < SETUP_BYTES:
        return "too short"
    pool = BufferPool()
    session = Session(buffers=pool, manifest_bytes_max=MANIFEST_BYTES_MAX)
    owner = _Owner(session, pool, Random(data[:SETUP_BYTES]))
    scenario = data[0] % 4
    if scenario:  # 0: we accepted and have said nothing yet; 1: we dialled; 2, 3: both have said hello
        session.greet(HELLO)
    if scenario >= 2:
        owner.receive(THEIR_HELLO, watch)
        for _ in range(data[1] % (WINDOW + 1)):
            owner.ask()
        session.send(Ping(1))
    try:
        owner.receive(data[SETUP_BYTES:], watch, restless=scenario == 3)
        watch(session.eof)
        ending = "clean end"
    except (RemoteProtocolError, ConnectionLost) as error:
        ending = _one_short_line(error)
        if session.state.value != "closed":
            session.send(Bye(ByeCode.PROTOCOL, str(error)))
    watch.frames += session.statistics().frames_received + 1
    watch(session.close)
    pool.check_invariants()
    lent = pool.statistics().lent_bytes
    assert lent == 0, f"{lent} bytes were never given back"
    return ending


class _Owner:
    """What a connection and a member do with a session, at random."""

    def __init__(self, session: Session, pool: BufferPool, rng: Random) -> None:
        self._session = session
        self._pool = pool
        self._rng = rng
        self._owed: dict[RequestId, list[int]] = {}
        self._pings: list[int] = []
        self._asked = 0

    def receive(self, stream: bytes, watch: Watch, *, restless: bool = False) -> None:
        session, rng = self._session, self._rng
        size_max = max(rng.choice((1, 7, 100, 5000, 100_000)), len(stream) // 50)
        position = 0
        while position < len(stream):
            buffer = watch(session.get_buffer)
            assert len(buffer) > 0
            if restless and rng.random() < 0.3:
                self._act()
                # Given back while the stream receives into it, it would be lent to two.
                assert not self._pool._is_kept(buffer.obj)  # type: ignore[arg-type]
            count = min(len(buffer), len(stream) - position, rng.randint(1, size_max))
            buffer[:count] = stream[position : position + count]
            position += count
            for event in watch(session.buffer_updated, count):
                self._heard(event)
            session.check_invariants()
        watch(session.get_buffer)

    def _heard(self, event: Any) -> None:
        match event:
            case Answered(request, piece, buffer, cancelled):
                if cancelled or piece is not None:
                    assert len(buffer) == (0 if cancelled else piece_length(request))
                self._pool.release(buffer)
            case RequestReceived(request, _):
                self._owed[request] = [0, 1 + request % 5000]
            case PingReceived(number):
                self._pings.append(number)
            case _:
                repr(event)  # a log may do so

    def ask(self) -> None:
        if self._asked % 5 == 4:
            self._session.request_manifest()
        else:
            self._session.request(PieceIndex(self._asked), piece_length(self._asked))
        self._asked += 1

    def _act(self) -> None:
        rng, session = self._rng, self._session
        owed = rng.choice(list(self._owed)) if self._owed else RequestId(0)
        done, total = self._owed.get(owed, (0, 1))
        part = rng.randint(1, max(1, total - done))
        actions: tuple[Callable[[], object], ...] = (
            self.ask,
            lambda: session.cancel(RequestId(rng.randrange(WINDOW))),
            lambda: session.data_header(owed, done, total, part),
            lambda: session.reject(owed, rng.choice(list(RejectCode))),
            lambda: session.send(Ping(rng.randrange(3))),
            lambda: session.send(Pong(self._pings.pop(0) if self._pings else 0)),
            lambda: session.send(Choke(rng.random() < 0.5)),
            lambda: session.send(Have((PieceIndex(1),))),
            lambda: session.bitfield(b"\x80"),
        )
        number = rng.randrange(len(actions))
        try:
            actions[number]()
        except LocalProtocolError:
            return
        if number == 2 and done + part < total:
            self._owed[owed][0] += part
        elif number in (2, 3):
            self._owed.pop(owed, None)


def _one_short_line(error: Exception) -> str:
    """What a stranger sent must not fill our messages, nor paint on a terminal."""
    text = str(error)
    assert len(text) < 500, text[:500]
    assert text.isprintable(), ascii(text)
    return text


def codec(data: bytes, watch: Watch) -> str:
    """A header. What is accepted must come back the same when we say it."""
    watch.frames += 1
    try:
        message = watch(decode, data)
    except RemoteProtocolError as error:
        return _one_short_line(error)
    if isinstance(message, Unknown):
        return "unknown"
    assert decode(encode(message)[4:]) == message
    repr(message)
    if isinstance(message, Publish | Search):
        return _catalogue(message)
    return type(message).__name__


def _catalogue(message: Publish | Search) -> str:
    """What a tracker does with it, but for the signature."""
    catalogue = Catalogue(1)
    if isinstance(message, Search):
        catalogue.search(message, 1.0, lambda share: (0, 0))
        return "searched"
    try:
        check_published(message.entry)
    except ValueError as error:
        return _one_short_line(error)
    catalogue.publish(message.entry, message.entry.node, "192.0.2.1", 0.0)
    catalogue.check_invariants()
    for question in (
        Search(1, (message.name[:7],), "", NOBODY, 0, 9),
        Search(1, (), message.name, NOBODY, 0, 9),
    ):
        assert len(catalogue.search(question, 1.0, lambda share: (0, 0)).listings) == 1
    return "published"


def framing(data: bytes, watch: Watch) -> str:
    """A stream through the reader alone, twice: cut one way and another, it must end the same."""
    endings = []
    for seed in (1, 2):
        reader, rng = FrameReader(), Random(data[:2] + bytes([seed]))
        size_max = max(rng.choice((1, 9, 300, 10_000)), len(data) // 50)
        frames, position, ending = 0, 0, "clean end"
        try:
            while position < len(data):
                buffer = watch(reader.get_buffer)
                count = min(len(buffer), len(data) - position, rng.randint(1, size_max))
                buffer[:count] = data[position : position + count]
                position += count
                reader.buffer_updated(count)
                while (event := watch(reader.next_event)) is not None:
                    frames += not isinstance(event, Part)
                reader.check_invariants()
            reader.eof()
        except (RemoteProtocolError, ConnectionLost) as error:
            ending = str(error)
        endings.append((frames, ending))
        watch.frames += frames + 1
    assert endings[0] == endings[1], f"cut differently it ends differently: {endings}"
    return endings[0][1]


def manifest(data: bytes, watch: Watch) -> str:
    """A manifest as a stranger sends it."""
    try:
        result = watch(Manifest.decode, data)
    except ManifestError as error:
        return _one_short_line(error)
    assert result.encode() == data
    assert Manifest.decode(data, result.share_id) == result
    return "accepted"


def magnet(data: bytes, watch: Watch) -> str:
    """A link as somebody pastes it."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        link = watch(parse, text)
    except LinkError as error:
        return _one_short_line(error)
    assert parse(str(link)) == link
    return "accepted"


Target = Callable[[bytes, Watch], str]

TARGETS: Final[dict[str, Target]] = {
    "wire": wire,
    "codec": codec,
    "framing": framing,
    "manifest": manifest,
    "magnet": magnet,
}
