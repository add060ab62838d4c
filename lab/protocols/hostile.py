"""What a stranger may send: cut, flipped and malicious messages, and what becomes of them.  PURE.

Each case is tried twice: against our decoder, and against the library as a tutorial would call it. What a
library does unasked is worth knowing before one reads from a socket with it.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from xml.etree import ElementTree

import msgpack  # type: ignore[import-untyped]  # ships no type hints

from lab.protocols.grammars import Decoder, Grammar
from lab.protocols.messages import MESSAGE_BYTES_MAX, Message
from peer.errors import RemoteProtocolError


class Fate(StrEnum):
    """What became of hostile bytes."""

    REFUSED = "refused"
    WAITS = "waits"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Outcome:
    fate: Fate
    detail: str

    def __str__(self) -> str:
        return f"{self.fate}: {self.detail}" if self.detail else str(self.fate)


@dataclass(frozen=True, slots=True)
class Case:
    """One attack, in each language: bytes by the grammar's name; a grammar may not have it."""

    name: str
    point: str
    data: Mapping[str, bytes]


JSON, XML, MSGPACK = "JSON lines", "XML", "msgpack"
DEEP: Final = 100_000
SHARE: Final = bytes(range(32))


def _framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def _json(text: str) -> bytes:
    return text.encode() + b"\n"


def _bomb() -> bytes:
    """Each entity ten times the one before: 10^9 copies from less than a kilobyte."""
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    return _json(f'<!DOCTYPE answer [<!ENTITY e0 "lol">{entities}]><answer id="1" piece="2">&e9;</answer>')


CASES: Final = (
    Case(
        "never ends",
        "a line without an end, a length of 4 GiB: is memory filled before anything is checked?",
        {
            JSON: b"[" + b"1," * MESSAGE_BYTES_MAX,
            XML: b"<answer>" + b"A" * (2 * MESSAGE_BYTES_MAX),
            MSGPACK: struct.pack(">I", 0xFFFF_FFFF) + b"\x81",
        },
    ),
    Case(
        "nested",
        "a hundred thousand lists in lists: does the parser's stack overflow?",
        {
            JSON: _json("[" * DEEP + "]" * DEEP),
            XML: _json("<a>" * DEEP + "</a>" * DEEP),
            MSGPACK: _framed(b"\x91" * DEEP + b"\x01"),
        },
    ),
    Case(
        "bomb",
        "small on the wire, enormous in memory",
        {
            JSON: _json('{"kind":"request","id":1' + "0" * 100_000 + "}"),
            XML: _bomb(),
            MSGPACK: _framed(b"\xdd\xff\xff\xff\xff\x01"),
        },
    ),
    Case(
        "reads a file",
        "the message names a file of the reader's machine",
        {
            XML: _json(
                '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hosts">]><answer id="1" piece="2">&f;</answer>'
            ),
        },
    ),
    Case(
        "wrong type",
        "the number of the piece is true, or a word",
        {
            JSON: _json('{"kind":"answer","id":1,"piece":true,"data":""}'),
            XML: _json('<answer id="1" piece="true"></answer>'),
            MSGPACK: _framed(msgpack.packb({"kind": "answer", "id": 1, "piece": True, "data": b""})),
        },
    ),
    Case(
        "said twice",
        "two values under one name: which one counts?",
        {
            JSON: _json('{"kind":"answer","id":1,"piece":2,"piece":3,"data":""}'),
            XML: _json('<answer id="1" piece="2" piece="3"></answer>'),
            MSGPACK: _framed(
                b"\x85"
                + b"".join(
                    map(msgpack.packb, ("kind", "answer", "id", 1, "piece", 2, "piece", 3, "data", b""))
                )
            ),
        },
    ),
    Case(
        "no number",
        "NaN, minus one, more than 64 bits",
        {
            JSON: _json('{"kind":"answer","id":NaN,"piece":2,"data":""}'),
            XML: _json('<answer id="-1" piece="2"></answer>'),
            MSGPACK: _framed(msgpack.packb({"kind": "answer", "id": -1, "piece": 2, "data": b""})),
        },
    ),
    Case(
        "no text",
        "a name in bytes that are not UTF-8",
        {
            JSON: b'{"kind":"listing","id":1,"files":[["\xff\xfe",1]]}\n',
            XML: b'<listing id="1"><file name="\xff\xfe" size="1"/></listing>\n',
            MSGPACK: _framed(b"\x83\xa4kind\xa7listing\xa2id\x01\xa5files\x91\x92\xa2\xff\xfe\x01"),
        },
    ),
    Case(
        "left over",
        "a second message where one must end",
        {
            JSON: _json('{"kind":"answer","id":1,"piece":2,"data":""}{}'),
            XML: _json('<answer id="1" piece="2"></answer><x/>'),
            MSGPACK: _framed(msgpack.packb({"kind": "answer", "id": 1, "piece": 2, "data": b""}) + b"\x01"),
        },
    ),
)


