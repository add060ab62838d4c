"""Who is served, in words."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peer.ids import LinkId
from peer.limits import (
    CHOKE_ROUND_EARLY_S,
    CHOKE_ROUND_S,
    CHOKE_ROUNDS_EARLY,
    DRY_SLOT_S,
    OPTIMISTIC_S,
    SLOTS_FIRST,
    SLOTS_MAX,
    SLOTS_MIN,
    SLOTS_MIN_LIMITED,
)
from peer.swarm.choker import Choker, PeerView
from peer.swarm.slots import Slots, UplinkView

KIB = 1024
PIECE = 64 * KIB
SLOW = UplinkView(500_000, 500_000)  # 4 Mbit/s: four slots at this piece size


def peers(rates: str, *, wanting: str = "", sent: Sequence[int] = ()) -> list[PeerView]:
    """One digit for each peer: how fast it gives to us. wanting: x for those that want something."""
    return [
        PeerView(
            LinkId(i),
            interested=not wanting or wanting[i] == "x",
            received_rate=float(rate),
            sent_bytes=sent[i] if sent else 0,
        )
        for i, rate in enumerate(rates)
    ]


def four_slots(seed: int = 1) -> Choker:
    choker = Choker(Random(seed), PIECE)
    choker.round(-100.0, [], False, SLOW)
    assert choker.slots == 4
    return choker


def test_while_leeching_the_fastest_givers_are_served() -> None:
    served = four_slots().round(0.0, peers("0010234050"), False, SLOW)
    assert {8, 6, 5} < set(served)  # and one more, who is tried
    assert len(served) == 4


def test_one_slot_in_four_tries_somebody_else() -> None:
    choker = four_slots()
    tried = set()
    for i in range(40):
        served = choker.round(i * CHOKE_ROUND_S, peers("9870000000"), False, SLOW)
        assert {0, 1, 2} < set(served)
        tried |= set(served) - {0, 1, 2}
        choker.check_invariants()
    assert tried == {3, 4, 5, 6, 7, 8, 9}


def test_an_optimistic_slot_lasts_its_time() -> None:
    choker = four_slots()
    seen = []
    for i in range(7):
        served = choker.round(i * CHOKE_ROUND_S, peers("9870000000"), False, SLOW)
        seen.append((set(served) - {0, 1, 2}).pop())
    rounds = round(OPTIMISTIC_S / CHOKE_ROUND_S)
    assert len(set(seen[:rounds])) == 1
    assert seen[rounds] != seen[0]


def test_a_free_rider_gets_the_leftovers_and_not_the_swarm() -> None:
    """Ten peers, one of which gives nothing: what part of the time is it served?"""
    choker = four_slots()
    served = [choker.round(i * CHOKE_ROUND_S, peers("5555555550"), False, SLOW) for i in range(200)]
    share = sum(LinkId(9) in links for links in served) / 200
    assert share < 0.5
    honest = [sum(LinkId(i) in links for links in served) / 200 for i in range(9)]
    assert min(honest) > 0.25  # equals among the givers change places
    crowd = [choker.round(1000 + i * CHOKE_ROUND_S, peers("9990000000"), False, SLOW) for i in range(200)]
    assert sum(LinkId(9) in links for links in crowd) / 200 == pytest.approx(1 / 7, abs=0.05)


def test_a_peer_that_owes_us_is_no_giver() -> None:
    choker = four_slots()
    views = peers("1112222")
    views[0] = PeerView(LinkId(0), True, 9.0, snubs=True)
    served = [choker.round(i * OPTIMISTIC_S, views, False, SLOW) for i in range(10)]
    assert sum(LinkId(0) in links for links in served) <= 1


def test_what_is_left_over_goes_first_to_who_gave_before() -> None:
    choker = Choker(Random(1), PIECE, slots_max=8)
    views = [PeerView(LinkId(i), True, received_bytes=0 if i % 2 else 1000) for i in range(20)]
    served = [choker.round(i * CHOKE_ROUND_S, views, False, SLOW) for i in range(1, 40)]
    gave = sum(link % 2 == 0 for links in served for link in links)
    assert gave > 0.75 * sum(map(len, served))


def test_who_wants_nothing_is_not_served() -> None:
    served = four_slots().round(0.0, peers("9999999999", wanting="..x......."), False, SLOW)
    assert set(served) == {2}


def test_a_newcomer_is_served_at_once_while_a_slot_is_free() -> None:
    choker = four_slots()
    choker.round(0.0, peers("9", wanting="x"), False, SLOW)
    assert set(choker.on_interested(0.1, peers("90"), False)) == {0, 1}


def test_a_slot_that_falls_free_is_given_away_at_once() -> None:
    choker = four_slots()
    before = choker.round(0.0, peers("98765"), False, SLOW)
    loser = before[0]
    wanting = "".join("." if i == loser else "x" for i in range(5))
    after = choker.refill(0.1, peers("98765", wanting=wanting), False)
    assert len(after) == 4
    assert loser not in after
    assert set(before) - {loser} < set(after)


def test_refill_takes_nobodys_slot() -> None:
    choker = four_slots()
    before = choker.round(0.0, peers("1111000000"), False, SLOW)
    assert choker.refill(0.1, peers("1111999999"), False) == before


def test_the_newest_peer_is_tried_first() -> None:
    choker = four_slots()
    for i in range(8):  # all of these have had their turn
        choker.round(i * OPTIMISTIC_S, peers("9870000"), False, SLOW)
    views = [
        *peers("9870000"),
        PeerView(LinkId(7), True, joined_at=76.0),
        PeerView(LinkId(8), True, joined_at=77.0),
    ]
    now = 8 * OPTIMISTIC_S
    assert LinkId(8) in choker.round(now, views, False, SLOW)
    assert LinkId(7) in choker.round(now + OPTIMISTIC_S, views, False, SLOW)


# --- seeding


def test_a_seed_serves_everybody_evenly() -> None:
    choker = four_slots()
    sent = [0] * 10
    for i in range(100):
        for link in choker.round(i * CHOKE_ROUND_S, peers("0" * 10, sent=sent), True, SLOW):
            sent[link] += 100
    assert max(sent) - min(sent) <= 100


def test_a_seed_serves_the_newcomer_first() -> None:
    choker = four_slots()
    sent = [500] * 9 + [0]
    assert LinkId(9) in choker.round(0.0, peers("0" * 10, sent=sent), True, SLOW)


def test_a_seed_does_not_reward_givers() -> None:
    choker = four_slots()
    views = peers("9999000000", sent=[500] * 4 + [0] * 6)
    assert not {0, 1, 2, 3} & set(choker.round(0.0, views, True, SLOW))


# --- how many slots


def test_slots_are_wide_enough_to_pass_pieces_on_soon() -> None:
    choker = Choker(Random(1), PIECE)
    assert choker.slots == SLOTS_FIRST
    least = SLOTS_MIN_LIMITED
    for rate, slots in ((500_000, 4), (5_000_000, 39), (10**9, SLOTS_MAX), (10_000, least)):
        choker.round(0.0, [], True, UplinkView(rate, rate))
        assert choker.slots == slots


def test_pieces_that_go_one_after_the_other_need_fewer_slots() -> None:
    """Under a limit; without one a flow less may leave the uplink idle."""
    choker = Choker(Random(1), 4 << 20)
    for i in range(20):
        choker.round(i * CHOKE_ROUND_S, peers("0" * 40), True, UplinkView(500_000, 500_000))
    assert choker.slots == SLOTS_MIN_LIMITED < SLOTS_MIN


def test_more_slots_open_while_the_uplink_is_not_full_and_stay_if_that_helps() -> None:
    """Each slot brings 100 kB/s, the limit is 1 MB/s: slow receivers, and an uplink with room."""
    choker = Choker(Random(1), 4 << 20)
    views = peers("0" * 40)
    rate = 0.0
    for i in range(40):
        served = choker.round(i * CHOKE_ROUND_S, views, True, UplinkView(rate, 1_000_000))
        rate = min(1_000_000, 100_000 * len(served))
    assert rate >= 900_000
    assert choker.slots <= 11


def test_slots_that_bring_nothing_are_given_up_and_seldom_tried() -> None:
    """The uplink is full with four slots, but nobody told us its limit."""
    choker = Choker(Random(1), 4 << 20)
    views = peers("0" * 40)
    slots = []
    for i in range(60):
        choker.round(i * CHOKE_ROUND_S, views, True, UplinkView(500_000, None))
        slots.append(choker.slots)
    assert max(slots[2:]) <= SLOTS_MIN + 1
    assert sum(count > SLOTS_MIN for count in slots[20:]) <= 5


def test_noise_does_not_add_up_to_slots() -> None:
    rng = Random(5)
    choker = Choker(Random(1), 4 << 20)
    views = peers("0" * 40)
    slots = []
    for i in range(400):
        choker.round(i * CHOKE_ROUND_S, views, True, UplinkView(500_000 * rng.uniform(0.85, 1.15), None))
        slots.append(choker.slots)
    assert sum(slots[100:]) / 300 <= SLOTS_MIN + 2


def test_without_a_limit_slots_grow_quickly_with_what_they_bring() -> None:
    """A fast seed that has served a few slow ones for long meets a crowd."""
    choker = Choker(Random(1), 4 << 20)
    now, rate = 0.0, 0.0
    for _ in range(20):
        rate = 100_000.0 * len(choker.round(now, peers("0" * 4), True, UplinkView(rate)))
        now = choker.next_round(now)
    assert choker.slots == SLOTS_MIN
    crowd = now
    while choker.slots < 40 and now < crowd + 60:
        rate = 100_000.0 * len(choker.round(now, peers("0" * 40), True, UplinkView(rate)))
        now = choker.next_round(now)
    assert now - crowd <= 12.0


def test_no_slots_are_opened_for_links_that_ask_for_little() -> None:
    """At the end of a download an uplink pauses while many wait for the last pieces: slots were opened by the
    dozen, and one piece was sent to twenty at once."""
    choker = Choker(Random(1), PIECE)
    for i in range(40):
        sent = 4 * (i + 1)
        view = UplinkView(500_000 if i < 10 else 250_000, 500_000, sent, sent // 2 if i >= 10 else 0)
        served = choker.round(i * CHOKE_ROUND_S, peers("0" * 30), False, view)
    assert len(served) == SLOTS_MIN


def test_one_slow_peer_does_not_tell_what_the_uplink_can_do() -> None:
    choker = Choker(Random(1), PIECE)
    now = 0.0
    for _ in range(20):
        choker.round(now, peers("0"), True, UplinkView(1000.0))
        now = choker.next_round(now)
    assert len(choker.refill(now, peers("0" * SLOTS_FIRST), True)) == SLOTS_FIRST


def test_what_the_uplink_can_do_is_not_forgotten_while_nobody_asks() -> None:
    choker = Choker(Random(1), PIECE)
    for i in range(5):
        choker.round(i * 1.0, peers("0" * 30), True, UplinkView(5_000_000.0))
    for i in range(100):
        choker.round(10.0 + i * CHOKE_ROUND_S, [], True, UplinkView(0.0))
    assert choker.slots == 39


def test_an_uplink_that_proves_faster_with_one_peer_is_believed() -> None:
    choker = Choker(Random(1), PIECE)
    for i in range(5):
        choker.round(i * 1.0, peers("0" * 30), True, UplinkView(1_000_000.0))
    assert choker.slots < 39
    choker.round(10.0, peers("0"), True, UplinkView(1_000_000.0))
    choker.round(20.0, [], True, UplinkView(5_000_000.0))
    assert choker.slots == 39


def test_slots_are_not_opened_again_and_again_while_nothing_goes_out() -> None:
    """Nothing is not more than nothing: all who are served may have stopped reading."""
    choker = Choker(Random(1), PIECE)
    for i in range(60):
        choker.round(i * CHOKE_ROUND_S, peers("0" * 60), True, UplinkView(0.0, 100_000))
        assert choker.slots <= SLOTS_MIN_LIMITED + 1


def test_an_uplink_limit_of_nothing_does_no_harm() -> None:
    choker = Choker(Random(1), PIECE)
    choker.round(0.0, peers("000"), True, UplinkView(0.0, 0.0))
    choker.check_invariants()


def test_rounds_come_quickly_at_first() -> None:
    choker = Choker(Random(1), PIECE)
    now, times = 0.0, []
    for _ in range(CHOKE_ROUNDS_EARLY + 2):
        choker.round(now, [], False)
        times.append(choker.next_round(now) - now)
        now = choker.next_round(now)
    assert times == [CHOKE_ROUND_EARLY_S] * CHOKE_ROUNDS_EARLY + [CHOKE_ROUND_S] * 2


@given(st.integers(0, 2**32), st.text("0123456789", max_size=30), st.booleans())
def test_equal_seeds_decide_equally(seed: int, rates: str, seeding: bool) -> None:
    outcomes = []
    for _ in range(2):
        choker = Choker(Random(seed), PIECE)
        outcomes.append([choker.round(i * CHOKE_ROUND_S, peers(rates), seeding, SLOW) for i in range(5)])
    assert outcomes[0] == outcomes[1]


def run_dry(views: list[PeerView], *links: int) -> list[PeerView]:
    return [replace(view, dry=view.link in links) for view in views]


@pytest.mark.parametrize("seeding", [False, True])
def test_beside_a_slot_that_asks_for_nothing_another_is_served(seeding: bool) -> None:
    """Most have little to ask for near the end; who lacks more waited for a round, the uplink idle."""
    choker, views = four_slots(), peers("98765432")
    served = choker.round(0.0, views, seeding, SLOW)
    dry = run_dry(views, *served[:2])
    assert choker.refill(DRY_SLOT_S / 2, dry, seeding) == served  # they have hardly been told
    more = choker.refill(DRY_SLOT_S, dry, seeding)
    assert more[:4] == served
    assert len(more) == 6
    assert choker.refill(2 * DRY_SLOT_S, dry, seeding) == more


def test_who_was_served_beside_a_dry_slot_keeps_that_over_the_round() -> None:
    choker, views = four_slots(), peers("0" * 20, sent=range(20))
    served = choker.round(0.0, views, True, SLOW)
    dry = run_dry(views, *served)
    more = choker.refill(1.0, dry, True)
    assert len(more) == 8
    sent = [replace(view, sent_bytes=view.sent_bytes + 100 * (view.link in more)) for view in dry]
    again = [replace(view, sent_bytes=0) if view.link in served else view for view in sent]
    assert set(choker.round(CHOKE_ROUND_S, again, True, SLOW)) == set(more)


def test_slots_that_all_run_dry_are_doubled_at_most() -> None:
    choker, views = four_slots(), peers("0" * 20)
    served = choker.round(0.0, views, True, SLOW)
    for second in range(1, 5):
        served = choker.refill(float(second), run_dry(views, *served), True)
    assert len(served) == 8


def test_who_asks_again_brings_no_others_in() -> None:
    choker, views = four_slots(), peers("0" * 20)
    served = choker.round(0.0, views, True, SLOW)
    more = choker.refill(1.0, run_dry(views, *served[:1]), True)
    assert len(more) == 5
    assert choker.refill(2.0, views, True) == more  # nobody loses a slot between rounds
    assert len(choker.round(CHOKE_ROUND_S, views, True, SLOW)) == 4


class ChokerMachine(RuleBasedStateMachine):
    """Peers that come, go, flap and change their pace: bounded slots, only for who wants, none left idle."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.choker = Choker(Random(1), PIECE)
        self.peers: dict[int, PeerView] = {}
        self.seeding = False
        self.served: tuple[LinkId, ...] = ()
        self.most_dry = 0
        """Slots that were dry at once since the last round: who was served beside one of them stays until
        the next, though it asks again."""

    def check(self, served: tuple[LinkId, ...]) -> None:
        wanting = {peer.link for peer in self.peers.values() if peer.interested}
        assert len(set(served)) == len(served)
        assert set(served) <= wanting
        dry = sum(peer.dry and peer.interested for peer in self.peers.values())
        self.most_dry = max(self.most_dry, dry)
        slots = self.choker.slots
        assert min(slots, len(wanting)) <= len(served) <= min(slots + min(self.most_dry, slots), len(wanting))
        self.served = served

    @rule(
        link=st.integers(0, 120),
        on=st.booleans(),
        rate=st.integers(0, 5),
        sent=st.integers(0, 5),
        dry=st.booleans(),
    )
    def change(self, link: int, on: bool, rate: int, sent: int, dry: bool) -> None:
        served = LinkId(link) in self.served
        self.peers[link] = PeerView(
            LinkId(link), on, float(rate), sent, self.now, snubs=rate == 1, dry=dry and served
        )

    @rule(links=st.sets(st.integers(0, 120), min_size=20))
    def crowd(self, links: set[int]) -> None:
        for link in sorted(links):
            self.change(link, True, link % 3, link % 5, link % 4 == 0)

    @rule(link=st.integers(0, 120))
    def leave(self, link: int) -> None:
        self.peers.pop(link, None)

    @rule()
    def finish(self) -> None:
        self.seeding = True

    @rule(rate=st.integers(0, 10**7), limit=st.none() | st.integers(0, 10**7))
    def round(self, rate: int, limit: int | None) -> None:
        self.now = self.choker.next_round(self.now)
        view = UplinkView(rate, limit)
        self.most_dry = 0
        self.check(self.choker.round(self.now, list(self.peers.values()), self.seeding, view))

    @rule(seconds=st.floats(0, 3))
    def refill(self, seconds: float) -> None:
        self.now += seconds
        kept = {link for link in self.served if link in self.peers and self.peers[link].interested}
        self.check(self.choker.refill(self.now, list(self.peers.values()), self.seeding))
        assert kept <= set(self.served)

    @invariant()
    def the_books_agree(self) -> None:
        self.choker.check_invariants()


TestChokerMachine = ChokerMachine.TestCase
TestChokerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_links_run_dry_by_what_was_answered_since_the_last_round() -> None:
    slots = Slots(1)
    assert not slots._runs_dry(UplinkView(answers=100, ran_dry=0))
    assert slots._runs_dry(UplinkView(answers=200, ran_dry=30))
    assert not slots._runs_dry(UplinkView(answers=300, ran_dry=55))
    assert not slots._runs_dry(UplinkView(answers=300, ran_dry=55))
