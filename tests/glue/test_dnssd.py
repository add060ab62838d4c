"""What of the local network's service can be tried without one: multicast DNS is a dictionary here."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer.ids import Address, NodeId, ShareId
from peer.limits import (
    LAN_ADDRESSES_MAX,
    LAN_FULL_PAUSE_S,
    LAN_LINGER_S,
    LAN_LOOK_S,
    LAN_LOOKUP_PAUSE_S,
    LAN_NAMES_MAX,
    LAN_PEERS_MAX,
    LAN_PER_HOST_MAX,
    LAN_SEARCH_S,
    NEW_DIALS_PER_MINUTE_MAX,
)
from peer.net.dnssd import DnsSd, _Mail, instance_name
from peer.net.lan import lan_key
from peer.net.mdns import SERVICE_TYPE, Heard
from peer.net.networks import Interface

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

NODE = NodeId(bytes(range(32)))
OTHER = NodeId(bytes(range(1, 33)))
SHARE = ShareId(bytes(32))
NAME = instance_name(lan_key(SHARE), NODE)
THEIRS = instance_name(lan_key(SHARE), OTHER)
LO = Interface(1, "lo", ("127.0.0.1",))
HOME = [LO, Interface(2, "wlan0", ("10.0.0.1", "2001:db8::1"))]
AWAY = [LO, Interface(2, "wlan0", ("192.168.7.7",))]


class Machine:
    """Its interfaces, and the network that it is in."""

    def __init__(self, interfaces: Sequence[Interface] = HOME) -> None:
        self.interfaces = list(interfaces)
        self.slept_s = 0.0
        self.looks = 0
        self.trouble: str | None = None
        self.others: dict[str, tuple[list[str], int]] = {}
        """Instances that answer when asked."""
        self.responders: list[FakeResponder] = []

    def look(self) -> tuple[list[Interface], float]:
        self.looks += 1
        return self.interfaces, self.slept_s

    def respond(self, hosts: Sequence[str], heard: Heard) -> "FakeResponder":
        responder = FakeResponder(self, hosts, heard)
        self.responders.append(responder)
        if self.trouble is not None:
            raise OSError(self.trouble)
        return responder

    @property
    def now(self) -> "FakeResponder":
        """The one that runs."""
        (running,) = [responder for responder in self.responders if not responder.is_closed]
        return running


class FakeResponder:
    """Holds the announcements by name."""

    def __init__(self, machine: Machine, hosts: Sequence[str], heard: Heard) -> None:
        self.hosts = list(hosts)
        self.held: dict[str, tuple[int, list[str]]] = {}
        self.said: list[str] = []
        self.resolved: list[str] = []
        self.is_closed = False
        self.fails: str | None = None
        self.stuck: trio.Event | None = None
        self.heard = heard
        self._machine = machine

    async def announce(self, name: str, port: int, hosts: Sequence[str], server: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise OSError(self.fails)
        self.held[name] = (port, list(hosts))
        self.said.append(f"+{name}")

    async def withdraw(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise OSError(self.fails)
        del self.held[name]
        self.said.append(f"-{name}")

    async def search(self) -> None:
        await trio.lowlevel.checkpoint()
        for name in self._machine.others:
            self.heard(name, True)

    async def resolve(self, name: str) -> tuple[list[str], int | None]:
        self.resolved.append(name)
        if self.stuck is not None:
            await self.stuck.wait()
        await trio.lowlevel.checkpoint()
        return self._machine.others.get(name, ([], None))

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


async def at_once(job: Callable[[*Ts], T], *args: *Ts) -> T:
    await trio.lowlevel.checkpoint()
    return job(*args)


@asynccontextmanager
async def lan_of(machine: Machine, host: str | None = None) -> AsyncIterator[tuple[DnsSd, trio.Nursery]]:
    lan = DnsSd(NODE, host=host, look=machine.look, respond=machine.respond, in_thread=at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.run)
        yield lan, nursery
        nursery.cancel_scope.cancel()


def trouble(lan: DnsSd) -> str:
    return lan.trouble or ""


def nobody(_: Address) -> None:
    pass


async def part(
    lan: DnsSd, scope: trio.CancelScope, found: Callable[[Address], None] = nobody, share: ShareId = SHARE
) -> None:
    with scope:
        await lan.take_part(share, 7701, found)


async def test_a_share_taken_out_and_put_in_again_stays_announced(autojump_clock: MockClock) -> None:
    """As when its trackers change. The new announcement met the old one's name, and both were gone."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        first = trio.CancelScope()
        nursery.start_soon(part, lan, first)
        await trio.sleep(5)
        assert list(machine.now.held) == [NAME]
        first.cancel()
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(5)
        assert not trouble(lan)
        assert list(machine.now.held) == [NAME]
        assert len(machine.responders) == 1
    assert machine.responders[0].is_closed


