"""What is encoded is decoded; what is not exactly legal raises RemoteProtocolError and nothing else."""

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import ByeCode, LocalProtocolError, RejectCode, RemoteProtocolError, WrongVersionError
from peer.ids import Address, NodeId, PieceIndex, RequestId, ShareId
from peer.limits import HAVES_PER_MESSAGE_MAX, HEADER_BYTES_MAX, PIECES_MAX, REASON_BYTES_MAX
from peer.wire.codec import KINDS, Unknown, clip_text, decode, encode
from peer.wire.messages import Bye, Data, Have, Hello, KnownPeer, Message, Peers, Ping, Request
from tests.pure.wire_helpers import EXAMPLES, NODE, SHARE, fields_of, make_hello, messages, pack

NAMES = {type(message): fields_of(message)["kind"] for message in EXAMPLES}


def test_there_is_an_example_of_every_kind() -> None:
    assert set(NAMES.values()) == {kind.name for kind in KINDS}


@given(messages)
def test_round_trip(message: Message) -> None:
    frame = encode(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    for header in (frame[4:], memoryview(frame)[4:], bytearray(frame[4:])):
        assert decode(header) == message


@given(messages, st.data())
def test_a_header_cut_anywhere_or_with_more_behind_is_refused(message: Message, data: st.DataObject) -> None:
    header = encode(message)[4:]
    cut = data.draw(st.integers(0, len(header) - 1))
    with pytest.raises(RemoteProtocolError):
        decode(header[:cut])
    with pytest.raises(RemoteProtocolError):
        decode(header + data.draw(st.binary(min_size=1, max_size=3)))


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(header: bytes) -> None:
    text = ""
    try:
        decode(header)
    except RemoteProtocolError as error:
        text = str(error)
    assert len(text) < 300, "what a stranger sent must not fill our messages"


@given(messages, st.binary(min_size=1, max_size=8), st.data())
def test_spoilt_headers_raise_nothing_else(message: Message, noise: bytes, data: st.DataObject) -> None:
    header = bytearray(encode(message)[4:])
    place = data.draw(st.integers(0, len(header) - 1))
    header[place : place + len(noise)] = noise
    try:
        result = decode(header)
    except RemoteProtocolError:
        return
    if not isinstance(result, Unknown):
        assert decode(encode(result)[4:]) == result, "what we accept we must be able to say"


ODD_VALUES: tuple[object, ...] = (
    None, -1, -(2**63), 2**63, 2**64 - 1, 0.0, 1.5, float("nan"), True, False, "", "x", "1", b"", b"1",
    bytes(31), bytes(33), [], [1], [[]], [None], {}, {"a": 1}, msgpack.Timestamp(1, 1),
)  # fmt: skip


@pytest.mark.parametrize("message", EXAMPLES, ids=NAMES.values())
def test_every_field_refuses_every_other_type(message: Message) -> None:
    good = fields_of(message)
    for name in good.keys() - {"kind"}:
        accepted = []
        for odd in ODD_VALUES:
            try:
                result = decode(pack(good | {name: odd}))
            except RemoteProtocolError:
                continue
            assert not isinstance(result, Unknown)
            value = getattr(result, name)
            # A later version's code or an empty list are fine, but never a changed type.
            assert type(value) is type(getattr(message, name))
            assert type(odd) in (type(good[name]), list)
            accepted.append(odd)
        assert len(accepted) <= 4


@pytest.mark.parametrize("message", EXAMPLES, ids=NAMES.values())
def test_every_field_is_needed_but_the_optional(message: Message) -> None:
    good = fields_of(message)
    for name in good.keys() - {"kind"}:
        without = {key: value for key, value in good.items() if key != name}
        if name in ("agent", "reason"):
            assert getattr(decode(pack(without)), name) == ""
        else:
            with pytest.raises(RemoteProtocolError, match=f"has no {name}"):
                decode(pack(without))


INTEGERS = (
    ("hello", "window", 1, 65535),
    ("hello", "port", 0, 65535),
    ("bitfield", "payload", 0, 62_500),
    ("request", "id", 0, 2**32 - 1),
    ("request", "piece", 0, PIECES_MAX - 1),
    ("request_manifest", "id", 0, 2**32 - 1),
    ("data", "id", 0, 2**32 - 1),
    ("data", "offset", 0, 2**25 - 1),
    ("data", "total", 1, 2**25),
    ("data", "payload", 1, 2**24),
    ("reject", "id", 0, 2**32 - 1),
    ("reject", "code", 0, 255),
    ("cancel", "id", 0, 2**32 - 1),
    ("ping", "number", 0, 2**63 - 1),
    ("pong", "number", 0, 2**63 - 1),
    ("bye", "code", 0, 255),
    ("announce", "port", 0, 65535),
    ("announce", "left", 0, 2**63 - 1),
    ("announce", "want", 0, 65535),
    ("announced", "interval", 1, 2**32 - 1),
    ("announced", "seeders", 0, 2**32 - 1),
    ("announced", "leechers", 0, 2**32 - 1),
)


@pytest.mark.parametrize(("kind", "name", "low", "high"), INTEGERS)
def test_integers_end_where_they_should(kind: str, name: str, low: int, high: int) -> None:
    [message] = [message for message in EXAMPLES if NAMES[type(message)] == kind]
    good = fields_of(message)
    for value in (low, high):
        assert not isinstance(decode(pack(good | {name: value})), Unknown)
    for value in (low - 1, high + 1):
        with pytest.raises(RemoteProtocolError, match=f"{kind}.{name}"):
            decode(pack(good | {name: value}))


# --- versions and extensions


@pytest.mark.parametrize("kind", ["hello", "announce"])
def test_another_version_is_told_apart_whatever_else_it_holds(kind: str) -> None:
    with pytest.raises(WrongVersionError) as caught:
        decode(pack({"kind": kind, "version": 2, "share": "who knows"}))
    assert caught.value.bye_code is ByeCode.WRONG_VERSION
    assert RemoteProtocolError("anything").bye_code is ByeCode.PROTOCOL


@pytest.mark.parametrize("version", [None, -1, 65536, True, "1", 1.0])
def test_a_version_that_is_none_is_just_wrong(version: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(pack(fields_of(make_hello()) | {"version": version}))
    assert not isinstance(caught.value, WrongVersionError)


def test_unknown_fields_are_ignored() -> None:
    for message in EXAMPLES:
        more: dict[object, object] = {"": None, "zzz": [1, {"a": [b"x", 1.5]}], "Kind": "other", b"bytes": {}}
        assert decode(pack(fields_of(message) | more)) == message


@pytest.mark.parametrize("key", [0, -1, None, True, 1.5, (), ("a",)])
def test_keys_that_are_no_text_are_refused(key: object) -> None:
    with pytest.raises(RemoteProtocolError, match="a header is not msgpack"):
        decode(pack({"kind": "ping", "number": 1, key: 1}))


def test_unknown_kinds_are_named_with_their_payload() -> None:
    assert decode(pack({"kind": "hologram", "id": -5})) == Unknown("hologram", 0)
    assert decode(pack({"kind": "hologram", "payload": 2**24})) == Unknown("hologram", 2**24)


@pytest.mark.parametrize("payload", [-1, 2**24 + 1, 1.0, True, "5", None])
def test_unknown_kinds_must_have_a_sane_payload(payload: object) -> None:
    with pytest.raises(RemoteProtocolError, match="payload"):
        decode(pack({"kind": "hologram", "payload": payload}))


def test_a_kind_without_payload_has_none() -> None:
    assert decode(pack({"kind": "ping", "number": 1, "payload": 0})) == Ping(1)
    for payload in (1, -1, None, "0"):
        with pytest.raises(RemoteProtocolError, match="payload"):
            decode(pack({"kind": "ping", "number": 1, "payload": payload}))


def test_unknown_codes_are_understood_as_the_harmless_ones() -> None:
    assert decode(pack({"kind": "bye", "code": 200})) == Bye(ByeCode.GOODBYE)
    reject = decode(pack({"kind": "reject", "id": 1, "code": 200}))
    assert not isinstance(reject, Unknown)
    assert getattr(reject, "code", None) is RejectCode.UNREADABLE


# --- texts and lists


def test_texts_are_counted_in_bytes() -> None:
    longest = "é" * (REASON_BYTES_MAX // 2)
    assert decode(encode(Bye(ByeCode.FULL, longest))[4:]) == Bye(ByeCode.FULL, longest)
    with pytest.raises(RemoteProtocolError, match="reason"):
        decode(pack({"kind": "bye", "code": 5, "reason": longest + "é"}))


@given(st.text(), st.integers(0, 30))
def test_clipped_text_fits_and_is_a_beginning(text: str, size: int) -> None:
    clipped = clip_text(text, size)
    assert len(clipped.encode()) <= size
    assert text.encode("utf-8", "replace").decode().startswith(clipped)
    assert len(text.encode("utf-8", "replace")) <= size or len(clipped.encode()) > size - 4


def test_clipping_survives_what_the_file_system_may_say() -> None:
    assert clip_text("no file \udcff") == "no file ?"


def test_the_longest_have_passes_and_no_longer() -> None:
    most = Have(tuple(PieceIndex(PIECES_MAX - 1 - i) for i in range(HAVES_PER_MESSAGE_MAX)))
    assert decode(encode(most)[4:]) == most
    for pieces in (
        [0] * (HAVES_PER_MESSAGE_MAX + 1),
        [],
        [PIECES_MAX],
        [-1],
        [True],
        [1, 1.0],
        ["1"],
        [None],
        1,
    ):
        with pytest.raises(RemoteProtocolError):
            decode(pack({"kind": "have", "pieces": pieces}))


BAD_PEERS: tuple[Any, ...] = (
    None, {}, "x", [None], [[]], [["a", 1]], [["a", 1, None, None]], [["", 1, None]], [["a" * 254, 1, None]],
    [["a b", 1, None]], [["a\n", 1, None]], [["a/b", 1, None]], [["u@host", 1, None]], [["[::1]", 1, None]],
    [["b\u00fccher.example", 1, None]], [["a\x1b[31m", 1, None]], [[b"a", 1, None]], [["a", 0, None]],
    [["a", 65536, None]], [["a", True, None]], [["a", 1, b"short"]], [["a", 1, "x" * 32]], [["a", 1, False]],
    [["a", 1, None]] * 51,
)  # fmt: skip


@pytest.mark.parametrize("peers", BAD_PEERS, ids=repr)
@pytest.mark.parametrize("kind", ["peers", "announced"])
def test_peers_are_addresses_and_nothing_else(kind: str, peers: object) -> None:
    [message] = [message for message in EXAMPLES if NAMES[type(message)] == kind]
    with pytest.raises(RemoteProtocolError, match="peers"):
        decode(pack(fields_of(message) | {"peers": peers}))


# --- what msgpack allows and we do not


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x80",
        pack([{"kind": "ping"}]),
        pack({"kind": None}),
        pack({"kind": b"ping", "number": 1}),
        pack({b"kind": "ping", "number": 1}),
        pack({"kind": ["ping"]}),
        b"\x81\x01\x02",  # an integer as key
        b"\x81\x90\xc0",  # a list as key
        b"\x81\xa4kind\xa1\xff",  # not UTF-8
        b"\x81\xa4kind\xc1",  # a byte that msgpack never uses
        b"\x81\xa4kind\xc7\x00\x05",  # an extension type
        b"\x81\xa4kind" + b"\x91" * 2000 + b"\xc0",  # nested too deep
        b"\x81\xa4kind\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\x81\xa4kind\xdf\xff\xff\xff\xff",
        b"\x81\xa4kind\xdb\xff\xff\xff\xff",
        b"\x81\xa4kind\xc6\xff\xff\xff\xff",
        pack({"kind": "ping", "number": 1, "x": "y" * 5000}),
        pack({"kind": "ping", "number": 1, "x": bytes(5000)}),
        pack({"kind": "ping", "number": 1, "x": [0] * 257}),
        pack({str(i): i for i in range(65)} | {"kind": "ping"}),
        b"\x82" + pack("kind") + pack("ping") + pack("x") + b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
        bytes(HEADER_BYTES_MAX + 1),
    ],
    ids=range(25),
)  # fmt: skip
def test_hostile_headers(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(header)


def test_deep_nesting_in_an_unknown_field_does_not_reach_a_message() -> None:
    """`repr` of a structure 1000 deep raises RecursionError; nobody may hold one."""
    header = (
        b"\x83"
        + pack("kind")
        + pack("ping")
        + pack("number")
        + b"\x01"
        + pack("x")
        + b"\x91" * 1000
        + b"\xc0"
    )
    assert decode(header) == Ping(1)


# --- our own mistakes


@pytest.mark.parametrize(
    "message",
    [
        Ping(-1),
        Ping(True),
        Request(RequestId(2**32), PieceIndex(0)),
        Request(RequestId(0), PieceIndex(PIECES_MAX)),
        Data(RequestId(0), 0, 1, 0),
        Have(()),
        Have((PieceIndex(1),) * (HAVES_PER_MESSAGE_MAX + 1)),
        Bye(ByeCode.FULL, "x" * (REASON_BYTES_MAX + 1)),
        Bye(ByeCode.FULL, "\udcff"),
        Hello(1, ShareId(b"short"), NODE, 1, 0),
        Hello(1, SHARE, NodeId(bytes(33)), 1, 0),
        Hello(1, SHARE, NODE, 0, 0),
        Peers((KnownPeer(Address("b\u00fccher.example", 1)),)),
        Peers((KnownPeer(Address("a", 0)),)),
    ],
    ids=repr,
)  # fmt: skip
def test_we_do_not_send_what_nobody_would_take(message: Message) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message)
