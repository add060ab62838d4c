"""The budget for strangers: bounded whatever they do, and nobody of another network waits for a crowd."""

from hypothesis import given
from hypothesis import strategies as st

from peer.limits import (
    CONNECTIONS_MIN,
    DOOR_NETWORKS_MAX,
    GREETINGS_BURST,
    GREETINGS_MAX,
    GREETINGS_PER_NETWORK_BURST,
    GREETINGS_PER_NETWORK_MAX,
    GREETINGS_PER_NETWORK_PER_S,
    GREETINGS_PER_S,
)
from peer.swarm.door import Admitted, Door, DoorBounds, Guest, Refusal

HONEST = "192.0.2.7"


def let_in(door: Door, host: str, now: float = 0.0, connected: int = 0) -> Guest:
    verdict = door.knock(host, now, connected)
    assert isinstance(verdict, Admitted), verdict
    return verdict.guest


def host(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_one_network_shows_out_its_own_and_nobody_else() -> None:
    door = Door()
    honest = let_in(door, HONEST)
    crowd = [let_in(door, "10.0.0.1") for _ in range(GREETINGS_PER_NETWORK_MAX)]
    verdict = door.knock("10.0.0.1", 0, 0)
    assert isinstance(verdict, Admitted)
    assert verdict.instead is crowd[0]
    assert door.statistics().greeting == 1 + GREETINGS_PER_NETWORK_MAX
    door.left(honest)
    assert door.statistics().displaced == 1


def test_an_ipv6_customer_is_one_network() -> None:
    door = Door()
    for number in range(GREETINGS_PER_NETWORK_BURST):
        let_in(door, f"2001:db8:1:1::{number:x}")
    assert door.knock("2001:db8:1:1:ffff::1", 0, 0) is Refusal.TOO_OFTEN
    let_in(door, "2001:db8:1:2::1")
    assert door.statistics().greeting == GREETINGS_PER_NETWORK_MAX + 1


def test_a_network_that_came_too_often_waits_and_others_do_not() -> None:
    door = Door()
    for _ in range(GREETINGS_PER_NETWORK_BURST):
        door.left(let_in(door, "10.0.0.1"))
    assert door.knock("10.0.0.1", 0, 0) is Refusal.TOO_OFTEN
    let_in(door, HONEST)
    assert isinstance(door.knock("10.0.0.1", 1.001 / GREETINGS_PER_NETWORK_PER_S, 0), Admitted)


def test_in_a_full_house_the_network_with_most_greetings_makes_room() -> None:
    door = Door()
    honest = let_in(door, HONEST)
    for number in range(GREETINGS_MAX - 1):
        let_in(door, host(number // 2))
    first = door.knock("198.51.100.1", 0, 0)
    assert isinstance(first, Admitted)
    assert first.instead is not None
    assert first.instead.network == host(0)
    for number in range(1000, 1000 + GREETINGS_MAX // 2 - 2):
        verdict = door.knock(host(number), 0, 0)
        assert isinstance(verdict, Admitted)
        assert verdict.instead is not honest
    door.check_invariants()


def test_connected_peers_fill_the_house() -> None:
    door = Door(DoorBounds(connections=20, greetings=10))
    guests = [let_in(door, "127.0.0.1", connected=15) for _ in range(5)]
    verdict = door.knock("127.0.0.1", 0, 15)
    assert isinstance(verdict, Admitted)
    assert verdict.instead is guests[0]
    assert door.knock("127.0.0.1", 0, 20) is Refusal.HOUSE_FULL


def test_handshakes_a_second_are_bounded_in_all() -> None:
    door, now, begun = Door(), 0.0, 0
    while now < 10:
        pause = door.wait(now)
        now += pause
        if not pause:
            let_in(door, "127.0.0.1", now)
            begun += 1
    assert begun <= GREETINGS_BURST + 10 * GREETINGS_PER_S + 1
    assert begun >= GREETINGS_BURST + 9 * GREETINGS_PER_S


def test_a_greeting_keeps_its_place_for_a_second_in_any_crowd() -> None:
    """Row 10: also when every stranger comes from a network of its own, all the time."""
    door, now = Door(), 0.0
    for number in range(2 * GREETINGS_BURST):  # the crowd has used up what was saved
        now += door.wait(now)
        door.knock(host(number), now, 0)
    honest, since, number = let_in(door, HONEST, now), now, 100_000
    while True:
        now += door.wait(now)
        verdict = door.knock(host(number), now, 0)
        number += 1
        if isinstance(verdict, Admitted) and verdict.instead is honest:
            break
    assert now - since > 1.0


def test_bounds_fit_the_descriptors() -> None:
    assert DoorBounds.fitting(None) == DoorBounds()
    assert DoorBounds.fitting(1 << 20) == DoorBounds()
    for descriptors in range(20, 2000, 7):
        bounds = DoorBounds.fitting(descriptors)
        assert bounds.connections <= max(CONNECTIONS_MIN, (descriptors + 1) // 2, descriptors - 224)
        assert bounds.greetings <= bounds.connections // 2
    assert DoorBounds.fitting(1024, connections=50).connections == 50


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["127.0.0.1", "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "name"]),
            st.floats(0, 2),
            st.integers(0, 30),
            st.booleans(),
        ),
        max_size=200,
    )
)
def test_the_books_agree_whatever_happens(steps: list[tuple[str, float, int, bool]]) -> None:
    door, now, inside = Door(DoorBounds(30, 12, 5)), 0.0, list[Guest]()
    for name, pause, connected, leaves in steps:
        now += pause
        verdict = door.knock(name, now, connected)
        if isinstance(verdict, Admitted):
            inside.append(verdict.guest)
            if verdict.instead is not None:
                inside.remove(verdict.instead)
        if leaves and inside:
            door.left(inside.pop(0))
        door.check_invariants()
        assert door.statistics().greeting == len(inside)
    for guest in inside * 2:
        door.left(guest)
    assert door.statistics().greeting == 0


def test_no_more_networks_are_remembered_than_that() -> None:
    door = Door()
    for number in range(DOOR_NETWORKS_MAX + 100):
        let_in(door, host(number), number / GREETINGS_PER_S)
    door.check_invariants()
