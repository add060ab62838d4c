"""Where every piece lies in the files of a share, and the reverse. Pure arithmetic.

A LARGE file (at least one piece long) starts a piece of its own, so that equal files have equal pieces in
different shares and versions; its last piece is short. Pieces of large files come first, in file order. All
small files follow as one packed stream, in file order, cut into pieces; the last of those is short. There is
no padding anywhere, and empty files have no piece:

    files   A (2.5 pieces)      b  C (1 piece)  d  (empty) e
    pieces  [A.....][A.....][A..] [C.....] [b d e]

Costs: O(log files) for each question; some bytes for each file, a hundred for one with a short piece, none
for each piece.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from peer.bitfield import Bitfield
from peer.ids import FileIndex, PieceIndex


class Segment(NamedTuple):
    """Consecutive bytes of one file."""

    file: FileIndex
    offset: int
    length: int


class Layout:
    """The pieces of a share whose files have these sizes.

    piece_bytes: length of a piece, the last ones of files and of the packed stream aside.
    sizes: of all files, in the manifest's order.
    """

    def __init__(self, piece_bytes: int, sizes: Sequence[int]) -> None:
        if piece_bytes <= 0 or (sizes and min(sizes) < 0):
            raise ValueError("piece and file sizes cannot be negative, and a piece cannot be empty")
        self.piece_bytes = piece_bytes
        self.sizes = array("Q", sizes)
        self._large = array("L")  # file
        self._large_first = array("L")  # its first piece
        self._small = array("L")  # file
        self._small_start = array("Q")  # its offset in the packed stream
        self._short: dict[PieceIndex, int] = {}  # the length of each piece that is not full
        pieces = packed_bytes = 0
        for file, size in enumerate(sizes):
            if size >= piece_bytes:
                self._large.append(file)
                self._large_first.append(pieces)
                pieces += -(-size // piece_bytes)
                self._note_last(pieces, size)
            elif size:
                self._small.append(file)
                self._small_start.append(packed_bytes)
                packed_bytes += size
        self.packed_first = PieceIndex(pieces)
        """First piece of the packed stream; equal to `piece_count` if there are no small files."""
        self.piece_count = pieces + -(-packed_bytes // piece_bytes)
        self._note_last(self.piece_count, packed_bytes)
        self.total_bytes = sum(sizes)

    def checked_index(self, number: int) -> PieceIndex:
        """An index from outside, made sure of. Raises ValueError where there is no such piece."""
        if not 0 <= number < self.piece_count:
            raise ValueError(f"there is no piece {number}: the share has {self.piece_count}")
        return PieceIndex(number)

    def piece_length(self, piece: PieceIndex) -> int:
        """Bytes in a piece."""
        return self._short.get(self.checked_index(piece), self.piece_bytes)

    def segments(self, piece: PieceIndex, offset: int = 0, length: int | None = None) -> tuple[Segment, ...]:
        """Where the bytes of a piece lie, in order, or those of a part of it.

        Raises ValueError for a part that is not inside the piece.
        """
        large = 0 <= piece < self.packed_first
        if large:
            file, start = self._large_at(piece)
            whole = self._short.get(piece, self.piece_bytes)
        else:
            whole = self.piece_length(piece)
        if length is None:
            length = whole - offset
        if offset < 0 or length < 0 or offset + length > whole:
            raise ValueError(f"piece {piece} has {whole} bytes, not {offset} + {length}")
        if not length:
            return ()
        if large:
            return (Segment(file, start + offset, length),)
        return self._packed_segments((piece - self.packed_first) * self.piece_bytes + offset, length)

    def segments_of(self, pieces: range) -> tuple[Segment, ...]:
        """Where the bytes of consecutive pieces lie, in order; what touches is one segment."""
        made: list[Segment] = []
        for piece in pieces:
            for segment in self.segments(PieceIndex(piece)):
                last = made[-1] if made else None
                if last and last.file == segment.file and last.offset + last.length == segment.offset:
                    made[-1] = Segment(last.file, last.offset, last.length + segment.length)
                else:
                    made.append(segment)
        return tuple(made)

    def files_of(self, piece: PieceIndex) -> tuple[FileIndex, ...]:
        """The files that have bytes in a piece, in order."""
        return tuple(segment.file for segment in self.segments(piece))

    def pieces_of(self, file: FileIndex) -> range:
        """The pieces that hold a file's bytes: consecutive, shared with neighbours if the file is small."""
        size = self.sizes[self._checked_file(file)]
        if not size:
            return range(0)
        if size >= self.piece_bytes:
            first = self._large_first[bisect_right(self._large, file) - 1]
            return range(first, first + -(-size // self.piece_bytes))
        start = self._small_start[bisect_right(self._small, file) - 1]
        first = self.packed_first + start // self.piece_bytes
        return range(first, self.packed_first + (start + size - 1) // self.piece_bytes + 1)

    def pieces_of_all(self, files: Iterable[FileIndex]) -> Bitfield:
        """The pieces that hold any of these files' bytes."""
        pieces = Bitfield(self.piece_count)
        for file in files:
            for piece in self.pieces_of(file):
                pieces.add(piece)
        return pieces

    def is_packed(self, piece: PieceIndex) -> bool:
        """Whether a piece belongs to the packed stream of small files."""
        return piece >= self.packed_first

    def large_file(self, piece: PieceIndex) -> FileIndex | None:
        """The large file that a piece belongs to; None if it is of the packed stream."""
        return None if piece >= self.packed_first else self._large_at(piece)[0]

    def _note_last(self, end: int, size: int) -> None:
        """So many bytes in a row end with the piece before this one."""
        if size % self.piece_bytes:
            self._short[PieceIndex(end - 1)] = size % self.piece_bytes

    def _checked_file(self, file: FileIndex) -> FileIndex:
        if not 0 <= file < len(self.sizes):
            raise ValueError(f"there is no file {file}: the share has {len(self.sizes)}")
        return file

    def _large_at(self, piece: PieceIndex) -> tuple[FileIndex, int]:
        """The large file that a piece belongs to, and the offset of the piece in it."""
        at = bisect_right(self._large_first, piece) - 1
        return FileIndex(self._large[at]), (piece - self._large_first[at]) * self.piece_bytes

    def _packed_segments(self, start: int, length: int) -> tuple[Segment, ...]:
        at = bisect_right(self._small_start, start) - 1
        made: list[Segment] = []
        while length:
            file = FileIndex(self._small[at])
            inside = start - self._small_start[at]
            count = min(length, self.sizes[file] - inside)
            made.append(Segment(file, inside, count))
            start += count
            length -= count
            at += 1
        return tuple(made)
