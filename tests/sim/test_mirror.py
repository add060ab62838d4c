"""Mirrors over the simulated network: what is published reaches them, whatever happens meanwhile."""

import errno
import math
import os
from contextlib import suppress
from functools import partial
from random import Random

import pytest
import trio
from trio.testing import MockClock

from peer import limits
from peer.discovery.publishing import Publisher
from peer.errors import ManyhandsError, StorageError
from peer.ids import Address
from peer.magnet import MagnetLink
from peer.mirror import Mirror, Wish
from peer.net.channel import MessageChannel
from peer.net.transport import Listener, Stream
from peer.placement import STATE_FOLDER
from peer.published import Listing
from peer.sim.disk import Operation
from peer.sim.files import SimFolder
from peer.sim.network import mbit
from peer.sim.world import DOWNLOADS, SimPeer, read_file
from peer.wire.messages import Found, Search
from tests.catalogue_kit import publisher, signed
from tests.sim.mirror_town import INTERVAL_S, PATIENCE_S, Town, files, noise, seeding, town, wait_until
from tracker.catalogue import Catalogue, CatalogueLimits

KIB = 1024


async def test_everything_that_is_published_and_what_comes_later(autojump_clock: MockClock) -> None:
    async with town(1) as place:
        origin = await place.world.add_peer("origin", up=mbit(8))
        await place.publish(origin, "first", noise(300 * KIB, 1))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        await place.publish(origin, "second", noise(200 * KIB, 2))
        await seeding(mirror, 2)
        assert files(getter) == {"first": noise(300 * KIB, 1), "second": noise(200 * KIB, 2)}
        assert place.server.statistics().catalogue.names == 2
        assert any(
            "first: 300.0 KiB, published by " + publisher(1).node_id.hex() in t for t in place.said["getter"]
        )


async def test_mirrors_serve_each_other_when_the_origin_goes(autojump_clock: MockClock) -> None:
    data = noise(1024 * KIB)
    async with town(2) as place:
        origin = await place.world.add_peer("origin", up=mbit(8))
        await place.publish(origin, "data", data)
        peers = [await place.world.add_peer(f"peer{n}", up=mbit(8)) for n in range(5)]
        mirrors = [place.mirror(peer) for peer in peers]
        await seeding(mirrors[0], 1)
        await origin.crash()
        late = await place.world.add_peer("late")
        mirrors.append(place.mirror(late))
        for mirror in mirrors:
            await seeding(mirror, 1)
        assert all(files(peer) == {"data": data} for peer in [*peers, late])


async def test_a_killed_mirror_goes_on_and_a_restarted_one_seeds_without_help(
    autojump_clock: MockClock,
) -> None:
    data = noise(2048 * KIB)
    async with town(3) as place:
        origin = await place.world.add_peer("origin", up=mbit(8))
        await place.publish(origin, "data", data)
        getter = await place.world.add_peer("getter")
        place.mirror(getter)
        await trio.sleep(4)
        await getter.crash(power_seed=3)
        await getter.restart()
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        assert files(getter) == {"data": data}
        place.lose_tracker()
        await origin.crash()
        await getter.crash(power_seed=4)
        await getter.restart()
        alone = place.mirror(getter)
        await seeding(alone, 1)
        place.house.start()
        await place.start_tracker()
        friend = await place.world.add_peer("friend")
        link = MagnetLink(alone.statistics().members[0].share, "copy", len(data))
        fetch = friend.fetch(link, peers=[getter.address])
        with trio.fail_after(PATIENCE_S):
            await fetch.wait()


async def test_a_restarted_tracker_is_read_again_and_nothing_is_fetched_twice(
    autojump_clock: MockClock,
) -> None:
    async with town(4) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "one", noise(50 * KIB, 1))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        place.lose_tracker()
        await trio.sleep(100)
        place.house.start()
        await place.start_tracker()
        await place.publish(origin, "two", noise(60 * KIB, 2))
        await seeding(mirror, 2)
        await trio.sleep(1000)
        assert mirror.statistics().seeding == 2
        assert sum("complete and verified" in line for line in place.said["getter"]) == 2


