"""The journal's records as bytes, and back. Pure.

    record = payload length (u32) | kind (u8) | payload | checksum (u32), all big-endian

The checksum is CRC-32 over the record AND everything before it (each continues from the one before), so that
bytes left over from an earlier, longer tail can never be taken for a record. A journal ends where a record is
incomplete or its checksum is wrong: the tail is cut, what stands before it counts.

What the records say of a piece:

    written   its bytes were verified and written: a hint, to be hashed again before it is believed
    durable   its data was synced before this record was made
    lost      forget it (a sync failed, or the bytes proved bad)
    clean     the program closed the share in order; with the files' modification times. Counts only as last.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from peer.bitfield import Bitfield
from peer.ids import ID_BYTES, ShareId
from peer.limits import FILES_MAX, PIECES_MAX

VERSION: Final = 1
_SEED: Final = zlib.crc32(b"manyhands journal")
_HEAD: Final = struct.Struct(">IB")
_CHECKSUM: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(f">B{ID_BYTES}sI")
_LIST, _BITS = 0, 1
"""How a set of pieces is written: as numbers of 4 bytes, or as a bitfield; whichever is shorter."""


@dataclass(frozen=True, slots=True)
class Header:
    """First record: whose journal this is."""

    share: ShareId
    piece_count: int


@dataclass(frozen=True, slots=True)
class Written:
    """Hints: bytes that were good when they were written."""

    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Durable:
    """A checkpoint: the data of these pieces was synced before."""

    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """These pieces are not to be believed any more."""

    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Clean:
    """Closed in order. times_ns: when each file of the manifest was last modified, 0 where there is none."""

    times_ns: tuple[int, ...]


Record: TypeAlias = Header | Written | Durable | Lost | Clean
_KINDS: Final[dict[type, int]] = {Header: 1, Written: 2, Durable: 3, Lost: 4, Clean: 5}


@dataclass(slots=True)
class Contents:
    """What a journal says in sum. end, checksum: where and how the next record continues it."""

    header: Header
    hinted: Bitfield
    durable: Bitfield
    times_ns: tuple[int, ...] | None = None
    """Of the clean marker, if that is the last record."""
    end: int = 0
    checksum: int = field(default=_SEED)


def encode(record: Record, checksum: int = _SEED, piece_count: int = PIECES_MAX) -> tuple[bytes, int]:
    """A record's bytes, and the checksum for the next one. checksum: of the record before."""
    match record:
        case Header():
            payload = _HEADER.pack(VERSION, record.share, record.piece_count)
        case Clean():
            payload = struct.pack(f">{len(record.times_ns)}q", *record.times_ns)
        case _:
            payload = _encode_pieces(record.pieces, piece_count)
    framed = _HEAD.pack(len(payload), _KINDS[type(record)]) + payload
    checksum = zlib.crc32(framed, checksum)
    return framed + _CHECKSUM.pack(checksum), checksum


def decode(data: bytes | memoryview) -> Contents | None:
    """Everything up to the first record that is not whole and right. None without a good header."""
    view = memoryview(data)
    contents: Contents | None = None
    offset, checksum = 0, _SEED
    while offset + _HEAD.size + _CHECKSUM.size <= len(view):
        length, kind = _HEAD.unpack_from(view, offset)
        end = offset + _HEAD.size + length
        if end + _CHECKSUM.size > len(view):
            break
        checksum = zlib.crc32(view[offset:end], checksum)
        if _CHECKSUM.unpack_from(view, end) != (checksum,):
            break
        payload = view[offset + _HEAD.size : end]
        try:
            contents = _apply(contents, kind, payload)
        except ValueError:
            break
        offset = end + _CHECKSUM.size
        contents.end, contents.checksum = offset, checksum
    return contents


def _apply(contents: Contents | None, kind: int, payload: memoryview) -> Contents:
    """Raises ValueError for a payload that no record of ours has, whatever its checksum says."""
    if contents is None:
        if kind != _KINDS[Header] or len(payload) != _HEADER.size:
            raise ValueError("a journal begins with its header")
        version, share, piece_count = _HEADER.unpack(payload)
        if version != VERSION or piece_count > PIECES_MAX:
            raise ValueError("a journal of another version")
        return Contents(Header(ShareId(share), piece_count), Bitfield(piece_count), Bitfield(piece_count))
    if kind == _KINDS[Clean]:
        if len(payload) % 8 or len(payload) > 8 * FILES_MAX:
            raise ValueError("times are 8 bytes each")
        contents.times_ns = struct.unpack(f">{len(payload) // 8}q", payload)
        return contents
    pieces = _decode_pieces(payload, contents.header.piece_count)
    if kind == _KINDS[Written]:
        contents.hinted.update(pieces)
    elif kind == _KINDS[Durable]:
        contents.durable.update(pieces)
        contents.hinted.difference_update(pieces)
    elif kind == _KINDS[Lost]:
        contents.durable.difference_update(pieces)
        contents.hinted.difference_update(pieces)
    else:
        raise ValueError("an unknown kind of record")
    contents.hinted.difference_update(contents.durable)
    contents.times_ns = None
    return contents


def _encode_pieces(pieces: Sequence[int], piece_count: int) -> bytes:
    if 4 * len(pieces) <= (piece_count + 7) // 8:
        return struct.pack(f">B{len(pieces)}I", _LIST, *pieces)
    bits = Bitfield(piece_count)
    for piece in pieces:
        bits.add(piece)
    return bytes((_BITS,)) + bits.to_bytes()


def _decode_pieces(payload: memoryview, piece_count: int) -> Bitfield:
    if not payload:
        raise ValueError("a set of pieces says how it is written")
    form, body = payload[0], payload[1:]
    if form == _BITS:
        return Bitfield.from_bytes(body, piece_count)
    if form != _LIST or len(body) % 4:
        raise ValueError("a set of pieces is a list or a bitfield")
    bits = Bitfield(piece_count)
    for piece in struct.unpack(f">{len(body) // 4}I", body):
        if piece >= piece_count:
            raise ValueError(f"there is no piece {piece}")
        bits.add(piece)
    return bits
