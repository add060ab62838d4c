"""What follows from the machine's addresses for the discovery on the local network."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.limits import (
    LAN_ADDRESSES_MAX,
    LAN_CALM_S,
    LAN_INTERFACES_MAX,
    LAN_LINGER_S,
    LAN_LOOK_S,
    LAN_PAUSE_S_MAX,
    LAN_SEARCH_S,
    LAN_SEARCH_S_MAX,
)
from peer.net.networks import Interface, Networks, Step, Watch, networks

LO = Interface(1, "lo", ("127.0.0.1", "::1"))
WIFI = Interface(3, "wlan0", ("192.168.1.5", "2001:db8::5", "fe80::5"))
HOME = networks([LO, WIFI])


def test_only_what_others_can_dial_counts() -> None:
    assert Networks(frozenset({(3, "192.168.1.5")}), frozenset({"192.168.1.5", "2001:db8::5"})) == HOME
    assert networks([LO]) == Networks()
    assert networks([LO, Interface(2, "eth0", ("169.254.7.7", "fe80::1"))]) == Networks()


def test_who_listens_on_one_address_announces_that_one() -> None:
    assert networks([LO, WIFI], only="192.168.1.5").announced == {"192.168.1.5"}
    assert networks([LO, WIFI], only="10.0.0.1") == Networks()


def test_containers_and_many_addresses_of_one_interface_crowd_nobody_out() -> None:
    """The first eight in the order of the system were announced: on a machine with ten bridges, or with an
    interface of many temporary addresses, the address that others can dial may not be among them."""
    bridges = [Interface(n, f"br-{n:012x}", (f"172.{n}.0.1",)) for n in range(4, 31)]
    many = Interface(2, "eth0", ("10.0.0.2", *(f"2001:db8::{n:x}" for n in range(1, 20))))
    late = Interface(90, "wlx00", ("192.168.1.5", "2001:db8:1::5"))
    found = networks([LO, *bridges, many, late])
    assert len(found.announced) == LAN_ADDRESSES_MAX
    assert {"10.0.0.2", "192.168.1.5", "2001:db8::1", "2001:db8:1::5"} <= found.announced
    assert len(found.multicast) == LAN_INTERFACES_MAX
    assert {(2, "10.0.0.2"), (90, "192.168.1.5")} <= found.multicast


@given(
    st.lists(
        st.builds(Interface, st.integers(0, 40), st.text(), st.lists(st.ip_addresses().map(str)).map(tuple))
    )
)
def test_any_machine_has_few_networks_in_any_order(interfaces: list[Interface]) -> None:
    found = networks(interfaces)
    assert len(found.announced) <= LAN_ADDRESSES_MAX
    assert len(found.multicast) <= LAN_INTERFACES_MAX
    assert found.multicast or all(":" in host for host in found.announced)


def started(watch: Watch, found: Networks, now: float) -> None:
    watch.saw(found, now)
    assert watch.step(now, wanted=True) is Step.START
    watch.starting(now)
    watch.started(now)


def test_nothing_is_looked_at_while_nobody_takes_part() -> None:
    watch = Watch()
    assert watch.step(0, wanted=False) is Step.NOTHING
    assert watch.deadline(wanted=False) == float("inf")
    assert watch.look_at < 0, "the first one has it looked at once"


def test_a_machine_without_network_waits_for_one() -> None:
    watch = Watch()
    watch.saw(Networks(), 0)
    assert watch.step(0, wanted=True) is Step.NOTHING
    assert watch.deadline(wanted=True) == LAN_LOOK_S
    started(watch, HOME, LAN_LOOK_S)
    watch.saw(HOME, 20)
    assert watch.step(20, wanted=True) is Step.NOTHING


@pytest.mark.parametrize(
    "then",
    [
        networks([LO, Interface(3, "wlan0", ("10.0.0.7",))]),
        networks([LO, Interface(7, "wlan1", WIFI.hosts)]),
        networks([LO, WIFI], slept_s=3600.0),
        networks([LO, WIFI, Interface(9, "eth0", ("10.0.0.7",))]),
    ],
    ids=["another address", "same address elsewhere", "asleep", "one more"],
)
def test_another_network_begins_anew(then: Networks) -> None:
    watch = Watch()
    started(watch, HOME, 0)
    watch.saw(then, 1000)
    assert watch.step(1000, wanted=True) is Step.START
    started(watch, then, 1000)
    watch.saw(then, 1010)
    assert watch.step(1010, wanted=True) is Step.NOTHING


def test_a_new_address_on_an_old_network_is_only_said() -> None:
    watch = Watch()
    started(watch, HOME, 0)
    watch.saw(networks([LO, Interface(3, "wlan0", ("192.168.1.5", "2001:db8::99"))]), 10)
    assert watch.step(10, wanted=True) is Step.ANNOUNCE
    watch.announced()
    assert watch.step(10, wanted=True) is Step.NOTHING


def test_a_network_that_goes_ends_it_and_one_that_comes_back_begins_it() -> None:
    watch = Watch()
    started(watch, HOME, 0)
    watch.saw(Networks(), 10)
    assert watch.step(10, wanted=True) is Step.STOP
    watch.stopped()
    assert watch.step(10, wanted=True) is Step.NOTHING
    started(watch, HOME, 20)


def test_the_last_share_is_waited_for_a_moment() -> None:
    watch = Watch()
    started(watch, HOME, 0)
    assert watch.step(5, wanted=False) is Step.NOTHING
    assert watch.deadline(wanted=False) == 5 + LAN_LINGER_S
    assert watch.step(5.5, wanted=True) is Step.NOTHING
    assert watch.step(6, wanted=False) is Step.NOTHING
    assert watch.step(6 + LAN_LINGER_S, wanted=False) is Step.STOP


def test_searches_become_rare() -> None:
    watch = Watch()
    started(watch, HOME, 0)
    now = 0.0
    times: list[float] = []
    while now < 5 * LAN_SEARCH_S_MAX:
        now = max(now, watch.deadline(wanted=True))
        if now >= watch.look_at:
            watch.saw(HOME, now)
        if watch.step(now, wanted=True) is Step.SEARCH:
            times.append(now)
            watch.searched(now)
    pauses = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    assert pauses[:3] == [LAN_SEARCH_S, 2 * LAN_SEARCH_S, 4 * LAN_SEARCH_S]
    assert max(pauses) == LAN_SEARCH_S_MAX == pauses[-1]


def test_a_start_that_fails_is_tried_more_and_more_seldom_and_for_ever() -> None:
    watch = Watch()
    now = 0.0
    times: list[float] = []
    while len(times) < 12:
        watch.saw(HOME, now)
        if watch.step(now, wanted=True) is Step.START:
            watch.starting(now)
            watch.stopped()
            times.append(now)
        now = max(now, watch.deadline(wanted=True))
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[0] == LAN_LOOK_S
    assert pauses[-1] == LAN_PAUSE_S_MAX
    assert pauses == sorted(pauses)


PLACES = [
    Networks(),
    HOME,
    networks([LO, Interface(3, "wlan0", ("10.0.0.7",))]),
    networks([LO, Interface(3, "wlan0", ("10.0.0.7", "2001:db8::9"))]),
]


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.sampled_from(PLACES), st.booleans(), st.booleans(), st.floats(0, 20)),
        max_size=40,
    )
)
def test_whatever_happens(events: list[tuple[float, Networks, bool, bool, float]]) -> None:
    """Starts are never close together, deadlines lie ahead, and once all is calm it runs where we are."""
    watch = Watch()
    now, slept = 0.0, 0.0
    times: list[float] = []
    used: Networks | None = None

    def settle(place: Networks, wanted: bool, works: bool) -> None:
        nonlocal used
        for _ in range(10):
            if wanted and now >= watch.look_at:
                watch.saw(Networks(place.multicast, place.announced, slept), now)
            step = watch.step(now, wanted=wanted)
            if step is Step.NOTHING:
                assert watch.deadline(wanted=wanted) > now
                return
            if step is Step.START:
                times.append(now)
                watch.starting(now)
                used = watch.seen if works else None
                if works:
                    watch.started(now)
                else:
                    watch.stopped()
            elif step is Step.ANNOUNCE:
                used = watch.seen
                watch.announced()
            elif step is Step.SEARCH:
                watch.searched(now)
            else:
                used = None
                watch.stopped()
        pytest.fail("there is always more to do")

    for pause, place, wanted, works, sleep in events:
        now, slept = now + pause, slept + sleep
        settle(place, wanted, works)
    for before, after in itertools.pairwise(times):
        assert after - before >= LAN_LOOK_S
    end = now + LAN_LOOK_S + LAN_PAUSE_S_MAX
    while now < end:
        now = min(end, max(now, watch.deadline(wanted=True)))
        settle(HOME, True, True)
    assert used is not None
    assert (used.multicast, used.announced) == (HOME.multicast, HOME.announced)
    assert len(times) <= 2 * (now / LAN_CALM_S + 1) * (LAN_CALM_S / LAN_LOOK_S)
    settle(HOME, False, True)
    now = watch.deadline(wanted=False)
    settle(HOME, False, True)
    assert used is None
