"""The words between a command and the daemon of its home. Pure.

A frame is a length (4 bytes, big-endian) and a msgpack map. A request has ``do`` (its kind), ``id`` (chosen
by the asker, echoed) and the fields of its kind; fields with a default may be missing. An answer has ``id``
and one of

    progress  a map; more answers to the same request follow
    done      a map; the last one
    error     one line for people, with ``code``, the exit code that the command should end with

Both ends belong to one user. All the same nothing that arrives may do more than be refused: reading raises
RemoteProtocolError and nothing else, and after `MalformedError` (a frame that is whole and makes no sense)
the connection is usable.
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import msgpack  # type: ignore[import-untyped]

from peer.errors import ExitCode, LocalProtocolError, RemoteProtocolError
from peer.limits import (
    CONTROL_ITEMS_MAX,
    CONTROL_REPLY_BYTES_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    CONTROL_TEXT_BYTES_MAX,
    FRAME_PREFIX_BYTES,
)

Body: TypeAlias = dict[str, Any]
"""What an answer carries: plain maps, lists, texts and numbers."""

ID_MAX: Final = 2**32 - 1

FIELDS_MAX: Final = 16
"""Of a request."""

_NAMES: Final = "surrogateescape"
"""A path need not be text; Python carries its odd bytes so."""


class MalformedError(RemoteProtocolError):
    """A frame that can be skipped: it is whole, but no request. id: of the request, if that could be read."""

    def __init__(self, text: str, id: int = 0) -> None:
        super().__init__(text)
        self.id = id


# --- requests


@dataclass(frozen=True, slots=True)
class Share:
    """Hash and seed what is at an absolute path. Rates in bytes a second; None: as it was, or no limit.
    publish: the name for the trackers' catalogues."""

    KIND: ClassVar = "share"
    path: str
    trackers: tuple[str, ...] = ()
    announce: str | None = None
    up: float | None = None
    down: float | None = None
    publish: str | None = None


@dataclass(frozen=True, slots=True)
class Get:
    """Fetch a link into an absolute folder, and follow. seed_s: seed so long when complete; None: go on.
    order: of the pieces, by name; None: as it was, or the usual one."""

    KIND: ClassVar = "get"
    link: str
    folder: str
    peers: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    up: float | None = None
    down: float | None = None
    seed_s: float | None = None
    timeout_s: float | None = None
    order: str | None = None


@dataclass(frozen=True, slots=True)
class List:
    """All known shares, in the order in which they came."""

    KIND: ClassVar = "list"


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget a share; its files stay. `share` here and below: id or its beginning, link, name, or path."""

    KIND: ClassVar = "remove"
    share: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop serving and fetching a share; all without one. It stays known, also after a restart."""

    KIND: ClassVar = "pause"
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Take it up again."""

    KIND: ClassVar = "resume"
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Change limits, of a share or of the node. None: leave; infinite: no limit. Answers what holds then."""

    KIND: ClassVar = "limits"
    share: str | None = None
    up: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The node, and its shares at work; or one share."""

    KIND: ClassVar = "status"
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the daemon. Answered before it does."""

    KIND: ClassVar = "stop"


Request: TypeAlias = Share | Get | List | Remove | Pause | Resume | Limits | Status | Stop

REQUESTS: Final[dict[str, type[Any]]] = {
    kind.KIND: kind for kind in (Share, Get, List, Remove, Pause, Resume, Limits, Status, Stop)
}


def encode_request(id: int, request: Request) -> bytes:
    """A request as a frame. LocalProtocolError if it is larger than a daemon would read."""
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    body = {name: value for name, value in values.items() if value is not None and value != ()}
    frame = _frame({"do": request.KIND, "id": id, **body})
    if len(frame) - FRAME_PREFIX_BYTES > CONTROL_REQUEST_BYTES_MAX:
        raise LocalProtocolError("the command is too long for the daemon")
    return frame


def decode_request(frame: bytes) -> tuple[int, Request]:
    """Id and request of a frame's content. Raises MalformedError."""
    message = _unpack(frame, CONTROL_TEXT_BYTES_MAX, CONTROL_ITEMS_MAX, FIELDS_MAX)
    id = message.pop("id", 0)
    if type(id) is not int or not 0 <= id <= ID_MAX:
        raise MalformedError("a request's id is a number up to 2^32")
    kind = message.pop("do", None)
    wanted = REQUESTS.get(kind) if type(kind) is str else None
    if wanted is None:
        raise MalformedError(
            f"{_shown(kind)} is no request that this daemon knows: restart it if it is older", id
        )
    known = {field.name: field for field in fields(wanted)}
    for name, value in message.items():
        if name not in known:
            raise MalformedError(f"{kind}: {_shown(name)} is no field that this daemon knows", id)
        if not _CHECKS[known[name].type](value):
            raise MalformedError(f"{kind}: the field {name} is of the wrong kind", id)
    missing = [name for name, field in known.items() if field.default is MISSING and name not in message]
    if missing:
        raise MalformedError(f"{kind}: the field {missing[0]} is missing", id)
    request: Request = wanted(**message)
    return id, request


