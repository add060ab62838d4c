"""Three grammars for the same messages: JSON lines, XML, length-prefixed msgpack.  PURE.

A grammar answers two questions: *where does a message end* (framing) and *what does it say* (encoding). The
two text grammars end a message with a newline and must write bytes as base64; the binary one says first how
long the message is and carries bytes as they are. Whatever arrives, only `RemoteProtocolError` comes out.
"""

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from typing import Any, Final, Protocol
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import msgpack  # type: ignore[import-untyped]  # ships no type hints

from lab.protocols.messages import MESSAGE_BYTES_MAX, Answer, Listing, Message, Request, build, kind_of
from peer.errors import LocalProtocolError, RemoteProtocolError

XML_DEPTH_MAX: Final = 2
"""A listing is <listing><file/></listing>: anything deeper is no message of ours."""


class Grammar(Protocol):
    """How messages are written and read."""

    name: str

    def encode(self, message: Message) -> bytes: ...

    def decode(self, frame: bytes) -> Message:
        """One frame as `Framer.feed` returns it. Raises RemoteProtocolError."""

    def framer(self) -> "Framer": ...


class Framer(Protocol):
    """Cuts a stream of bytes into frames."""

    @property
    def held(self) -> int:
        """Bytes kept while a frame is incomplete."""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes. Raises RemoteProtocolError where one would be too long."""

    def eof(self) -> None:
        """The stream has ended. Raises RemoteProtocolError inside a frame."""


class LineFramer:
    """A frame ends with a newline: readable, but its length is known only at its end."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def held(self) -> int:
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        *ends, rest = data.split(b"\n")
        frames = []
        for end in ends:
            frames.append(bytes(self._rest + end))
            self._rest.clear()
        self._rest += rest
        if max(map(len, (*frames, self._rest))) > MESSAGE_BYTES_MAX:
            raise RemoteProtocolError(f"a line of more than {MESSAGE_BYTES_MAX} bytes")
        return frames

    def eof(self) -> None:
        if self._rest:
            raise RemoteProtocolError("the stream ended inside a line")


class LengthFramer:
    """A frame begins with its length, 4 bytes, big-endian: the reader knows at once what to expect."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def held(self) -> int:
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        frames = []
        while len(self._rest) >= 4:
            (length,) = struct.unpack_from(">I", self._rest)
            if length > MESSAGE_BYTES_MAX:
                raise RemoteProtocolError(f"a message of {length} bytes is announced")
            if len(self._rest) < 4 + length:
                break
            frames.append(bytes(self._rest[4 : 4 + length]))
            del self._rest[: 4 + length]
        return frames

    def eof(self) -> None:
        if self._rest:
            raise RemoteProtocolError("the stream ended inside a message")


class JsonLines:
    """One JSON object a line. No type for bytes: base64, a third more."""

    name = "JSON lines"

    def encode(self, message: Message) -> bytes:
        fields = {"kind": kind_of(message), **_fields(message)}
        for name in ("share", "data"):
            if name in fields:
                fields[name] = base64.b64encode(fields[name]).decode("ascii")
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def decode(self, frame: bytes) -> Message:
        try:
            fields = json.loads(frame.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        except RecursionError:
            raise RemoteProtocolError("nested too deep") from None
        except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and too long a number
            raise RemoteProtocolError(f"not JSON: {type(error).__name__}") from None
        if not isinstance(fields, dict):
            raise RemoteProtocolError("not an object")
        for name in ("share", "data"):
            if name in fields:
                fields[name] = _from_base64(fields[name])
        return build(fields.pop("kind", None), fields)

    def framer(self) -> Framer:
        return LineFramer()


class Xml:
    """One XML document a line. No types at all: numbers are text, bytes are base64.

    And XML can do far more than anybody wants: entities that multiply, documents that read files. All that
    must be switched off.
    """

    name = "XML"

    def encode(self, message: Message) -> bytes:
        match message:
            case Request(id, share, piece):
                text = f'<request id="{id}" piece="{piece}" share="{_base64(share)}"/>'
            case Answer(id, piece, data):
                text = f'<answer id="{id}" piece="{piece}">{_base64(data)}</answer>'
            case Listing(id, files):
                rows = (f'<file name={_attribute(name)} size="{size}"/>' for name, size in files)
                text = f'<listing id="{id}">{"".join(rows)}</listing>'
        return text.encode() + b"\n"

    def decode(self, frame: bytes) -> Message:
        reader = _XmlReader()
        try:
            reader.parser.Parse(frame, True)
        except expat.ExpatError as error:
            raise RemoteProtocolError(f"not XML: {expat.errors.messages[error.code]}") from None
        return reader.message()

    def framer(self) -> Framer:
        return LineFramer()


class Msgpack:
    """A msgpack map after its length. Has numbers, text, bytes and lists: nothing needs translating."""

    name = "msgpack"

    def encode(self, message: Message) -> bytes:
        body: bytes = msgpack.packb({"kind": kind_of(message), **_fields(message)})
        return struct.pack(">I", len(body)) + body

    def decode(self, frame: bytes) -> Message:
        try:
            fields = msgpack.unpackb(
                frame,
                strict_map_key=True,
                object_pairs_hook=_no_duplicates,
                max_array_len=MESSAGE_BYTES_MAX,
                max_map_len=64,
                max_ext_len=0,
            )
        except RemoteProtocolError:
            raise
        except Exception as error:  # msgpack raises ValueError, TypeError, UnicodeError and its own
            raise RemoteProtocolError(f"not msgpack: {type(error).__name__}") from None
        if not isinstance(fields, dict):
            raise RemoteProtocolError("not a map")
        return build(fields.pop("kind", None), fields)

    def framer(self) -> Framer:
        return LengthFramer()


GRAMMARS: Final[tuple[Grammar, ...]] = (JsonLines(), Xml(), Msgpack())


class Decoder:
    """A grammar's framer and decoder together: bytes in, messages out."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._framer = grammar.framer()

    @property
    def held(self) -> int:
        return self._framer.held

    def feed(self, data: bytes) -> list[Message]:
        return [self._grammar.decode(frame) for frame in self._framer.feed(data)]

    def eof(self) -> None:
        self._framer.eof()


