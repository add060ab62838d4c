"""Frames come out the same however the stream cuts them, and payload lands where it should without a copy."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from peer.ids import RequestId
from peer.limits import FRAME_READ_BYTES, HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, SCRATCH_BYTES
from peer.wire.codec import encode
from peer.wire.framing import FrameReader, Part
from peer.wire.messages import Bitfield, Data, Message, Ping
from tests.pure.wire_helpers import EXAMPLES, SPLITS, Splits, byte_by_byte, frame, payload_of, randomly, whole


@dataclass
class Read:
    """Everything that came out of a reader, with the payload of each message (None: dropped)."""

    messages: list[tuple[Message, bytes | None]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def read(stream: bytes, split: Splits, *, drop: bool = False, reader: FrameReader | None = None) -> Read:
    """Run a stream through a reader, as a session would."""
    reader = reader or FrameReader()
    result = Read()
    sink = bytearray()
    message: Message | None = None
    position = 0

    def take_events() -> None:
        nonlocal sink, message
        while (item := reader.next_event()) is not None:
            reader.check_invariants()
            if isinstance(item, Part):
                result.counts.append(item.count)
                assert message is not None
                if item.left == 0:
                    result.messages.append((message, None if drop else bytes(sink)))
            elif isinstance(item, Data | Bitfield) and item.payload:
                message = item
                sink = bytearray(item.payload)
                if not drop:
                    reader.payload_into(memoryview(sink))
            else:
                result.messages.append((item, None if drop else b""))

    for size in split(len(stream)):
        arrived = position + size
        while position < arrived:
            buffer = reader.get_buffer()
            assert len(buffer) > 0
            count = min(len(buffer), arrived - position)
            buffer[:count] = stream[position : position + count]
            position += count
            reader.buffer_updated(count)
            reader.check_invariants()
            take_events()
    assert reader.bytes == len(stream)
    return result


def stream_of(messages: list[Message]) -> bytes:
    return b"".join(encode(message) + payload_of(message) for message in messages)


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_every_kind(split: Splits) -> None:
    messages = [*EXAMPLES, *reversed(EXAMPLES)]
    assert read(stream_of(messages), split).messages == [(m, payload_of(m)) for m in messages]


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("payload", [1, 3, 4000, FRAME_READ_BYTES, FRAME_READ_BYTES + 1, 100_000])
def test_payload_of_any_length_between_small_frames(payload: int, split: Splits) -> None:
    messages: list[Message] = [
        Ping(1),
        Data(RequestId(5), 0, payload, payload),
        Ping(2),
        Bitfield(0),
        Ping(3),
    ]
    assert read(stream_of(messages), split).messages == [(m, payload_of(m)) for m in messages]


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_payload_without_a_destination_is_dropped_but_counted(split: Splits) -> None:
    messages: list[Message] = [Data(RequestId(5), 0, 70_000, 70_000), Ping(2), Bitfield(3), Ping(3)]
    result = read(stream_of(messages), split, drop=True)
    assert [message for message, _ in result.messages] == messages
    assert sum(result.counts) == 70_003


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("payload", [0, 1, 5000, 200_000])
def test_unknown_kinds_are_skipped_with_their_payload(payload: int, split: Splits) -> None:
    unknown = frame({"kind": "hologram", "payload": payload, "depth": [3]}, b"\xff" * payload)
    reader = FrameReader()
    stream = encode(Ping(1)) + unknown + unknown + encode(Ping(2)) + unknown
    assert read(stream, split, reader=reader).messages == [(Ping(1), b""), (Ping(2), b"")]
    assert reader.unknown_frames == 3
    assert reader.frames == 5
    assert not reader.inside_frame


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("padding", [FRAME_READ_BYTES - 60, FRAME_READ_BYTES, 3 * FRAME_READ_BYTES])
def test_headers_longer_than_a_read(padding: int, split: Splits) -> None:
    texts = {f"x{i}": "y" * 1000 for i in range(padding // 1000)} | {"rest": "z" * (padding % 1000)}
    long = frame({"kind": "ping", "number": 7} | texts)
    stream = encode(Ping(1)) + long + encode(Ping(2)) + long + long
    assert [m for m, _ in read(stream, split).messages] == [Ping(1), Ping(7), Ping(2), Ping(7), Ping(7)]


def header_of_length(length: int) -> bytes:
    """A ping whose header is exactly that long."""
    fields: dict[str, object] = {"kind": "ping", "number": 7}
    while (missing := length + 4 - len(frame(fields))) > 4000:
        fields[f"x{len(fields)}"] = bytes(3000)
    for fill in range(missing - 20, missing):
        if len(result := frame(fields | {"fill": bytes(fill)})) == length + 4:
            return result
    raise AssertionError("cannot build it")


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_the_longest_header(split: Splits) -> None:
    stream = header_of_length(HEADER_BYTES_MAX) + encode(Ping(1))
    assert [m for m, _ in read(stream, split).messages] == [Ping(7), Ping(1)]
    longer = header_of_length(HEADER_BYTES_MAX + 1)
    with pytest.raises(RemoteProtocolError, match="header of 65537 bytes"):
        read(longer, split)


@pytest.mark.parametrize("length", [0, HEADER_BYTES_MAX + 1, 2**31, 2**32 - 1])
def test_a_bad_length_is_refused_before_anything_is_read_for_it(length: int) -> None:
    reader = FrameReader()
    prefix = length.to_bytes(4, "big")
    for byte in prefix[:3]:
        reader.get_buffer()[0] = byte
        reader.buffer_updated(1)
        assert reader.next_event() is None
    reader.get_buffer()[0] = prefix[3]
    reader.buffer_updated(1)
    with pytest.raises(RemoteProtocolError, match="header of"):
        reader.next_event()


def test_an_endless_payload_is_refused() -> None:
    for payload in (PAYLOAD_BYTES_MAX + 1, 2**63 - 1):
        for kind in ("data", "hologram"):
            stream = frame({"kind": kind, "id": 0, "offset": 0, "total": 1, "payload": payload})
            with pytest.raises(RemoteProtocolError, match="payload"):
                read(stream, whole)


def test_good_frames_before_a_bad_one_still_come_out() -> None:
    reader = FrameReader()
    stream = encode(Ping(1)) + encode(Ping(2)) + b"\0\0\0\0"
    reader.get_buffer()[: len(stream)] = stream
    reader.buffer_updated(len(stream))
    assert reader.next_event() == Ping(1)
    assert reader.next_event() == Ping(2)
    with pytest.raises(RemoteProtocolError):
        reader.next_event()


def test_payload_is_received_straight_into_its_place() -> None:
    reader = FrameReader()
    size = 1_000_000
    sink = bytearray(size)
    header = encode(Data(RequestId(0), 0, size, size))
    early = b"early"
    first = reader.get_buffer()
    assert len(first) == FRAME_READ_BYTES, "what is read along with a header is little"
    first[: len(header) + 5] = header + early
    reader.buffer_updated(len(header) + 5)
    assert isinstance(reader.next_event(), Data)
    reader.payload_into(memoryview(sink))
    assert reader.next_event() == Part(5, size - 5)
    assert reader.next_event() is None
    buffer = reader.get_buffer()
    assert buffer.obj is sink
    assert len(buffer) == size - 5, "never more than the payload, or the next frame would land in it"
    buffer[:] = b"z" * len(buffer)
    reader.buffer_updated(len(buffer))
    assert reader.next_event() == Part(size - 5, 0)
    assert sink == early + b"z" * (size - 5)
    assert not reader.inside_frame


def test_dropped_payload_costs_no_more_memory_than_scratch() -> None:
    reader = FrameReader()
    header = encode(Data(RequestId(0), 0, 2**24, 2**24))
    reader.get_buffer()[: len(header)] = header
    reader.buffer_updated(len(header))
    assert isinstance(reader.next_event(), Data)
    assert reader.next_event() is None
    assert len(reader.get_buffer()) == SCRATCH_BYTES
    reader.buffer_updated(10)
    assert reader.next_event() == Part(10, 2**24 - 10)


def test_parts_add_up_when_events_are_taken_late() -> None:
    reader = FrameReader()
    sink = bytearray(300)
    header = encode(Data(RequestId(0), 0, 300, 300))
    reader.get_buffer()[: len(header)] = header
    reader.buffer_updated(len(header))
    reader.next_event()
    reader.payload_into(memoryview(sink))
    for _ in range(3):
        assert reader.get_buffer().obj is sink
        reader.buffer_updated(100)
    assert reader.next_event() == Part(300, 0)


# --- the end of the stream


def test_an_end_is_clean_only_between_frames() -> None:
    messages: list[Message] = [Ping(1), Data(RequestId(0), 0, 10, 10), Ping(2)]
    stream = stream_of(messages)
    clean = {0}
    for message in messages:
        clean.add(max(clean) + len(encode(message)) + len(payload_of(message)))
    for end in range(len(stream) + 1):
        for split in (whole, byte_by_byte):
            reader = FrameReader()
            read(stream[:end], split, reader=reader)
            assert reader.inside_frame == (end not in clean)
            if end in clean:
                reader.eof()
            else:
                with pytest.raises(ConnectionLost):
                    reader.eof()


def test_an_end_inside_skipped_payload_is_inside_a_frame() -> None:
    reader = FrameReader()
    read(frame({"kind": "hologram", "payload": 5}, b"1234"), whole, reader=reader)
    with pytest.raises(ConnectionLost):
        reader.eof()


# --- misuse


def test_misuse_is_told() -> None:
    reader = FrameReader()
    with pytest.raises(LocalProtocolError):
        reader.buffer_updated(1)  # into no buffer
    reader.get_buffer()
    with pytest.raises(LocalProtocolError):
        reader.buffer_updated(FRAME_READ_BYTES + 1)
    with pytest.raises(LocalProtocolError):
        reader.buffer_updated(-1)
    with pytest.raises(LocalProtocolError):
        reader.payload_into(memoryview(bytearray(1)))
    header = encode(Data(RequestId(0), 0, 10, 10))
    reader.get_buffer()[: len(header)] = header
    reader.buffer_updated(len(header))
    reader.next_event()
    for wrong in (9, 11):
        with pytest.raises(LocalProtocolError):
            reader.payload_into(memoryview(bytearray(wrong)))
    reader.payload_into(memoryview(bytearray(10)))
    with pytest.raises(LocalProtocolError):
        reader.payload_into(memoryview(bytearray(10)))


def test_receiving_more_before_the_events_are_taken_is_told() -> None:
    reader = FrameReader()
    stream = header_of_length(2 * FRAME_READ_BYTES)
    for start, end in ((0, FRAME_READ_BYTES), (FRAME_READ_BYTES, len(stream))):
        reader.get_buffer()[: end - start] = stream[start:end]
        reader.buffer_updated(end - start)
        if not start:
            assert reader.next_event() is None
    with pytest.raises(LocalProtocolError, match="take events"):
        reader.get_buffer()
    assert reader.next_event() == Ping(7)


# --- everything at once

frames = st.one_of(
    st.sampled_from(EXAMPLES).map(lambda message: (message, encode(message) + payload_of(message))),
    st.integers(1, 20_000).map(
        lambda size: (
            Data(RequestId(1), 0, size, size),
            encode(Data(RequestId(1), 0, size, size)) + bytes(size),
        )
    ),
    st.integers(0, 10_000).map(
        lambda size: (None, frame({"kind": "hologram", "payload": size}, bytes(size)))
    ),
)


@given(st.lists(frames, max_size=12), st.integers(0, 2**32), st.booleans())
def test_any_frames_in_any_split(items: list[tuple[Message | None, bytes]], seed: int, drop: bool) -> None:
    stream = b"".join(data for _, data in items)
    result = read(stream, randomly(seed), drop=drop)
    assert [message for message, _ in result.messages] == [m for m, _ in items if m is not None]
    again = read(stream, whole, drop=drop)
    assert again.messages == result.messages
    assert sum(again.counts) == sum(result.counts)


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_garbage_ends_the_same_in_any_split(stream: bytes, seed: int) -> None:
    outcomes = []
    for split in (whole, byte_by_byte, randomly(seed)):
        try:
            outcomes.append(str(read(stream, split).messages))
        except RemoteProtocolError as error:
            outcomes.append(str(error))
    assert len(set(outcomes)) == 1
