"""What a daemon keeps of a share: read back as written, or refused with a line."""

import json
from dataclasses import replace
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.daemon.records import OPTIONAL, RECORD_VERSION, Role, ShareRecord, Stamps
from peer.errors import StorageError
from peer.ids import ShareId
from peer.store.filesystem import FileState

SHARE = ShareId(bytes(range(32)))
TEXTS = st.text(
    st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=12
)
ADDRESSES = st.sampled_from(["192.0.2.7:7701", "[2001:db8::1]:1", "example.org:65535"])
PEERS = ADDRESSES | ADDRESSES.map(f"{'ab' * 32}@".__add__)
RATES = st.none() | st.floats(0, 1e12)
RECORDS = st.builds(
    ShareRecord,
    share=st.just(SHARE),
    role=st.sampled_from(Role),
    name=TEXTS,
    path=TEXTS.map("/".__add__),
    order=st.integers(0, 10**6),
    complete=st.booleans(),
    paused=st.booleans(),
    trackers=st.lists(ADDRESSES, max_size=3).map(tuple),
    peers=st.lists(PEERS, max_size=3).map(tuple),
    only=st.lists(TEXTS, max_size=3).map(tuple),
    announce=st.none() | ADDRESSES,
    announce_host=st.none() | st.sampled_from(["files.example", "192.0.2.7", "2001:db8::1"]),
    up=RATES,
    down=RATES,
    seed_s=RATES,
    total_bytes=st.integers(0, 2**63),
    files=st.integers(0, 10**5),
    publish=st.none() | TEXTS,
    piece_order=st.none() | st.sampled_from(["rarest", "in-order", "random"]),
)
NUMBERS = st.integers(0, 2**63)
STATES = st.builds(FileState, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans())
PATHS = st.lists(TEXTS.filter(lambda text: text not in (".", "..")), min_size=1, max_size=4).map(tuple)
RECORD = ShareRecord(SHARE, Role.GET, "name", "/folder", 1)


@given(RECORDS)
def test_a_record_survives(record: ShareRecord) -> None:
    assert ShareRecord.decode(record.encode(), SHARE) == record


@given(st.binary(max_size=100))
def test_noise_is_a_damaged_record(noise: bytes) -> None:
    with pytest.raises(StorageError, match="damaged"):
        ShareRecord.decode(noise, SHARE)


@given(RECORDS, st.data())
def test_a_cut_record_is_damaged(record: ShareRecord, data: st.DataObject) -> None:
    encoded = record.encode()
    cut = data.draw(st.integers(0, len(encoded) - 2))  # the last byte is a line's end
    with pytest.raises(StorageError):
        ShareRecord.decode(encoded[:cut], SHARE)


@pytest.mark.parametrize(
    "change",
    [
        {"share": "00" * 32},
        {"share": "00"},
        {"share": 7},
        {"role": "thief"},
        {"announce": "no address"},
        {"trackers": ["no address"]},
        {"trackers": [f"{'ab' * 32}@192.0.2.7:7700"]},
        {"peers": ["abcd@192.0.2.7:7701"]},
        {"name": ""},
        {"name": "a/b"},
        {"name": 7},
        {"path": "relative"},
        {"complete": 1},
        {"up": "fast"},
        {"up": -1},
        {"up": True},
        {"trackers": "host:1"},
        {"trackers": [1]},
        {"total_bytes": -1},
        {"total_bytes": 1.5},
        {"order": "first"},
        {"announce": 5},
        {"publish": ["x"]},
        {"optional": {"announce_host": "files.example:7701"}},
        {"optional": {"announce_host": "no host"}},
        {"optional": {"announce_host": ["x"]}},
        {"piece_order": "backwards"},
        {"piece_order": ["rarest"]},
        {"optional": 7},
        {"optional": ["colour"]},
        {"optional": {"complete": 1}},
    ],
)
def test_a_record_that_makes_no_sense_is_damaged(change: dict[str, Any]) -> None:
    values = json.loads(RECORD.encode()) | change
    with pytest.raises(StorageError, match="damaged"):
        ShareRecord.decode(json.dumps(values).encode(), SHARE)


def test_what_a_newer_program_calls_optional_is_passed_over() -> None:
    """Every new field made the record one that older programs told people to remove."""
    extra = {"colour": "red", "depth": [1, {}], "piece_order": "in-order"}
    values = json.loads(RECORD.encode()) | {OPTIONAL: extra}
    assert ShareRecord.decode(json.dumps(values).encode(), SHARE) == replace(RECORD, piece_order="in-order")


def test_a_program_that_knows_no_host_without_a_port_still_reads_the_record() -> None:
    values = json.loads(replace(RECORD, announce_host="files.example").encode())
    assert "announce_host" not in values
    assert values[OPTIONAL] == {"announce_host": "files.example"}


def test_a_field_that_only_a_newer_program_knows_is_no_damage() -> None:
    """After a downgrade people were told to remove their shares. It may be a limit: it is not passed over."""
    values = json.loads(RECORD.encode()) | {"colour": "red"}
    with pytest.raises(StorageError, match=r"'colour'.*update this program") as caught:
        ShareRecord.decode(json.dumps(values).encode(), SHARE)
    assert "remove" not in str(caught.value)


def test_a_record_of_a_newer_program_says_so() -> None:
    values = json.loads(RECORD.encode()) | {"version": RECORD_VERSION + 1, "colour": "red"}
    with pytest.raises(StorageError, match="update"):
        ShareRecord.decode(json.dumps(values).encode(), SHARE)


def test_limits_change_stay_and_go() -> None:
    limited = RECORD.with_limits(100.0, None)
    assert (limited.up, limited.down) == (100.0, None)
    assert limited.with_limits(None, 50.0).up == 100.0
    assert limited.with_limits(float("inf"), None).up is None
    assert limited.with_limits(0.0, None).up == 0.0, "nothing at all is a limit too"


@given(st.lists(st.tuples(PATHS, STATES), max_size=5))
def test_stamps_survive(rows: list[tuple[tuple[str, ...], FileState]]) -> None:
    stamps = Stamps("/root", tuple(path for path, _ in rows), tuple(state for _, state in rows))
    assert Stamps.decode(stamps.encode()) == stamps


@given(st.binary(max_size=100))
def test_noise_is_damaged_stamps(noise: bytes) -> None:
    with pytest.raises(StorageError, match="damaged"):
        Stamps.decode(noise)


@given(st.lists(st.tuples(PATHS, STATES), min_size=1, max_size=3), st.data())
def test_cut_stamps_and_trailing_bytes_are_damaged(
    rows: list[tuple[tuple[str, ...], FileState]], data: st.DataObject
) -> None:
    encoded = Stamps("/root", tuple(path for path, _ in rows), tuple(state for _, state in rows)).encode()
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"x"):
        with pytest.raises(StorageError):
            Stamps.decode(wrong)


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\0", 7])
def test_a_stamp_never_leads_elsewhere(part: object) -> None:
    packed = msgpack.packb((1, "/root", [((part,), 1, 2, 3, 4, False)]))
    with pytest.raises(StorageError):
        Stamps.decode(packed)
