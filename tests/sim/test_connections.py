"""One link between two nodes, whatever happens to it; none to oneself; and places for those that give."""

from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from peer.bitfield import Bitfield
from peer.errors import ByeCode, RejectCode
from peer.greeting import Greeted, greet
from peer.ids import Address, KnownPeer, NodeId, PieceIndex, RequestId
from peer.limits import (
    BACKOFF_NAMED_MAX_S,
    DUPLICATE_GRACE_S,
    HALF_OPEN_MAX,
    IDLE_S,
    LINK_NEW_S,
    LINK_TRIAL_S,
    LINKS_DIALLED_MAX,
    LINKS_SPARE,
    TURNOVER_S,
)
from peer.member_statistics import member_statistics
from peer.sim.network import mbit
from peer.sim.world import PORT, SimFetch, SimPeer, open_world
from peer.swarm.known import Source
from peer.wire.messages import Bye
from tests.sim import hostile
from tests.sim.test_tracker import House

PIECE = 16 * 1024
PIECES = 64
DATA = Random(1).randbytes(PIECE * PIECES)


def linked(fetch: SimFetch, other: SimPeer) -> int:
    """How many links this member has with a node."""
    return sum(link.node == other.node_id for link in fetch.member.links.values())


@pytest.mark.parametrize("seed", range(6))
async def test_two_that_dial_each_other_at_once_end_with_one_link(
    seed: int, autojump_clock: MockClock
) -> None:
    async with open_world(seed) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        one = await world.add_peer("one", latency=0.001 * (1 + seed))
        two = await world.add_peer("two", latency=0.02)
        fetches = [
            one.fetch(link, peers=[two.address, origin.address]),
            two.fetch(link, peers=[one.address, origin.address]),
        ]
        await trio.sleep(3)
        assert linked(fetches[0], two) == linked(fetches[1], one) == 1
        with trio.fail_after(120):
            for fetch in fetches:
                await fetch.wait()
        unlinks = world.network.connections(one.host, two.host)
        assert len(unlinks) <= 1, "no second connection is left behind"


async def test_a_node_that_is_told_its_own_address_recognises_itself_and_dials_it_no_more(
    autojump_clock: MockClock,
) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[getter.address, origin.address])
        with trio.fail_after(60):
            await fetch.wait()
        assert not linked(fetch, getter)
        assert fetch.member.book.statistics().known == 1, "of itself it wants to hear no more"


async def test_a_peer_that_lost_its_power_is_welcome_when_it_comes_back(autojump_clock: MockClock) -> None:
    """Its old connection stands half open at the seeder, who cannot know; the new one must not wait long."""
    async with open_world(2) as world:
        origin = await world.add_peer("origin", up=mbit(2))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(60):
            while member_statistics(fetch.member).held_bytes < len(DATA) / 3:  # noqa: ASYNC110
                await trio.sleep(0.05)
        for connection in world.network.connections(getter.host, origin.host):
            connection.vanish()
        await getter.crash()
        await getter.restart()
        begun = trio.current_time()
        again = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(60):
            await again.wait()
        assert again.read() == DATA
        rest = len(DATA) / mbit(2)
        assert trio.current_time() - begun < DUPLICATE_GRACE_S + 5 + rest


