"""Whom to ask for the manifest, and what a half answer may cost."""

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from peer.ids import LinkId, ShareId
from peer.limits import (
    MANIFEST_ASKS_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_HELD_BYTES_MAX,
    MANIFEST_PATIENCE_S,
    MANIFEST_PROGRESS_BYTES,
)
from peer.swarm.metadata import AskManifest, ManifestQuest, WithdrawManifest

MANIFEST = b"the manifest"
SHARE = ShareId(blake3(MANIFEST).digest())


def asked(asks: list[AskManifest]) -> list[int]:
    return [ask.link for ask in asks]


def quest_of(count: int) -> tuple[ManifestQuest, list[int]]:
    """So many links have it; and who was asked."""
    quest = ManifestQuest(SHARE)
    return quest, [link for number in range(count) for link in asked(quest.offered(LinkId(number), 0.0))]


def test_a_few_are_asked_at_once_and_another_when_one_leaves() -> None:
    quest, first = quest_of(5)
    assert first == list(range(MANIFEST_ASKS_MAX))
    assert asked(quest.left(LinkId(0), 0.0)) == [MANIFEST_ASKS_MAX]


def test_the_right_answer_withdraws_the_other_requests_and_a_wrong_one_is_a_lie() -> None:
    quest, _ = quest_of(5)
    assert quest.answered(LinkId(1), b"another") is None
    assert quest.liars == 1
    assert quest.answered(LinkId(0), MANIFEST) == []
    quest, _ = quest_of(5)
    assert quest.answered(LinkId(0), MANIFEST) == [WithdrawManifest(LinkId(1))]


def test_beside_those_who_stand_still_others_are_asked() -> None:
    quest, _ = quest_of(9)
    now = MANIFEST_PATIENCE_S / 2
    quest.progressed(LinkId(0), MANIFEST_PROGRESS_BYTES, now)
    assert asked(quest.tick(1.01 * MANIFEST_PATIENCE_S)) == [2, 3]
    assert asked(quest.tick(1.02 * MANIFEST_PATIENCE_S)) == []


def test_who_sends_most_of_a_manifest_and_stops_does_not_keep_its_memory() -> None:
    """A crowd of them kept thirty megabytes each, for as long as they liked."""
    crowd = 200
    quest, now = quest_of(crowd)[0], 0.0
    held: dict[int, int] = dict.fromkeys(quest._asked, 0)
    while held and now < crowd * MANIFEST_PATIENCE_S:
        now += MANIFEST_PATIENCE_S / 4
        for link in list(held):
            if not held[link]:
                held[link] = MANIFEST_BYTES_MAX - 1
                quest.progressed(LinkId(link), held[link], now)
        for gone in quest.surplus():
            del held[gone]
        assert sum(held.values()) <= MANIFEST_HELD_BYTES_MAX
        held |= dict.fromkeys(asked(quest.tick(now)), 0)
        quest.check_invariants()
    assert not quest._holders, "and everybody was asked"


def test_who_gets_on_is_kept_and_who_has_stood_still_longest_goes() -> None:
    quest, _ = quest_of(20)
    part = MANIFEST_HELD_BYTES_MAX // 4
    for link in range(2):
        quest.progressed(LinkId(link), part, 0.1)
    assert asked(quest.tick(2.0)) == [2, 3, 4, 5]
    for link in range(2, 5):
        quest.progressed(LinkId(link), part, 2.1)
    quest.progressed(LinkId(0), MANIFEST_PROGRESS_BYTES, 2.2)
    assert quest.surplus() == [1, 2], "the fifth, that has sent nothing, gives nothing back"
    assert quest.surplus() == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, MANIFEST_BYTES_MAX)), max_size=60))
def test_what_is_held_is_bounded_whoever_sends_what(steps: list[tuple[int, int]]) -> None:
    quest, now = quest_of(10)[0], 0.0
    for link, count in steps:
        now += 0.4
        quest.progressed(LinkId(link), count, now)
        for gone in quest.surplus():
            quest.left(gone, now)
        quest.tick(now)
        quest.check_invariants()
        assert sum(quest._held.values()) <= MANIFEST_HELD_BYTES_MAX
        assert quest._held.keys() == quest._asked.keys()
