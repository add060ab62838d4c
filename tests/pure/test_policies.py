"""Policies for a run, by name and from a user's file: what is chosen, and what the user's object is asked."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.simulate.outcome import Member, Outcome
from lab.simulate.own import OwnChoker, OwnPicker
from lab.simulate.policies import KINDS, Chosen, by_name, parse
from lab.simulate.rule import PolicyError, Rule, errors_are_usage
from lab.simulate.scenario import parse as parse_scenario
from lab.simulate.tournament import Entry, result, short_names
from peer.bitfield import Bitfield
from peer.errors import UsageError
from peer.ids import LinkId, PieceIndex
from peer.swarm.choker import Choker, PeerView
from peer.swarm.policies import Policies
from peer.swarm.slots import UplinkView

OWN = by_name({})

MINE = """
from __future__ import annotations
from dataclasses import dataclass, field

class Piece:
    def choose_piece(self, pieces, copies, rng):
        return pieces[-1]

@dataclass
class Both(Piece):
    seen: list[int] = field(default_factory=list)
    def choose_peers(self, peers, slots, seeding, rng):
        return peers[:slots]
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    return str(path)


def test_every_name() -> None:
    for kind, names in KINDS.items():
        for name in names:
            assert parse(name, OWN).parts[kind] == name
    assert parse("random+even", OWN).name == "random+even"
    assert parse("even", parse("random", OWN)).name == "random+even"
    assert OWN.name == "rarest+reciprocation"


def test_what_a_node_has_is_what_users_run() -> None:
    assert OWN.of_a_node() == Policies()
    assert OWN.of_the_tracker() is None


def test_a_class_replaces_what_it_has_methods_for(mine: str) -> None:
    own, base = Policies(), parse("random", OWN)
    piece = parse(f"{mine}:Piece", base).of_a_node()
    assert piece.make_choker is own.make_choker
    assert piece.make_picker is not base.of_a_node().make_picker
    both = parse(f"even+{mine}:Piece", base)
    assert both.parts["choke"] == "even"
    assert both.of_a_node().make_choker is parse("even", OWN).of_a_node().make_choker
    assert both.of_the_tracker() is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rearest", "there is no policy 'rearest': there are piece: rarest"),
        ("random+evn", "there is no policy 'evn'"),
        ("nothing.py:Mine", "no file nothing.py"),
        ("nothing.py", "names no class: write nothing.py:Class"),
        ("", "there is no policy ''"),
        ("rarest+random", "rarest and random are both of piece"),
        ("pyproject.toml:Mine", "its name must end in .py"),
    ],
)
def test_names_that_are_none(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(text, OWN)


@pytest.mark.parametrize("other", ["even", "complete-first"])
def test_real_processes_know_the_order_of_pieces_only(other: str, mine: str) -> None:
    assert OWN.order_of_pieces() == "rarest"
    assert parse("in-order", OWN).order_of_pieces() == "in-order"
    for name in (other, f"random+{other}", f"{mine}:Piece"):
        with pytest.raises(UsageError, match="is for the simulated worlds"):
            parse(name, OWN).order_of_pieces()


def test_tables_have_room_for_the_class_alone() -> None:
    names = ["rarest", "a/b/mine.py:One", "a/b/mine.py:Two+even"]
    assert short_names(names) == dict(zip(names, ["rarest", "One", "Two+even"], strict=True))
    names = ["mine.py:One", "yours.py:One"]
    assert short_names(names) == dict(zip(names, names, strict=True))


# --- what the user's object is asked


class Ends:
    """The last piece, the last peers."""

    def choose_piece(self, pieces, copies, rng):  # type: ignore[no-untyped-def]  # as users write them
        assert pieces == sorted(pieces)
        assert all(copies(piece) >= 1 for piece in pieces)
        return float(pieces[-1])  # equal to it: that will do

    def choose_peers(self, peers, slots, seeding, rng):  # type: ignore[no-untyped-def]
        assert peers
        assert all(peer.interested for peer in peers)
        return (peer for peer in peers[-slots:])

    def introduce(self, peers, count, rng):  # type: ignore[no-untyped-def]
        raise AssertionError("is asked only when there is somebody")


SETS = st.integers(1, 700).flatmap(
    lambda count: st.tuples(st.just(count), *(st.sets(st.integers(0, count - 1)) for _ in range(2)))
)


@given(SETS)
def test_the_pieces_offered_are_open_and_held_there(case: tuple[int, set[int], set[int]]) -> None:
    count, needed, held = case
    picker = OwnPicker(Rule("Ends", Ends), count, bits(needed, count), Random(1))
    link = LinkId(1)
    picker.join(link)
    picker.set_bits(link, bits(held, count))
    assert picker.candidates(link) == sorted(needed & held)
    chosen = picker.choose(link)
    assert chosen == max(needed & held, default=None)
    assert not isinstance(chosen, float), "what goes over the wire is ours"
    assert picker.choose_any(link) == chosen


def bits(pieces: set[int], count: int) -> Bitfield:
    found = Bitfield(count)
    for piece in pieces:
        found.add(PieceIndex(piece))
    return found


@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), max_size=12)), max_size=12))
def test_slots_go_to_the_chosen_and_none_is_taken_between_rounds(
    steps: list[tuple[bool, list[bool]]],
) -> None:
    choker = OwnChoker(Rule("Ends", Ends), Random(1), 1 << 16)
    for now, (is_round, interests) in enumerate(steps):
        views = [PeerView(LinkId(number), interested) for number, interested in enumerate(interests)]
        wanting = {view.link for view in views if view.interested}
        before = {number for number in range(12) if choker.serves(LinkId(number))}
        if is_round:
            served = choker.round(now, views, False, UplinkView(rate=1e5))
            assert served == tuple(sorted(wanting))[-choker.slots :]
        else:
            served = choker.refill(now, views, False)
            assert before & wanting <= set(served), "nobody loses a slot"
            assert not (choker.has_free_slot and wanting - set(served)), "no slot stays free"
        assert set(served) <= wanting
        assert len(served) <= choker.slots
        assert all(choker.serves(link) for link in served)
        choker.check_invariants()


