"""Every byte of every file lies in exactly one piece, where docs/protocol.md says."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ids import FileIndex, PieceIndex
from peer.manifest import count_pieces
from peer.store.layout import Layout, Segment

PIECE = 8
layouts = st.lists(st.integers(0, 3 * PIECE + 1), max_size=12).map(lambda sizes: Layout(PIECE, sizes))


def pieces_of(layout: Layout) -> list[list[tuple[int, int, int]]]:
    return [
        [(s.file, s.offset, s.length) for s in layout.segments(PieceIndex(p))]
        for p in range(layout.piece_count)
    ]


def test_the_example_of_the_docstring() -> None:
    layout = Layout(PIECE, [20, 3, 8, 2, 0, 1])
    assert pieces_of(layout) == [
        [(0, 0, 8)],
        [(0, 8, 8)],
        [(0, 16, 4)],
        [(2, 0, 8)],
        [(1, 0, 3), (3, 0, 2), (5, 0, 1)],
    ]
    assert [layout.pieces_of(FileIndex(f)) for f in range(6)] == [
        range(3),
        range(4, 5),
        range(3, 4),
        range(4, 5),
        range(0),
        range(4, 5),
    ]
    assert layout.packed_first == 4
    assert [layout.is_packed(PieceIndex(p)) for p in range(5)] == [False] * 4 + [True]
    assert [layout.large_file(PieceIndex(p)) for p in range(5)] == [0, 0, 0, 2, None]
    assert [layout.piece_length(PieceIndex(p)) for p in range(5)] == [8, 8, 4, 8, 6]


def test_a_small_file_may_cross_pieces() -> None:
    layout = Layout(PIECE, [5, 6, 7])
    assert pieces_of(layout) == [[(0, 0, 5), (1, 0, 3)], [(1, 3, 3), (2, 0, 5)], [(2, 5, 2)]]
    assert layout.pieces_of(FileIndex(1)) == range(2)
    assert layout.files_of(PieceIndex(1)) == (1, 2)


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0]])
def test_nothing_has_no_pieces(sizes: list[int]) -> None:
    layout = Layout(PIECE, sizes)
    assert layout.piece_count == layout.total_bytes == layout.packed_first == 0


@given(layouts)
def test_pieces_and_files_cover_each_other_exactly(layout: Layout) -> None:
    seen: dict[int, list[Segment]] = {}
    for number in range(layout.piece_count):
        piece = layout.checked_index(number)
        segments = layout.segments(piece)
        assert sum(s.length for s in segments) == layout.piece_length(piece)
        assert 0 < layout.piece_length(piece) <= PIECE
        assert all(s.length > 0 for s in segments)
        assert layout.is_packed(piece) == all(layout.sizes[s.file] < PIECE for s in segments)
        assert layout.is_packed(piece) or len(segments) == 1
        assert layout.files_of(piece) == tuple(s.file for s in segments)
        for segment in segments:
            assert piece in layout.pieces_of(segment.file)
            seen.setdefault(segment.file, []).append(segment)
    for number, size in enumerate(layout.sizes):
        file = FileIndex(number)
        end = 0
        for segment in seen.get(file, []):
            assert segment.offset == end
            end += segment.length
        assert end == size
        assert all(file in layout.files_of(PieceIndex(piece)) for piece in layout.pieces_of(file))
    assert layout.piece_count == count_pieces(PIECE, layout.sizes)
    assert layout.total_bytes == sum(layout.sizes)


@given(layouts, st.data())
def test_part_of_a_piece_is_that_part_of_its_bytes(layout: Layout, data: st.DataObject) -> None:
    if not layout.piece_count:
        return
    piece = PieceIndex(data.draw(st.integers(0, layout.piece_count - 1)))
    length = layout.piece_length(piece)
    begin = data.draw(st.integers(0, length))
    end = data.draw(st.integers(begin, length))

    def places(segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
        return [(s.file, s.offset + i) for s in segments for i in range(s.length)]

    assert places(layout.segments(piece, begin, end - begin)) == places(layout.segments(piece))[begin:end]
    assert layout.segments(piece, begin) == layout.segments(piece, begin, length - begin)


@given(layouts, st.data())
def test_a_run_of_pieces_is_its_pieces_joined(layout: Layout, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, layout.piece_count))
    end = data.draw(st.integers(begin, layout.piece_count))
    segments = layout.segments_of(range(begin, end))
    single = [segment for piece in range(begin, end) for segment in layout.segments(PieceIndex(piece))]
    assert [(s.file, s.offset + i) for s in segments for i in range(s.length)] == [
        (s.file, s.offset + i) for s in single for i in range(s.length)
    ]
    assert all(
        first.file != second.file or first.offset + first.length != second.offset
        for first, second in pairwise(segments)
    )


@given(layouts)
def test_equal_large_files_have_equal_pieces(layout: Layout) -> None:
    """Whatever stands beside it, a large file is cut from its own beginning."""
    for number, size in enumerate(layout.sizes):
        if size >= PIECE:
            parts = [layout.segments(PieceIndex(p)) for p in layout.pieces_of(FileIndex(number))]
            assert [part[0].offset for part in parts] == list(range(0, size, PIECE))


def test_what_does_not_exist_is_refused() -> None:
    layout = Layout(PIECE, [20, 3])
    for index in (-1, 4, 2**80):
        with pytest.raises(ValueError, match="no piece"):
            layout.checked_index(index)
        with pytest.raises(ValueError, match="no piece"):
            layout.segments(PieceIndex(index))
    for file in (-1, 2):
        with pytest.raises(ValueError, match="no file"):
            layout.pieces_of(FileIndex(file))
    for offset, length in ((-1, 1), (0, 9), (8, 1), (9, None), (3, -1)):
        with pytest.raises(ValueError, match="has 8 bytes"):
            layout.segments(PieceIndex(0), offset, length)
    for piece_bytes, sizes in ((0, [1]), (-1, [1]), (8, [3, -1])):
        with pytest.raises(ValueError, match="negative"):
            Layout(piece_bytes, sizes)


def test_the_largest_share_is_cheap() -> None:
    """100,000 files and 500,000 pieces: nothing here grows with the pieces."""
    sizes = [4 * PIECE + 1] * 50_000 + [3] * 50_000
    layout = Layout(PIECE, sizes)
    assert layout.piece_count == 50_000 * 5 + 150_000 // PIECE
    assert layout.files_of(PieceIndex(layout.piece_count - 1)) == (99_997, 99_998, 99_999)
    assert layout.segments(PieceIndex(49_999 * 5 + 4)) == (Segment(FileIndex(49_999), 32, 1),)
