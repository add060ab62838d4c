"""`get -v`: each second what limits the transfer, in every phase of it, with and without a daemon."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest
import trio
from trio.testing import MockClock

from peer.cli import fetching
from peer.cli.display import LINE_EVERY_S, Display, Lines, Silent, Source
from peer.cli.fetching import Fetching
from peer.cli.get import GetOptions
from peer.cli.handing import _Following
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop
from peer.diagnosis import Limit, what_limits
from peer.ids import NodeId, ShareId
from peer.magnet import MagnetLink
from peer.member import Member, Phase
from peer.member_statistics import MemberStatistics, member_statistics
from peer.node import Node
from peer.sim.workers import InlineWorkers
from peer.sim.world import open_world
from peer.target import Target

LINK = MagnetLink(ShareId(bytes(32)), "file")
OPTIONS = GetOptions(str(LINK), Path(), (), None, None, (), 120.0, as_json=False, verbose=True)


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        return None


@pytest.mark.parametrize(
    ("phase", "limit"), [(Phase.CHECKING, "hashing what is here"), (Phase.COMPLETING, "disk and hashing")]
)
async def test_the_disk_is_named_while_it_alone_is_waited_for(
    phase: Phase, limit: str, autojump_clock: MockClock
) -> None:
    """For as long as that took, `get -v` said nothing at all."""
    network = NetworkOptions(None, (), None, None, None, plain=True, progress="none")
    node = Node(NodeId(bytes(32)), Mock(), InlineWorkers(), Random(1))
    target = Mock(Target, progress=(1, 2))
    member = Member(LINK.share, node.services, target=target)
    member._phase = phase
    display = Said()
    with trio.move_on_after(2.95):
        await Fetching(network, OPTIONS, Stop())._watch(member, target, display)
    assert display.said == [f"limited by {limit}, 0 B/s"] * 3


@pytest.mark.parametrize(("display", "times"), [(Silent(), 1), (Lines(), 5)])
async def test_what_nobody_sees_is_not_gathered(
    display: Display, times: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A getter without a display spent a tenth of its processor time on what it did not show."""
    gathered = 0

    def count(member: Member) -> MemberStatistics:
        nonlocal gathered
        gathered += 1
        return member_statistics(member)

    monkeypatch.setattr(fetching, "member_statistics", count)
    network = NetworkOptions(None, (), None, None, None, plain=True, progress="none")
    node = Node(NodeId(bytes(32)), Mock(), InlineWorkers(), Random(1))
    member = Member(LINK.share, node.services, target=Mock(Target))
    options = replace(OPTIONS, verbose=False)
    found = Fetching(network, options, Stop())
    found._name = "file"
    await trio.sleep(LINE_EVERY_S)
    with trio.move_on_after(4 * LINE_EVERY_S + 0.1):
        await found._watch(member, Mock(Target), display)
    assert gathered == times


async def test_a_stop_is_not_waited_for(autojump_clock: MockClock) -> None:
    network = NetworkOptions(None, (), None, None, None, plain=True, progress="none")
    node = Node(NodeId(bytes(32)), Mock(), InlineWorkers(), Random(1))
    member, stop = Member(LINK.share, node.services, target=Mock(Target)), Stop()
    found = Fetching(network, OPTIONS, stop)
    found._name = "file"

    async def interrupt() -> None:
        await trio.sleep(0.1)
        stop.requested.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        assert not await found._watch(member, Mock(Target), Said())
    assert trio.current_time() == pytest.approx(0.1)


async def test_who_takes_nothing_is_limited_by_that(autojump_clock: MockClock) -> None:
    """`get --down 0` said that all choked it, or that nobody had anything: it had read neither."""
    async with open_world(1) as world:
        origin, getter = await world.add_peer("origin"), await world.add_peer("getter")
        link = await origin.share("file", {(): bytes(1000)})
        getter.node.services.down.set_rate(0)
        fetch = getter.fetch(link, peers=[origin.address])
        assert what_limits(fetch.member) is Limit.NO_PEERS
        await trio.sleep(5)
        assert fetch.member.links
        assert what_limits(fetch.member) is Limit.DOWNLINK
        getter.node.services.down.set_rate(None)
        await fetch.wait()


async def test_the_daemon_s_disk_is_named_while_it_alone_is_waited_for(autojump_clock: MockClock) -> None:
    display = Said()
    following = _Following(LINK, OPTIONS, display)
    news = {"held": 0, "busy": True, "phase": "checking", "done": 1, "total": 2, "rate_down": 0.0}
    for _ in range(6):
        following.show(news | {"limited_by": "hashing what is here"})
        await trio.sleep(0.5)
    assert display.said == ["limited by hashing what is here, 0 B/s"] * 3