def test_rounds_come_as_often_as_the_nodes() -> None:
    theirs, ours = OwnChoker(Rule("Ends", Ends), Random(1), 1 << 16), Choker(Random(1), 1 << 16)
    for _ in range(20):
        theirs.round(0.0, (), False)
        ours.round(0.0, (), False)
        assert theirs.next_round(0.0) == ours.next_round(0.0)


@pytest.mark.parametrize("name", KINDS["choke"])
def test_every_choker_says_whom_it_serves(name: str) -> None:
    choker = Chosen("", {**OWN.parts, "choke": name}).of_a_node().make_choker(Random(1), 1 << 16)
    views = [PeerView(LinkId(number), number % 2 == 0) for number in range(6)]
    assert choker.has_free_slot
    for served in (choker.round(0.0, views, False), choker.refill(1.0, views, False)):
        assert set(served) == {0, 2, 4}
        assert [number for number in range(6) if choker.serves(LinkId(number))] == [0, 2, 4]


def test_who_is_alone_is_told_of_nobody() -> None:
    assert Rule("Ends", Ends).introduce([], 0, Random(1)) == []


def test_what_is_wrong_stays_one_line_whatever_it_says() -> None:
    class WordyError(Exception):
        def __str__(self) -> str:
            return "first\nsecond " + 1000 * "x"

    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    for error in (WordyError, MuteError, SystemExit):

        class Bad:
            def choose_piece(self, *_: object) -> int:
                raise error  # noqa: B023

        with pytest.raises(PolicyError) as caught:
            Rule("bad.py:Bad", Bad).choose_piece([PieceIndex(1)], lambda _: 1, Random(1))
        assert str(caught.value).startswith(f"policy bad.py:Bad: choose_piece: {error.__name__}")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_other_errors_pass() -> None:
    with pytest.raises(ExceptionGroup, match="other"), errors_are_usage():
        raise ExceptionGroup("other", [ValueError("mine"), ExceptionGroup("more", [KeyError(1)])])
    deep = ExceptionGroup(
        "all", [ValueError("fell over it"), ExceptionGroup("one", [PolicyError("the first")])]
    )
    with pytest.raises(UsageError, match="the first"), errors_are_usage():
        raise deep


def test_equal_runs_are_equally_good() -> None:
    run = Outcome((Member(0, 0, 0.0, done=9.0),), 9.0, 0, "")
    closed = parse_scenario('[share]\nsize = "1MiB"\n[[peers]]')
    table = result(closed, [1, 2], [Entry("one", (run, run)), Entry("two", (run, run))]).tables[0]
    assert [row["wins"] for row in table.rows] == [2, 2]


def test_in_an_open_swarm_downloads_are_compared_and_not_their_last() -> None:
    """The quick one has a peer that came just before the end: so all of it counted as twice that long."""
    text = 'ends_at = "100s"\n[share]\nsize = "1MiB"\n[[peers]]\ncount = 3\nevery = "49s"'
    quick = Outcome((Member(0, 0, 0.0, 5.0), Member(0, 1, 49.0, 54.0), Member(0, 2, 98.0)), 100.0, 0, "")
    slow = Outcome((Member(0, 0, 0.0, 90.0), Member(0, 1, 49.0, 99.0)), 100.0, 0, "")
    found = result(parse_scenario(text), [1], [Entry("slow", (slow,)), Entry("quick", (quick,))])
    assert [row["wins"] for row in found.tables[0].rows] == [0, 1]
    assert found.summary[0] == "quick: a download takes 4 s on average; 1 of 3 never were complete"