async def test_a_newer_version_gets_a_folder_of_its_own_and_the_old_one_stays(
    autojump_clock: MockClock,
) -> None:
    old, new = noise(100 * KIB, 1), noise(120 * KIB, 2)
    async with town(5) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "data", old)
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        await origin.crash()
        await origin.restart()
        link = await place.publish(origin, "Data", new, serial=2)
        name = f"Data.{link.share.hex()[:8]}"
        await wait_until(lambda: files(getter).get(name) == new)
        await trio.sleep(5)
        assert files(getter) == {"data": old, name: new}
        assert mirror.statistics().seeding == 1, "the older one is no longer seeded"
        await getter.crash()
        await getter.restart()
        again = place.mirror(getter)
        await seeding(again, 1)
        await trio.sleep(200)
        assert again.statistics().seeding == 1
        assert set(files(getter)) == {"data", name}


async def test_only_what_was_asked_for(autojump_clock: MockClock) -> None:
    async with town(6) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "debian-12", b"deb")
        await place.publish(origin, "fedora-40", b"fed")
        await place.publish(origin, "debian-evil", b"evil", identity=publisher(2))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter, Wish(("debian-*", "x"), publisher(1).node_id))
        await seeding(mirror, 1)
        await trio.sleep(200)
        assert files(getter) == {"debian-12": b"deb"}


async def test_no_more_than_there_is_room_for(autojump_clock: MockClock) -> None:
    async with town(13) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "large", noise(200 * KIB))
        await place.publish(origin, "small", noise(100 * KIB, 2))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter, Wish(bytes_max=150 * KIB))
        await seeding(mirror, 1)
        await trio.sleep(200)
        assert set(files(getter)) == {"small"}
        assert place.said["getter"].count("large: left out, 200.0 KiB do not fit --max-size") == 1


async def test_what_is_left_out_is_said_once_however_often_it_is_listed(
    autojump_clock: MockClock,
) -> None:
    """A tracker that begins anew lists everything anew, and a liar does so without end."""
    entries = [signed(f"large {number}", number, size=200 * KIB) for number in range(3)]
    async with town(21) as place:
        getter = await place.world.add_peer("getter")
        place.mirror(getter, Wish(bytes_max=150 * KIB))
        for epoch in range(3):
            place.lose_tracker()
            await trio.sleep(1)
            place.house.start()
            catalogue = Catalogue(epoch)
            await place.start_tracker(catalogue)
            more = signed("one more", 9, size=200 * KIB)
            for entry in [*entries, more] if epoch == 2 else entries:
                catalogue.publish(entry, entry.node, "10.1.1.1", trio.current_time())
            await trio.sleep(3 * INTERVAL_S)
        lines = [f"{entry.name}: left out, 200.0 KiB do not fit --max-size" for entry in [*entries, more]]
        assert [line for line in place.said["getter"] if "left out" in line] == lines


async def test_what_is_listed_while_the_disk_is_full_is_kept_later(autojump_clock: MockClock) -> None:
    """The ledger could not be written, and the share was never fetched before a restart."""
    async with town(17) as place:
        origin = await place.world.add_peer("origin")
        getter = await place.world.add_peer("getter")
        await place.publish(origin, "first", b"1")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        getter.disk.fail(errno.ENOSPC, Operation.WRITE, times=math.inf)
        await place.publish(origin, "second", b"22")
        await trio.sleep(3 * INTERVAL_S)
        assert set(files(getter)) == {"first"}
        getter.disk.heal()
        await seeding(mirror, 2)
        assert files(getter) == {"first": b"1", "second": b"22"}


def listed_again(mirror: Mirror, place: Town, link: MagnetLink, size: int, serial: int) -> None:
    """The publisher gives its name "data" back to a share that had it before."""
    entry = publisher(1).publish("data", link.share, size, serial)
    place.nursery.start_soon(mirror._take_up, [Listing(entry, 1, 0)])


async def test_what_was_given_up_and_replaced_is_mirrored_when_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    """Its keeper stayed in the books, and nobody kept it before a restart of the mirror."""
    async with town(22) as place:
        origin = await place.world.add_peer("origin")
        link = await place.publish(origin, "data", noise(50 * KIB), size=5)
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await wait_until(lambda: mirror.statistics().given_up == 1)
        await place.publish(origin, "data", b"newer", serial=2)
        await seeding(mirror, 1)
        assert mirror.statistics().given_up == 0, "another has taken its place"
        listed_again(mirror, place, link, 50 * KIB, 3)
        await wait_until(lambda: [one.share for one in mirror.statistics().members] == [link.share])
        await seeding(mirror, 1)
        assert noise(50 * KIB) in files(getter).values()


