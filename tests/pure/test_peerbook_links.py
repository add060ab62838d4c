"""Who is connected: who is turned away or makes room, and what is dialled when a link has ended."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import ByeCode, LocalProtocolError
from peer.ids import Address, LinkId, NodeId
from peer.limits import (
    BACKOFF_JITTER_SHARE,
    BACKOFF_MAX_S,
    BACKOFF_NAMED_MAX_S,
    BANNED_NODES_PER_HOST_MAX,
    BANS_MAX,
    DUPLICATE_GRACE_S,
    LINK_NEW_S,
    LINK_TRIAL_S,
    LINKS_PER_HOST_MAX,
    REASON_BYTES_MAX,
    TURNOVER_S,
    TURNOVER_SHARE,
)
from peer.swarm.known import Source
from peer.swarm.peerbook import (
    OWN_ADDRESSES_MAX,
    STILL_BANNED,
    Keep,
    LinkView,
    Noted,
    PeerBook,
    Turned,
    Welcome,
    keep_which,
)
from tests.pure.peerbook_kit import ME, TRACKER, arrive, at, book, dialled, node, reach

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
    assert arrive(pages, 1, 1) == Turned(ByeCode.CORRUPT, STILL_BANNED)
    assert pages.add(at(77), Source.LINK, 0.0, node=node(1)) is Noted.BANNED
    elsewhere = pages.connected(LinkId(9), node(1), 0.0, remote=at(9), dialled=at(9))
    assert elsewhere == Turned(ByeCode.CORRUPT, STILL_BANNED)


def test_who_comes_back_hears_what_it_was_sent_away_for() -> None:
    pages = book()
    pages.ban(node(1), at(1).host, "piece 3 did not verify")
    back = arrive(pages, 1, 1)
    assert back == Turned(ByeCode.CORRUPT, f"{STILL_BANNED}: piece 3 did not verify")
    for number in range(2, 2 + BANNED_NODES_PER_HOST_MAX):
        pages.ban(node(number), at(1).host, f"reason {number}" + 500 * "x")
    last = pages.connected(LinkId(2), node(55), 0.0, remote=at(1))
    assert isinstance(last, Turned)
    assert last.reason.startswith(f"{STILL_BANNED}: reason {1 + BANNED_NODES_PER_HOST_MAX}")
    assert len(last.reason) <= REASON_BYTES_MAX


def test_a_host_is_banned_when_several_of_its_nodes_were() -> None:
    pages = book()
    for number in range(BANNED_NODES_PER_HOST_MAX):
        assert pages.add(at(1, 8000 + number), Source.LINK, 0.0) is Noted.NOTED  # honest neighbours
        pages.ban(node(number), at(1).host)
    assert pages.add(at(1, 9000), Source.LINK, 0.0) is Noted.BANNED
    assert pages.connected(LinkId(1), node(55), 0.0, remote=at(1)) == Turned(ByeCode.CORRUPT, STILL_BANNED)
    for number in range(10, 20):
        pages.ban(node(number), "127.0.0.1")
    assert pages.add(Address("127.0.0.1", 9000), Source.LINK, 0.0) is Noted.NOTED


def test_of_bans_and_addresses_of_our_own_the_latest_are_remembered() -> None:
    pages = book()
    for number in range(BANS_MAX + 10):
        pages.ban(node(1000 + number), at(number).host)
        pages.own_address(at(number, 9000))
    assert pages.statistics().banned == BANS_MAX
    pages.check_invariants()
    for number, verdict in ((9, Noted.NOTED), (10, Noted.BANNED), (BANS_MAX + 9, Noted.BANNED)):
        assert pages.add(at(20_000), Source.LINK, 0.0, node=node(1000 + number)) is verdict
    first = BANS_MAX + 10 - OWN_ADDRESSES_MAX
    assert pages.add(at(first - 1, 9000), Source.LINK, 0.0) is Noted.NOTED
    assert pages.add(at(first, 9000), Source.LINK, 0.0) is Noted.SELF


def test_a_banned_node_met_at_a_new_address_is_not_dialled_there_again() -> None:
    pages = book()
    pages.ban(node(1), "192.0.2.1")
    pages.add(at(1), Source.LINK, 0.0)
    assert dialled(pages, 0.0) == [at(1)]
    assert reach(pages, 1, 1) == Turned(ByeCode.CORRUPT, STILL_BANNED)
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


@pytest.mark.parametrize(("places", "dialled_places", "enough"), [(30, 30, 10), (60, 8, 7), (60, 60, 40)])
def test_a_book_is_crowded_as_soon_as_surplus_may_name_an_incomplete_one(
    places: int, dialled_places: int, enough: int
) -> None:
    pages = book(links_max=places, links_dialled_max=dialled_places)
    for link in range(enough):
        arrive(pages, link, link + 1)
        assert not pages.is_crowded
    arrive(pages, enough, enough + 1)
    assert pages.is_crowded


def test_who_serves_nobody_goes_only_when_places_are_short() -> None:
    pages = book(links_max=30)
    for link in range(12):
        arrive(pages, link, link + 1, now=float(link))
    views = [LinkView(LinkId(link), link >= 6, False) for link in range(12)]
    assert pages.surplus(views, 100.0) == [LinkId(0), LinkId(1)]  # 18 places are free, 20 should be
    assert pages.surplus(views[2:], 100.0) == [LinkId(2), LinkId(3)]
    assert book().surplus(views, 100.0) == []


def test_who_has_just_come_or_is_sent_a_manifest_is_not_yet_useless() -> None:
    pages = book(links_max=30)
    for link in range(12):
        arrive(pages, link, link + 1, now=100.0 if link == 0 else 0.0)
    views = [LinkView(LinkId(link), False, False, moved_at=99.0 if link == 1 else 0.0) for link in range(12)]
    assert pages.surplus(views, 100.0 + LINK_NEW_S / 2) == [LinkId(2), LinkId(3)]
    assert pages.surplus(views[:2], 100.0 + 2 * LINK_NEW_S) == [LinkId(1), LinkId(0)]


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


def test_who_is_named_and_met_when_there_was_no_place_is_dialled_soon_after() -> None:
    """Our own last place was taken while we dialled it. That is over as soon as a link is."""
    pages = book(links_max=1)
    pages.add(at(1), Source.OPTION, 0.0)
    assert dialled(pages, 0.0) == [at(1)]
    assert pages.connected(LinkId(2), node(2), 0.0, remote=at(2)) == Welcome()
    met = pages.connected(LinkId(1), node(1), 0.0, remote=at(1), dialled=at(1))
    assert met == Turned(ByeCode.FULL)
    pages.disconnected(LinkId(2), 1.0, clean=True)
    assert dialled(pages, BACKOFF_NAMED_MAX_S * (1 + BACKOFF_JITTER_SHARE)) == [at(1)]


def test_who_is_named_and_refuses_for_now_is_asked_again_before_a_getter_gives_up() -> None:
    """Who had no place for a moment, or had not hashed the share yet, was not dialled for five minutes."""
    pages = book()
    pages.add(at(1), Source.OPTION, 0.0)
    pages.add(at(2), Source.TRACKER, 0.0, informant=TRACKER)
    for address in dialled(pages, 0.0):
        pages.rest(address, 0.0, for_now=True)
    assert dialled(pages, BACKOFF_NAMED_MAX_S - 1) == []
    assert dialled(pages, BACKOFF_NAMED_MAX_S * (1 + BACKOFF_JITTER_SHARE)) == [at(1)]


# --- the local network


def parted_at(pages: PeerBook, number: int, now: float) -> None:
    """A link that we dialled breaks, and so do all dials of the next ten minutes."""
    assert dialled(pages, now) == [at(number)]
    assert reach(pages, number, number, now) == Welcome()
    pages.disconnected(LinkId(number), now, clean=False)
    when = now
    while (when := pages.next_deadline(when) or when) < now + 600:
        assert dialled(pages, when) == [at(number)]
        pages.failed(at(number), when)


def test_who_is_announced_again_on_the_local_network_is_dialled_at_once() -> None:
    pages = book()
    pages.add(at(1), Source.LAN, 0.0)
    parted_at(pages, 1, 0.0)
    soon = pages.next_deadline(600.0)
    assert soon is not None
    assert soon > 601
    pages.add(at(1), Source.LAN, 601.0)
    assert pages.next_deadline(601.0) == 601.0
    assert dialled(pages, 601.0) == [at(1)]


def test_who_announces_again_and_again_is_not_dialled_each_time() -> None:
    pages = book()
    pages.add(at(1), Source.LAN, 0.0)
    parted_at(pages, 1, 0.0)
    dials = 0
    for tenth in range(6000, 6000 + 10 * 10 * int(BACKOFF_NAMED_MAX_S)):
        pages.add(at(1), Source.LAN, tenth / 10)
        for address in dialled(pages, tenth / 10):
            dials += 1
            pages.failed(address, tenth / 10)
    assert 10 <= dials <= 12


@pytest.mark.parametrize("source", [Source.TRACKER, Source.EXCHANGE, Source.LINK])
def test_nobody_else_shortens_a_back_off(source: Source) -> None:
    pages = book()
    pages.add(at(1), Source.LAN, 0.0)
    parted_at(pages, 1, 0.0)
    pages.add(at(1), source, 601.0, informant=at(1).host)
    assert dialled(pages, 601.0) == []


def test_an_announcement_hurries_nobody_to_where_no_peer_was_met() -> None:
    pages = book()
    pages.add(at(1), Source.LAN, 0.0)
    for when in (0.0, 10.0, 30.0, 100.0):
        assert dialled(pages, when) == [at(1)]
        pages.failed(at(1), when)
    pages.add(at(1), Source.LAN, 100.1)
    assert dialled(pages, 100.1) == []
