"""The journal's records: what was written comes back, and no damage makes anything else of it."""

import struct
import zlib

from hypothesis import example, given
from hypothesis import strategies as st

from peer.bitfield import Bitfield
from peer.ids import ShareId
from peer.store.records import Clean, Contents, Durable, Header, Lost, Record, Written, decode, encode

PIECES = 300
HEADER = Header(ShareId(bytes(range(32))), PIECES)

sets = st.frozensets(st.integers(0, PIECES - 1), max_size=PIECES).map(lambda s: tuple(sorted(s)))
records: st.SearchStrategy[Record] = st.one_of(
    sets.map(Written),
    sets.map(Durable),
    sets.map(Lost),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(lambda times: Clean(tuple(times))),
)


def journal(*made: Record) -> tuple[bytes, list[int]]:
    """The bytes, and where each record ends."""
    data, checksum = encode(HEADER)
    ends = [len(data)]
    for record in made:
        part, checksum = encode(record, checksum, PIECES)
        data += part
        ends.append(len(data))
    return data, ends


def meaning(*made: Record) -> tuple[set[int], set[int], tuple[int, ...] | None]:
    """The model: (hinted, durable, times)."""
    hinted: set[int] = set()
    durable: set[int] = set()
    times = None
    for record in made:
        match record:
            case Written(pieces):
                hinted |= set(pieces) - durable
            case Durable(pieces):
                durable |= set(pieces)
                hinted -= durable
            case Lost(pieces):
                durable -= set(pieces)
                hinted -= set(pieces)
            case Header() | Clean():
                pass
        times = record.times_ns if isinstance(record, Clean) else None
    return hinted, durable, times


def read(data: bytes) -> tuple[set[int], set[int], tuple[int, ...] | None] | None:
    contents = decode(data)
    if contents is None:
        return None
    assert contents.header == HEADER
    return set(contents.hinted.indices()), set(contents.durable.indices()), contents.times_ns


@given(st.lists(records, max_size=8))
def test_what_was_written_comes_back(made: list[Record]) -> None:
    data, ends = journal(*made)
    assert read(data) == meaning(*made)
    contents = decode(data)
    assert contents is not None
    assert contents.end == ends[-1]


@given(st.lists(records, max_size=3))
def test_cut_at_every_byte_it_says_what_its_whole_records_say(made: list[Record]) -> None:
    data, ends = journal(*made)
    for length in range(len(data) + 1):
        whole = sum(end <= length for end in ends)
        expected = meaning(*made[: whole - 1]) if whole else None
        assert read(data[:length]) == expected


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_flipped_bit_cuts_from_its_record_on(made: list[Record], draw: st.DataObject) -> None:
    data, ends = journal(*made)
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    whole = sum(end <= bit // 8 for end in ends)
    assert read(bytes(damaged)) == (meaning(*made[: whole - 1]) if whole else None)


@given(st.lists(records, max_size=4), st.binary(max_size=200))
def test_garbage_behind_it_is_cut(made: list[Record], garbage: bytes) -> None:
    data, _ = journal(*made)
    assert read(data + garbage) == meaning(*made)
    assert read(data + bytes(4096)) == meaning(*made)


@given(st.binary(max_size=300))
def test_garbage_alone_is_nothing(garbage: bytes) -> None:
    assert decode(garbage) is None


@given(st.lists(records, min_size=2, max_size=4), records)
def test_leftovers_of_an_older_tail_are_disowned(older: list[Record], newer: Record) -> None:
    """A record goes where a failed one stood: what sticks out behind it, whole records even, is not read."""
    data, ends = journal(*older)
    start = data[: ends[1]]
    contents = decode(start)
    assert contents is not None
    part, _ = encode(newer, contents.checksum, PIECES)
    patched = start + part + data[len(start) + len(part) :]
    expected = meaning(older[0], newer)
    if part == data[len(start) : len(start) + len(part)]:
        expected = meaning(*older)
    assert read(patched) == expected


@given(st.lists(records, max_size=3), st.lists(records, max_size=3))
def test_appending_continues_where_reading_ended(first: list[Record], second: list[Record]) -> None:
    data, _ = journal(*first)
    contents = decode(data + b"torn")
    assert contents is not None
    checksum = contents.checksum
    data = data[: contents.end]
    for record in second:
        part, checksum = encode(record, checksum, PIECES)
        data += part
    assert read(data) == meaning(*first, *second)


def test_a_valid_checksum_does_not_make_nonsense_legal() -> None:
    """Pieces beyond the share, another version, an unknown kind: the journal ends before them."""
    good, _ = journal(Durable((1,)))
    for strange in (Durable((PIECES,)), Written((2**32 - 1,))):
        _, checksum = encode(HEADER)
        _, checksum = encode(Durable((1,)), checksum, PIECES)
        part, _ = encode(strange, checksum, 10**9)
        assert read(good + part) == (set(), {1}, None)
    assert decode(encode(Written((1,)))[0]) is None


@given(
    st.integers(1, 6) | st.integers(0, 255), st.binary(max_size=50) | st.binary(max_size=9).map(b"\0".__add__)
)
@example(3, b"\0\0\0\0\1\0").via("a list of one number and a quarter")
@example(5, bytes(9)).via("one time and an eighth")
def test_what_a_valid_checksum_covers_is_read_whole_or_ends_the_journal(kind: int, payload: bytes) -> None:
    good, checksum = encode(HEADER)
    part = struct.pack(">IB", len(payload), kind) + payload
    part += struct.pack(">I", zlib.crc32(part, checksum))
    contents = decode(good + part)
    assert contents is not None
    if contents.end == len(good):
        assert contents == decode(good)
        return
    assert contents.end == len(good + part)
    if kind == 5:
        assert contents.times_ns is not None
        assert 8 * len(contents.times_ns) == len(payload)
    elif payload[0] == 0:
        assert len(payload) % 4 == 1


@given(st.integers(0, 5), st.binary(max_size=50))
@example(1, bytes(36)).via("a header that is too short")
@example(1, bytes(38)).via("a header that is too long")
@example(2, encode(HEADER)[0][5:-4]).via("a header under another kind's number")
def test_only_a_header_begins_a_journal(kind: int, payload: bytes) -> None:
    part = struct.pack(">IB", len(payload), kind) + payload
    assert decode(part + struct.pack(">I", zlib.crc32(part, zlib.crc32(b"manyhands journal")))) is None


def test_a_set_takes_the_shorter_form() -> None:
    everything, _ = encode(Durable(tuple(range(PIECES))), piece_count=PIECES)
    single, _ = encode(Durable((7,)), piece_count=PIECES)
    assert len(everything) == 9 + 1 + (PIECES + 7) // 8
    assert len(single) == 9 + 1 + 4


def test_contents_start_empty() -> None:
    contents = decode(encode(HEADER)[0])
    assert contents == Contents(
        HEADER, Bitfield(PIECES), Bitfield(PIECES), None, len(encode(HEADER)[0]), encode(HEADER)[1]
    )
