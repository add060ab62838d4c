"""docs/protocol.md and the code say the same: every field, range, code, state, limit and example byte."""

import json
import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_certificate

from peer import limits
from peer.errors import ByeCode, RejectCode, RemoteProtocolError, WrongVersionError
from peer.identity import is_signed
from peer.manifest import piece_bytes_for
from peer.net.swarmca import SwarmAuthority
from peer.published import DOMAIN, signed_bytes
from peer.wire.codec import KINDS, Unknown, decode, encode
from peer.wire.framing import FrameReader
from peer.wire.messages import AnnounceEvent, Bitfield, Data, Found, Publish, PublishCode
from peer.wire.rules import LEGAL, State
from tests.pure.wire_helpers import pack

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(
    re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", TEXT + "\n## end", flags=re.M | re.S)
)
NAMES = sorted(SECTIONS)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table with that first heading."""
    [table] = re.findall(
        rf"^\| {re.escape(heading)} \|[^\n]*\n\|[-|]*\|\n((?:\|[^\n]*\n)*)", text, flags=re.M
    )
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def fields(kind: str) -> dict[str, list[str]]:
    """Name to type, range and meaning, in the order of the document."""
    return {row[0].strip("`"): row[1:] for row in rows(SECTIONS[kind], "field")}


def example(kind: str) -> tuple[dict[str, Any], bytes, bytes]:
    """The header that the document shows, the payload, and the bytes of the frame."""
    [(shown, dump)] = re.findall(r"^```\n(.*?)\n```\n```hex\n(.*?)\n```", SECTIONS[kind], flags=re.M | re.S)
    shown, _, payload = shown.partition(" payload ")
    values = json.loads(re.sub(r"h'([0-9a-f]*)'", r'"h:\1"', shown))
    return bytes_of(values), bytes.fromhex(payload[2:-1]), bytes.fromhex(dump)


def bytes_of(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("h:"):
        return bytes.fromhex(value[2:])
    if isinstance(value, dict):
        return {key: bytes_of(item) for key, item in value.items()}
    return [bytes_of(item) for item in value] if isinstance(value, list) else value


def test_every_kind_has_its_section() -> None:
    assert sorted(kind.name for kind in KINDS) == NAMES


@pytest.mark.parametrize("kind", NAMES)
def test_the_fields_are_those_of_the_code(kind: str) -> None:
    [known] = [known for known in KINDS if known.name == kind]
    documented = fields(kind)
    assert list(documented) == [field.name for field in known.fields]
    for field in known.fields:
        assert ("*optional*" in documented[field.name][2]) == field.optional


@pytest.mark.parametrize("kind", NAMES)
def test_the_example_decodes_and_encodes_to_the_same_bytes(kind: str) -> None:
    header, payload, frame = example(kind)
    length = int.from_bytes(frame[:4], "big")
    assert msgpack.unpackb(frame[4 : 4 + length]) == header
    assert frame[4 + length :] == payload
    assert len(payload) == header.get("payload", 0)
    message = decode(frame[4 : 4 + length])
    assert not isinstance(message, Unknown)
    assert message.__class__.__name__.lower() == kind.replace("_", "")
    assert encode(message) + payload == frame


@pytest.mark.parametrize("kind", NAMES)
def test_the_example_passes_the_framer(kind: str) -> None:
    _, payload, frame = example(kind)
    reader = FrameReader()
    reader.get_buffer()[: len(frame)] = frame
    reader.buffer_updated(len(frame))
    message = reader.next_event()
    if isinstance(message, Data | Bitfield):
        sink = bytearray(message.payload)
        reader.payload_into(memoryview(sink))
        assert reader.next_event() is not None
        assert sink == payload
    assert reader.next_event() is None
    assert not reader.inside_frame


INTEGERS = [
    (kind, name, *map(int, cells[1].split(" to ")))
    for kind in NAMES
    for name, cells in fields(kind).items()
    if cells[0] == "integer"
]


@pytest.mark.parametrize(("kind", "name", "low", "high"), INTEGERS)
def test_integers_end_where_the_document_says(kind: str, name: str, low: int, high: int) -> None:
    header = example(kind)[0]
    for value in (low, high):
        try:
            decode(pack(header | {name: value}))
        except WrongVersionError:
            assert name == "version"
    for value in (low - 1, high + 1):
        with pytest.raises(RemoteProtocolError, match=f"{kind}.{name} is not") as caught:
            decode(pack(header | {name: value}))
        assert not isinstance(caught.value, WrongVersionError)


BYTES_AND_TEXTS = [
    (kind, name, *cells[:2])
    for kind in NAMES
    for name, cells in fields(kind).items()
    if cells[0] in ("bytes", "text") and re.fullmatch(r"(up to )?\d+ bytes", cells[1])
]


@pytest.mark.parametrize(("kind", "name", "type_", "range_"), BYTES_AND_TEXTS)
def test_lengths_are_what_the_document_says(kind: str, name: str, type_: str, range_: str) -> None:
    header = example(kind)[0]
    *up_to, size, _ = range_.split()
    fill: Any = "x" if type_ == "text" else b"x"
    for length in (int(size), *((0,) if up_to else ())):
        decode(pack(header | {name: fill * length}))
    for length in (int(size) + 1, *(() if up_to else (int(size) - 1,))):
        with pytest.raises(RemoteProtocolError, match=f"{kind}.{name} is not"):
            decode(pack(header | {name: fill * length}))


def test_every_range_was_understood() -> None:
    """A field whose range no test above reads must be one of these."""
    read = {(kind, name) for kind, name, *_ in [*INTEGERS, *BYTES_AND_TEXTS]}
    others = {(kind, name) for kind in NAMES for name in fields(kind)} - read
    assert others == {
        ("have", "pieces"),
        ("interested", "on"),
        ("choke", "on"),
        ("peers", "peers"),
        ("announced", "peers"),
        ("announce", "event"),
        ("search", "words"),
        ("found", "more"),
        ("found", "listings"),
    }


def test_lists_are_as_long_as_the_document_says() -> None:
    most, first, last = map(int, re.findall(r"\d+", fields("have")["pieces"][1])[1:])
    decode(pack({"kind": "have", "pieces": [first, last] * (most // 2)}))
    for pieces in ([first] * (most + 1), [last + 1], []):
        with pytest.raises(RemoteProtocolError):
            decode(pack({"kind": "have", "pieces": pieces}))
    words, listings = fields("search")["words"][1], fields("found")["listings"][1]
    assert words == f"up to {limits.SEARCH_WORDS_MAX} texts"
    assert listings == f"up to {limits.CATALOGUE_ENTRIES_PER_MESSAGE_MAX} entries"
    for kind, name, item, most in (
        ("search", "words", "word", limits.SEARCH_WORDS_MAX),
        ("found", "listings", example("found")[0]["listings"][0], limits.CATALOGUE_ENTRIES_PER_MESSAGE_MAX),
    ):
        decode(pack(example(kind)[0] | {name: [item] * most}))
        with pytest.raises(RemoteProtocolError, match=f"{kind}.{name} is not"):
            decode(pack(example(kind)[0] | {name: [item] * (most + 1)}))
    for kind in ("peers", "announced"):
        header = example(kind)[0]
        assert fields(kind)["peers"][1] == f"up to {limits.PEERS_PER_MESSAGE_MAX} peers"
        decode(pack(header | {"peers": header["peers"][:1] * limits.PEERS_PER_MESSAGE_MAX}))


def test_bounds_of_any_header() -> None:
    """Section 3: what an unknown field may hold."""
    assert "64 keys in a map, 256\nitems in a list, 4096 bytes in a text or byte string, 500 levels" in TEXT
    nested: Any = None
    for _ in range(498):
        nested = [nested]
    for odd in (list(range(256)), {str(i): i for i in range(64)}, "x" * 4096, b"x" * 4096, nested):
        decode(pack({"kind": "ping", "number": 1, "odd": odd}))
    for odd in (list(range(257)), {str(i): i for i in range(65)}, "x" * 4097, b"x" * 4097):
        with pytest.raises(RemoteProtocolError):
            decode(pack({"kind": "ping", "number": 1, "odd": odd}))


@pytest.mark.parametrize(
    ("kind", "codes"), [("reject", RejectCode), ("bye", ByeCode), ("published", PublishCode)]
)
def test_codes(kind: str, codes: type[IntEnum]) -> None:
    documented = [(int(row[0]), row[1]) for row in rows(SECTIONS[kind], "code")]
    assert documented == [(code.value, code.name.lower()) for code in codes]


def test_the_example_of_an_entry_is_signed_as_the_document_says() -> None:
    entry = decode(pack(example("publish")[0]))
    found = decode(pack(example("found")[0]))
    assert isinstance(entry, Publish)
    assert isinstance(found, Found)
    assert found.listings[0].entry == entry.entry
    assert is_signed(entry.entry)
    part = TEXT[TEXT.index("### The catalogue") : TEXT.index("### `publish`")]
    [signed] = re.findall(r"```hex\n(.*?)\n```", part, flags=re.S)
    assert bytes.fromhex(signed) == signed_bytes(entry.name, entry.share, entry.size, entry.serial)
    assert f"`{entry.entry.node.hex()}`" in part
    assert "29 bytes" in part
    assert len(DOMAIN) == 29


def test_the_key_of_the_public_authority() -> None:
    certificate = load_pem_x509_certificate(SwarmAuthority.public().certificate_pem.encode())
    part = TEXT[TEXT.index("## 2.") : TEXT.index("## 3.")]
    [documented] = re.findall(r"```hex\n(.*?)\n```", part, flags=re.S)
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)
    assert key.public_bytes_raw() == bytes.fromhex(documented)


def test_the_length_of_pieces() -> None:
    before = 0
    for sizes, most in rows(TEXT, "`piece_bytes`"):
        numbers = [int(number) for number in re.findall(r"\d+", sizes)]
        first, last = numbers[0], numbers[-1]
        count = re.match(r"\d+", most)
        while first <= last:
            assert piece_bytes_for(before + 1) == first
            before = first * int(count[0]) if count else limits.SHARE_BYTES_MAX
            assert piece_bytes_for(before) == first
            first *= 2
    assert before == limits.SHARE_BYTES_MAX


def test_events() -> None:
    documented = re.findall(r"`(\w+)`", fields("announce")["event"][1])
    assert documented == [event.value for event in AnnounceEvent]


def test_states() -> None:
    by_class = {kind.message: kind.name for kind in KINDS}
    documented = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in rows(TEXT, "state")}
    assert documented == {state.value: {by_class[kind] for kind in LEGAL[state]} for state in State}


@pytest.mark.parametrize("row", rows(TEXT, "what"), ids=lambda row: row[0])
def test_limits(row: list[str]) -> None:
    names = re.findall(r"`(\w+)`", row[2])
    assert names
    assert [float(number) for number in re.findall(r"\d+", row[1])] == [
        getattr(limits, name) for name in names
    ]
