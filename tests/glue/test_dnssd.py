"""What of the local network's service can be tried without one: zeroconf is a dictionary here."""

from typing import Any, cast

import pytest
import trio
import zeroconf
from zeroconf import EventLoopBlocked, ServiceInfo, Zeroconf

from peer.ids import Address, NodeId, ShareId
from peer.net import dnssd
from peer.net.dnssd import DnsSd, instance_name
from peer.net.lan import lan_key

NODE = NodeId(bytes(range(32)))
SHARE = ShareId(bytes(32))
NAME = instance_name(lan_key(SHARE), NODE)


class FakeZeroconf:
    """Holds the announcements by name, as the real one does: a name that is there is refused."""

    def __init__(self, **_: Any) -> None:
        self.held: dict[str, ServiceInfo] = {}
        self.registry = self
        self.registered = 0
        self.is_stuck = False
        self.is_closed = False

    def register_service(self, info: ServiceInfo) -> None:
        if info.key in self.held:
            raise zeroconf.ServiceNameAlreadyRegistered
        self.held[info.key] = info
        self.registered += 1

    def async_get_info_name(self, name: str) -> ServiceInfo | None:
        return self.held.get(name)

    def unregister_service(self, info: ServiceInfo) -> None:
        if self.is_stuck:
            raise EventLoopBlocked
        del self.held[info.key]

    def close(self) -> None:
        if self.is_stuck:
            raise EventLoopBlocked
        self.held.clear()
        self.is_closed = True


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> FakeZeroconf:
    fake = FakeZeroconf()
    monkeypatch.setattr(DnsSd, "_begin", lambda *_: cast("Zeroconf", fake))
    monkeypatch.setattr(dnssd, "own_addresses", lambda: ["10.0.0.1"])
    return fake


def found(_: Address) -> None:
    pass


async def registrations(wire: FakeZeroconf, count: int) -> None:
    with trio.fail_after(60):
        while wire.registered < count:
            await trio.lowlevel.checkpoint()


async def test_a_share_taken_out_and_put_in_again_stays_announced(wire: FakeZeroconf) -> None:
    """As when its trackers change. The new announcement met the old one's name, and both were gone."""
    lan = DnsSd(NODE)
    first = trio.CancelScope()

    async def take_part(scope: trio.CancelScope) -> None:
        with scope:
            await lan.take_part(SHARE, 7701, found)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_part, first)
        await registrations(wire, 1)
        first.cancel()
        nursery.start_soon(take_part, trio.CancelScope())
        while wire.registered < 2 and lan.trouble is None:
            await trio.lowlevel.checkpoint()
        assert lan.trouble is None
        assert list(wire.held) == [NAME.lower()]
        nursery.cancel_scope.cancel()
    assert wire.is_closed


async def test_a_machine_too_busy_to_say_goodbye_ends_nothing_else(wire: FakeZeroconf) -> None:
    """zeroconf raises where its thread does not answer in time: that ended the node."""
    wire.is_stuck = True
    lan = DnsSd(NODE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.take_part, ShareId(bytes(31) + b"1"), 7701, found)
        await registrations(wire, 1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(lan.take_part, SHARE, 7701, found)
                await registrations(wire, 2)
                scope.cancel()
        nursery.cancel_scope.cancel()


async def test_who_listens_on_all_addresses_announces_those_of_the_machine(wire: FakeZeroconf) -> None:
    """0.0.0.0 was announced, which nobody can dial."""
    lan = DnsSd(NODE, host="0.0.0.0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lan.take_part, SHARE, 7701, found)
        await registrations(wire, 1)
        assert wire.held[NAME.lower()].parsed_addresses() == ["10.0.0.1"]
        nursery.cancel_scope.cancel()
