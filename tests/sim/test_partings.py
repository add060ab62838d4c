"""Who sends whom away is told to people: by us, and by those who take us for the liar."""

from random import Random
from types import SimpleNamespace
from typing import cast

import trio
from trio.testing import MockClock

from peer.buffers import BufferPool
from peer.connection import Ending
from peer.errors import ByeCode
from peer.greeting import Greeted
from peer.ids import Address, KnownPeer
from peer.limits import EXPELLED_MAX, SENT_AWAY_MAX
from peer.link import Link
from peer.member_statistics import why_no_progress
from peer.net.transport import Stream
from peer.partings import Partings
from peer.sim.network import mbit
from peer.sim.world import PORT, open_world
from peer.swarm.known import Source
from peer.wire.codec import encode
from peer.wire.messages import Bye, Interested
from peer.wire.session import Session
from tests.pure.wire_helpers import make_hello
from tests.sim import hostile

PIECE = 16 * 1024
PIECES = 16
DATA = Random(1).randbytes(PIECE * PIECES)


class At(SimpleNamespace):
    def __str__(self) -> str:
        return f"{self.host}:7701 (abc)"


def at(host: str) -> Link:
    return cast("Link", At(host=host))


def test_what_others_say_of_us_is_bounded_whoever_says_it() -> None:
    partings = Partings()
    for number in range(3):
        partings.ended(at("192.0.2.1"), Ending(f"piece {number} did not verify", ByeCode.CORRUPT))
    assert list(partings.sent_away) == ["192.0.2.1:7701 (abc) sent us away: piece 0 did not verify"]
    partings.ended(at("192.0.2.2"), Ending("", ByeCode.PROTOCOL))
    assert partings.sent_away[-1] == "192.0.2.2:7701 (abc) sent us away: protocol, without a reason"
    for number in range(2 * EXPELLED_MAX):
        partings.ended(at(f"10.0.{number >> 8}.{number & 255}"), Ending("lies", ByeCode.CORRUPT))
    assert len(partings.sent_away) == SENT_AWAY_MAX
    assert not partings.broken_off
    assert not partings.expelled


def test_usual_ends_are_nobodys_fault() -> None:
    partings = Partings()
    for code in (None, *ByeCode):
        if code not in (ByeCode.CORRUPT, ByeCode.PROTOCOL):
            partings.ended(at("192.0.2.1"), Ending("leaving", code))
            partings.ended(at("192.0.2.1"), Ending("leaving", code, ours=True))
    assert [*partings.sent_away, *partings.broken_off, *partings.expelled] == []


async def test_who_is_sent_away_is_told_why_and_its_user_too(autojump_clock: MockClock) -> None:
    """It was told "corrupt", and its user nothing."""

    async def send_away(greeted: Greeted) -> None:
        bye = greeted.session.send(Bye(ByeCode.CORRUPT, "piece 3 did not verify"))
        await greeted.stream.send_all(bye)
        await trio.sleep(1)

    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file.bin", {(): DATA})
        judge = await hostile.live(world, "judge", link, send_away)
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[Address(judge.address, PORT)])
        await trio.sleep(30)
        (line,) = fetch.member.partings.sent_away
        assert line.endswith("sent us away: piece 3 did not verify")
        assert line in why_no_progress(fetch.member)


async def test_who_comes_back_after_a_ban_hears_what_it_was_for(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file.bin", {(): DATA})
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link)
        await trio.sleep(1)
        fetch.member.book.ban(origin.node_id, origin.host.address, "piece 3 did not verify")
        (sharer,) = origin.node.members.values()
        sharer.learned([KnownPeer(getter.address)], Source.OPTION)
        await trio.sleep(10)
        (line,) = sharer.partings.sent_away
        assert line.endswith("sent away before: piece 3 did not verify")


async def test_a_liar_is_named_once(autojump_clock: MockClock) -> None:
    """One line said what it had sent, and the same one that it had broken the protocol."""
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file.bin", {(): DATA})
        liar = await hostile.live(world, "liar", link, hostile.liar(PIECES, PIECE))
        getter = await world.add_peer("getter")
        fetch = getter.fetch(link, peers=[origin.address, Address(liar.address, PORT)])
        with trio.fail_after(300):
            await fetch.wait()
        await trio.sleep(5)
        (line,) = fetch.member.partings.expelled
        assert why_no_progress(fetch.member).count(line) == 1


class Talker:
    """A stream on which more has come by the time that its greeting is over, and that takes its time."""

    remote = Address("192.0.2.1", 50_000)
    peer = None

    def __init__(self) -> None:
        self._said = [encode(Interested(True))]

    async def receive_into(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        if not self._said:
            await trio.sleep_forever()
        data = self._said.pop()
        buffer[: len(data)] = data
        return len(data)

    async def send_frames(self, data: bytes) -> None:
        await trio.sleep(0.1)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_who_is_turned_away_leaves_nothing_behind_under_a_limit(autojump_clock: MockClock) -> None:
    """What it had said waited to be paid for: where nothing may come in, for ever, and more each time."""
    theirs = make_hello()
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file.bin", {(): DATA})
        getter = await world.add_peer("getter")
        member = getter.fetch(link).member
        await trio.sleep(1)
        member.book.ban(theirs.node, "192.0.2.1")
        down = member.services.down
        down.set_rate(0)
        session = member.session()
        session.greet(member.hello())
        frame = Session(buffers=BufferPool()).greet(theirs)
        session.get_buffer()[: len(frame)] = frame
        session.buffer_updated(len(frame))
        await member.serve(Greeted(cast("Stream", Talker()), session, theirs, ()), None)
        assert down.limiter.statistics().waiting == 0