def guarded(grammar: Grammar, data: bytes) -> Outcome:
    """What our decoder makes of it."""
    decoder = Decoder(grammar)
    try:
        messages = decoder.feed(data)
    except RemoteProtocolError as error:
        return Outcome(Fate.REFUSED, str(error))
    if messages:
        return Outcome(Fate.ACCEPTED, repr(messages[0])[:80])
    return Outcome(Fate.WAITS, f"holds {decoder.held:,} bytes")


def naive(grammar: Grammar, data: bytes) -> Outcome:
    """What the library makes of it, called as a first tutorial does, with no thought of strangers."""
    if grammar.name != MSGPACK and b"\n" not in data:
        return Outcome(Fate.WAITS, f"holds {len(data):,} bytes and reads on")  # readline() has no limit
    try:
        value = _NAIVE[grammar.name](data)
    except BufferError as error:
        return Outcome(Fate.WAITS, str(error))
    except Exception as error:  # that is what is being looked at: which one would surface
        return Outcome(Fate.REFUSED, type(error).__name__)
    return Outcome(Fate.ACCEPTED, _shortly(value))


def _naive_msgpack(data: bytes) -> Any:
    (length,) = struct.unpack_from(">I", data)
    if length > len(data):
        raise BufferError(f"reads on for {length:,} bytes")
    return msgpack.unpackb(data[4:])


def _naive_xml(data: bytes) -> Any:
    element = ElementTree.fromstring(data)
    depth, inner = 1, element
    while len(inner):
        depth, inner = depth + 1, inner[0]
    return {element.tag: dict(element.attrib), "depth": depth} if depth > 2 else {element.tag: element.attrib}


_NAIVE: Final[Mapping[str, Callable[[bytes], Any]]] = {
    JSON: json.loads,
    XML: _naive_xml,
    MSGPACK: _naive_msgpack,
}


def _shortly(value: Any) -> str:
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if k != "kind"}
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print a number of 100,000 digits
        text = "a number too long to print"
    return text if len(text) <= 60 else text[:59] + "…"


@dataclass(frozen=True, slots=True)
class Cuts:
    """A message cut after each of its bytes: never may the rest be guessed."""

    places: int
    waited: int
    refused_at_end: int
    accepted: int


def cut_everywhere(grammar: Grammar, message: Message) -> Cuts:
    whole = grammar.encode(message)
    waited = refused = accepted = 0
    for length in range(1, len(whole)):
        decoder = Decoder(grammar)
        if decoder.feed(whole[:length]):
            accepted += 1
            continue
        waited += 1
        try:
            decoder.eof()
        except RemoteProtocolError:
            refused += 1
    return Cuts(len(whole) - 1, waited, refused, accepted)


@dataclass(frozen=True, slots=True)
class Flips:
    """A message with each of its bits flipped in turn: who notices?"""

    bits: int
    refused: int
    waits: int
    unchanged: int
    another: int
    """Accepted as a different message, and nobody knows. That is why pieces carry hashes."""


def flip_every_bit(grammar: Grammar, message: Message) -> Flips:
    whole = grammar.encode(message)
    refused = waits = unchanged = another = 0
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            messages = Decoder(grammar).feed(bytes(damaged))
        except RemoteProtocolError:
            refused += 1
            continue
        if not messages:
            waits += 1
        elif messages == [message]:
            unchanged += 1
        else:
            another += 1
    return Flips(len(whole) * 8, refused, waits, unchanged, another)
