"""The ledger of pieces against a model, its invariants after each step; the judgement of a restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.bitfield import Bitfield
from peer.ids import FileIndex, PieceIndex, ShareId
from peer.store.filesystem import FileState
from peer.store.layout import Layout
from peer.store.ledger import Ledger
from peer.store.records import Contents, Header
from peer.store.resume import judge

COUNT = 6
steps = st.lists(
    st.tuples(
        st.sampled_from(("sure", "unsure", "wrote", "proved", "dropped", "adopted", "sync", "lose")),
        st.integers(0, COUNT - 1),
    ),
    max_size=30,
)


@given(steps)
def test_against_a_model(made: list[tuple[str, int]]) -> None:
    ledger = Ledger(COUNT)
    held, proven, durable, doubtful = set[int](), set[int](), set[int](), set[int]()
    for verb, number in made:
        piece = PieceIndex(number)
        match verb:
            case "sure" | "unsure":
                ledger.recorded(piece, sure=verb == "sure")
                if number not in held and verb == "sure":
                    held.add(number)
                    durable.add(number)
                    doubtful.discard(number)
                elif number not in held:
                    doubtful.add(number)
            case "wrote" | "adopted":
                (ledger.wrote if verb == "wrote" else ledger.adopted)(piece)
                held.add(number)
                proven.add(number)
                doubtful.discard(number)
                if verb == "adopted":
                    durable.add(number)
            case "proved":
                ledger.proved(piece)
                if number in held | doubtful:
                    held.add(number)
                    proven.add(number)
                    doubtful.discard(number)
            case "dropped":
                assert ledger.dropped(piece) == (number in held | doubtful)
                for known in (held, proven, durable, doubtful):
                    known.discard(number)
            case "sync":
                assert set(ledger.undurable()) == held - durable
                ledger.synced((*ledger.undurable(), piece))
                durable = set(held)
            case "lose":
                assert set(ledger.lose()) == held - durable
                held &= durable
                proven &= held
        ledger.check_invariants()
        assert set(ledger.unproven()) == held - proven
        assert [set(bits.indices()) for bits in (ledger.held, ledger.proven, ledger.durable)] == [
            held,
            proven,
            durable,
        ]
        assert set(ledger.doubtful.indices()) == doubtful
        standing = ledger.standing()
        assert (standing.held, standing.doubtful) == (len(held), len(doubtful))


LAYOUT = Layout(100, [250, 30, 60, 50])  # pieces 0-2 of file 0; 3 = files 1, 2, 10 bytes of 3; 4 = rest of 3


def state(size: int, mtime_ns: int = 1) -> FileState:
    return FileState(size, mtime_ns, 0, 0)


WHOLE = {FileIndex(0): state(250), FileIndex(1): state(30), FileIndex(2): state(60), FileIndex(3): state(50)}


def contents(durable: set[int], hinted: set[int], times: tuple[int, ...] | None = None) -> Contents:
    made = Contents(Header(ShareId(bytes(32)), 5), Bitfield(5), Bitfield(5), times)
    for piece in durable:
        made.durable.add(piece)
    for piece in hinted:
        made.hinted.add(piece)
    return made


@pytest.mark.parametrize(
    ("found", "states", "good", "held", "doubtful"),
    [
        pytest.param(contents({0, 3}, {1}), WHOLE, (), {0, 3}, {1}, id="unclean stop"),
        pytest.param(contents({0, 3}, set(), (1, 1, 1, 1)), WHOLE, (), {0, 3}, set(), id="clean stop"),
        pytest.param(contents({0, 3}, set(), (2, 1, 1, 1)), WHOLE, (), {3}, {0}, id="modified large file"),
        pytest.param(contents({0, 3}, set(), (1, 1, 2, 1)), WHOLE, (), {0}, {3}, id="modified small file"),
        pytest.param(contents({0}, set(), ()), WHOLE, (), set(), {0}, id="times of another share"),
        pytest.param(None, WHOLE, (), set(), {0, 1, 2, 3, 4}, id="journal unreadable"),
        pytest.param(contents({0, 3, 4}, set()), {}, (), set(), set(), id="files gone"),
        pytest.param(
            contents({0, 1, 2}, set()), {FileIndex(0): state(249)}, (), {0, 1}, set(), id="large file cut"
        ),
        pytest.param(
            contents({3, 4}, set()), WHOLE | {FileIndex(3): state(10)}, (), {3}, set(), id="small file cut"
        ),
        pytest.param(
            contents({3, 4}, set()),
            {FileIndex(3): state(50)},
            {FileIndex(1), FileIndex(2)},
            {3, 4},
            set(),
            id="others at the target",
        ),
    ],
)
def test_judgement(
    found: Contents | None,
    states: dict[FileIndex, FileState],
    good: set[FileIndex],
    held: set[int],
    doubtful: set[int],
) -> None:
    ledger = Ledger(5)
    judge(ledger, LAYOUT, found, states, good)
    assert (set(ledger.held.indices()), set(ledger.doubtful.indices())) == (held, doubtful)
    ledger.check_invariants()
