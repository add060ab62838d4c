"""Who is known, who is connected, whom to dial."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peer.errors import ByeCode, LocalProtocolError
from peer.ids import Address, LinkId, NodeId
from peer.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_JITTER_SHARE,
    BACKOFF_MAX_S,
    BACKOFF_NAMED_MAX_S,
    BANNED_NODES_PER_HOST_MAX,
    DIAL_FAILURES_MAX,
    DUPLICATE_GRACE_S,
    HALF_OPEN_MAX,
    HALF_OPEN_UNTRUSTED_MAX,
    KNOWN_PEERS_MAX,
    KNOWN_PER_INFORMANT_MAX,
    LINK_TRIAL_S,
    LINKS_MAX,
    LINKS_PER_HOST_MAX,
    NEW_DIALS_PER_MINUTE_MAX,
    TURNOVER_S,
    TURNOVER_SHARE,
)
from peer.swarm.known import Source
from peer.swarm.peerbook import Keep, LinkView, Noted, PeerBook, Turned, Welcome, keep_which

TRACKER = "192.0.2.250"


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def at(number: int, port: int = 7701) -> Address:
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port)


ME = node(100)


def book(seed: int = 1, **options: object) -> PeerBook:
    return PeerBook(ME, Random(seed), **options)  # type: ignore[arg-type]


def dialled(pages: PeerBook, now: float) -> list[Address]:
    found = [dial.address for dial in pages.next_dials(now)]
    pages.check_invariants()
    return found


def arrive(pages: PeerBook, link: int, number: int, now: float = 0.0, port: int = 7701) -> Welcome | Turned:
    """Node `number` dials us."""
    remote = Address(at(number).host, 50_000 + link)
    verdict = pages.connected(LinkId(link), node(number), now, remote=remote, listens=port)
    pages.check_invariants()
    return verdict


def reach(pages: PeerBook, link: int, number: int, now: float = 0.0) -> Welcome | Turned:
    """We dialled node `number` and its hello is here."""
    verdict = pages.connected(LinkId(link), node(number), now, remote=at(number), dialled=at(number))
    pages.check_invariants()
    return verdict


# --- whom to dial


def test_what_is_told_is_dialled_once() -> None:
    pages = book()
    assert pages.add(at(1), Source.LINK, 0.0) is Noted.NOTED
    assert pages.add(at(1), Source.TRACKER, 0.0, informant=TRACKER) is Noted.NOTED
    assert dialled(pages, 0.0) == [at(1)]
    assert dialled(pages, 0.0) == []
    assert pages.statistics().known == 1


def test_the_user_is_believed_first_and_gossip_last() -> None:
    pages = book()
    for source in (Source.EXCHANGE, Source.TRACKER, Source.LAN, Source.LINK, Source.OPTION):
        pages.add(at(source), source, 0.0, informant=TRACKER)
    assert dialled(pages, 0.0) == [at(source) for source in sorted(Source)]


def test_equals_are_dialled_in_an_order_of_our_own() -> None:
    orders = []
    for seed in range(3):
        pages = book(seed)
        for number in range(10):
            pages.add(at(number), Source.TRACKER, 0.0, informant=TRACKER)
        orders.append(dialled(pages, 0.0))
    assert orders[0] != orders[1] != orders[2]


def test_two_addresses_of_one_node_are_not_dialled_at_once() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0, node=node(1))
    pages.add(Address("2001:db8::1", 7701), Source.LINK, 0.0, node=node(1))
    first = dialled(pages, 0.0)
    assert len(first) == 1
    assert dialled(pages, 0.0) == []
    pages.failed(first[0], 0.0)
    assert len(dialled(pages, 0.0)) == 1


def expected(pages: PeerBook, now: float = 0.0) -> list[NodeId | None]:
    return [dial.node for dial in pages.next_dials(now)]


@pytest.mark.parametrize("source", [Source.OPTION, Source.LINK, Source.LAN])
def test_hearsay_does_not_say_who_is_where_a_link_leads(source: Source) -> None:
    pages = book()
    pages.add(at(1), source, 0.0)
    pages.add(at(1), Source.TRACKER, 0.0, node=node(66), informant=TRACKER)
    pages.add(at(1), Source.EXCHANGE, 0.0, node=node(66), informant=at(66).host)
    assert expected(pages) == [None], "else nobody else would be let through there, for ever"


def test_a_link_says_who_is_there_whatever_hearsay_said_before() -> None:
    pages = book()
    pages.add(at(1), Source.EXCHANGE, 0.0, node=node(66), informant=at(66).host)
    pages.add(at(1), Source.LINK, 0.0, node=node(1))
    pages.add(at(1), Source.TRACKER, 0.0, node=node(66), informant=TRACKER)
    assert expected(pages) == [node(1)], "else the liar could stand in for the node that the link names"


def test_hearsays_that_contradict_each_other_say_nothing() -> None:
    pages = book()
    pages.add(at(1), Source.EXCHANGE, 0.0, node=node(66), informant=at(66).host)
    arrive(pages, 1, 66)
    assert expected(pages) == [], "the liar is connected, and said that this is itself"
    pages.add(at(1), Source.EXCHANGE, 0.0, node=node(1), informant=at(2).host)
    assert expected(pages) == [None]


def test_an_id_on_hearsay_that_was_not_met_is_not_insisted_on() -> None:
    pages = book()
    pages.add(at(1), Source.TRACKER, 0.0, node=node(66), informant=TRACKER)
    assert expected(pages) == [node(66)]
    pages.failed(at(1), 0.0)
    assert expected(pages, BACKOFF_MAX_S) == [None]


@pytest.mark.parametrize(
    ("source", "longest"),
    [
        (Source.OPTION, BACKOFF_NAMED_MAX_S),
        (Source.LINK, BACKOFF_NAMED_MAX_S),
        (Source.LAN, BACKOFF_MAX_S),
    ],
)
def test_back_off_doubles_to_its_limit_with_jitter(source: Source, longest: float) -> None:
    pages = book()
    pages.add(at(1), source, 0.0)
    now, waits = 0.0, []
    for _ in range(14):
        assert dialled(pages, now) == [at(1)]
        pages.failed(at(1), now)
        assert dialled(pages, now) == []
        deadline = pages.next_deadline(now)
        assert deadline is not None
        assert dialled(pages, deadline - 0.001) == []
        waits.append(deadline - now)
        now = deadline
    for i, wait in enumerate(waits):
        least = min(longest, BACKOFF_FIRST_S * 2**i)
        assert least <= wait <= least * (1 + BACKOFF_JITTER_SHARE)
    assert len({wait / 2**i for i, wait in enumerate(waits[:8])}) == 8


def test_gossip_that_never_answers_rests_until_it_is_told_again() -> None:
    pages = book()

    def tell(now: float) -> None:
        pages.add(at(1), Source.EXCHANGE, now, informant=TRACKER)

    tell(0.0)
    now = 0.0
    for i in range(DIAL_FAILURES_MAX):
        assert dialled(pages, now) == [at(1)]
        pages.failed(at(1), now)
        now += BACKOFF_MAX_S * 2
        if i < DIAL_FAILURES_MAX - 2:
            tell(now)
    assert pages.next_deadline(now) is None
    assert dialled(pages, now) == []
    tell(now)
    assert dialled(pages, now) == [at(1)]
    pages.failed(at(1), now)
    tell(now + 1.0)  # at once again: not yet
    assert dialled(pages, now + 1.0) == []


def test_a_dead_address_of_the_users_is_tried_for_ever() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0)
    now = 0.0
    for _ in range(50):
        assert dialled(pages, now) == [at(1)]
        pages.failed(at(1), now)
        now += 2 * BACKOFF_MAX_S


def test_only_so_many_dials_are_under_way() -> None:
    pages = book(links_dialled_max=LINKS_MAX)
    for number in range(100):
        pages.add(at(number), Source.LINK, 0.0)
    assert len(dialled(pages, 0.0)) == HALF_OPEN_MAX
    assert pages.next_deadline(0.0) is None


def test_gossip_leaves_room_for_what_the_user_named() -> None:
    pages = book()
    for number in range(100):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=TRACKER)
    assert len(dialled(pages, 0.0)) == HALF_OPEN_UNTRUSTED_MAX
    assert pages.next_deadline(0.0) is None
    pages.add(at(1000), Source.OPTION, 0.0)
    assert dialled(pages, 0.0) == [at(1000)]


def test_a_thousand_addresses_that_do_not_answer_are_dialled_slowly_and_from_a_bounded_book() -> None:
    """An attack: dials a minute are bounded, and what the user names is dialled at once all the same."""
    pages = book()
    now, times = 0.0, []
    for number in range(2000):
        pages.add(at(number), Source.EXCHANGE, now, informant=f"192.0.2.{number % 3}")
    assert pages.statistics().known <= 3 * KNOWN_PER_INFORMANT_MAX
    while now < 300.0:
        dials = pages.next_dials(now)
        for dial in dials:
            times.append(now)
            pages.failed(dial.address, now)
        pages.check_invariants()
        deadline = pages.next_deadline(now)
        assert deadline is not None
        assert dials or deadline > now
        now = max(deadline, now + 0.05)
    for begin in range(0, 300, 10):
        assert sum(begin <= time < begin + 60 for time in times) <= NEW_DIALS_PER_MINUTE_MAX
    assert len(times) >= 3 * NEW_DIALS_PER_MINUTE_MAX  # and yet it goes on
    pages.add(at(5000), Source.LINK, now)
    assert at(5000) in dialled(pages, now)


def test_informants_whose_addresses_fail_are_heard_last() -> None:
    pages = book()
    for number in range(10):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant="192.0.2.66")
    for address in dialled(pages, 0.0):
        pages.failed(address, 0.0)
    for number in range(20, 40):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant="192.0.2.66")
        pages.add(at(number + 100), Source.EXCHANGE, 0.0, informant="192.0.2.7")
    assert set(dialled(pages, 0.0)[:20]) == {at(number + 100) for number in range(20, 40)}


def test_the_deadline_is_when_there_is_something_to_dial() -> None:
    pages = book()
    assert pages.next_deadline(0.0) is None
    pages.add(at(1), Source.LINK, 5.0)
    assert pages.next_deadline(5.0) == 5.0
    pages.next_dials(5.0)
    assert pages.next_deadline(5.0) is None
    pages.failed(at(1), 6.0)
    deadline = pages.next_deadline(6.0)
    assert deadline is not None
    assert 7.0 <= deadline <= 7.25


def test_we_stop_dialling_in_time_to_leave_places_for_others() -> None:
    pages = book(links_dialled_max=5)
    for number in range(20):
        pages.add(at(number), Source.LINK, 0.0)
    for link, address in enumerate(dialled(pages, 0.0)):
        verdict = pages.connected(LinkId(link), node(200 + link), 0.0, remote=address, dialled=address)
        assert verdict == Welcome()
    assert pages.statistics().connected == 5
    assert pages.next_deadline(0.0) is None
    assert arrive(pages, 50, 150) == Welcome()


# --- what is not believed


def test_useless_and_dangerous_addresses_are_not_noted() -> None:
    pages = book()
    assert pages.add(at(1, 0), Source.OPTION, 0.0) is Noted.UNUSABLE
    assert pages.add(Address("224.0.0.1", 7701), Source.LAN, 0.0) is Noted.UNUSABLE
    assert pages.add(Address("127.0.0.1", 7701), Source.TRACKER, 0.0, informant=TRACKER) is Noted.UNTRUSTED
    assert pages.add(at(1, 22), Source.EXCHANGE, 0.0, informant=TRACKER) is Noted.UNTRUSTED
    assert pages.add(Address("127.0.0.1", 7701), Source.OPTION, 0.0) is Noted.NOTED
    assert pages.statistics().known == 1


def test_a_demonstration_on_one_machine_is_whole() -> None:
    pages = book()
    for informant in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        noted = pages.add(Address("127.0.0.1", 7705), Source.TRACKER, 0.0, informant=informant)
        assert noted is Noted.NOTED


def test_on_a_trusted_lan_everything_is_believed() -> None:
    pages = book(lan=True)
    assert pages.add(Address("127.0.0.1", 80), Source.TRACKER, 0.0, informant=TRACKER) is Noted.NOTED


def test_a_full_book_forgets_the_worst_first() -> None:
    pages = book()
    for number in range(KNOWN_PEERS_MAX):
        informant = f"192.0.{number % 8}.1"
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=informant)
    assert pages.statistics().known == KNOWN_PEERS_MAX
    assert pages.add(at(9000), Source.EXCHANGE, 0.0, informant="192.0.9.1") is Noted.FULL
    assert pages.add(at(9001), Source.LINK, 0.0) is Noted.NOTED  # at the cost of some gossip
    assert pages.statistics().known == KNOWN_PEERS_MAX
    dead = next(address for address in dialled(pages, 0.0) if address != at(9001))
    pages.failed(dead, 0.0)
    assert pages.add(at(9002), Source.EXCHANGE, 0.0, informant="192.0.9.1") is Noted.NOTED
    assert pages.add(at(9003), Source.EXCHANGE, 0.0, informant="192.0.9.1") is Noted.FULL
    pages.check_invariants()


# --- ourselves, bans


def test_we_do_not_talk_to_ourselves_twice() -> None:
    pages = book()
    pages.add(at(1), Source.TRACKER, 0.0, informant=TRACKER)
    assert dialled(pages, 0.0) == [at(1)]
    verdict = pages.connected(LinkId(1), ME, 0.0, remote=at(1), dialled=at(1))
    assert verdict == Turned(ByeCode.SELF)
    assert pages.connected(LinkId(2), ME, 0.0, remote=at(7)) == Turned(ByeCode.SELF)
    assert pages.add(at(1), Source.TRACKER, 10.0, informant=TRACKER) is Noted.SELF
    assert pages.add(at(2), Source.LINK, 10.0, node=ME) is Noted.SELF
    pages.own_address(at(3))
    assert pages.add(at(3), Source.LINK, 10.0) is Noted.SELF
    assert dialled(pages, 1000.0) == []


def test_who_sent_bad_bytes_is_banned_wherever_it_comes_from() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0, node=node(1))
    pages.ban(node(1), at(1).host)
    assert dialled(pages, 0.0) == []
    assert arrive(pages, 1, 1) == Turned(ByeCode.CORRUPT)
    assert pages.add(at(77), Source.LINK, 0.0, node=node(1)) is Noted.BANNED
    elsewhere = pages.connected(LinkId(9), node(1), 0.0, remote=at(9), dialled=at(9))
    assert elsewhere == Turned(ByeCode.CORRUPT)


def test_a_host_is_banned_when_several_of_its_nodes_were() -> None:
    pages = book()
    for number in range(BANNED_NODES_PER_HOST_MAX):
        assert pages.add(at(1, 8000 + number), Source.LINK, 0.0) is Noted.NOTED  # honest neighbours
        pages.ban(node(number), at(1).host)
    assert pages.add(at(1, 9000), Source.LINK, 0.0) is Noted.BANNED
    assert pages.connected(LinkId(1), node(55), 0.0, remote=at(1)) == Turned(ByeCode.CORRUPT)
    for number in range(10, 20):
        pages.ban(node(number), "127.0.0.1")
    assert pages.add(Address("127.0.0.1", 9000), Source.LINK, 0.0) is Noted.NOTED


def test_a_banned_node_met_at_a_new_address_is_not_dialled_there_again() -> None:
    pages = book()
    pages.ban(node(1), "192.0.2.1")
    pages.add(at(1), Source.LINK, 0.0)
    assert dialled(pages, 0.0) == [at(1)]
    assert reach(pages, 1, 1) == Turned(ByeCode.CORRUPT)
    assert pages.statistics().dialling == 0
    assert dialled(pages, 1000.0) == []


# --- one connection between two nodes


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.booleans())
def test_both_sides_keep_the_same_of_two_simultaneous_connections(a: bytes, b: bytes, a_first: bool) -> None:
    """a_first: whether the connection that a dialled came up first (at a; at b it may be the other way)."""
    if a == b:
        return
    for b_first in (a_first, not a_first):
        at_a = keep_which(NodeId(a), NodeId(b), a_first, not a_first)
        at_b = keep_which(NodeId(b), NodeId(a), not b_first, b_first)
        kept_at_a = "a's" if (at_a is Keep.EXISTING) == a_first else "b's"
        kept_at_b = "a's" if (at_b is Keep.EXISTING) == b_first else "b's"
        assert Keep.BOTH not in {at_a, at_b}
        assert kept_at_a == kept_at_b == ("a's" if a < b else "b's")


@pytest.mark.parametrize("number", [1, 200])
@pytest.mark.parametrize("ours_first", [True, False])
def test_of_two_simultaneous_connections_the_one_that_the_lower_id_dialled_stays(
    number: int, ours_first: bool
) -> None:
    pages = book()
    ours_stays = number > 100
    if ours_first:
        assert reach(pages, 1, number) == Welcome()
        second = arrive(pages, 2, number)
        assert second == (Turned(ByeCode.DUPLICATE) if ours_stays else Welcome(close=LinkId(1)))
    else:
        assert arrive(pages, 2, number) == Welcome()
        second = reach(pages, 1, number)
        assert second == (Welcome(close=LinkId(2)) if ours_stays else Turned(ByeCode.DUPLICATE))
    assert pages.statistics().connected == 1


def test_if_one_side_dialled_twice_it_decides_alone() -> None:
    pages = book()
    assert reach(pages, 1, 1) == Welcome()
    assert reach(pages, 2, 1) == Turned(ByeCode.DUPLICATE)
    other = book()
    assert arrive(other, 1, 1) == Welcome()
    assert arrive(other, 2, 1, now=5.0) == Welcome()  # let it decide
    assert arrive(other, 3, 1, now=5.0) == Turned(ByeCode.DUPLICATE)  # but not among three
    assert other.overdue(6.0) == []
    assert other.overdue(5.0 + DUPLICATE_GRACE_S) == [LinkId(1)]
    other.disconnected(LinkId(2), 7.0, clean=True)
    assert other.overdue(100.0) == []


def test_a_peer_that_comes_back_before_its_old_link_was_noticed_dead_is_welcome() -> None:
    heard = {LinkId(1): 0.0}
    pages = book(last_heard=heard.__getitem__)
    assert reach(pages, 1, 200) == Welcome()  # we dialled it, and we are the lower
    assert arrive(pages, 2, 200, now=5.0) == Turned(ByeCode.DUPLICATE)
    assert arrive(pages, 3, 200, now=DUPLICATE_GRACE_S) == Welcome(close=LinkId(1))
    pages.disconnected(LinkId(1), DUPLICATE_GRACE_S, clean=True)  # the glue says so of a closed link
    pages.check_invariants()
    assert pages.statistics().connected == 1


def test_a_link_is_connected_once() -> None:
    pages = book()
    arrive(pages, 1, 1)
    with pytest.raises(LocalProtocolError):
        arrive(pages, 1, 2)


# --- places


def test_connections_are_bounded_in_sum_and_for_one_host() -> None:
    pages = book(links_max=20)
    for link in range(LINKS_PER_HOST_MAX):
        assert pages.connected(LinkId(link), node(link), 0.0, remote=at(1)) == Welcome()
    assert pages.connected(LinkId(50), node(50), 0.0, remote=at(1)) == Turned(ByeCode.FULL)
    for link in range(LINKS_PER_HOST_MAX, 20):
        assert pages.connected(LinkId(link), node(link), 0.0, remote=at(link)) == Welcome()
    assert pages.connected(LinkId(51), node(51), 0.0, remote=at(51)) == Turned(ByeCode.FULL)
    local = book()
    for link in range(30):
        verdict = local.connected(LinkId(link), node(link), 0.0, remote=Address("127.0.0.1", 5000))
        assert verdict == Welcome()


def test_a_dial_that_finds_us_full_rests() -> None:
    pages = book(links_max=2)
    pages.add(at(1), Source.LINK, 0.0)
    assert dialled(pages, 0.0) == [at(1)]
    arrive(pages, 1, 11, port=0)
    arrive(pages, 2, 12, port=0)
    assert reach(pages, 3, 1) == Turned(ByeCode.FULL)
    pages.disconnected(LinkId(1), 1.0, clean=True)
    assert at(1) not in dialled(pages, 10.0)
    assert at(1) in dialled(pages, 2 * BACKOFF_MAX_S)


def test_a_link_that_replaces_another_needs_no_place_of_its_own() -> None:
    pages = book(links_max=2)
    arrive(pages, 1, 200)
    arrive(pages, 2, 12)
    assert reach(pages, 3, 200) == Welcome(close=LinkId(1))
    assert arrive(pages, 4, 12) == Turned(ByeCode.DUPLICATE)  # two links for a while would be one too many


def test_two_complete_peers_part() -> None:
    pages = book()
    for link in range(3):
        arrive(pages, link, link + 1)
    views = [
        LinkView(LinkId(0), False, False, True),
        LinkView(LinkId(1), False, True),
        LinkView(LinkId(2), True, False),
    ]
    assert pages.surplus(views, 100.0) == [LinkId(0)]


def test_who_serves_nobody_goes_only_when_places_are_short() -> None:
    pages = book(links_max=30)
    for link in range(12):
        arrive(pages, link, link + 1, now=float(link))
    views = [LinkView(LinkId(link), link >= 6, False) for link in range(12)]
    assert pages.surplus(views, 100.0) == [LinkId(0), LinkId(1)]  # 18 places are free, 20 should be
    assert pages.surplus(views[2:], 100.0) == [LinkId(2), LinkId(3)]
    assert book().surplus(views, 100.0) == []


def stale_views(count: int, moved_at: dict[int, float]) -> list[LinkView]:
    return [
        LinkView(LinkId(link), we_need=True, it_needs=False, moved_at=moved_at.get(link, 0.0))
        for link in range(count)
    ]


def test_links_that_promise_and_never_give_make_room_for_others_in_the_end() -> None:
    pages = book(links_dialled_max=20)
    for link in range(20):
        arrive(pages, link, link + 1)
    views = stale_views(20, {0: 50.0, 1: 1.0})
    late = LINK_TRIAL_S + 5
    assert pages.surplus(views, late) == [], "there is nobody to take their place"
    pages.add(Address("198.51.100.7", 7701), Source.OPTION, 0.0)
    assert pages.next_dials(late) == [], "all places are taken"
    assert pages.surplus(views, late + TURNOVER_S / 2) == [], "not all the time"
    chosen = pages.surplus(views, late + TURNOVER_S)
    assert chosen == [LinkId(2), LinkId(3)], "a few at a time; those with which something moved stay"
    assert len(chosen) == 20 // TURNOVER_SHARE
    for link in chosen:
        pages.disconnected(link, late + TURNOVER_S, clean=True)
    assert [dial.address.host for dial in pages.next_dials(late + TURNOVER_S)] == ["198.51.100.7"]


def test_a_link_gets_its_time_on_trial() -> None:
    pages = book(links_dialled_max=20)
    for link in range(20):
        arrive(pages, link, link + 1)
    pages.add(Address("198.51.100.7", 7701), Source.OPTION, 0.0)
    assert pages.surplus(stale_views(20, {}), LINK_TRIAL_S - 1) == []
    assert pages.surplus(stale_views(20, {}), LINK_TRIAL_S + TURNOVER_S) != []


# --- coming and going


def test_a_peer_that_said_goodbye_is_dialled_again_soon() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0)
    for time in (0.0, 1000.0, 2000.0, 3000.0, 4000.0):
        pages.failed(dialled(pages, time)[0], time)
    assert dialled(pages, 6000.0) == [at(1)]
    reach(pages, 1, 1, now=6000.0)
    assert dialled(pages, 6000.0) == []
    pages.disconnected(LinkId(1), 6100.0, clean=True)
    assert dialled(pages, 6100.0) == []
    assert dialled(pages, 6102.0) == [at(1)]


def test_a_link_that_breaks_again_and_again_is_dialled_ever_more_seldom() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0)
    now, waits = 0.0, []
    for link in range(6):
        assert dialled(pages, now) == [at(1)]
        reach(pages, link, 1, now)
        pages.disconnected(LinkId(link), now + 0.1, clean=False)
        deadline = pages.next_deadline(now + 0.1)
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
    assert all(b > a * 1.5 for a, b in pairwise(waits))


def test_somebody_who_dialled_us_can_be_dialled_later() -> None:
    pages = book()
    arrive(pages, 1, 1, port=7755)
    assert pages.address_of(LinkId(1)) == at(1, 7755)
    assert dialled(pages, 0.0) == []
    pages.disconnected(LinkId(1), 10.0, clean=False)
    assert dialled(pages, 20.0) == [at(1, 7755)]
    arrive(pages, 2, 2, port=0)
    assert pages.address_of(LinkId(2)) is None


def test_every_address_of_a_connected_node_is_left_alone() -> None:
    pages = book()
    pages.add(at(2), Source.LINK, 0.0, node=node(1))
    reach(pages, 1, 1)
    assert dialled(pages, 0.0) == []
    assert pages.next_deadline(0.0) is None


def test_an_address_at_rest_is_not_dialled_for_long() -> None:
    pages = book()
    pages.add(at(1), Source.LINK, 0.0)
    assert dialled(pages, 0.0) == [at(1)]
    pages.rest(at(1), 0.0)
    assert dialled(pages, BACKOFF_MAX_S - 1) == []
    assert dialled(pages, 2 * BACKOFF_MAX_S) == [at(1)]


def test_who_is_named_and_refuses_for_now_is_asked_again_before_a_getter_gives_up() -> None:
    """Who had no place for a moment, or had not hashed the share yet, was not dialled for five minutes."""
    pages = book()
    pages.add(at(1), Source.OPTION, 0.0)
    pages.add(at(2), Source.TRACKER, 0.0, informant=TRACKER)
    for address in dialled(pages, 0.0):
        pages.rest(address, 0.0, for_now=True)
    assert dialled(pages, BACKOFF_NAMED_MAX_S - 1) == []
    assert dialled(pages, BACKOFF_NAMED_MAX_S * (1 + BACKOFF_JITTER_SHARE)) == [at(1)]


# --- telling others


def test_we_tell_of_peers_that_we_know_ourselves() -> None:
    pages = book()
    pages.add(at(50), Source.TRACKER, 0.0, informant=TRACKER)  # hearsay is not passed on
    reach(pages, 1, 1)
    arrive(pages, 2, 2)
    arrive(pages, 3, 3, port=0)  # cannot be dialled
    assert {peer.node for peer in pages.tell(50)} == {node(1), node(2)}
    assert [peer.node for peer in pages.tell(50, but=LinkId(1))] == [node(2)]
    assert len(pages.tell(1)) == 1
    assert pages.tell(0) == ()


class BookMachine(RuleBasedStateMachine):
    """A small world of addresses and nodes, and everything that can happen to them."""

    numbers = st.integers(1, 12)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pages = PeerBook(node(6), Random(1), links_max=8, links_dialled_max=5)
        self.dialling: list[Address] = []
        self.links: dict[int, int] = {}
        self.banned: set[int] = set()
        self.counter = 0

    @rule(number=numbers, port=st.sampled_from([7701, 7702, 80, 0]), source=st.sampled_from(Source))
    def add(self, number: int, port: int, source: Source) -> None:
        self.pages.add(at(number, port), source, self.now, informant=TRACKER)

    @rule(number=numbers, source=st.sampled_from(Source))
    def add_with_node(self, number: int, source: Source) -> None:
        noted = self.pages.add(at(number), source, self.now, node=node(number), informant=TRACKER)
        assert (noted is Noted.BANNED) == (number in self.banned and number != 6) or noted is Noted.SELF

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def dial(self) -> None:
        deadline = self.pages.next_deadline(self.now)
        dials = self.pages.next_dials(self.now)
        assert bool(dials) == (deadline is not None and deadline <= self.now)
        for known in dials:
            assert known.address not in self.dialling
            assert known.node != node(6)
            assert all(node(number) != known.node for number in self.links.values())
            self.dialling.append(known.address)

    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["failed", "rest", "self", "peer"]))
    def end_dial(self, which: int, outcome: str) -> None:
        if which >= len(self.dialling):
            return
        address = self.dialling.pop(which)
        if outcome == "failed":
            self.pages.failed(address, self.now)
        elif outcome == "rest":
            self.pages.rest(address, self.now)
        else:
            number = 6 if outcome == "self" else int(address.host.rpartition(".")[2])
            self.meet(number, address)

    @rule(number=numbers, listens=st.sampled_from([0, 7701]))
    def meet_inbound(self, number: int, listens: int) -> None:
        self.meet(number, None, listens)

    def meet(self, number: int, address: Address | None, listens: int = 0) -> None:
        self.counter += 1
        verdict = self.pages.connected(
            LinkId(self.counter), node(number), self.now, remote=at(number), dialled=address, listens=listens
        )
        if number == 6:
            assert verdict == Turned(ByeCode.SELF)
        elif number in self.banned:
            assert verdict == Turned(ByeCode.CORRUPT)
        if isinstance(verdict, Welcome):
            if verdict.close is not None:
                assert self.links.pop(verdict.close) == number
            self.links[self.counter] = number

    @rule(which=st.integers(0, 9), clean=st.booleans())
    def part(self, which: int, clean: bool) -> None:
        if which < len(self.links):
            link = list(self.links)[which]
            del self.links[link]
            self.pages.disconnected(LinkId(link), self.now, clean=clean)

    @rule(number=numbers)
    def ban(self, number: int) -> None:
        self.pages.ban(node(number), at(number).host)
        self.banned.add(number)
        self.dialling = [a for a in self.dialling if a != at(number)]

    @rule()
    def tell(self) -> None:
        told = {peer.node for peer in self.pages.tell(50)}
        assert told <= {node(number) for number in self.links.values()}

    @invariant()
    def the_books_agree(self) -> None:
        self.pages.check_invariants()
        assert self.pages.statistics().connected == len(self.links)
        for link in self.pages.overdue(self.now):
            assert list(self.links.values()).count(self.links[link]) == 2


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