async def test_more_addresses_than_are_dialled_at_once_are_dialled_one_after_the_other(
    autojump_clock: MockClock,
) -> None:
    """After the first HALF_OPEN_MAX had answered nobody looked for the others, until a link was lost."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        hosts = [
            await hostile.live(world, f"silent{number}", link, hostile.silent(PIECES))
            for number in range(HALF_OPEN_MAX + 5)
        ]
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[Address(host.address, PORT) for host in hosts])
        await trio.sleep(2)
        assert len(fetch.member.links) == len(hosts)


async def test_sixty_that_promise_everything_do_not_keep_out_the_one_that_gives(
    autojump_clock: MockClock,
) -> None:
    """They unchoke and never answer. They were kept for ever, since they hold what we need, and filled every
    place that we dial for."""
    async with open_world(3) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        hosts = [
            await hostile.live(world, f"silent{number}", link, hostile.silent(PIECES))
            for number in range(LINKS_DIALLED_MAX)
        ]
        fetch = getter.fetch(link, peers=[Address(host.address, PORT) for host in hosts])
        await trio.sleep(5)
        assert len(fetch.member.links) == LINKS_DIALLED_MAX
        fetch.member.learned([KnownPeer(origin.address)], Source.OPTION)
        with trio.fail_after(LINK_TRIAL_S + 4 * TURNOVER_S + 60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_a_swarm_whose_tracker_dies_after_the_first_contact_completes(
    autojump_clock: MockClock,
) -> None:
    async with open_world(4) as world:
        tracker = House(world.network, world.nursery)
        await tracker.start()
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file", {(): DATA}, trackers=[tracker.address])
        getters = [await world.add_peer(f"getter{number}", up=mbit(1)) for number in range(6)]
        fetches = [getter.fetch(link, trackers=[tracker.address]) for getter in getters]
        with trio.fail_after(20):
            while any(not fetch.member.links for fetch in fetches):  # noqa: ASYNC110
                await trio.sleep(0.1)
        assert not all(fetch.member.complete.is_set() for fetch in fetches)
        tracker.host.crash()
        with trio.fail_after(120):
            for fetch in fetches:
                await fetch.wait()
        assert all(fetch.read() == DATA for fetch in fetches)


async def test_a_link_that_has_said_goodbye_is_asked_and_told_nothing_more(autojump_clock: MockClock) -> None:
    """It is there until its last bytes are sent, and the policies still count on it: what they then had it
    say was refused by its session, and ended the whole fetch."""
    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(60):
            while member_statistics(fetch.member).held_bytes < len(DATA) / 3:  # noqa: ASYNC110
                await trio.sleep(0.05)
        (live,) = fetch.member.links.values()
        open_piece = next(piece for piece in live._open if piece is not None)
        live.close(ByeCode.TOO_SLOW, "for the test")
        live.ask(PieceIndex(0), PIECE)
        live.ask_manifest()
        live.withdraw(open_piece)
        live.reject(RequestId(0), RejectCode.BUSY)
        live.show(Bitfield(PIECES))
        live.express(not live.wanted)
        live.choke(not live.choked)
        live.flush_news()
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_a_getter_that_reads_nothing_for_a_quarter_of_an_hour_goes_on_when_it_may(
    autojump_clock: MockClock,
) -> None:
    """Its user had set the limit to nothing. It pinged, and did not read the answers: the fifth ping was one
    too many for its own session, and ended the fetch."""
    async with open_world(7) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(1)
        getter.node.services.down.set_rate(0)
        await trio.sleep(900)
        assert not fetch.member.complete.is_set()
        getter.node.services.down.set_rate(None)
        with trio.fail_after(2 * BACKOFF_NAMED_MAX_S + 60):
            await fetch.wait()
        assert fetch.read() == DATA


async def between_dials(code: ByeCode, seconds: float) -> list[float]:
    """Seconds from one dial to the next, at a named peer that sends everybody away after the hello."""
    visits: list[float] = []

    async def rude(greeted: Greeted) -> None:
        visits.append(trio.current_time())
        await greeted.stream.send_all(greeted.session.send(Bye(code)))

    async with open_world(8) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        host = await hostile.live(world, "rude", link, rude)
        getter = await world.add_peer("getter")
        getter.fetch(link, peers=[Address(host.address, PORT)])
        await trio.sleep(seconds)
    return [later - earlier for earlier, later in pairwise(visits)]


async def test_a_named_peer_that_says_it_is_full_after_its_hello_is_soon_asked_again(
    autojump_clock: MockClock,
) -> None:
    """Whoever is full says so after its hello. That counted as a link that ended for good: the one address
    that the user had named was left alone for five minutes."""
    gaps = await between_dials(ByeCode.FULL, 3 * BACKOFF_NAMED_MAX_S)
    assert len(gaps) == 2
    assert min(gaps) >= BACKOFF_NAMED_MAX_S


@pytest.mark.parametrize("code", [ByeCode.CORRUPT, ByeCode.PROTOCOL, ByeCode.GOODBYE, ByeCode.DUPLICATE])
async def test_who_greets_us_only_to_send_us_away_is_dialled_ever_more_seldom(
    code: ByeCode, autojump_clock: MockClock
) -> None:
    """One that had banned us, say. A link that ended with a goodbye had ended well: so, every second."""
    gaps = await between_dials(code, 4 * BACKOFF_NAMED_MAX_S)
    assert gaps[0] < 2
    assert gaps[-1] >= BACKOFF_NAMED_MAX_S
    assert 3 <= len(gaps) <= 8


@pytest.mark.makes_a_bug
async def test_an_error_that_nobody_foresaw_ends_one_dial_and_not_the_download(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who accepts had such a net; who dials had none, and the node would have ended."""
    failing = 1

    async def greet_or_fail(*args: Any) -> Greeted:
        nonlocal failing
        if failing:
            failing -= 1
            raise ValueError("a certificate that no parser takes")
        return await greet(*args)

    monkeypatch.setattr("peer.dialler.greet", greet_or_fail)
    async with open_world(12) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        fetch = (await world.add_peer("getter")).fetch(link, peers=[origin.address])
        with trio.fail_after(120):
            await fetch.wait()
        assert fetch.read() == DATA
    assert "failed in a way that it should not" in caplog.text


