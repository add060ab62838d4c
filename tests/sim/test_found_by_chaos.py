"""What the seeds of tests/chaos have found, a test each, so that it stays found when plans are drawn anew."""

import errno
from random import Random
from unittest.mock import Mock

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer.alarm import Alarm
from peer.bitfield import Bitfield, in_blocks
from peer.buffers import BufferPool
from peer.connection import Outgoing
from peer.errors import DialError, RejectCode, StorageError, StorageLackError
from peer.greeting import Greeted
from peer.ids import Address, KnownPeer, LinkId, NodeId, PieceIndex, RequestId, ShareId
from peer.intake import Intake
from peer.limits import (
    BACKOFF_MAX_S,
    CHECKPOINT_S,
    DIAL_FAILURES_MAX,
    DISK_RETRY_S,
    ENDGAME_TICK_S,
    KIB,
    RESCUE_S,
    SOURCE_RETRY_S,
)
from peer.link import Link
from peer.outflow import Outflow
from peer.pacing import Pacer
from peer.sim.disk import Operation, SimDisk
from peer.sim.files import SimFolder
from peer.sim.network import mbit, open_network
from peer.sim.workers import InlineWorkers
from peer.sim.world import PORT, SHARES, open_world
from peer.store.filesystem import FileSlice
from peer.store.incoming import IncomingStore, open_incoming
from peer.store.journal import write_whole
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.swarm.availability import Availability
from peer.swarm.commands import Ask
from peer.swarm.download import Download
from peer.swarm.known import KnownAddresses, Linked, Source
from peer.trace import NoTrace
from peer.wire.session import Answered, CancelReceived, RequestReceived, Session
from tests.sim import hostile
from tests.store_kit import NAME, expected_tree, fetch, finish, random_share, resume, tree

DATA = Random(1).randbytes(160 * KIB)


