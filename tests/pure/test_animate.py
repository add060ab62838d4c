"""Traces laid over each other: who had what when, whoever was killed, came back, or left no trace."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.animate import page
from lab.animate.copies import copies
from lab.animate.files import natural
from lab.animate.story import Story, read
from peer.errors import UsageError

A, B, C, D = (letter * 64 for letter in "abcd")


def line(t: float, event: str, **fields: Any) -> str:
    return json.dumps({"t": t, "event": event, **fields}) + "\n"


def begin(node: str, wall: float = 1000.0) -> str:
    return line(0, "begin", wall=wall, node=node)


def share(t: float, held: int, have: str | None = None, name: str = "5h" * 32) -> str:
    return line(t, "share", share=name, pieces=4, piece_bytes=10, bytes=40, held=held, have=have)


def got(t: float, piece: int, node: str) -> str:
    return line(t, "got", piece=piece, bytes=10, node=node)


ORIGIN = [begin(A), share(0.5, 4), line(2, "link", node=B), line(2.5, "sent", piece=0, bytes=10, node=B)]


def of_kind(story: Story, kind: str) -> list[list[Any]]:
    return [event for event in story.events if event[1] == kind]


def test_two_machines_on_one_clock() -> None:
    """B's trace began 1.5 s after A's; time runs from the origin's first link."""
    getter = [begin(B, 1001.5), share(0.1, 0), line(0.6, "link", node=A)]
    getter += [got(1 + n, n, A) for n in range(4)]
    story = read([("b", getter), ("origin", ORIGIN)])
    assert [(actor.name, actor.origin) for actor in story.actors] == [("origin", True), ("b", False)]
    assert of_kind(story, "g") == [[pytest.approx(0.5 + n), "g", 1, 0, n] for n in range(4)]
    assert story.actors[1].done == pytest.approx(3.5)
    assert (story.origin_bytes, story.moved_bytes) == (40, 40)
    assert story.seconds >= 3.5
    assert "1 of 1 peers complete, the last after 3.5 s" in page.facts(story)
    assert "1.00 copies, 100% of all bytes" in page.facts(story)


def test_a_peer_that_was_killed_in_the_middle_of_a_line() -> None:
    getter = [begin(B), share(0.1, 0), got(3, 0, A), '{"t": 4, "ev']
    story = read([("origin", ORIGIN), ("b", getter)])
    assert len(of_kind(story, "g")) == 1
    assert story.actors[1].done is None


def test_a_peer_that_came_back_has_what_its_disk_had() -> None:
    getter = [begin(B), share(0.1, 0), got(3, 0, A), got(4, 1, A)]
    getter += [begin(B, 1010), share(0.1, 2, "a0"), got(1, 1, A), got(2, 3, A)]
    story = read([("origin", ORIGIN), ("b", getter)])
    assert [event[3] for event in of_kind(story, "h")] == [[], None, [0, 2]]
    assert story.actors[1].done == pytest.approx(10)


def test_a_sender_without_a_trace_is_seen_by_the_others() -> None:
    story = read([("b", [begin(B), share(0, 0), got(1, 2, C)])])
    assert [(actor.traced, actor.origin) for actor in story.actors] == [(True, False), (False, True)]
    with_origin = read([("o", ORIGIN), ("b", [begin(B), share(0, 0), got(1, 2, C)])])
    assert [actor.origin for actor in with_origin.actors] == [True, False, False]


def test_a_connection_ends_when_one_side_says_so() -> None:
    """A killed peer never says goodbye; when both say so it ends once."""
    origin = [*ORIGIN, line(5, "unlink", node=B), line(8, "link", node=B)]
    getter = [begin(B), share(0.1, 0), line(2.1, "link", node=A), got(3, 0, A), line(8.1, "link", node=A)]
    getter += [got(9, 1, A)]
    story = read([("origin", origin), ("b", getter)])
    assert [(event[0], event[1]) for event in story.events if event[1] in "cd"] == [
        (0, "c"),
        (3, "d"),
        (6, "c"),
    ]


def test_copies_of_each_piece_over_time() -> None:
    """The transient state ends with the first copy of the last piece; a crash takes copies away."""
    getter = [begin(B), share(0.1, 0), *(got(3 + n, n, A) for n in range(4))]
    getter += [begin(B, 1010), share(0, 1, "80")]
    other = [begin(C), share(0.1, 0), got(3, 0, A), got(20, 1, A)]
    found = copies(read([("origin", ORIGIN), ("b", getter), ("c", other)]))
    assert found.transient_s == pytest.approx(4, abs=0.1)
    assert (found.least[0], found.most[0]) == (0, 0)
    assert (found.least[-1], found.mean[-1], found.most[-1]) == (0, 3 / 4, 2)
    assert max(found.least) == 1


def test_bad_pieces_are_told() -> None:
    story = read(
        [("o", ORIGIN), ("b", [begin(B), share(0, 0), line(3, "bad", piece=1, node=A), got(4, 1, A)])]
    )
    assert of_kind(story, "b") == [[1, "b", 1, 0, 1]]
    assert "1 pieces did not verify" in page.facts(story)


@pytest.mark.parametrize(
    ("traces", "says"),
    [
        ([("x", [])], "x is no trace"),
        ([("x", ["hello\n"])], "x is no trace"),
        ([("x", [got(1, 1, A)])], "first line must be a begin"),
        ([("x", [begin(A), "{}\n", share(1, 0)])], "x, line 2,"),
        ([("x", [begin(A), line(1, "got", piece=-1, bytes=1, node=B), share(1, 0)])], "x, line 2,"),
        ([("x", [begin(A)])], "nobody took part"),
        ([("x", ORIGIN), ("y", ORIGIN)], "y and x are traces of one peer"),
        ([("x", ORIGIN), ("y", [begin(B), share(0, 0, name="other")])], "different shares"),
        ([("x", [begin(A), share(0, 0).replace('"pieces": 4', '"pieces": 99999999')])], "too many"),
    ],
)
def test_what_is_no_trace_is_named(traces: list[tuple[str, list[str]]], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read(traces)
    assert "\n" not in str(caught.value)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 1 << 70), st.floats(), st.sampled_from([A, B, ""])
)
events = st.dictionaries(
    st.sampled_from(
        ["t", "event", "node", "piece", "bytes", "share", "pieces", "piece_bytes", "held", "wall"]
    ),
    st.one_of(values, st.sampled_from(["begin", "share", "got", "link", "unlink", "bad"])),
).map(lambda event: json.dumps(event) + "\n")


@given(
    st.lists(st.one_of(events, st.text(max_size=50), st.sampled_from([begin(B), share(0, 0), got(1, 0, C)])))
)
def test_any_file_is_a_story_or_a_usage_error(lines: list[str]) -> None:
    try:
        story = read([("origin", ORIGIN), ("x", lines)])
    except UsageError:
        return
    assert page.render(story)


def test_a_page_loads_nothing_and_cannot_be_broken_out_of() -> None:
    name = "</script><script>alert(1)</script>{{style}}<!--"
    text = page.render(read([(name, ORIGIN), ("b", [begin(B), share(0, 0), got(3, 0, A)])]), title=name)
    assert text.count("<script") == 2
    assert text.count(":root { color-scheme") == 1
    assert "http" not in text.replace("https://", "http").partition("<script")[0]
    assert "src=" not in text


def test_peers_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["peer-10", "peer-2", "origin"], key=natural) == ["origin", "peer-2", "peer-10"]
    assert natural("peer-²"), "a digit that is no number"