class _XmlReader:
    """Collects one small document through expat's events, and refuses whatever a message does not need."""

    def __init__(self) -> None:
        # Given here, UTF-8 outranks what the document declares: no stranger chooses among Python's codecs.
        self.parser = expat.ParserCreate("UTF-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        # A document type is where entities are declared: bombs and reads of other files begin there.
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._depth = 0
        self._kind = ""
        self._fields: dict[str, Any] = {}
        self._files: list[tuple[str, Any]] = []
        self._words: list[str] = []

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > XML_DEPTH_MAX:
            raise RemoteProtocolError("nested too deep")
        if self._depth == 1:
            self._kind, self._fields = tag, dict(attributes)
        elif self._depth == 2 and tag == "file" and attributes.keys() == {"name", "size"}:
            self._files.append((attributes["name"], _from_digits(attributes["size"])))
        else:
            raise RemoteProtocolError("an element that no message has")

    def _end(self, _tag: str) -> None:
        self._depth -= 1

    def _text(self, text: str) -> None:
        self._words.append(text)

    def _doctype(self, *_: object) -> None:
        raise RemoteProtocolError("a document type is not allowed")

    def message(self) -> Message:
        fields, text = self._fields, "".join(self._words)
        for name in ("id", "piece"):
            if name in fields:
                fields[name] = _from_digits(fields[name])
        if "share" in fields:
            fields["share"] = _from_base64(fields["share"])
        if self._kind == "answer":
            fields["data"] = _from_base64(text)
        elif text:
            raise RemoteProtocolError("text where none belongs")
        if self._kind == "listing":
            fields["files"] = self._files
        elif self._files:
            raise RemoteProtocolError("files where none belong")
        return build(self._kind, fields)


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__}


def _no_duplicates(pairs: Any) -> dict[Any, Any]:
    """Two values under one name: which one counts differs between parsers, and attackers know it."""
    listed = list(pairs)
    fields = dict(listed)
    if len(fields) != len(listed):
        raise RemoteProtocolError("a name appears twice")
    return fields


def _no_constant(name: str) -> Any:
    raise RemoteProtocolError(f"{name} is not a number")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise RemoteProtocolError("bytes are written as text in base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("not base64") from None


def _from_digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise RemoteProtocolError("not a number")
    return int(text)


def _attribute(text: str) -> str:
    if any(ord(c) < 32 and c not in "\t\n\r" for c in text):
        raise LocalProtocolError("XML has no way to write a control character, not even escaped")
    return quoteattr(text)
