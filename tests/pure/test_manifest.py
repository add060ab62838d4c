"""A manifest reads back as it was written, and nothing that is not exactly that can be read at all."""

from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from peer import manifest as manifest_module
from peer import paths
from peer.errors import ManifestError
from peer.ids import ShareId
from peer.limits import (
    FILES_MAX,
    FOLDERS_MAX,
    GIB,
    KIB,
    MANIFEST_BYTES_MAX,
    MIB,
    PATH_DEPTH_MAX,
    PIECE_BYTES_MIN,
    PIECES_MAX,
    SHARE_BYTES_MAX,
)
from peer.manifest import (
    EMPTY_DIGEST,
    FileEntry,
    Manifest,
    count_pieces,
    piece_bytes_for,
    share_id_of,
)
from peer.paths import printable

PIECE = PIECE_BYTES_MIN
decode = Manifest.decode


def digest_of(*parts: object) -> bytes:
    return blake3(repr(parts).encode()).digest()


def build(sizes: dict[str, int], folders: tuple[str, ...] = (), piece_bytes: int = PIECE) -> Manifest:
    """A legal manifest with these files; the hashes are invented but agree where they must."""
    files = tuple(
        FileEntry(
            tuple(path.split("/")) if path else (), size, digest_of(path) if size else EMPTY_DIGEST, False
        )
        for path, size in sorted(sizes.items(), key=lambda item: item[0].split("/"))
    )
    large = [file for file in files if file.size >= piece_bytes]
    small = [file for file in files if 0 < file.size < piece_bytes]
    pieces = []
    for file in large:
        count = -(-file.size // piece_bytes)
        pieces += (
            [file.digest] if file.size == piece_bytes else [digest_of(file.path, i) for i in range(count)]
        )
    packed = -(-sum(file.size for file in small) // piece_bytes)
    pieces += [small[0].digest] if len(small) == 1 else [digest_of("packed", i) for i in range(packed)]
    return Manifest(
        piece_bytes, files, tuple(tuple(folder.split("/")) for folder in sorted(folders)), b"".join(pieces)
    )


SAMPLES = {
    "a single file": build({"": 3 * PIECE + 5}),
    "a single small file": build({"": 5}),
    "a single empty file": build({"": 0}),
    "an empty folder": build({}),
    "only empty folders": build({}, ("a", "b/c")),
    "a tree": build({"a": 1, "b/c": 2 * PIECE, "b/d/é": PIECE, "z": 0, "y": 7}, ("e", "b/f")),
}


@pytest.mark.parametrize("manifest", SAMPLES.values(), ids=SAMPLES.keys())
def test_round_trip(manifest: Manifest) -> None:
    data = manifest.encode()
    share_id = share_id_of(data)
    for again in (decode(data), decode(data, share_id)):
        assert again == manifest
        assert again.share_id == share_id == manifest.share_id == blake3(data).digest()
        assert again.encode() == data
    assert manifest.piece_count == count_pieces(PIECE, [file.size for file in manifest.files])


def test_the_encoding_is_pinned() -> None:
    """A byte changed here changes every share id: docs/protocol.md and the version go along."""
    manifest = Manifest(
        PIECE,
        (FileEntry(("d", "x"), 3, b"\x01" * 32, True), FileEntry(("e",), 0, EMPTY_DIGEST, False)),
        (("f",),),
        b"\x01" * 32,
    )
    assert manifest.encode() == (
        b"\x85"
        b"\xa5files\x92"
        b"\x94\x92\xa1d\xa1x\x03\xc4\x20" + b"\x01" * 32 + b"\xc3"
        b"\x94\x91\xa1e\x00\xc4\x20" + EMPTY_DIGEST + b"\xc2"
        b"\xa7folders\x91\x91\xa1f"
        b"\xabpiece_bytes\xcd\x40\x00"
        b"\xa6pieces\xc4\x20" + b"\x01" * 32 + b"\xa7version\x01"
    )


def test_properties() -> None:
    manifest = SAMPLES["a tree"]
    assert not manifest.is_single_file
    assert manifest.total_bytes == 8 + 3 * PIECE
    assert manifest.piece_count == 4
    assert manifest.piece_digest(2) == manifest.files[2].digest
    for piece in (-1, 4):
        with pytest.raises(IndexError):
            manifest.piece_digest(piece)
    assert SAMPLES["a single file"].is_single_file
    assert "digest" in repr(manifest)
    assert len(repr(manifest)) < 2000, "piece hashes stay out of logs"


def refused(data: bytes, expected: ShareId | None = None) -> str:
    with pytest.raises(ManifestError) as caught:
        decode(data, expected)
    text = str(caught.value)
    assert printable(text) == text
    assert len(text) < 500
    return text


@pytest.mark.parametrize("manifest", SAMPLES.values(), ids=SAMPLES.keys())
def test_every_truncation_and_every_trailing_byte_is_refused(manifest: Manifest) -> None:
    data = manifest.encode()
    for length in range(len(data)):
        refused(data[:length])
    for more in (b"\0", b"\xc0", b"\x80", data):
        refused(data + more)


def test_another_manifest_than_the_link_names_is_refused() -> None:
    one, other = SAMPLES["a tree"], SAMPLES["a single file"]
    assert "hash" in refused(one.encode(), other.share_id)


@given(st.data())
def test_a_changed_byte_never_goes_unnoticed(data: st.DataObject) -> None:
    """What still decodes is a different, legal manifest with a different id."""
    encoded = bytearray(SAMPLES["a tree"].encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        manifest = decode(bytes(encoded))
    except ManifestError:
        pass
    else:
        assert manifest.encode() == encoded
        assert manifest.share_id != SAMPLES["a tree"].share_id
    refused(bytes(encoded), SAMPLES["a tree"].share_id)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    refused(data)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_wrong_values_anywhere_raise_nothing_else(data: st.DataObject) -> None:
    """The right shape with any value replaced by anything."""
    content = as_plain(SAMPLES["a tree"])
    key = data.draw(st.sampled_from(sorted(content)))
    if key in ("files", "folders") and data.draw(st.booleans()):
        entry = data.draw(st.sampled_from(content[key]))
        entry[data.draw(st.integers(0, len(entry) - 1))] = data.draw(plain)
    else:
        content[key] = data.draw(plain)
    packed = msgpack.packb(content)
    try:
        manifest = decode(packed)
    except ManifestError:
        refused(packed)
    else:
        assert manifest.encode() == packed


def as_plain(manifest: Manifest) -> dict[str, Any]:
    content: dict[str, Any] = msgpack.unpackb(manifest.encode())
    return content


def edit(change: Callable[[dict[str, Any]], Any]) -> bytes:
    content = as_plain(SAMPLES["a tree"])
    change(content)
    packed: bytes = msgpack.packb(content)
    return packed


def set_file(index: int, place: int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["files"][index][place] = value

    return change


def set_field(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: value})


# The tree's files in order: a (1), b/c (2 pieces), b/d/é (1 piece), y (7), z (0)
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "traversal (CVE-2009-1760, CVE-2026-57079)": (set_file(0, 0, [".."]), "another folder"),
    "traversal deeper": (set_file(0, 0, ["..", "a"]), "another folder"),
    "absolute": (set_file(0, 0, ["/etc/passwd"]), "separates"),
    "empty component": (set_file(0, 0, [""]), "empty"),
    "NUL": (set_file(0, 0, ["a\0"]), "control"),
    "escape sequence (GHSA-364c-vvqx-446c)": (set_file(0, 0, ["\x1b[2J"]), "control"),
    "bidi override": (set_file(0, 0, ["\u202eexe"]), "reorders"),
    "folder traversal": (set_field("folders", [[".."]]), "another folder"),
    "case clash": (set_file(0, 0, ["Z"]), "ignore case"),
    "file as folder": (set_file(0, 0, ["b"]), "twice"),
    "folder that is not empty": (set_field("folders", [["b"]]), "twice"),
    "folder that is a file": (set_field("folders", [["a"]]), "twice"),
    "same folder twice": (set_field("folders", [["e"], ["e"]]), "twice"),
    "same file twice": (set_file(4, 0, ["y"]), "twice"),
    "files not sorted": (lambda content: content["files"].reverse(), "sorted"),
    "folders not sorted": (lambda content: content["folders"].reverse(), "sorted"),
    "nameless file beside others": (set_file(0, 0, []), "without a name"),
    "nameless folder": (set_field("folders", [[]]), "empty"),
    "too deep": (set_file(0, 0, ["a"] * 65), "deep"),
    "huge depth": (set_file(0, 0, ["a"] * 1000), "deep"),
    "name too long": (set_file(0, 0, ["a" * 300]), "malformed"),
    "name too long in bytes": (set_file(0, 0, ["é" * 121]), "malformed"),
    "path too long": (set_file(0, 0, ["a" * 200] * 11), "bytes"),
    "name is bytes": (set_file(0, 0, [b"a"]), "not text"),
    "path is text": (set_file(0, 0, "a"), "malformed"),
    "negative size (CVE-2021-21404)": (set_file(0, 1, -1), "impossible size"),
    "size of 2^63": (set_file(0, 1, 2**63), "impossible size"),
    "size over the limit": (set_file(0, 1, SHARE_BYTES_MAX + 1), "impossible size"),
    "size is a fraction": (set_file(0, 1, 1.0), "wrong type"),
    "size is true": (set_file(0, 1, True), "wrong type"),
    "sizes that do not add up to the pieces": (set_file(1, 1, 2 * PIECE + 1), "pieces"),
    "sizes that need too many pieces": (set_file(1, 1, (PIECES_MAX + 1) * PIECE), "pieces, more than"),
    "short hash": (set_file(0, 2, b"x" * 31), "32 bytes"),
    "hash is text": (set_file(0, 2, "x" * 32), "wrong type"),
    "empty file with another hash": (set_file(4, 2, b"x" * 32), "empty file"),
    "file and its only piece differ": (set_file(2, 2, b"x" * 32), "differ"),
    "the only small file and the last piece differ": (
        lambda content: [content["files"][i].__setitem__(slice(1, 3), [0, EMPTY_DIGEST]) for i in (3,)],
        "differ",
    ),
    "executable is a number": (set_file(0, 3, 1), "wrong type"),
    "a file lacks a field": (lambda content: content["files"][0].pop(), "a file does not have"),
    "a file has one too many": (lambda content: content["files"][0].append(1), "a file does not have"),
    "files is a map": (set_field("files", {}), "malformed"),
    "too many pieces hashes": (
        lambda content: content.update(pieces=content["pieces"] + b"x" * 32),
        "pieces",
    ),
    "too few pieces hashes": (lambda content: content.update(pieces=content["pieces"][:-32]), "pieces"),
    "a torn piece hash": (lambda content: content.update(pieces=content["pieces"][:-1]), "pieces"),
    "pieces is text": (set_field("pieces", "x" * 128), "malformed|wrong type"),
    "piece size zero": (set_field("piece_bytes", 0), "piece size"),
    "piece size negative": (set_field("piece_bytes", -PIECE), "piece size"),
    "piece size odd": (set_field("piece_bytes", PIECE + 1), "piece size"),
    "piece size tiny": (set_field("piece_bytes", 1), "piece size"),
    "piece size huge": (set_field("piece_bytes", 2**62), "piece size"),
    "piece size is true": (set_field("piece_bytes", True), "wrong type"),
    "version of the future": (set_field("version", 2), "update"),
    "version is true": (set_field("version", True), "wrong type"),
    "a field is missing": (lambda content: content.pop("folders"), "five fields"),
    "a field too many": (set_field("zzz", 1), "five fields"),
    "fields in another order": (
        lambda content: content.update(files=content.pop("files")),
        "out of order",
    ),
}


@pytest.mark.parametrize(("change", "says"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_manifests_are_refused(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        decode(edit(change))
    refused(edit(change))


def test_duplicate_keys_are_refused() -> None:
    data = SAMPLES["an empty folder"].encode()
    twice = b"\x86" + data[1:] + msgpack.packb("version") + b"\x01"
    assert "five fields" in refused(twice)
    refused(data.replace(b"\xa7folders", b"\xa5files"))


def test_longer_encodings_of_the_same_values_are_refused() -> None:
    data = SAMPLES["a tree"].encode()
    for short, long in (
        (b"\x85\xa5", b"\xde\x00\x05\xa5"),  # map16
        (b"\xa5files", b"\xd9\x05files"),  # str8
        (b"\x94\x91\xa1a\x01", b"\x94\x91\xa1a\xcc\x01"),  # uint8
        (b"\x94\x91\xa1a\x01", b"\x94\x91\xa1a\xd3" + bytes(7) + b"\x01"),  # int64
        (b"\x94\x91\xa1a", b"\x94\xdc\x00\x01\xa1a"),  # array16
        (b"\xc4\x20", b"\xc5\x00\x20"),  # bin16
    ):
        assert short in data
        assert "canonical" in refused(data.replace(short, long, 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\x85\xa5files" + b"\xdd\xff\xff\xff\xff" * 1000,
        b"\x85\xa5files" + b"\x91" * MIB,
        b"\x85\xa5files\x91\x94" + b"\xdc\x00\x40" * MIB,
        b"\x85\xa5files\x91\x94\x91" + b"\xdd\x00\x01\x86\xa0" * 20_000,
        b"\xdf\xff\xff\xff\xff" * 1000,
        b"\x81" * MIB,
        b"\x85\xa5files\x91\x94\x90\x01\xc6\xff\xff\xff\xff",
        b"\x85" + b"\x80" * MIB,
        b"\x85\xc7\x0c\xff" + bytes(12),
        b"\x85\xd6\xff" + b"\xff" * 4,
        b"\xc1",
        b"\x85\xa5files\x91\x94\x91\xa1\xff",
    ],
    ids=lambda data: data[:12].hex(),
)
def test_bombs_are_refused_at_once(data: bytes) -> None:
    refused(data)


def test_too_large_is_refused_before_reading() -> None:
    assert "more than" in refused(bytes(MANIFEST_BYTES_MAX + 1))


def test_too_many_files_or_folders_are_refused() -> None:
    header = b"\x85\xa5files\xdd" + (FILES_MAX + 1).to_bytes(4, "big")
    assert "files, more than" in refused(header)
    header = b"\x85\xa5files\x90\xa7folders\xdd" + (FILES_MAX + 1).to_bytes(4, "big")
    assert "folders, more than" in refused(header)
    many = tuple((str(i).zfill(6),) for i in range(FILES_MAX + 1))
    with pytest.raises(ManifestError, match="more than"):
        Manifest(PIECE, (), many, b"")
    with pytest.raises(ManifestError, match="more than"):
        Manifest(PIECE, tuple(FileEntry(path, 0, EMPTY_DIGEST) for path in many), (), b"")


def test_six_million_folders_in_thirteen_megabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "FOLDERS_MAX", 200)
    files = [FileEntry((f"{i}", *"abcdefghij", "file"), 0, EMPTY_DIGEST) for i in range(10)]
    assert Manifest(PIECE, tuple(files[:9]), (), b"").files
    assert Manifest(PIECE, (), tuple((f"{i:03d}",) for i in range(200)), b"").folders
    monkeypatch.setattr(paths, "FOLDERS_MAX", 100)
    with pytest.raises(ManifestError, match="more than 100 folders"):
        Manifest(PIECE, tuple(files), (), b"")
    with pytest.raises(ManifestError, match="more than 100 folders"):
        Manifest(PIECE, (), tuple((f"{i:03d}",) for i in range(101)), b"")


def test_more_names_than_a_share_may_have_are_refused_while_reading() -> None:
    """Short names in 2 MB: as text and as folders they would be kept before any rule is checked."""
    names = [f"{i:x}" for i in range(FILES_MAX + FOLDERS_MAX + PATH_DEPTH_MAX)]
    files = [
        [names[at : at + PATH_DEPTH_MAX], 0, EMPTY_DIGEST, False]
        for at in range(0, len(names), PATH_DEPTH_MAX)
    ]
    content = {"files": files, "folders": [], "piece_bytes": PIECE, "pieces": b"", "version": 1}
    assert "more names" in refused(msgpack.packb(content))


def test_files_that_add_up_to_too_much_are_refused() -> None:
    half = SHARE_BYTES_MAX // 2 + 1
    files = tuple(FileEntry((name,), half, bytes(32)) for name in "ab")
    with pytest.raises(ManifestError, match="add up"):
        Manifest(PIECE, files, (), b"")


def test_a_manifest_that_encodes_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SAMPLES["a tree"]
    monkeypatch.setattr(manifest_module, "MANIFEST_BYTES_MAX", len(made.encode()) - 1)
    with pytest.raises(ManifestError, match="more than"):
        made.encode()


def test_local_mistakes_are_refused_when_made() -> None:
    for size, folders in ((-1, ()), (1, (("..",),))):
        with pytest.raises(ManifestError):
            Manifest(PIECE, (FileEntry(("a",), size, bytes(32)),), folders, bytes(32))


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "ü", "0", "a.b"]), min_size=1, max_size=3).map("/".join),
        st.integers(0, 3 * PIECE),
        max_size=6,
    ),
    st.sets(st.sampled_from(["x", "y/z", "x/x"])),
)
def test_any_tree_round_trips_or_is_refused(sizes: dict[str, int], folders: set[str]) -> None:
    try:
        manifest = build(sizes, tuple(folders))
    except ManifestError:
        return
    assert decode(manifest.encode(), manifest.share_id) == manifest


@pytest.mark.parametrize(
    ("total", "piece"),
    [
        (0, 16 * KIB),
        (8 * MIB, 16 * KIB),
        (8 * MIB + 1, 32 * KIB),
        (32 * MIB, 64 * KIB),
        (64 * MIB, 64 * KIB),
        (64 * MIB + 1, 128 * KIB),
        (GIB, MIB),
        (100 * GIB, 4 * MIB),
        (1024 * GIB, 4 * MIB),
        (1024 * GIB + 1, 8 * MIB),
        (4096 * GIB, 16 * MIB),
        (SHARE_BYTES_MAX, 16 * MIB),
    ],
)
def test_piece_sizes(total: int, piece: int) -> None:
    assert piece_bytes_for(total) == piece


@given(st.integers(0, 4096 * GIB))
def test_the_piece_size_keeps_the_piece_count_legal(total: int) -> None:
    piece = piece_bytes_for(total)
    assert piece & (piece - 1) == 0
    # At worst every file has one short piece of its own, but a file with one is itself a piece long.
    assert total // piece + min(FILES_MAX, total // piece) + 1 <= PIECES_MAX
