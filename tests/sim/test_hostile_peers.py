"""Peers that misbehave cost time at most: the share arrives whole, and the honest are never blamed."""

from collections.abc import Callable
from random import Random

import pytest
import trio
from blake3 import blake3
from trio.testing import MockClock

from peer.bitfield import Bitfield
from peer.buffers import BufferPool
from peer.errors import ConnectionLost, ContentError, ExitCode, RejectCode
from peer.greeting import Greeted
from peer.holding import Holding
from peer.ids import Address, KnownPeer, PieceIndex, RequestId, ShareId
from peer.limits import KEEPALIVE_S, MANIFEST_PATIENCE_S, PINGS_OPEN_MAX
from peer.magnet import MagnetLink
from peer.manifest import FileEntry, Manifest
from peer.member import Member
from peer.member_statistics import member_statistics, why_no_progress
from peer.sim.network import mbit
from peer.sim.workers import InlineWorkers
from peer.sim.world import PORT, SimFetch, World, open_world
from peer.store.layout import Layout
from peer.swarm.known import Source
from peer.wire.messages import Interested
from peer.workers import Lane
from tests.sim import hostile

KIB = 1024
PIECE = 16 * KIB
PIECES = 64
DATA = Random(1).randbytes(PIECE * PIECES)
PATIENCE_S = 900

BEHAVIOURS = {
    "silent": hostile.silent(PIECES),
    "liar": hostile.liar(PIECES, PIECE),
    "unsolicited": hostile.unsolicited(PIECES),
    "garbage": hostile.raw(Random(2).randbytes(5000)),
    "oversize frame": hostile.raw(b"\xff\xff\xff\xff" + bytes(1000)),
    "half a frame": hostile.raw(b"\x00\x00\x10\x00half"),
    "bitfield of another size": hostile.silent(PIECES * 9),
    "flood": hostile.flooder(PIECES),
}


