"""The picker: described by strings, compared with a slow and obvious one, and counted for honesty."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peer.bitfield import Bitfield, in_blocks
from peer.errors import LocalProtocolError
from peer.ids import LinkId, PieceIndex
from peer.limits import PICKER_BLOCK_PIECES
from peer.swarm.picker import Picker
from peer.swarm.piecesets import bits_of, cut_into_blocks, random_bit

ME = LinkId(0)


def bits(text: str) -> Bitfield:
    """``x`` is held."""
    made = Bitfield(len(text))
    for i, letter in enumerate(text):
        if letter == "x":
            made.add(i)
    return made


def picker(availability: str, held: str, needed: str = "", *, seed: int = 1) -> Picker:
    """A picker of as many links as ``availability`` asks for: digits say how many others hold a piece."""
    count = len(availability)
    made = Picker(count, bits(needed or "x" * count), Random(seed))
    made.join(ME)
    made.set_bits(ME, bits(held))
    for other in range(1, max(map(int, availability)) + 1):
        made.join(LinkId(other))
        made.set_bits(LinkId(other), bits("".join("x" if int(a) >= other else "." for a in availability)))
    made.check_invariants()
    return made


def chosen(made: Picker, link: LinkId = ME) -> list[int]:
    """All choices of a link, in order."""
    found = []
    while (piece := made.choose(link)) is not None:
        made.take(piece)
        made.check_invariants()
        found.append(int(piece))
    return found


def test_rarest_first() -> None:
    assert chosen(picker("3214", "xxxx")) == [2, 1, 0, 3]


@pytest.mark.parametrize("count", [40, 3 * PICKER_BLOCK_PIECES + 7])
def test_in_order_while_everybody_holds_everything(count: int) -> None:
    made = Picker(count, Bitfield(count, full=True), Random(1))
    for link in (ME, LinkId(1)):
        made.join(link)
        made.set_bits(link, Bitfield(count, full=True))
    assert chosen(made) == list(range(count))


def test_at_random_as_soon_as_somebody_lacks_something() -> None:
    made = Picker(40, Bitfield(40, full=True), Random(1))
    made.join(ME)
    made.set_bits(ME, Bitfield(40, full=True))
    made.join(LinkId(1))
    made.set_bits(LinkId(1), Bitfield(40))
    order = chosen(made)
    assert sorted(order) == list(range(40))
    assert order != sorted(order)


def test_only_what_the_link_holds() -> None:
    assert chosen(picker("3214", "x..x")) == [0, 3]


def test_only_what_is_needed() -> None:
    assert chosen(picker("3214", "xxxx", "x.xx")) == [2, 0, 3]


def test_nothing_to_choose() -> None:
    assert chosen(picker("32", "..")) == []
    assert chosen(picker("32", "xx", "..")) == []
    assert Picker(0, Bitfield(0), Random(1)).open_count == 0


def test_what_arrives_elsewhere_becomes_commoner() -> None:
    made = picker("121", "xxx")
    assert made.availability(PieceIndex(0)) == 2
    made.add(LinkId(2), PieceIndex(0))
    assert chosen(made)[0] == 2


def test_a_link_that_leaves_makes_its_pieces_rarer() -> None:
    made = picker("122", "xxx")
    made.leave(LinkId(2))
    made.leave(LinkId(1))
    assert sorted(chosen(made)) == [0, 1, 2]
    assert made.availability(PieceIndex(0)) == 1


def test_seeds_do_not_disturb_the_order() -> None:
    made = picker("2131", "xxxx")
    for seed in (7, 8):
        made.join(LinkId(seed))
        made.set_bits(LinkId(seed), Bitfield(4, full=True))
    assert made.availability(PieceIndex(1)) == 4
    assert set(chosen(made, LinkId(7))[:2]) == {1, 3}
    made.leave(LinkId(8))
    made.check_invariants()


def test_a_seed_that_lacks_a_piece_after_all() -> None:
    made = picker("11", "xx")
    for seed in (7, 8):
        made.join(LinkId(seed))
        made.set_bits(LinkId(seed), Bitfield(2, full=True))
    assert made.remove(LinkId(7), PieceIndex(0))
    assert not made.remove(LinkId(7), PieceIndex(0))
    assert made.availability(PieceIndex(0)) == 3
    assert chosen(made, LinkId(7)) == [1]
    assert chosen(made, LinkId(8)) == [0]
    made.check_invariants()


def test_a_reopened_piece_is_chosen_again() -> None:
    made = picker("11", "xx")
    chosen(made)
    made.reopen(PieceIndex(1))
    assert chosen(made) == [1]


def test_whether_an_open_piece_can_be_had() -> None:
    made = picker("010", ".x.")
    assert made.has_open_held()
    made.take(PieceIndex(1))
    assert made.open_count
    assert not made.has_open_held(), "nobody holds the others"
    made.note(LinkId(1), in_blocks([PieceIndex(2)]))
    assert made.has_open_held(), "news counts before it is worked in"
    made.join(LinkId(8))
    made.set_bits(LinkId(8), Bitfield(3, full=True))
    made.leave(LinkId(1))
    assert made.has_open_held()
    made.take(PieceIndex(0))
    made.take(PieceIndex(2))
    assert not made.has_open_held()


def test_witness() -> None:
    made = picker("111", "x.x", "xx.")
    assert made.witness(ME) == 0
    made.settle(PieceIndex(0))
    assert made.witness(ME) is None


@pytest.mark.parametrize("seed", range(3))
def test_ties_are_honest(seed: int) -> None:
    """Each of the equally rare pieces is chosen about as often, for whatever reason they are spread so."""
    text = "x" * 3 + "." * 500 + "x" + "." * 100 + "x" * 4
    made = picker("".join("1" if letter == "x" else "0" for letter in text), text, seed=seed)
    counts = Counter(made.choose(ME) for _ in range(4000))
    assert len(counts) == 8
    # 500 each; the standard deviation is 21, so five of them.
    assert all(395 < count < 605 for count in counts.values()), counts


def test_random_bit_is_one_of_the_set_bits() -> None:
    rng = Random(1)
    for _ in range(300):
        mask = rng.getrandbits(rng.randint(1, 300)) | 1 << rng.randint(0, 300)
        found = random_bit(mask, rng)
        assert mask >> found & 1
        assert found in bits_of(mask)


@pytest.mark.parametrize("size", [1, 7, 8, 9, PICKER_BLOCK_PIECES, PICKER_BLOCK_PIECES + 1, 5000])
def test_blocks_hold_the_same_bits(size: int) -> None:
    rng = Random(size)
    made = Bitfield(size)
    for _ in range(size // 2 + 1):
        made.add(rng.randrange(size))
    cut = enumerate(made.blocks)
    again = [at * PICKER_BLOCK_PIECES + bit for at, block in cut for bit in bits_of(block)]
    assert again == list(made.indices())


def test_misuse() -> None:
    made = picker("11", "xx")
    with pytest.raises(LocalProtocolError):
        made.join(ME)
    with pytest.raises(LocalProtocolError):
        made.choose(LinkId(99))
    with pytest.raises(LocalProtocolError):
        made.set_bits(ME, Bitfield(3))
    with pytest.raises(LocalProtocolError):
        made.reopen(PieceIndex(0))
    made.take(PieceIndex(0))
    with pytest.raises(LocalProtocolError):
        made.take(PieceIndex(0))
    made.settle(PieceIndex(0))
    with pytest.raises(LocalProtocolError):
        made.settle(PieceIndex(0))
    with pytest.raises(LocalProtocolError):
        made.reopen(PieceIndex(0))
    with pytest.raises(LocalProtocolError):
        Picker(3, Bitfield(2), Random(1))


class Compared(RuleBasedStateMachine):
    """The picker does what a picker of plain sets does, for shares of one and of several blocks."""

    @initialize(
        size=st.sampled_from([5, 40, PICKER_BLOCK_PIECES + 9, 2 * PICKER_BLOCK_PIECES]), seed=st.integers()
    )
    def begin(self, size: int, seed: int) -> None:
        self.size = size
        self.rng = Random(seed)
        self.held: dict[int, set[int]] = {}
        self.needed = {piece for piece in range(size) if self.rng.random() < 0.8}
        self.open = set(self.needed)
        self.picker = Picker(size, self._bitfield(self.needed), Random(seed))
        self.next = 0

    def _bitfield(self, pieces: set[int]) -> Bitfield:
        made = Bitfield(self.size)
        for piece in pieces:
            made.add(piece)
        return made

    def _piece(self) -> int:
        """Near the ends of blocks more often than elsewhere."""
        near = self.rng.choice([0, PICKER_BLOCK_PIECES, self.size - 1]) + self.rng.randint(-3, 3)
        return near if 0 <= near < self.size else self.rng.randrange(self.size)

    def _count(self, piece: int) -> int:
        return sum(piece in held for held in self.held.values())

    @rule(share=st.sampled_from([0.0, 0.001, 0.3, 0.9, 1.0]))
    def join(self, share: float) -> None:
        link = LinkId(self.next)
        self.next += 1
        held = {piece for piece in range(self.size) if self.rng.random() < share}
        self.held[link] = held
        self.picker.join(link)
        self.picker.set_bits(link, self._bitfield(held))

    @precondition(lambda self: self.held)
    @rule()
    def leave(self) -> None:
        link = self.rng.choice(sorted(self.held))
        del self.held[link]
        self.picker.leave(LinkId(link))

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 30))
    def add(self, count: int) -> None:
        for _ in range(count):
            link, piece = self.rng.choice(sorted(self.held)), self._piece()
            assert self.picker.add(LinkId(link), PieceIndex(piece)) == (piece not in self.held[link])
            self.held[link].add(piece)

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 30))
    def add_sets(self, count: int) -> None:
        """Sets of news, some asked about at once, some only noted before the next question."""
        for _ in range(5):
            link = self.rng.choice(sorted(self.held))
            pieces = {self._piece() for _ in range(count)}
            fresh = pieces - self.held[link]
            self.held[link] |= pieces
            news = in_blocks(PieceIndex(piece) for piece in pieces)
            if self.rng.random() < 0.7:
                self.picker.note(LinkId(link), news)
            else:
                witness, is_open = self.picker.add_blocks(LinkId(link), news)
                assert witness in fresh & self.needed if fresh & self.needed else witness is None
                assert is_open == bool(fresh & self.open)
        piece = self._piece()
        if self.rng.random() < 0.5:
            assert self.picker.availability(PieceIndex(piece)) == self._count(piece)
        else:
            link = self.rng.choice(sorted(self.held))
            assert self.picker.holds(LinkId(link), PieceIndex(piece)) == (piece in self.held[link])

    @precondition(lambda self: self.held)
    @rule()
    def remove(self) -> None:
        link, piece = self.rng.choice(sorted(self.held)), self._piece()
        assert self.picker.remove(LinkId(link), PieceIndex(piece)) == (piece in self.held[link])
        self.held[link].discard(piece)

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 20), take=st.booleans())
    def choose(self, count: int, take: bool) -> None:
        link = self.rng.choice(sorted(self.held))
        for _ in range(count):
            candidates = self.held[link] & self.open
            piece = self.picker.choose(LinkId(link))
            if not candidates:
                assert piece is None
                return
            assert piece in candidates
            if self.size <= PICKER_BLOCK_PIECES:
                assert self._count(piece) == min(map(self._count, candidates))
            if take:
                self.picker.take(piece)
                self.open.discard(piece)

    @precondition(lambda self: self.held)
    @rule()
    def choose_any(self) -> None:
        link = self.rng.choice(sorted(self.held))
        piece = self.picker.choose_any(LinkId(link))
        candidates = self.held[link] & self.open
        assert piece in candidates if candidates else piece is None

    @rule(count=st.integers(1, 20))
    def reopen(self, count: int) -> None:
        for piece in sorted(self.needed - self.open)[:count]:
            self.picker.reopen(PieceIndex(piece))
            self.open.add(piece)

    @rule()
    def settle(self) -> None:
        piece = self._piece()
        if piece in self.needed:
            self.picker.settle(PieceIndex(piece))
            self.needed.discard(piece)
            self.open.discard(piece)
        else:
            self.picker.need(PieceIndex(piece))
            self.needed.add(piece)
            self.open.add(piece)

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "picker"):
            return
        self.picker.check_invariants()
        assert self.picker.open_count == len(self.open)
        assert self.picker.needed_count == len(self.needed)
        for _ in range(3):
            piece = PieceIndex(self._piece())
            assert self.picker.availability(piece) == self._count(piece)
            assert self.picker.is_open(piece) == (piece in self.open)
            assert self.picker.is_needed(piece) == (piece in self.needed)
        for link, held in self.held.items():
            witness = self.picker.witness(LinkId(link))
            assert witness in held & self.needed if held & self.needed else witness is None


TestCompared = Compared.TestCase
TestCompared.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, report_multiple_bugs=False
)


@given(st.sets(st.integers(0, 3 * PICKER_BLOCK_PIECES)))
def test_sets_are_cut_into_blocks(pieces: set[int]) -> None:
    cut = dict(cut_into_blocks(sum(1 << piece for piece in pieces)))
    assert {at * PICKER_BLOCK_PIECES + bit for at, block in cut.items() for bit in bits_of(block)} == pieces
    assert dict(in_blocks(PieceIndex(piece) for piece in pieces)) == {at: b for at, b in cut.items() if b}


def test_many_blocks_get_a_piece_among_the_rarest() -> None:
    """Bounds may be stale, and yet what nobody else holds is soon found among 100,000 pieces."""
    size = 100_000
    rng = Random(5)
    made = Picker(size, Bitfield(size, full=True), Random(1))
    rare = set(rng.sample(range(size), 20))
    everything = Bitfield(size, full=True)
    common = Bitfield(size, full=True)
    for piece in rare:
        common.discard(piece)
    for link in range(40):
        made.join(LinkId(link))
        made.set_bits(LinkId(link), common if link else everything)
    found = []
    for _ in range(20):
        choice = made.choose(LinkId(0))
        assert choice is not None
        made.take(choice)
        found.append(choice)
        for _ in range(40):
            made.add(LinkId(1 + int(rng.random() * 39)), PieceIndex(rng.choice(sorted(rare))))
    assert len(rare.intersection(found)) >= 18


def test_a_rare_piece_that_opens_again_is_not_hidden_behind_an_older_bound() -> None:
    size = 2 * PICKER_BLOCK_PIECES
    common = Bitfield(size, full=True)
    common.discard(7)
    almost = Bitfield(size, full=True)
    almost.discard(size - 1)
    made = Picker(size, Bitfield(size, full=True), Random(1))
    for link, held in enumerate((almost, common, common)):
        made.join(LinkId(link))
        made.set_bits(LinkId(link), held)
    made.take(PieceIndex(7))
    made.choose(LinkId(1))  # bounds are computed while the rare piece is taken
    made.reopen(PieceIndex(7))
    made.check_invariants()
    assert made.choose(LinkId(0)) == 7
