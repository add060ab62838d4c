"""The words between a command and the daemon: whole, byte by byte, and as an enemy would send them."""

import math
from contextlib import suppress
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.control import protocol
from peer.control.protocol import (
    Done,
    Failed,
    FrameReader,
    Get,
    Limits,
    MalformedError,
    Progress,
    Request,
    Share,
    Status,
    decode_answer,
    decode_request,
    encode_answer,
    encode_packed,
    encode_request,
    pack_body,
)
from peer.errors import LocalProtocolError, RemoteProtocolError
from peer.limits import CONTROL_ITEMS_MAX, CONTROL_REQUEST_BYTES_MAX, FRAME_PREFIX_BYTES

TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
RATES = st.none() | st.floats(min_value=0, allow_nan=False)
ITEMS = st.lists(TEXTS, max_size=4).map(tuple)
IDS = st.integers(0, protocol.ID_MAX)

REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(Share, TEXTS, ITEMS, st.none() | TEXTS, RATES, RATES, st.none() | TEXTS),
    st.builds(Get, TEXTS, TEXTS, ITEMS, ITEMS, ITEMS, RATES, RATES, RATES, RATES, st.none() | TEXTS),
    st.builds(Limits, st.none() | TEXTS, RATES, RATES),
    st.builds(Status, st.none() | TEXTS),
    st.builds(protocol.Pause, st.none() | TEXTS),
    st.builds(protocol.Resume, st.none() | TEXTS),
    st.builds(protocol.Remove, TEXTS),
    st.just(protocol.List()),
    st.just(protocol.Stop()),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(TEXTS, st.integers(0, 2**40) | TEXTS | st.booleans(), max_size=5)


def frames_of(data: bytes) -> list[bytes]:
    """Everything that a reader makes of the bytes, fed one by one."""
    reader = FrameReader(CONTROL_REQUEST_BYTES_MAX)
    found = []
    for number in range(len(data)):
        reader.feed(data[number : number + 1])
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found


@given(IDS, REQUESTS)
def test_every_request_survives(id: int, request: Request) -> None:
    frame = encode_request(id, request)
    reader = FrameReader(CONTROL_REQUEST_BYTES_MAX)
    reader.feed(frame)
    content = reader.next_frame()
    assert content is not None
    assert decode_request(content) == (id, request)
    assert not reader.inside_frame


@given(st.lists(st.tuples(IDS, REQUESTS), max_size=3))
def test_frames_come_whole_whatever_the_pieces(sent: list[tuple[int, Request]]) -> None:
    data = b"".join(encode_request(id, request) for id, request in sent)
    assert [decode_request(frame) for frame in frames_of(data)] == sent


@given(REQUESTS, st.binary(min_size=1, max_size=8))
def test_bytes_after_a_request_are_no_part_of_it(request: Request, rest: bytes) -> None:
    frame = encode_request(1, request)
    with pytest.raises(MalformedError):
        decode_request(frame[FRAME_PREFIX_BYTES:] + rest)


@given(REQUESTS, st.data())
def test_a_cut_request_is_refused(request: Request, data: st.DataObject) -> None:
    content = encode_request(1, request)[FRAME_PREFIX_BYTES:]
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(MalformedError):
        decode_request(content[:cut])


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with suppress(MalformedError):
            decode(noise)


@given(st.dictionaries(st.sampled_from(["do", "id", "share", "path", "link", "up", "only", "x"]), VALUES))
def test_any_map_is_a_request_or_refused(message: dict[str, Any]) -> None:
    try:
        id, request = decode_request(msgpack.packb(message))
    except MalformedError:
        return
    assert decode_request(encode_request(id, request)[FRAME_PREFIX_BYTES:]) == (id, request)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({}, "no request"),
        ({"do": "dance"}, "'dance'"),
        ({"do": b"list"}, "no request"),
        ({"do": "share"}, "path is missing"),
        ({"do": "share", "path": 7}, "path"),
        ({"do": "share", "path": "/x\0y"}, "path"),
        ({"do": "status", "colour": "red"}, "'colour'"),
        ({"do": "limits", "up": "fast"}, "up"),
        ({"do": "limits", "up": -1}, "up"),
        ({"do": "limits", "up": True}, "up"),
        ({"do": "limits", "up": math.nan}, "up"),
        ({"do": "get", "link": "x", "folder": "/", "only": "a"}, "only"),
        ({"do": "get", "link": "x", "folder": "/", "only": [1]}, "only"),
        ({"do": "list", "id": -1}, "id"),
        ({"do": "list", "id": 2**33}, "id"),
        ({"do": "list", "id": "1"}, "id"),
    ],
)
def test_what_is_wrong_is_named(message: dict[str, Any], word: str) -> None:
    with pytest.raises(MalformedError, match=word):
        decode_request(msgpack.packb(message))


def test_a_refusal_goes_to_whoever_asked() -> None:
    with pytest.raises(MalformedError) as caught:
        decode_request(msgpack.packb({"do": "dance", "id": 7}))
    assert caught.value.id == 7


@pytest.mark.parametrize(
    "value",
    [
        ["a"] * (CONTROL_ITEMS_MAX + 1),
        {f"k{number}": 0 for number in range(100)},
        "x" * CONTROL_REQUEST_BYTES_MAX,
        msgpack.ExtType(1, b"x"),
    ],
)
def test_what_is_too_much_is_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        decode_request(msgpack.packb({"do": "status", "share": value}))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(MalformedError):
        decode_request(b"\x91" * 60_000)


@pytest.mark.parametrize("length", [0, CONTROL_REQUEST_BYTES_MAX + 1, 2**32 - 1])
def test_a_length_that_cannot_be_ends_the_stream(length: int) -> None:
    reader = FrameReader(CONTROL_REQUEST_BYTES_MAX)
    reader.feed(length.to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError) as caught:
        reader.next_frame()
    assert not isinstance(caught.value, MalformedError), "there is no next frame after this"


def test_a_request_that_no_daemon_would_read_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        encode_request(1, Get("x" * 30_000, "/y" * 30_000))


@given(IDS, BODIES, st.booleans())
def test_every_answer_survives(id: int, body: dict[str, Any], progress: bool) -> None:
    answer = Progress(id, body) if progress else Done(id, body)
    content = encode_answer(answer)[FRAME_PREFIX_BYTES:]
    assert decode_answer(content) == answer
    assert encode_packed(id, pack_body(body), progress=progress)[FRAME_PREFIX_BYTES:] == content


@given(IDS, st.integers(0, 255), TEXTS)
def test_every_failure_survives(id: int, code: int, text: str) -> None:
    failed = Failed(id, code, text)
    assert decode_answer(encode_answer(failed)[FRAME_PREFIX_BYTES:]) == failed


def test_an_answer_that_is_too_large_says_so() -> None:
    content = encode_packed(3, pack_body({"x": "y" * (17 << 20)}))[FRAME_PREFIX_BYTES:]
    assert isinstance(decode_answer(content), Failed)


def test_paths_that_are_no_text_survive() -> None:
    odd = b"/tmp/\xff\xfe".decode("utf-8", "surrogateescape")
    content = encode_request(1, Share(odd))[FRAME_PREFIX_BYTES:]
    assert decode_request(content) == (1, Share(odd))