async def test_two_who_take_part_in_one_share_are_one_announcement(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        first, found = trio.CancelScope(), list[Address]()
        nursery.start_soon(part, lan, first)
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        first.cancel()
        await trio.sleep(5)
        assert machine.now.said == [f"+{NAME}"]
        machine.others[THEIRS] = (["10.0.0.2"], 7701)
        machine.now.heard(THEIRS, True)
        await trio.sleep(1)
        assert found == [Address("10.0.0.2", 7701)]


async def test_the_last_share_ends_it_and_nothing_is_looked_at_then(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        await trio.sleep(100)
        assert not machine.looks
        scope = trio.CancelScope()
        nursery.start_soon(part, lan, scope)
        await trio.sleep(1)
        scope.cancel()
        await trio.sleep(2 * LAN_LINGER_S)
        (responder,) = machine.responders
        assert responder.is_closed
        assert responder.said == [f"+{NAME}", f"-{NAME}"]
        looks = machine.looks
        await trio.sleep(100)
        assert machine.looks == looks


async def test_a_machine_too_busy_to_say_goodbye_ends_nothing_else(autojump_clock: MockClock) -> None:
    """zeroconf raises where its thread does not answer in time: that ended the node."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        scope = trio.CancelScope()
        nursery.start_soon(part, lan, trio.CancelScope(), nobody, ShareId(bytes(31) + b"1"))
        nursery.start_soon(part, lan, scope)
        await trio.sleep(5)
        machine.now.fails = "too busy"
        scope.cancel()
        await trio.sleep(1)
        assert "too busy" in trouble(lan)
        await trio.sleep(LAN_LOOK_S)
        assert not trouble(lan)
        assert len(machine.now.held) == 1


async def test_what_a_library_raises_ends_nothing_else(autojump_clock: MockClock) -> None:
    machine = Machine()

    def broken(hosts: Sequence[str], heard: Heard) -> FakeResponder:
        machine.looks += 1000
        raise IndexError

    lan = DnsSd(NODE, look=machine.look, respond=broken, in_thread=at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.run)
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(2 * LAN_LOOK_S)
        assert machine.looks > 2000, "it is tried again"
        assert trouble(lan) == "the local network cannot be searched: IndexError"
        nursery.cancel_scope.cancel()


async def test_who_listens_on_all_addresses_announces_those_of_the_machine(autojump_clock: MockClock) -> None:
    """0.0.0.0 was announced, which nobody can dial."""
    machine = Machine()
    async with lan_of(machine, "0.0.0.0") as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(1)
        assert machine.now.held == {NAME: (7701, ["10.0.0.1", "2001:db8::1"])}
        assert machine.now.hosts == ["10.0.0.1"]


async def test_a_machine_that_is_connected_later_is_announced_then(autojump_clock: MockClock) -> None:
    """The addresses of the start were those for ever: none, where the daemon starts before the network."""
    machine = Machine([LO])
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(300)
        assert not machine.responders
        assert not trouble(lan)
        machine.interfaces = HOME
        await trio.sleep(LAN_LOOK_S + 1)
        assert list(machine.now.held) == [NAME]
        assert found == [Address("10.0.0.2", 7701)]


async def test_a_machine_that_moves_is_announced_where_it_is(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        nursery.start_soon(part, lan, trio.CancelScope(), nobody, ShareId(bytes(31) + b"1"))
        await trio.sleep(300)
        machine.interfaces = AWAY
        machine.others = {
            THEIRS: (["10.0.0.2"], 7701),
            instance_name(lan_key(SHARE), NodeId(bytes(32))): (["192.168.7.8"], 7702),
        }
        await trio.sleep(LAN_LOOK_S + 1)
        assert machine.now.hosts == ["192.168.7.7"]
        assert len(machine.now.held) == 2
        assert machine.now.held[NAME] == (7701, ["192.168.7.7"])
        assert found == [Address("10.0.0.2", 7701), Address("192.168.7.8", 7702)], "each once"
        machine.interfaces = [LO]
        await trio.sleep(LAN_LOOK_S + 1)
        assert all(responder.is_closed for responder in machine.responders)


async def test_a_machine_that_slept_begins_anew(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(300)
        machine.slept_s = 3600.0
        await trio.sleep(LAN_LOOK_S + 1)
        assert len(machine.responders) == 2
        assert list(machine.now.held) == [NAME]


async def test_a_new_address_of_the_same_interface_is_said(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(5)
        machine.interfaces = [LO, Interface(2, "wlan0", ("10.0.0.1", "2001:db8::2"))]
        await trio.sleep(LAN_LOOK_S + 1)
        assert machine.now.held == {NAME: (7701, ["10.0.0.1", "2001:db8::2"])}
        assert len(machine.responders) == 1


async def test_a_start_that_fails_is_tried_again_and_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failed start it was never tried again."""
    machine = Machine()
    machine.trouble = "No such device"
    caplog.set_level("INFO", "peer.net.dnssd")
    async with lan_of(machine) as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(1000)
        assert trouble(lan) == "the local network cannot be searched: No such device"
        assert 5 < len(machine.responders) < 20
        assert len(caplog.records) == 1
        machine.trouble = None
        machine.responders.clear()
        await trio.sleep(200)
        assert not trouble(lan)
        assert list(machine.now.held) == [NAME]


async def test_interfaces_that_cannot_be_read_are_looked_at_again(autojump_clock: MockClock) -> None:
    machine = Machine()
    broken = True

    def look() -> tuple[list[Interface], float]:
        if broken:
            raise OSError("Too many open files")
        return machine.look()

    lan = DnsSd(NODE, look=look, respond=machine.respond, in_thread=at_once)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.run)
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(100)
        assert trouble(lan) == "the local network cannot be searched: Too many open files"
        broken = False
        await trio.sleep(LAN_LOOK_S)
        assert not trouble(lan)
        broken = True
        await trio.sleep(LAN_LOOK_S)
        assert list(machine.now.held) == [NAME], "what runs goes on"
        nursery.cancel_scope.cancel()


async def test_who_has_gone_is_not_looked_up_and_is_told_again_when_back(autojump_clock: MockClock) -> None:
    """Each goodbye was looked up, for two seconds of questions to the whole network."""
    machine = Machine()
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        assert machine.now.resolved == [THEIRS]
        machine.now.heard(THEIRS, True)
        await trio.sleep(5)
        assert len(found) == 1
        machine.now.heard(THEIRS, False)
        await trio.sleep(5)
        assert machine.now.resolved == [THEIRS, THEIRS]
        machine.now.heard(THEIRS, True)
        await trio.sleep(5)
        assert len(found) == 2


async def test_a_share_that_comes_later_looks_through_what_was_heard(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope(), nobody, ShareId(bytes(31) + b"1"))
        await trio.sleep(5)
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        assert found == [Address("10.0.0.2", 7701)]


async def test_who_was_lost_is_searched_for_again(autojump_clock: MockClock) -> None:
    """A switch that passes nothing on at first, a packet that is lost: it was never asked for again."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        machine.others[THEIRS] = (["10.0.0.2"], 7701)
        await trio.sleep(LAN_SEARCH_S)
        assert found == [Address("10.0.0.2", 7701)]


async def test_a_hundred_who_answer_at_once_are_all_found(autojump_clock: MockClock) -> None:
    """Beyond 32 announcements that waited they were dropped, and came again only when their nodes did."""
    machine = Machine()
    for number in range(100):
        node = NodeId(bytes([number]) * 32)
        machine.others[instance_name(lan_key(SHARE), node)] = ([f"10.0.1.{number}"], 7701)
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(30)
        assert len(set(found)) == len(found) == 100


async def test_a_flood_costs_little(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        responder = machine.now
        for number in range(10 * LAN_NAMES_MAX):
            name = f"{lan_key(SHARE)}-{number:012x}.{SERVICE_TYPE}"
            machine.others[name] = ([f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"] * 9, 7701)
            responder.heard(name, True)
            responder.heard(f"{number}.{SERVICE_TYPE}", True)
        await trio.sleep(30)
        assert len(found) <= LAN_PEERS_MAX
        assert 0 < len(responder.resolved) <= LAN_PEERS_MAX


async def test_one_host_has_few_places(autojump_clock: MockClock) -> None:
    """It could take all of a share's with names of its own, and who came later was not found."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        for number in range(LAN_PEERS_MAX):
            name = f"{lan_key(SHARE)}-{number:012x}.{SERVICE_TYPE}"
            machine.others[name] = (["10.0.0.66"], 2000 + number)
            machine.now.heard(name, True)
        await trio.sleep(30)
        assert len(found) == LAN_PER_HOST_MAX
        machine.others[THEIRS] = (["10.0.0.2"], 7701)
        machine.now.heard(THEIRS, True)
        await trio.sleep(1)
        assert found[LAN_PER_HOST_MAX:] == [Address("10.0.0.2", 7701)]


async def test_where_all_places_are_taken_the_oldest_make_room_slowly(autojump_clock: MockClock) -> None:
    """Nobody else was found, for as long as the machine stayed in that network."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        for number in range(LAN_PEERS_MAX):
            name = f"{lan_key(SHARE)}-{number:012x}.{SERVICE_TYPE}"
            machine.others[name] = ([f"10.0.7.{number}"], 7701)
            machine.now.heard(name, True)
        await trio.sleep(30)
        assert len(found) == LAN_PEERS_MAX
        machine.others[THEIRS] = (["10.0.0.2"], 7701)
        machine.now.heard(THEIRS, True)
        await trio.sleep(LAN_FULL_PAUSE_S)
        assert found[LAN_PEERS_MAX:] == [Address("10.0.0.2", 7701)]
        machine.now.heard(name, False)
        await trio.sleep(1)
        machine.now.heard(name, True)  # who is back is told anew, and so is who was pushed out
        oldest = f"{lan_key(SHARE)}-{0:012x}.{SERVICE_TYPE}"
        machine.now.heard(oldest, True)
        await trio.sleep(3 * LAN_FULL_PAUSE_S)
        assert sorted(found[LAN_PEERS_MAX + 1 :]) == [Address("10.0.7.0", 7701), Address("10.0.7.255", 7701)]


async def test_who_comes_and_goes_under_ever_new_addresses_is_heard_as_hearsay_is(
    autojump_clock: MockClock,
) -> None:
    """Each goodbye freed its places: a hundred and sixty new addresses a second were dialled, for ever."""
    machine = Machine()
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(5)
        for number in range(10_000):
            first = number * LAN_ADDRESSES_MAX
            hosts = [
                f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(first, first + LAN_ADDRESSES_MAX)
            ]
            machine.others[THEIRS] = (hosts, 7701)
            machine.now.heard(THEIRS, True)
            await trio.sleep(0.06)
            machine.now.heard(THEIRS, False)
        assert LAN_PEERS_MAX < len(found) <= LAN_PEERS_MAX + 10 * NEW_DIALS_PER_MINUTE_MAX + LAN_ADDRESSES_MAX


async def test_who_changes_all_the_time_is_looked_up_at_times(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(5)
        began = trio.current_time()
        for _ in range(1000):
            machine.now.heard(THEIRS, True)
            await trio.sleep(0.001)
        assert 1 < len(machine.now.resolved) <= (trio.current_time() - began) / LAN_LOOKUP_PAUSE_S + 2


def test_what_nobody_takes_is_bounded() -> None:
    woken = list[None]()
    mail = _Mail(lambda: woken.append(None))
    for number in range(2 * LAN_NAMES_MAX):
        mail.put(f"{lan_key(SHARE)}-{number:012x}.{SERVICE_TYPE}", True)
    mail.put(f"somebody else.{SERVICE_TYPE}", True)
    assert len(mail.take()) == len(woken) == LAN_NAMES_MAX
    assert not mail.take()


async def test_what_is_looked_up_ends_with_its_network(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.others[THEIRS] = (["10.0.0.2"], 7701)
    async with lan_of(machine) as (lan, nursery):
        found = list[Address]()
        nursery.start_soon(part, lan, trio.CancelScope())
        await trio.sleep(5)
        machine.now.stuck = trio.Event()
        nursery.start_soon(part, lan, trio.CancelScope(), found.append)
        await trio.sleep(1)
        assert not found
        machine.interfaces = AWAY
        await trio.sleep(LAN_LOOK_S + 1)
        assert found == [Address("10.0.0.2", 7701)], "by the new one"


async def test_it_ends_with_a_goodbye_in_the_middle_of_a_start(autojump_clock: MockClock) -> None:
    machine = Machine()
    for steps in range(12):
        lan = DnsSd(NODE, look=machine.look, respond=machine.respond, in_thread=at_once)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lan.run)
            nursery.start_soon(part, lan, trio.CancelScope())
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert all(responder.is_closed for responder in machine.responders)
    await wait_all_tasks_blocked()
    assert machine.responders