async def test_a_named_seed_that_comes_back_with_another_identity_is_welcome(
    autojump_clock: MockClock,
) -> None:
    """The user had named its address alone; whom we met there first was insisted on for ever."""
    async with open_world(9) as world:
        origin = await world.add_peer("origin", up=mbit(1))
        link = await origin.share("file", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address])
        await trio.sleep(1)
        assert linked(fetch, origin)
        await origin.crash()
        origin.node_id = NodeId(b"another".ljust(32))
        await origin.restart()
        await origin.seed("file")
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_who_comes_late_to_a_crowded_seed_gets_one_of_the_spare_places(
    autojump_clock: MockClock,
) -> None:
    """It was sent away as useless before its first word could be there, and stayed away for five minutes."""
    async with open_world(10) as world:
        origin = await world.add_peer("origin", up=mbit(0.2))
        origin.node.services.links_max = LINKS_SPARE + 10
        link = await origin.share("file", {(): DATA})
        getters = [await world.add_peer(f"getter{number}", up=mbit(0.05)) for number in range(14)]
        for getter in getters:
            getter.fetch(link, peers=[origin.address])
        late = await world.add_peer("late", latency=0.3)
        await trio.sleep(10)
        fetch = late.fetch(link, peers=[origin.address])
        await trio.sleep(2 * LINK_NEW_S)
        assert len(origin.node.members[link.share].links) == 15
        assert linked(fetch, origin)


async def test_a_seed_that_has_nothing_to_say_is_kept_while_it_is_told_of_every_piece(
    autojump_clock: MockClock,
) -> None:
    """Its links were cut for silence every two minutes: it heard so much that it saw no need for a ping."""
    async with open_world(11) as world:
        origin = await world.add_peer("origin", up=4000)
        link = await origin.share("file", {(): DATA})
        other = await world.add_peer("other")
        await other.share("file", {(): DATA})
        other.node.services.up.set_rate(0)
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address, other.address])
        await trio.sleep(3)
        before = list(fetch.member.links)
        await trio.sleep(1.9 * IDLE_S)
        assert not fetch.member.complete.is_set()
        assert list(fetch.member.links) == before
        assert len(before) == 2
