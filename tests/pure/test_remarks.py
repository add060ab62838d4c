"""What a mirror says of listings that it leaves out."""

from peer.limits import MIRROR_REMARKS_BURST, MIRROR_REMARKS_PER_S
from peer.remarks import TOLD_MAX, Remarks


def signature(number: int) -> bytes:
    return number.to_bytes(64, "big")


def test_a_listing_is_told_once() -> None:
    remarks = Remarks(0.0)
    assert remarks.on(signature(1), "one", 0.0) == "one"
    assert remarks.on(signature(1), "one", 1000.0) is None
    assert remarks.on(signature(2), "two", 1000.0) == "two"


def test_listings_without_end_are_not_lines_without_end() -> None:
    """A tracker that lists ever new names had a mirror print a line for each."""
    remarks = Remarks(0.0)
    first = [remarks.on(signature(number), "left out", 0.0) for number in range(MIRROR_REMARKS_BURST + 50)]
    assert first == ["left out"] * MIRROR_REMARKS_BURST + [None] * 50
    hours = 10
    said = [
        remarks.on(signature(10_000 + second), "left out", float(second)) for second in range(1, 3600 * hours)
    ]
    lines = [line for line in said if line is not None]
    assert len(lines) <= 3600 * hours * MIRROR_REMARKS_PER_S + 1
    assert lines[0].startswith("left out; so were ")
    told = sum(int(line.split()[4]) for line in lines)
    assert told + len(lines) + said[::-1].index(lines[-1]) == 50 + len(said), "each is told or counted"


def test_the_count_is_told_once() -> None:
    remarks = Remarks(0.0)
    for number in range(MIRROR_REMARKS_BURST + 3):
        remarks.on(signature(number), "left out", 0.0)
    later = 2 / MIRROR_REMARKS_PER_S
    assert remarks.on(signature(5000), "a", later) == "a; so were 3 before it, not named here"
    assert remarks.on(signature(5001), "b", later) == "b"


def test_so_many_are_remembered() -> None:
    """Who lists more than that has the first of them told again, within the budget; memory stays bounded."""
    remarks = Remarks(0.0)
    later = 1000 / MIRROR_REMARKS_PER_S
    for number in range(TOLD_MAX):
        remarks.on(signature(number), "left out", 0.0)
    assert remarks.on(signature(0), "again", later) is None
    assert remarks.on(signature(TOLD_MAX), "new", later) is not None
    assert remarks.on(signature(0), "again", later) == "again"
