"""Who is known, whom to dial, whom to tell of."""

import sys

import pytest

from peer.ids import Address, LinkId, NodeId
from peer.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_JITTER_SHARE,
    BACKOFF_MAX_S,
    BACKOFF_NAMED_MAX_S,
    DIAL_FAILURES_MAX,
    HALF_OPEN_MAX,
    HALF_OPEN_UNTRUSTED_MAX,
    KNOWN_PEERS_MAX,
    KNOWN_PER_INFORMANT_MAX,
    LINKS_MAX,
    NEW_DIALS_PER_MINUTE_MAX,
    PEERS_PER_MESSAGE_MAX,
)
from peer.swarm.known import Source
from peer.swarm.peerbook import Noted, PeerBook, Welcome
from tests.pure.peerbook_kit import TRACKER, arrive, at, book, dialled, node, reach

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


@pytest.mark.parametrize("source", list(Source))
def test_whom_we_met_where_nobody_said_who_is_there_is_not_insisted_on(source: Source) -> None:
    """A seed at the address that the user had named came back with another identity, and was turned away at
    every dial."""
    pages = book()
    pages.add(at(1), source, 0.0, informant=TRACKER)
    assert expected(pages) == [None]
    reach(pages, 1, 1)
    pages.disconnected(LinkId(1), 100.0, clean=True)
    assert expected(pages, 200.0) == [node(1)]
    pages.failed(at(1), 200.0)
    assert expected(pages, 200.0 + BACKOFF_MAX_S) == [None]


@pytest.mark.parametrize("source", [Source.OPTION, Source.LINK])
def test_whom_the_user_or_a_link_names_by_id_is_insisted_on(source: Source) -> None:
    pages = book()
    pages.add(at(1), source, 0.0, node=node(1))
    for attempt in range(5):
        assert expected(pages, attempt * BACKOFF_MAX_S) == [node(1)]
        pages.failed(at(1), attempt * BACKOFF_MAX_S)


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
    for _ in range(1100):  # two to the power of the failures is no float any more
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


def test_informants_of_one_network_share_what_each_could_fill_of_the_book() -> None:
    """A customer with an IPv6 /64 has as many addresses as he likes: seven filled the book."""
    pages = book()
    for number in range(2 * KNOWN_PER_INFORMANT_MAX):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=f"2001:db8::{number % 7:x}")
    assert pages.statistics().known == KNOWN_PER_INFORMANT_MAX
    assert pages.add(at(5000), Source.EXCHANGE, 0.0, informant="2001:db8:0:1::") is Noted.NOTED
    pages.check_invariants()


def test_hearsay_at_a_full_book_costs_next_to_nothing_until_an_address_fails() -> None:
    """For each of the addresses in a message, anybody's, the whole book was looked through."""
    pages = book()
    for number in range(KNOWN_PEERS_MAX):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=f"192.0.2.{number % 200}")
    assert pages.statistics().known == KNOWN_PEERS_MAX
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    others = [at(KNOWN_PEERS_MAX + number) for number in range(PEERS_PER_MESSAGE_MAX)]
    sys.setprofile(count)
    try:
        verdicts = [pages.add(address, Source.EXCHANGE, 0.0, informant=TRACKER) for address in others]
    finally:
        sys.setprofile(None)
    assert set(verdicts) == {Noted.FULL}
    assert calls < 10 * KNOWN_PEERS_MAX < KNOWN_PEERS_MAX * len(others)
    assert pages.add(others[0], Source.OPTION, 0.0) is Noted.NOTED, "who is trusted more finds room"
    (dial, *_) = pages.next_dials(0.0)
    assert pages.add(others[1], Source.EXCHANGE, 0.0, informant=TRACKER) is Noted.FULL
    pages.failed(dial.address, 0.0)
    assert pages.add(others[1], Source.EXCHANGE, 0.0, informant=TRACKER) is Noted.NOTED
    pages.check_invariants()


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


def test_the_failures_of_one_informant_do_not_excuse_another() -> None:
    pages = book()
    liars = ("192.0.2.66", "198.51.100.66")
    for number, liar in enumerate(liars):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=liar)
    assert set(dialled(pages, 0.0)) == {at(0), at(1)}
    for number in range(len(liars)):
        pages.failed(at(number), 0.0)
    for number in range(20, 30):
        pages.add(at(number), Source.EXCHANGE, 0.0, informant=liars[0])
        pages.add(at(number + 100), Source.EXCHANGE, 0.0, informant=liars[1])
        pages.add(at(number + 200), Source.EXCHANGE, 0.0, informant="203.0.113.7")
    assert set(dialled(pages, 0.0)[:10]) == {at(number + 200) for number in range(20, 30)}


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