async def test_what_comes_back_while_it_is_being_let_go_is_kept(autojump_clock: MockClock) -> None:
    """It was taken for kept already, and the task that let go of it then ended."""
    async with town(23) as place:
        origin = await place.world.add_peer("origin")
        link = await place.publish(origin, "data", noise(50 * KIB))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        keeper = mirror._keepers[link.share]

        async def come_back() -> None:
            await keeper.gone.wait()
            assert link.share in mirror._keepers, "it is still being let go"
            listed_again(mirror, place, link, 50 * KIB, 3)

        place.nursery.start_soon(come_back)
        await place.publish(origin, "data", b"newer", serial=2)
        await keeper.gone.wait()
        await trio.sleep(60)
        assert [member.share for member in mirror.statistics().members] == [link.share]
        assert mirror.statistics().seeding == 1


async def test_what_is_replaced_is_let_go_though_the_ledger_cannot_be_written(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was seeded on until a restart of the mirror."""
    async with town(24) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "data", noise(50 * KIB))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await seeding(mirror, 1)
        save, failed = mirror.state.save, 0

        def fail_once(ledger: bytes) -> None:
            nonlocal failed
            if b'"retired": true' in ledger and not failed:
                failed += 1
                raise StorageError("mirror.json: no space left on device")
            save(ledger)

        monkeypatch.setattr(mirror.state, "save", fail_once)
        link = await place.publish(origin, "data", b"newer", serial=2)
        await wait_until(lambda: bool(failed))
        await trio.sleep(2 * limits.MIRROR_RETRY_S)
        assert [member.share for member in mirror.statistics().members] == [link.share]
        assert sum("a newer data is here" in line for line in place.said["getter"]) == 1


async def test_what_two_trackers_list_at_once_is_said_once(autojump_clock: MockClock) -> None:
    async with town(25) as place:
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await trio.sleep(1)
        listing = Listing(signed("data", 7), 1, 0)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(mirror._take_up, [listing])
        assert sum("data: 5 B, published by" in line for line in place.said["getter"]) == 1
        assert mirror.statistics().fetching + mirror.statistics().waiting == 1


async def test_names_alike_of_two_publishers_lie_in_two_folders(autojump_clock: MockClock) -> None:
    """Two trackers, each with a name of its own, and one mirror of both."""
    async with town(7) as place:
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "data", b"one", identity=publisher(1))
        other = Town(place.world, place.nursery, "tracker-2")
        await other.start_tracker()
        link = await other.publish(origin, "DATA", b"two", identity=publisher(2))
        getter = await place.world.add_peer("getter")
        mirror = Mirror(
            getter.node,
            partial(SimFolder, getter.disk, DOWNLOADS, label="getter"),
            [place.tracker, other.tracker],
            interval_s=INTERVAL_S,
            say=print,
        )
        getter.start_soon(mirror.run)
        await seeding(mirror, 2)
        there = files(getter)
        assert sorted(there.values()) == [b"one", b"two"]
        assert len({name.casefold() for name in there}) == 2
        assert any(link.share.hex()[:8] in name or "data" in name for name in there)


async def test_a_publisher_that_lies_about_the_size_fetches_nobody_anything(
    autojump_clock: MockClock,
) -> None:
    async with town(8) as place:
        origin = await place.world.add_peer("origin")
        link = await place.publish(origin, "data", noise(50 * KIB), size=5)
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await trio.sleep(60)
        assert mirror.statistics().given_up == 1
        assert files(getter) == {}
        assert any(
            "data: given up: it has 51200 bytes, and its publisher says 5" in t for t in place.said["getter"]
        )
        entry = publisher(2).publish("honest", link.share, 50 * KIB, 1)
        task = Publisher(
            origin.host.transport(publisher(2).node_id), [place.tracker], entry, rng=Random(2), say=print
        )
        origin.start_soon(task.run)
        await seeding(mirror, 1)
        assert files(getter) == {"data": noise(50 * KIB)}, "the liar could not keep it from being mirrored"


async def test_fetches_are_bounded_and_the_dead_do_not_block_the_living(autojump_clock: MockClock) -> None:
    async with town(9) as place:
        origin = await place.world.add_peer("origin")
        dead = await place.world.add_peer("dead")
        for n in range(limits.MIRROR_FETCHES_MAX + 2):
            await place.publish(dead, f"dead {n}", noise(10 * KIB, n), identity=publisher(2))
        await trio.sleep(1)
        await dead.crash()
        for n in range(3):
            await place.publish(origin, f"alive {n}", noise(10 * KIB, 100 + n))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter)
        await trio.sleep(20)
        assert mirror.statistics().fetching == limits.MIRROR_FETCHES_MAX
        await seeding(mirror, 3)
        assert {name for name in files(getter) if name.startswith("alive")} == {
            f"alive {n}" for n in range(3)
        }
        statistics = mirror.statistics()
        assert statistics.fetching <= limits.MIRROR_FETCHES_MAX
        assert statistics.fetching + statistics.waiting == limits.MIRROR_FETCHES_MAX + 2


async def test_two_mirrors_in_one_folder_are_refused(autojump_clock: MockClock) -> None:
    async with town(10) as place:
        getter = await place.world.add_peer("getter")
        place.mirror(getter)
        await trio.sleep(1)
        place.mirror(getter)
        await trio.sleep(1)
        assert any("another process mirrors into /getter" in line for line in place.said["getter"])


async def test_a_ledger_that_cannot_be_read_is_one_line(autojump_clock: MockClock) -> None:
    async with town(11) as place:
        getter = await place.world.add_peer("getter")
        folder = SimFolder(getter.disk, DOWNLOADS, label="getter")
        folder.make_folder((STATE_FOLDER,))
        file = folder.create((STATE_FOLDER, "mirror.json"))
        file.write(b"{", 0)
        file.close()
        mirror = place.mirror(getter)
        await trio.sleep(1)
        assert mirror.statistics().seeding == 0
        assert any("mirror.json cannot be used" in line for line in place.said["getter"])


@pytest.mark.parametrize(("pages", "within_s"), [(1100, 60), (1400, 240)])
async def test_a_full_catalogue_is_read_at_once_and_a_fuller_one_whole(
    pages: int, within_s: float, autojump_clock: MockClock
) -> None:
    """In pages of one name each, as many as a full catalogue has in pages of a hundred; or still more."""
    async with town(18) as place:
        place.lose_tracker()
        await trio.sleep(1)
        place.house.start()
        catalogue = Catalogue(1, CatalogueLimits(looks=1))
        await place.start_tracker(catalogue)
        for number in range(pages):
            entry = signed(f"name {number}", by=1 + number // 1000)
            catalogue.publish(entry, entry.node, "10.1.1.1", trio.current_time())
        origin = await place.world.add_peer("origin")
        await place.publish(origin, "the last", b"last", identity=publisher(9))
        getter = await place.world.add_peer("getter")
        mirror = place.mirror(getter, Wish(("the last",)))
        await trio.sleep(within_s)
        assert mirror.statistics().seeding == 1
        await place.publish(origin, "the last", b"later", identity=publisher(9), serial=2)
        await wait_until(lambda: b"later" in files(getter).values())


@pytest.mark.parametrize("entries", [0, 1])
async def test_a_tracker_that_always_has_more_is_read_no_faster_than_names_are_published(
    entries: int, autojump_clock: MockClock
) -> None:
    """It was asked for the next page without a pause, for ever."""
    seconds, asked = 600, 0
    listings = entries * (Listing(signed("name"), 1, 0),)
    async with town(19) as place:
        liar = place.world.network.add_host("liar", latency=0.001)

        async def attend(stream: Stream) -> None:
            nonlocal asked
            channel = MessageChannel(stream)
            with suppress(ManyhandsError):
                while True:
                    message = await channel.receive()
                    assert isinstance(message, Search)
                    asked += 1
                    await channel.send(Found(1, message.after + 1, True, 1, listings))

        async def serve(listener: Listener) -> None:
            while True:
                place.nursery.start_soon(attend, await listener.accept())

        for listener in await liar.transport().listen(None, 7700):
            place.nursery.start_soon(serve, listener)
        place.tracker = Address(liar.address, 7700)
        getter = await place.world.add_peer("getter")
        place.mirror(getter, Wish(("nothing",)))
        await trio.sleep(seconds)
    one_answer = limits.SEARCH_EXCHANGES_MAX + 32
    assert asked <= limits.SEARCH_EXCHANGES_MAX + seconds * limits.MIRROR_PAGES_PER_S + one_answer
    assert asked >= limits.SEARCH_EXCHANGES_MAX, "who could be honest is heard out"


@pytest.mark.parametrize("name", ["..", "a/b", ".manyhands"])
async def test_a_dangerous_name_leads_nowhere(name: str, autojump_clock: MockClock) -> None:
    async with town(12) as place:
        origin = await place.world.add_peer("origin")
        link = await origin.share("good", {(): b"data"}, trackers=[place.tracker])
        entry = publisher(1).publish(name, link.share, 4, 1)
        # Past the tracker's own check: as a tracker that lies would.
        place.server._catalogue.publish(entry, entry.node, "10.1.1.1", trio.current_time())
        getter = await place.world.add_peer("getter")
        place.mirror(getter)
        await trio.sleep(60)
        there = set(files(getter))
        assert there <= {f"share-{link.share.hex()[:16]}"}


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEASON_SEEDS", "2"))))
async def test_a_season_of_troubles(seed: int, autojump_clock: MockClock) -> None:
    """Mirrors crash, names are given to other shares, the tracker goes, ways are cut; then all is well."""
    rng = Random(seed)
    async with town(seed) as place:
        seeds = [await place.world.add_peer(f"seed{n}", up=mbit(8)) for n in range(3)]
        mirrors = [await place.world.add_peer(f"mirror{n}", up=mbit(8)) for n in range(4)]
        running = {peer.name: place.mirror(peer) for peer in mirrors}
        latest: dict[str, tuple[SimPeer, int, bytes]] = {}
        every: set[bytes] = set()

        async def publish(name: str, seed: SimPeer, serial: int, data: bytes) -> None:
            latest[name] = (seed, serial, data)
            every.add(data)
            number = seeds.index(seed) + 1
            await place.publish(seed, name, data, identity=publisher(number), serial=serial)

        for n in range(5):
            await publish(
                f"name {n}", rng.choice(seeds), 1, noise(rng.randrange(1, 300 * KIB), 1000 * seed + n)
            )
        for step in range(12):
            await trio.sleep(rng.uniform(0.2, 20))
            match rng.randrange(4):
                case 0:
                    name = rng.choice(sorted(latest))
                    owner, serial, _ = latest[name]
                    data = noise(rng.randrange(1, 300 * KIB), 1000 * seed + 100 + step)
                    await publish(name, owner, serial + 1, data)
                case 1:
                    peer = rng.choice(mirrors)
                    await peer.crash(power_seed=rng.choice((None, step)))
                    await peer.restart()
                    running[peer.name] = place.mirror(peer)
                case 2:
                    place.lose_tracker()
                    await trio.sleep(rng.uniform(0, 30))
                    place.house.start()
                    await place.start_tracker()
                case _:
                    a, b = rng.sample([*seeds, *mirrors], 2)
                    place.world.network.cut(a.host, b.host)
                    await trio.sleep(rng.uniform(0, 40))
                    place.world.network.heal()

        def content() -> bool:
            wanted = [data for _, _, data in latest.values()]
            return all(set(wanted) <= set(files_ready(peer).values()) for peer in mirrors)

        await wait_until(content)
        for peer in mirrors:
            there = files_ready(peer)
            assert set(there.values()) <= every, "no byte that nobody published"
            assert running[peer.name].statistics().given_up == 0


def files_ready(peer: SimPeer) -> dict[str, bytes]:
    """What lies in a mirror's folder under its own name: complete shares."""
    folder = SimFolder(peer.disk, DOWNLOADS, label="look")
    names = [e.name for e in folder.entries(()) if e.name != STATE_FOLDER and not e.name.endswith(".part")]
    return {name: read_file(folder, (name,)) for name in names}