async def test_a_greeting_that_is_cancelled_closes_its_stream(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter", latency=1.0)
        link = await origin.share("file", {(): DATA})
        getter.fetch(link, peers=[origin.address])
        await trio.sleep(2.5)  # connected, and the other side's hello is not here yet
        (connection,) = world.network.connections(getter.host)
        await getter.crash()
        assert connection.back.reader_closed, "nobody would ever have closed it"


def test_the_answer_that_comes_after_our_goodbye_gives_its_memory_back() -> None:
    buffers = BufferPool()
    session = Session(buffers=buffers)
    buffer = buffers.acquire(1000)
    session.discard(Answered(RequestId(0), PieceIndex(0), buffer, cancelled=False))
    assert not buffers.statistics().lent_bytes


def test_an_idle_link_of_unknown_rate_rescues_a_piece_from_a_slow_one() -> None:
    """The only rate known was the dribbler's, and spoke for the honest link as well."""
    size = 16 * KIB
    bits = Bitfield(1, full=True)
    download = Download([size], Bitfield(1), bits, Random(1))
    slow, idle = LinkId(1), LinkId(2)
    download.joined(slow, 256, 0.0)
    download.bitfield(slow, bits, 0.0)
    download.choked(slow, False, 0.0)
    now = 0.0
    for _ in range(60):
        now += 1.0
        download.progressed(slow, PieceIndex(0), 1, now)
    download.joined(idle, 256, now)
    commands = download.bitfield(idle, bits, now) + download.choked(idle, False, now)
    for step in range(int(2 * RESCUE_S / ENDGAME_TICK_S)):
        now += ENDGAME_TICK_S
        if step % 10 == 0:
            download.progressed(slow, PieceIndex(0), 1, now)
        commands += download.tick(now)
    assert Ask(idle, PieceIndex(0)) in commands


async def test_what_could_not_be_read_once_is_offered_again(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        await trio.sleep(1)
        origin.disk.fail(errno.EIO, Operation.READ, times=5)
        found = getter.fetch(link, peers=[origin.address])
        with trio.fail_after(3 * SOURCE_RETRY_S):
            await found.wait()
        assert found.read() == DATA


async def test_a_piece_that_can_be_read_again_is_asked_again(autojump_clock: MockClock) -> None:
    """On the same connection: the other side has to forget that it has been told of it before."""
    async with open_world(5) as world:
        origin = await world.add_peer("origin", up=mbit(4))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        origin.disk.fail(errno.EIO, Operation.OPEN, times=float("inf"))
        found = getter.fetch(link, peers=[origin.address])
        await trio.sleep(SOURCE_RETRY_S / 2)
        assert not found.member.complete.is_set()
        origin.disk.heal()
        with trio.fail_after(4 * SOURCE_RETRY_S):
            await found.wait()
        assert found.read() == DATA


async def test_a_touched_file_that_could_not_be_compared_is_compared_again(autojump_clock: MockClock) -> None:
    async with open_world(3) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        await trio.sleep(1)
        file = SimFolder(origin.disk, SHARES).open(("file",), write=True)
        file.write(DATA[:10], 0)
        origin.disk.fail(errno.EIO, Operation.READ, times=3)
        await trio.sleep(3 * SOURCE_RETRY_S)
        holding = origin.node.members[link.share].holding
        assert holding is not None
        assert holding.have.is_full


def test_a_peer_that_lost_a_piece_counts_again_when_it_has_it_again() -> None:
    available = Availability(3)
    pieces = Bitfield(3, full=True)
    available.join(pieces)
    pieces.discard(1)
    available.lose(PieceIndex(1), pieces)
    assert [available(PieceIndex(piece)) for piece in range(3)] == [1, 0, 1]
    pieces.discard(0)
    available.lose(PieceIndex(0), pieces)
    assert [available(PieceIndex(piece)) for piece in range(3)] == [0, 0, 1]
    available.gain(pieces.add_blocks(in_blocks([0, 1])), pieces)
    assert [available(PieceIndex(piece)) for piece in range(3)] == [1, 1, 1]
    available.leave(pieces)
    assert not any(available(PieceIndex(piece)) for piece in range(3))


def test_a_lack_of_descriptors_when_a_journal_is_opened_is_named() -> None:
    share = random_share(1, {("a",): 40_000})
    disk = SimDisk()
    store = open_incoming(SimFolder(disk), "share", share.manifest)
    fetch(store, share, [0])
    store.close()
    journal = ("share.part", "journal")
    opens = 0
    while True:  # the n-th open from now fails, until it is the journal's to append to
        opens += 1
        disk.fail(errno.EMFILE, Operation.OPEN, nth=opens)
        with pytest.raises(StorageLackError):
            open_incoming(SimFolder(disk), "share", share.manifest)
        failed = disk.log[-1] if disk.log[-1].error else next(d for d in reversed(disk.log) if d.error)
        disk.heal()
        if failed.path.endswith("/".join(journal)) and opens > 3:
            return


def test_a_file_that_cannot_be_written_whole_is_not_left_open() -> None:
    disk = SimDisk()
    disk.fail(errno.EIO, Operation.SYNC)
    with pytest.raises(OSError, match="error") as caught:
        write_whole(SimFolder(disk), ("a",), b"data")
    assert not disk.open_files, f"held by the traceback of {caught.value}"


async def test_a_peer_with_a_small_window_is_asked_no_more_than_it_allows(autojump_clock: MockClock) -> None:
    """Its window was overrun by a manifest asked for when it was known already: our own member died."""

    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=mbit(2))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        hosts = [
            await hostile.live(world, f"narrow{n}", link, hostile.silent(10), window=1 + n % 2)
            for n in range(6)
        ]
        found = getter.fetch(link, peers=[origin.address, *(Address(host.address, PORT) for host in hosts)])
        with trio.fail_after(300):
            await found.wait()
        assert found.read() == DATA


async def test_a_peer_whose_one_place_the_manifest_took_is_asked_later(autojump_clock: MockClock) -> None:
    """It was sent away as useless: it had been asked for the manifest, which somebody else gave sooner."""
    piece_length = 16 * KIB

    async def unhurried(greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream
        await hostile.claim_everything(greeted, 10)
        while count := await stream.receive_into(session.get_buffer()):
            for event in session.buffer_updated(count):
                if isinstance(event, RequestReceived) and event.piece is not None:
                    part = DATA[event.piece * piece_length :][:piece_length]
                    await stream.send_all(session.data_header(event.id, 0, len(part), len(part)) + part)
                elif isinstance(event, CancelReceived):
                    await trio.sleep(1)
                    await stream.send_all(session.reject(event.id, RejectCode.CANCELLED))

    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=1000)
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        narrow = await hostile.live(world, "narrow", link, unhurried, window=1)
        found = getter.fetch(link, peers=[Address(narrow.address, PORT), origin.address])
        with trio.fail_after(10):
            await found.wait()
        assert found.read() == DATA


async def test_a_place_that_the_manifest_took_is_used_when_it_is_free_again(
    autojump_clock: MockClock,
) -> None:
    """One of two places held the request for the manifest when the link joined: the other remained the only
    one to be used, for as long as the link was there."""
    together: list[int] = []

    async def narrow(greeted: Greeted) -> None:
        session, stream = greeted.session, greeted.stream
        await hostile.claim_everything(greeted, 10)
        waiting: list[RequestReceived] = []
        while count := await stream.receive_into(session.get_buffer()):
            for event in session.buffer_updated(count):
                if isinstance(event, RequestReceived) and event.piece is not None:
                    waiting.append(event)
                    together.append(len(waiting))
                elif isinstance(event, CancelReceived):
                    await trio.sleep(1)
                    await stream.send_all(session.reject(event.id, RejectCode.CANCELLED))

    async with open_world(4) as world:
        origin = await world.add_peer("origin", up=1000)
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        host = await hostile.live(world, "narrow", link, narrow, window=2)
        getter.fetch(link, peers=[Address(host.address, PORT), origin.address])
        await trio.sleep(5)
        assert together == [1, 2]


async def test_nothing_overtakes_what_a_cut_has_held_back(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        near = network.add_host("near", latency=0.1)
        far = network.add_host("far", latency=0.1)
        (listener,) = await far.transport().listen(None, 7701)
        stream = await near.transport().dial(listener.address)
        other = await listener.accept()
        received = bytearray()

        async def read() -> None:
            while len(received) < 20:
                received.extend(await other.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(20):
                await stream.send_all(bytes([number]))
                await trio.sleep(0.02)
                if number == 8:
                    network.partition([near], [far])
                if number == 15:
                    network.heal()
        assert received == bytes(range(20))


async def test_a_machine_that_crashed_dials_no_more(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        near, far = network.add_host("near"), network.add_host("far")
        (listener,) = await far.transport().listen(None, 7701)
        network.partition([near], [far])
        async with trio.open_nursery() as nursery:

            async def dial() -> None:
                with pytest.raises(DialError, match="crashed"):
                    await near.transport().dial(listener.address)

            nursery.start_soon(dial)
            await trio.sleep(1)
            near.crash()
            near.start()
            network.heal()
        assert not network.connections()


class Unlookable:
    """A store in a process that has no descriptor left just now."""

    def __init__(self, error: StorageError) -> None:
        self.error = error

    def slices(self, piece: PieceIndex, offset: int, length: int) -> list[FileSlice]:
        raise self.error

    def still_good(self, piece: PieceIndex) -> bool:
        raise self.error

    def prefetch(self, piece: PieceIndex) -> None: ...


@pytest.mark.parametrize(
    ("error", "lost"), [(StorageLackError("no descriptor"), 0), (StorageError("bad"), 1)]
)
async def test_a_file_that_cannot_be_looked_at_after_a_chunk_does_not_end_the_member(
    error: StorageError, lost: int, autojump_clock: MockClock
) -> None:
    told: list[PieceIndex] = []
    alarm = Alarm()
    outflow = Outflow(
        ShareId(bytes(32)),
        b"manifest",
        Layout(16 * KIB, [len(DATA)]),
        Unlookable(error),
        Bitfield(10),
        links={},
        holders=lambda _: 0,
        pacer=Pacer(None, alarm),
        alarm=alarm,
        lost=lambda piece, _: told.append(piece),
    )
    outflow.sent(Outgoing(RequestId(1), PieceIndex(3), 0, 16 * KIB, 16 * KIB, ()))
    assert told == [PieceIndex(3)] * lost


async def test_a_touched_file_that_cannot_be_looked_at_once_more_is_shared_again_later(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    lacks = 1
    real = SourceStore.still_good

    def lacking(store: SourceStore, piece: PieceIndex) -> bool:
        nonlocal lacks
        if lacks:
            lacks -= 1
            raise StorageLackError("no descriptor")
        return real(store, piece)

    monkeypatch.setattr(SourceStore, "still_good", lacking)
    async with open_world(1) as world:
        origin = await world.add_peer("origin")
        link = await origin.share("file", {(): DATA})
        await trio.sleep(1)
        file = SimFolder(origin.disk, SHARES).open(("file",), write=True)
        file.write(DATA[:10], 0)  # another time, the same bytes
        await trio.sleep(3 * SOURCE_RETRY_S)
        holding = origin.node.members[link.share].holding
        assert not lacks
        assert holding is not None
        assert holding.have.is_full


def test_names_that_a_killed_run_left_unsynced_are_synced_by_the_next() -> None:
    """All bytes were synced, none of the names: the power loss after completion left an empty folder."""
    share = random_share(3, {("a",): 20 * KIB, ("b",): 20 * KIB})
    for seed in range(20):
        disk = SimDisk()
        fetch(open_incoming(SimFolder(disk), NAME, share.manifest), share)
        disk.kill()
        store = resume(SimFolder(disk), share)
        assert store.held.is_full
        finish(store, share)
        disk.crash(seed)
        left = tree(SimFolder(disk))  # NAME.part may be back as well
        assert expected_tree(share).items() <= left.items(), seed


async def test_a_sync_that_fails_after_the_disk_was_full_leaves_no_pause(autojump_clock: MockClock) -> None:
    """Nothing was asked for any more, for ever: only another sync would have ended the pause."""
    async with open_world(6) as world:
        origin = await world.add_peer("origin", up=mbit(0.1))
        other = await world.add_peer("other")
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        await other.share("file", {(): DATA})
        found = getter.fetch(link, peers=[origin.address])
        await trio.sleep(CHECKPOINT_S - 0.5)
        await origin.crash()  # no piece is on its way
        getter.disk.fail(errno.ENOSPC, Operation.SYNC)
        await trio.sleep(1)
        assert found.member.intake is not None
        assert found.member.intake.paused is not None
        getter.disk.fail(errno.EIO, Operation.SYNC)
        await trio.sleep(DISK_RETRY_S)
        found.member.learned([KnownPeer(other.address)], Source.OPTION)
        with trio.fail_after(60):
            await found.wait()
        assert found.read() == DATA


async def test_a_link_that_is_stopped_leaves_the_peer_book_as_well(autojump_clock: MockClock) -> None:
    """The same peer, at the door again in that moment, was taken for one whom the node still talks to."""
    async with open_world(7) as world:
        origin = await world.add_peer("origin", up=mbit(0.1))
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        member = getter.fetch(link, peers=[origin.address]).member
        await trio.sleep(1)
        assert member.book.statistics().connected == 1
        await getter.crash()
        assert not member.links
        assert member.book.statistics().connected == 0


async def test_a_connection_that_nobody_accepted_ends_with_its_listener(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        near, far = network.add_host("near"), network.add_host("far")
        (listener,) = await far.transport().listen(None, 7701)
        stream = await near.transport().dial(listener.address)
        (connection,) = network.connections()
        await listener.aclose()
        assert connection.forth.reader_closed
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await stream.receive_some(1)


async def test_a_piece_that_comes_when_the_intake_has_failed_gives_its_memory_back(
    autojump_clock: MockClock,
) -> None:
    """Links live on for a while when a write error has ended the fetch; what they bring then is not taken."""
    share = random_share(1, {(): 40 * KIB})
    layout = share.layout
    have = Bitfield(layout.piece_count)
    store = Mock(spec=IncomingStore)
    store.write_piece.side_effect = StorageError("cannot write: Input/output error")
    store.take_lost.return_value = ()
    wanted = store.wanted = Bitfield(layout.piece_count, full=True)
    buffers = BufferPool()
    link = Mock(spec=Link, id=LinkId(1), node=NodeId(bytes(32)), heard_at=0.0, wants_us=False)
    intake = Intake(
        share.manifest,
        layout,
        store,
        Download(layout.piece_length, have, wanted, Random(1)),
        have,
        links={link.id: link},
        workers=InlineWorkers(),
        buffers=buffers,
        alarm=Alarm(),
        trace=NoTrace(),
        wanted_bytes=layout.total_bytes,
        resumed_bytes=0,
        held=lambda piece: None,
        expelled=lambda link, reason: None,
    )
    intake.perform(intake.download.joined(link.id, 256, 0.0), 0.0)
    intake.perform(intake.download.bitfield(link.id, wanted, 0.0), 0.0)
    intake.perform(intake.download.choked(link.id, False, 0.0), 0.0)

    def answer(piece: int) -> None:
        buffer = buffers.acquire(layout.piece_length(PieceIndex(piece)))
        buffer[:] = share.piece(PieceIndex(piece))
        intake.answered(link, Answered(RequestId(piece), PieceIndex(piece), buffer, cancelled=False))

    async def fetch() -> None:
        with pytest.raises(ExceptionGroup) as failed:
            await intake.run()
        assert failed.group_contains(StorageError)
        answer(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch)
        await wait_all_tasks_blocked()
        answer(0)
    store.write_piece.assert_called_once()
    assert buffers.statistics().lent_bytes == 0


async def test_what_the_end_of_a_selection_takes_away_is_offered_no_more(autojump_clock: MockClock) -> None:
    """The piece that has bytes of a file that nobody asked for goes with NAME.part."""
    async with open_world(6) as world:
        origin = await world.add_peer("origin")
        getter = await world.add_peer("getter")
        files: dict[tuple[str, ...], bytes] = {
            ("a",): DATA[:40_000],
            ("b",): DATA[:1000],
            ("c",): DATA[1000:2000],
        }
        link = await origin.share("folder", files)
        found = getter.fetch(link, peers=[origin.address], only=["a", "b"])
        await found.wait()
        assert found.member.holding is not None
        have = found.member.holding.have
        assert list(have.indices()) == [0, 1, 2], "the fourth was of b and c"
        late = await world.add_peer("late")
        other = late.fetch(link, peers=[getter.address])
        await trio.sleep(10)
        assert [link.pieces for link in other.member.links.values()] == [have]


def test_a_dead_address_does_not_come_to_life_when_somebody_else_leaves() -> None:
    """Told with the id of an honest peer, it was dialled anew each time that a link with that peer ended."""
    known, node, dead = KnownAddresses(Random(1)), NodeId(b"h" * 32), Address("203.0.113.1", 7701)
    nobody = Linked(frozenset(), frozenset())
    known.add(dead, Source.EXCHANGE, node, "203.0.113.2", 0.0)
    now = 0.0
    for _ in range(DIAL_FAILURES_MAX):
        now += 2 * BACKOFF_MAX_S
        assert [dial.address for dial in known.claim(now, 1, nobody)] == [dead]
        known.failed(dead, now)
    known.parted(node, now, failed=False, again=False)
    assert not known.claim(now + 2 * BACKOFF_MAX_S, 1, nobody)


async def test_a_file_that_is_touched_twice_at_its_only_seed_still_comes(autojump_clock: MockClock) -> None:
    """Seed 6160: each time the seed lost its pieces until it had hashed them again; announced for the second
    time they were not believed, and the getter waited for ever."""
    async with open_world(1) as world:
        origin = await world.add_peer("origin", up=10_000)
        getter = await world.add_peer("getter")
        link = await origin.share("file", {(): DATA})
        fetch = getter.fetch(link, peers=[origin.address])
        for _ in range(3):
            await trio.sleep(1.5)
            for node in origin.disk.tree().values():
                if node is not None:
                    origin.disk.touch(node)
        with trio.fail_after(300):
            await fetch.wait()
        assert fetch.read() == DATA