async def fetch_with(world: World, count: int, behaviour: hostile.Behaviour) -> SimFetch:
    """One honest origin, some hostile peers, one getter: its fetch, complete."""
    origin = await world.add_peer("origin", up=mbit(4))
    getter = await world.add_peer("getter")
    link = await origin.share("file.bin", {(): DATA})
    hosts = [await hostile.live(world, f"hostile{n}", link, behaviour) for n in range(count)]
    addresses = [Address(host.address, PORT) for host in hosts]
    fetch = getter.fetch(link, peers=[origin.address, *addresses])
    with trio.fail_after(PATIENCE_S):
        await fetch.wait()
    assert fetch.read() == DATA
    assert member_statistics(fetch.member).sources == {origin.node_id: len(DATA)}
    return fetch


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_one_bad_peer_beside_an_honest_one(name: str, autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        await fetch_with(world, 1, BEHAVIOURS[name])


async def test_of_the_liars_the_last_are_remembered_by_name(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.partings.EXPELLED_MAX", 3)
    async with open_world(2) as world:
        fetch = await fetch_with(world, 5, hostile.liar(PIECES, PIECE))
        assert len(fetch.member.partings.expelled) == 3
        assert fetch.member.book.statistics().banned == 5


async def test_a_crowd_that_never_ends_its_manifests_does_not_keep_the_memory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd, length, held_max = 30, 16 * KIB, 5 * 16 * KIB
    monkeypatch.setattr("peer.swarm.metadata.MANIFEST_HELD_BYTES_MAX", held_max)
    async with open_world(1) as world:
        getter = await world.add_peer("getter")
        origin = await world.add_peer("origin", up=mbit(4))
        link = await origin.share("file.bin", {(): DATA})
        behaviour = hostile.hoarder(PIECES, length)
        hosts = [await hostile.live(world, f"hostile{n}", link, behaviour) for n in range(crowd)]
        fetch = getter.fetch(link, peers=[Address(host.address, PORT) for host in hosts])
        buffers, lent = fetch.member.services.buffers, 0
        assert isinstance(buffers, BufferPool)
        for _ in range(100):
            await trio.sleep(0.1)
            lent = max(lent, buffers.statistics().lent_bytes)
        assert 2 * length <= lent <= held_max + length
        fetch.member.learned([KnownPeer(origin.address)], Source.OPTION)
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_who_breaks_the_protocol_is_named_where_nobody_else_is_left(autojump_clock: MockClock) -> None:
    """The only peer was banned, and all that was said was that nobody is known."""
    async with open_world(1) as world:
        fetch = await fetch_with(world, 1, BEHAVIOURS["oversize frame"])
        (line,) = fetch.member.partings.broken_off
        assert line in why_no_progress(fetch.member)
        assert "(686f7374696c): " in line, "its id in hex"


async def test_who_answers_no_ping_and_is_never_silent_for_long_costs_nothing(
    autojump_clock: MockClock,
) -> None:
    """A word a minute, and never a pong: the fifth ping was one too many for our own session, and the member
    that it ended was everybody's."""

    async def mute(greeted: Greeted) -> None:
        for number in range(4 * PINGS_OPEN_MAX):
            await trio.sleep(1.3 * KEEPALIVE_S)
            await greeted.stream.send_all(greeted.session.send(Interested(number % 2 == 0)))

    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        await hostile.visit(world, "mute", link, origin.address, mute)
        await trio.sleep(3 * PINGS_OPEN_MAX * KEEPALIVE_S)
        fetch = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(60):
            await fetch.wait()
        assert fetch.read() == DATA


async def test_liars_are_sent_away_after_one_piece_each(autojump_clock: MockClock) -> None:
    liars = 5
    async with open_world(2) as world:
        fetch = await fetch_with(world, liars, hostile.liar(PIECES, PIECE))
        statistics = member_statistics(fetch.member)
        wrong_manifests = fetch.member.quest.liars
        assert len(fetch.member.partings.expelled) == liars
        assert not any("origin" in line for line in fetch.member.partings.expelled)
        # What was in flight to us when a liar was found out may still arrive, and is dropped.
        assert statistics.wasted_bytes <= 2 * PIECE * liars
        assert wrong_manifests <= liars


@pytest.mark.parametrize("returns", [False, True])
async def test_a_liar_that_is_gone_before_its_piece_is_looked_at_is_not_let_in_again(
    returns: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Only links that were still there were held to account: who hung up with its last byte, and came back,
    could go on so for ever."""
    looking_s = 10.0 if returns else 0.5  # it may be back before, or after

    async def look_slowly(_: InlineWorkers, lane: Lane, job: Callable[..., object], *args: object) -> object:
        await trio.sleep(looking_s if lane is Lane.DISK else 0)
        return job(*args)

    async def hit_and_run(greeted: Greeted) -> None:
        async def lie(request: RequestId, piece: PieceIndex | None) -> None:
            if piece is None:
                await greeted.stream.send_all(greeted.session.reject(request, RejectCode.BUSY))
                return
            lies.append(piece)
            await greeted.stream.send_all(
                greeted.session.data_header(request, 0, PIECE, PIECE) + bytes(PIECE)
            )
            raise ConnectionLost("gone")

        await hostile.claim_everything(greeted, PIECES)
        await hostile.each_request(greeted, lie)

    lies: list[int] = []
    async with open_world(2) as world:
        origin = await world.add_peer("origin", up=mbit(0.01))
        getter = await world.add_peer("getter")
        link = await origin.share("file.bin", {(): DATA})
        host = await hostile.live(world, "hit-and-run", link, hit_and_run)
        monkeypatch.setattr(InlineWorkers, "run", look_slowly)
        fetch = getter.fetch(link, peers=[origin.address, Address(host.address, PORT)])
        await trio.sleep(120)
        assert 1 <= len(lies) <= (6 if returns else 1)
        assert any(b"hit-an".hex() in line for line in fetch.member.partings.expelled)
        assert all(link.node == origin.node_id for link in fetch.member.links.values())


async def test_a_manifest_that_does_not_match_the_link_is_fetched_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with open_world(3) as world:
        begun = trio.current_time()
        fetch = await fetch_with(world, 2, hostile.liar(PIECES, PIECE))
        assert fetch.member.manifest is not None
        assert trio.current_time() - begun < 60 + MANIFEST_PATIENCE_S


def hostile_manifest(path: tuple[str, ...]) -> bytes:
    """The encoding of a manifest that an honest sharer could not make: one path is what it is."""
    harmless = "x" * len("/".join(path))
    data = b"bytes"
    digest = blake3(data).digest()
    manifest = Manifest(PIECE, (FileEntry((harmless,), len(data), digest, False),), (), digest)
    return manifest.encode().replace(harmless.encode(), "/".join(path).encode())


@pytest.mark.parametrize("path", [("..",), ("", "etc", "passwd"), ("a", "..", "..", "b"), ("nul\0",)])
async def test_a_hostile_manifest_ends_the_fetch_before_anything_is_written(
    path: tuple[str, ...], autojump_clock: MockClock
) -> None:
    encoded = hostile_manifest(path)
    share = ShareId(blake3(encoded).digest())
    async with open_world(4) as world:
        sender = await world.add_peer("sender")
        getter = await world.add_peer("getter")
        honest = await sender.share("any", {(): DATA})
        await trio.sleep(0.1)
        holding = sender.node.members[honest.share].holding
        assert holding is not None
        # A sharer that serves the bytes of the bad manifest, and everything else as usual.
        layout = Layout(PIECE, [5])
        bad = Holding(holding.manifest, encoded, layout, holding.reader, Bitfield(1, full=True))
        member = Member(share, sender.node.services, holding=bad)
        sender.start_soon(lambda: sender.node.take_part(member))
        fetch = getter.fetch(MagnetLink(share, "any", 5), peers=[sender.address])
        with trio.fail_after(PATIENCE_S), pytest.raises(ContentError) as caught:
            await fetch.wait()
        assert caught.value.exit_code == ExitCode.NOT_VERIFIED
        assert not any(operation.operation.value in {"create", "write"} for operation in getter.disk.log)


async def test_half_of_the_peers_lie(autojump_clock: MockClock) -> None:
    """Everybody honest completes, and no honest node is sent away by anybody."""
    count = 4
    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(8))
        getters = [await world.add_peer(f"getter{n}", up=mbit(8)) for n in range(count)]
        link = await origin.share("file.bin", {(): DATA})
        liars = [
            await hostile.live(world, f"liar{n}", link, hostile.liar(PIECES, PIECE)) for n in range(count)
        ]
        everybody = [
            origin.address,
            *(g.address for g in getters),
            *(Address(h.address, PORT) for h in liars),
        ]
        fetches = [getter.fetch(link, peers=everybody) for getter in getters]
        with trio.fail_after(PATIENCE_S):
            for fetch in fetches:
                await fetch.wait()
        for fetch in fetches:
            assert fetch.read() == DATA
            honest = {origin.node_id, *(getter.node_id for getter in getters)}
            assert set(member_statistics(fetch.member).sources) <= honest
            assert all("6c696172" in line for line in fetch.member.partings.expelled), (
                "only liars (their id in hex)"
            )
            assert fetch.member.intake is not None
            corrupt_bytes = fetch.member.intake.statistics().download.corrupt_bytes
            assert corrupt_bytes <= PIECE * count, "one piece wasted for each liar at most"