# --- answers


@dataclass(frozen=True, slots=True)
class Progress:
    """How it goes; more follows."""

    id: int
    body: Body


@dataclass(frozen=True, slots=True)
class Done:
    """It is done."""

    id: int
    body: Body


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be done. id 0: the request could not even be read."""

    id: int
    code: int
    text: str


Answer: TypeAlias = Progress | Done | Failed


def encode_answer(answer: Answer) -> bytes:
    """An answer as a frame; a body that is too large becomes an error."""
    if isinstance(answer, Failed):
        return _frame({"id": answer.id, "error": answer.text[:CONTROL_TEXT_BYTES_MAX], "code": answer.code})
    return encode_packed(answer.id, pack_body(answer.body), progress=isinstance(answer, Progress))


def pack_body(body: Body) -> bytes:
    """A body ready to be sent, perhaps many times."""
    packed: bytes = msgpack.packb(body, unicode_errors=_NAMES)
    return packed


_KEYS: Final = {key: msgpack.packb(key) for key in ("id", "progress", "done")}


def encode_packed(id: int, body: bytes, *, progress: bool = False) -> bytes:
    """An answer whose body is packed already."""
    number: bytes = msgpack.packb(id)
    content = b"".join(
        (b"\x82", _KEYS["id"], number, _KEYS["progress" if progress else "done"], body)
    )  # 0x82: a map of two
    if len(content) > CONTROL_REPLY_BYTES_MAX:
        return encode_answer(Failed(id, ExitCode.INTERNAL, "the answer is too large: name one share"))
    return len(content).to_bytes(FRAME_PREFIX_BYTES, "big") + content


def decode_answer(frame: bytes) -> Answer:
    """An answer from a frame's content. Raises MalformedError."""
    message = _unpack(frame, CONTROL_REPLY_BYTES_MAX, CONTROL_REPLY_BYTES_MAX, CONTROL_REPLY_BYTES_MAX)
    id = message.get("id")
    if type(id) is int and 0 <= id <= ID_MAX:
        for key, kind in (("progress", Progress), ("done", Done)):
            if type(body := message.get(key)) is dict:
                made: Answer = kind(id, body)
                return made
        text, code = message.get("error"), message.get("code")
        if type(text) is str and type(code) is int and 0 <= code <= 255:
            return Failed(id, code, text)
    raise MalformedError("the daemon's answer makes no sense: is it of another version? Restart it")


# --- frames


class FrameReader:
    """Frames from a stream of bytes, whole, one by one. Of no further use once it has raised."""

    def __init__(self, bytes_max: int) -> None:
        self._buffer = bytearray()
        self._max = bytes_max

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """More bytes have arrived. Take all frames before feeding more: it holds what it is fed."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next frame's content, or None until more has arrived. RemoteProtocolError for a bad length."""
        buffer = self._buffer
        if len(buffer) < FRAME_PREFIX_BYTES:
            return None
        length = int.from_bytes(buffer[:FRAME_PREFIX_BYTES], "big")
        if not 0 < length <= self._max:
            raise RemoteProtocolError(f"a frame of {length} bytes: 1 to {self._max} are allowed")
        end = FRAME_PREFIX_BYTES + length
        if len(buffer) < end:
            return None
        frame = bytes(buffer[FRAME_PREFIX_BYTES:end])
        del buffer[:end]
        return frame

    @property
    def inside_frame(self) -> bool:
        """Whether an end of the stream here would be in the middle of a frame."""
        return bool(self._buffer)


def _frame(message: Body) -> bytes:
    content: bytes = msgpack.packb(message, unicode_errors=_NAMES)
    return len(content).to_bytes(FRAME_PREFIX_BYTES, "big") + content


T = TypeVar("T")


def _unpack(frame: bytes, text_max: int, items_max: int, fields_max: int) -> dict[str, Any]:
    try:
        message = msgpack.unpackb(
            frame,
            max_str_len=text_max,
            max_bin_len=text_max,
            max_array_len=items_max,
            max_map_len=fields_max,
            max_ext_len=0,
            use_list=False,
            unicode_errors=_NAMES,
        )
    except Exception as error:  # msgpack raises ValueError, RecursionError, UnicodeDecodeError and more
        raise MalformedError("a frame is not the msgpack map that it should be") from error
    if type(message) is not dict or any(type(key) is not str for key in message):
        raise MalformedError("a frame is not the msgpack map that it should be")
    return message


def _is_text(value: object) -> bool:
    return type(value) is str and "\0" not in value


def _is_texts(value: object) -> bool:
    return type(value) is tuple and all(map(_is_text, value))


def _is_number(value: object) -> bool:
    """Not negative, and not NaN, which is not equal to itself."""
    return type(value) in (int, float) and value == value and value >= 0  # type: ignore[operator]  # noqa: PLR0124


_CHECKS: Final[dict[Any, Any]] = {
    str: _is_text,
    str | None: _is_text,
    tuple[str, ...]: _is_texts,
    float | None: _is_number,
}


def _shown(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str) else "something else than a text"
