"""What is in a share: files, sizes, hashes, in one byte string whose own hash is the share's id.

The encoding is canonical msgpack: a map of exactly these keys in this order, each value in its shortest form,

    files        [[path components, size, BLAKE3 of the whole file, executable], ...], sorted by path
    folders      [path components, ...], the EMPTY folders, sorted
    piece_bytes  a power of two
    pieces       the BLAKE3 of every piece, 32 bytes each, in the order of `store/layout.py`
    version      1

so that there is exactly one manifest, and one share id, for the same content. A single-file share is one
file with the empty path: its name travels in the link.

A manifest comes from a stranger. It is read value by value through msgpack's streaming reader, because
`unpackb` builds whatever it is sent first: 32 MiB of nested empty lists become gigabytes. Every rule is then
checked when the `Manifest` is made, whoever makes it, so an illegal one cannot exist; and what was read is
encoded again and compared, which refuses duplicate keys, longer forms and trailing bytes in one step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NoReturn

import msgpack  # type: ignore[import-untyped]
from blake3 import blake3

from peer.errors import ManifestError
from peer.ids import ShareId
from peer.limits import (
    FILES_MAX,
    FOLDERS_MAX,
    KIB,
    MANIFEST_BYTES_MAX,
    MIB,
    NAME_BYTES_MAX,
    PATH_DEPTH_MAX,
    PIECE_BYTES_MAX,
    PIECE_BYTES_MIN,
    PIECES_MAX,
    SHARE_BYTES_MAX,
)
from peer.paths import Parts, check_paths, shown_path

VERSION: Final = 1
DIGEST_BYTES: Final = 32
EMPTY_DIGEST: Final = blake3(b"").digest()
"""The hash of no bytes at all."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a share. path: components below the share's top; digest: BLAKE3-256 of the whole file."""

    path: Parts
    size: int
    digest: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A share's content. Making one checks every rule and raises ManifestError with one clear line.

    piece_bytes: length of a piece. folders: EMPTY folders only. pieces: all piece hashes, one after another.
    """

    piece_bytes: int
    files: tuple[FileEntry, ...]
    folders: tuple[Parts, ...]
    pieces: bytes = field(repr=False)
    total_bytes: int = field(init=False, repr=False, compare=False)
    _share_id: ShareId | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_bytes", sum(file.size for file in self.files))
        _check_tree(self.files, self.folders)
        _check_numbers(self)
        _check_digests(self)

    @property
    def piece_count(self) -> int:
        return len(self.pieces) // DIGEST_BYTES

    @property
    def is_single_file(self) -> bool:
        """Whether the share is one file rather than a folder."""
        return len(self.files) == 1 and not self.files[0].path

    @property
    def share_id(self) -> ShareId:
        if self._share_id is None:
            self.encode()
        assert self._share_id is not None
        return self._share_id

    def piece_digest(self, piece: int) -> bytes:
        """The hash that a piece must have. Raises IndexError where there is no such piece."""
        if not 0 <= piece < self.piece_count:
            raise IndexError(f"there is no piece {piece}: the share has {self.piece_count}")
        return self.pieces[piece * DIGEST_BYTES : (piece + 1) * DIGEST_BYTES]

    def encode(self) -> bytes:
        """The canonical bytes. Raises ManifestError if they would be more than MANIFEST_BYTES_MAX."""
        data = _encode(self)
        if len(data) > MANIFEST_BYTES_MAX:
            _refuse(f"it has {len(data)} bytes, more than {MANIFEST_BYTES_MAX}")
        object.__setattr__(self, "_share_id", share_id_of(data))
        return data

    @classmethod
    def decode(cls, data: bytes, expected: ShareId | None = None) -> "Manifest":
        """Read an encoded manifest; with ``expected``, make sure first that it is the one of that share.

        Raises ManifestError and nothing else. 100,000 files take about half a second: not on an event loop.
        """
        if len(data) > MANIFEST_BYTES_MAX:
            _refuse(f"it has {len(data)} bytes, more than {MANIFEST_BYTES_MAX}")
        share_id = share_id_of(data)
        if expected is not None and share_id != expected:
            _refuse(f"its hash is {share_id.hex()}, the link asks for {expected.hex()}")
        try:
            piece_bytes, files, folders, pieces = _read(data)
        except ManifestError:
            raise
        except Exception as error:  # msgpack raises ValueError, TypeError, UnicodeDecodeError and more
            raise ManifestError("the manifest cannot be read: it is malformed or cut off") from error
        manifest = cls(piece_bytes, files, folders, pieces)
        if _encode(manifest) != data:
            _refuse("it is not in the one canonical encoding")
        object.__setattr__(manifest, "_share_id", share_id)
        return manifest


def share_id_of(data: bytes | bytearray | memoryview) -> ShareId:
    """The id of the share whose encoded manifest this is."""
    return ShareId(blake3(data, max_threads=blake3.AUTO if len(data) > MIB else 1).digest())


def piece_bytes_for(total_bytes: int) -> int:
    """The piece size for a share of that size; everybody uses this, so equal content gets equal ids.

    Small enough that a modest share has several hundred pieces to spread (32 MiB: 512 of 64 KiB), large
    enough that the manifest stays small (100 GiB: 25,600 of 4 MiB, 0.8 MB).
    """
    piece_bytes = PIECE_BYTES_MIN
    while piece_bytes < PIECE_BYTES_MAX:
        if piece_bytes < 64 * KIB:
            pieces_max = 512
        elif piece_bytes < 4 * MIB:
            pieces_max = 1024
        else:
            pieces_max = 2**18
        if total_bytes <= pieces_max * piece_bytes:
            break
        piece_bytes *= 2
    return piece_bytes


def count_pieces(piece_bytes: int, sizes: Iterable[int]) -> int:
    """How many pieces files of these sizes have: the arithmetic of `store/layout.py`, which explains it."""
    large = packed_bytes = 0
    for size in sizes:
        if size >= piece_bytes:
            large += -(-size // piece_bytes)
        else:
            packed_bytes += size
    return large + -(-packed_bytes // piece_bytes)


def _encode(manifest: Manifest) -> bytes:
    packed: bytes = msgpack.packb(
        {
            "files": [(file.path, file.size, file.digest, file.executable) for file in manifest.files],
            "folders": manifest.folders,
            "piece_bytes": manifest.piece_bytes,
            "pieces": manifest.pieces,
            "version": VERSION,
        }
    )
    return packed


def _read(data: bytes) -> tuple[int, tuple[FileEntry, ...], tuple[Parts, ...], bytes]:
    """The values, with exact types; what they mean is checked by `Manifest`."""
    reader = msgpack.Unpacker(
        max_buffer_size=MANIFEST_BYTES_MAX,
        max_array_len=0,  # containers are opened one by one, never built by the library
        max_map_len=0,
        max_ext_len=0,
        max_str_len=NAME_BYTES_MAX,
        max_bin_len=PIECES_MAX * DIGEST_BYTES,
    )
    reader.feed(data)
    if reader.read_map_header() != 5:
        _refuse("it does not have the five fields of a manifest")
    _read_key(reader, "files")
    names: dict[str, str] = {}
    files = _read_files(reader, names)
    _read_key(reader, "folders")
    folders = tuple(_read_path(reader, names) for _ in range(_read_count(reader, "empty folders")))
    _read_key(reader, "piece_bytes")
    piece_bytes = _typed(reader.unpack(), int, "piece_bytes")
    _read_key(reader, "pieces")
    pieces = _typed(reader.unpack(), bytes, "pieces")
    _read_key(reader, "version")
    version = _typed(reader.unpack(), int, "version")
    if version != VERSION:
        _refuse(f"it has version {version}, this program reads version {VERSION}: update it")
    return piece_bytes, files, folders, pieces


def _read_files(reader: Any, names: dict[str, str]) -> tuple[FileEntry, ...]:
    unpack = reader.unpack
    files = []
    for _ in range(_read_count(reader, "files")):
        if reader.read_array_header() != 4:
            _refuse("a file does not have path, size, hash and executable bit")
        path = _read_path(reader, names)
        size, digest, executable = unpack(), unpack(), unpack()
        if type(size) is not int or type(digest) is not bytes or type(executable) is not bool:
            _refuse(f"the file {shown_path(path)!r} has a field of the wrong type")
        files.append(FileEntry(path, size, digest, executable))
    return tuple(files)


def _read_path(reader: Any, names: dict[str, str]) -> Parts:
    depth = reader.read_array_header()
    if depth > PATH_DEPTH_MAX:
        _refuse(f"a path is {depth} folders deep; at most {PATH_DEPTH_MAX}")
    parts = []
    for _ in range(depth):
        name = reader.unpack()
        if type(name) is not str:
            _refuse("a name is not text")
        parts.append(names.setdefault(name, name))  # folder names repeat: keep one object of each
    if len(names) > FILES_MAX + FOLDERS_MAX:
        _refuse("it has more names than files and folders may have")
    return tuple(parts)


def _read_key(reader: Any, name: str) -> None:
    if reader.unpack() != name:
        _refuse(f"the field {name!r} is missing or out of order")


def _read_count(reader: Any, what: str) -> int:
    count: int = reader.read_array_header()
    if count > FILES_MAX:
        _refuse(f"it has {count} {what}, more than {FILES_MAX}")
    return count


def _typed(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:  # exact: True is an int to isinstance
        _refuse(f"the field {name!r} has the wrong type")
    return value


def _check_tree(files: Sequence[FileEntry], folders: Sequence[Parts]) -> None:
    if len(files) > FILES_MAX or len(folders) > FILES_MAX:
        _refuse(f"it has more than {FILES_MAX} files or empty folders")
    if len(files) == 1 and not files[0].path and not folders:
        return  # a single-file share
    if any(not file.path for file in files):
        _refuse("a file without a name may only be alone in its share")
    paths = [file.path for file in files]
    try:
        check_paths(paths, folders)
    except ValueError as error:
        _refuse(str(error))
    for sequence in (paths, folders):
        for before, after in pairwise(sequence):
            if before >= after:
                _refuse(f"its paths are not sorted: {shown_path(after)!r} comes too late")


def _check_numbers(manifest: Manifest) -> None:
    piece_bytes = manifest.piece_bytes
    if not PIECE_BYTES_MIN <= piece_bytes <= PIECE_BYTES_MAX or piece_bytes & (piece_bytes - 1):
        _refuse(f"{piece_bytes} is not a legal piece size")
    for file in manifest.files:
        if not 0 <= file.size <= SHARE_BYTES_MAX:
            _refuse(f"the file {shown_path(file.path)!r} has an impossible size: {file.size} bytes")
        if len(file.digest) != DIGEST_BYTES:
            _refuse(f"the hash of {shown_path(file.path)!r} is not {DIGEST_BYTES} bytes long")
        if not file.size and file.digest != EMPTY_DIGEST:
            _refuse(f"the hash of {shown_path(file.path)!r} is not that of an empty file")
    if manifest.total_bytes > SHARE_BYTES_MAX:
        _refuse(f"its files add up to {manifest.total_bytes} bytes, more than {SHARE_BYTES_MAX}")
    pieces = count_pieces(piece_bytes, [file.size for file in manifest.files])
    if pieces > PIECES_MAX:
        _refuse(f"its files have {pieces} pieces, more than {PIECES_MAX}")
    if len(manifest.pieces) != pieces * DIGEST_BYTES:
        _refuse(f"its files have {pieces} pieces, but it has {len(manifest.pieces)} bytes of piece hashes")


def _check_digests(manifest: Manifest) -> None:
    """A file that is alone in one piece has that piece's hash; otherwise it could never be completed."""
    piece_bytes, piece = manifest.piece_bytes, 0
    small = []
    for file in manifest.files:
        if file.size == piece_bytes and file.digest != manifest.piece_digest(piece):
            _refuse(f"the hash of {shown_path(file.path)!r} and that of its only piece differ")
        if file.size >= piece_bytes:
            piece += -(-file.size // piece_bytes)
        elif file.size:
            small.append(file)
    if len(small) == 1 and small[0].digest != manifest.piece_digest(piece):
        _refuse(f"the hash of {shown_path(small[0].path)!r} and that of its only piece differ")


def _refuse(reason: str) -> NoReturn:
    raise ManifestError(f"the manifest is refused: {reason}")
