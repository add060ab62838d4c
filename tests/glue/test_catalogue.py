"""Publishing, searching and being lied to: client and tracker over streams, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peer import limits
from peer.discovery.catalogue import CatalogueClient, Place, Question, find_first
from peer.discovery.publishing import Publisher, outcome
from peer.errors import ByeCode, ContentError, NoSourceError
from peer.ids import Address, NodeId
from peer.net.channel import MessageChannel
from peer.net.transport import Stream
from peer.published import Listing, PublishedShare
from peer.wire.messages import (
    Announce,
    AnnounceEvent,
    Bye,
    Found,
    Message,
    Publish,
    PublishCode,
    Published,
    Search,
)
from tests.catalogue_kit import publisher, share_id, signed
from tests.glue.memory_transport import MemoryNetwork
from tracker.catalogue import Catalogue, CatalogueLimits
from tracker.server import TrackerServer

TRACKER = Address("192.0.2.1", 7700)
OTHER = Address("192.0.2.2", 7700)


class House:
    """A network with a tracker on it."""

    def __init__(self, bounds: CatalogueLimits | None = None) -> None:
        self.network = MemoryNetwork()
        self.catalogue = Catalogue(77, bounds)
        self.transport = self.network.transport(TRACKER.host)
        self.server = TrackerServer(self.transport, Random(1), catalogue=self.catalogue)

    def client(self, number: int = 1, tracker: Address = TRACKER) -> CatalogueClient:
        return CatalogueClient(self.network.transport(f"10.0.0.{number}"), tracker)


@asynccontextmanager
async def running(bounds: CatalogueLimits | None = None) -> AsyncIterator[House]:
    house = House(bounds)
    await house.server.listen(None, TRACKER.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.server.run)
        yield house
        house.server.check_invariants()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def answering(
    network: MemoryNetwork,
    answer: Callable[[Message], Message | Awaitable[Message]],
    address: Address = TRACKER,
) -> AsyncIterator[None]:
    """A tracker that says what the test wants it to say, at once or when it wants."""

    async def attend(stream: Stream) -> None:
        channel = MessageChannel(stream)
        while True:
            said = answer(await channel.receive())
            await channel.send(await said if isinstance(said, Awaitable) else said)

    async def guarded(stream: Stream) -> None:
        with suppress(Exception):  # the client has what it wanted, and goes
            await attend(stream)

    (listener,) = await network.transport(address.host).listen(None, address.port)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            while True:
                nursery.start_soon(guarded, await listener.accept())

        nursery.start_soon(serve)
        yield
        nursery.cancel_scope.cancel()


def found(*entries: PublishedShare, more: bool = False, after: int = 1) -> Found:
    return Found(77, after, more, len(entries), tuple(Listing(entry, 1, 0) for entry in entries))


# --- the tracker's side


async def test_published_then_found_with_the_seeders_of_the_registry(autojump_clock: MockClock) -> None:
    async with running() as house:
        answer = await house.client(1).publish(signed("Letters of 2026", 3))
        assert answer.code is PublishCode.LISTED
        channel = await house.network.transport("10.0.0.9").channel(TRACKER)
        for node, left in ((1, 0), (2, 0), (3, 7)):
            await channel.send(
                Announce(1, share_id(3), NodeId(bytes([node]) * 32), 7701, AnnounceEvent.STARTED, left, 0)
            )
            await channel.receive()
        answered = await house.client(2).search(Question(("letters",)))
        [listing] = answered.listings
        assert (listing.entry, listing.seeders, listing.leechers) == (signed("Letters of 2026", 3), 2, 1)
        assert await house.client(2).find("LETTERS OF 2026") == listing
        assert await house.client(2).find("letters") is None
        assert await house.client(2).find("Letters of 2026", publisher(2).node_id) is None


@pytest.mark.parametrize(
    "spoilt",
    [
        replace(signed("name"), share=share_id(9)),
        replace(signed("name"), key=signed("name", by=2).key),
        replace(signed("name"), signature=bytes(64)),
        signed("../name"),
        signed("a\nb"),
        signed(""),
    ],
)
async def test_what_is_not_signed_or_no_name_is_refused_with_a_reason(
    spoilt: PublishedShare, autojump_clock: MockClock
) -> None:
    async with running() as house:
        with pytest.raises(NoSourceError, match=r"tracker 192\.0\.2\.1:7700 refuses: .*(signature|name)"):
            await house.client().publish(spoilt)
        await wait_all_tasks_blocked()
        assert len(house.catalogue) == 0
        assert house.server.statistics().faulty == 1


async def test_on_an_authenticating_transport_only_the_publisher_may_publish(
    autojump_clock: MockClock,
) -> None:
    async with running() as house:

        async def handshake(stream: Stream) -> Stream:
            stream.proven = publisher(2).node_id  # type: ignore[attr-defined]
            return stream

        house.transport.handshake = handshake
        with pytest.raises(NoSourceError, match="does not belong to"):
            await house.client().publish(signed("name", by=1))
        assert (await house.client().publish(signed("name", by=2))).code is PublishCode.LISTED


async def test_a_flood_is_refused_and_others_are_served(autojump_clock: MockClock) -> None:
    async with running(CatalogueLimits(names_per_node=5, names_per_address=20)) as house:
        flood = house.client(1)
        codes = [(await flood.publish(signed(f"flood {n}"))).code for n in range(40)]
        assert codes == 5 * [PublishCode.LISTED] + 35 * [PublishCode.PUBLISHER_FULL]
        codes = [(await flood.publish(signed(f"more {n}", by=2 + n))).code for n in range(40)]
        assert codes.count(PublishCode.LISTED) == 15
        assert codes[-1] is PublishCode.ADDRESS_FULL
        honest = house.client(2)
        assert (await honest.publish(signed("honest", by=99))).code is PublishCode.LISTED
        assert (await honest.find("honest")) is not None


async def test_an_address_that_searches_without_end_gets_its_part_and_others_are_answered(
    autojump_clock: MockClock,
) -> None:
    async with running() as house:
        for n in range(2000):
            entry = signed(f"red {n}" if n % 2 else f"blue {n}", by=1 + n // 900)
            house.catalogue.publish(entry, entry.node, f"10.1.{n // 900}.1", trio.current_time())
        begun, looked = trio.current_time(), house.catalogue.looks

        async def ask_without_end() -> None:
            client = house.client(1)
            while True:
                await client.search(Question(("red", "blue")))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask_without_end)
            await trio.sleep(10)
            asked = trio.current_time()
            assert (await house.client(2).find("red 1")) is not None
            assert trio.current_time() - asked < 0.01, "nobody else waits"
            nursery.cancel_scope.cancel()
        spent = trio.current_time() - begun
        assert house.catalogue.looks - looked < 1.1 * limits.SEARCH_LOOKS_PER_S * spent
        await trio.sleep(1)
        assert not len(house.server._searches), "nothing is remembered of who is gone"


async def test_pages_over_several_connections(autojump_clock: MockClock) -> None:
    async with running(CatalogueLimits(looks=2)) as house:
        client = house.client()
        for n in range(150):
            entry = signed(f"name {n}")
            house.catalogue.publish(entry, entry.node, "10.0.0.1", trio.current_time())
        dials = len(house.network.dials)
        answered = await client.search(Question())
        assert [listing.entry.name for listing in answered.listings] == [f"name {n}" for n in range(150)]
        assert len(house.network.dials) - dials == 3, "75 pages of two, 32 on a connection"
        some = await client.search(Question(), most=20)
        assert (len(some.listings), some.more) == (20, True)
        rest = await client.search(Question(), place=some.place)
        assert len(rest.listings) == 130
        assert (await client.search(Question(), place=rest.place)).listings == ()


async def test_a_reader_of_an_earlier_life_begins_again(autojump_clock: MockClock) -> None:
    async with running() as house:
        client = house.client()
        await client.publish(signed("name"))
        answered = await client.search(Question(), place=Place(epoch=5, after=1000))
        assert [listing.entry.name for listing in answered.listings] == ["name"]
        assert answered.place.epoch == 77


# --- the client's side: what a tracker may not get away with


def question_of(message: Message) -> Search:
    assert isinstance(message, Search)
    return message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (found(replace(signed("name"), share=share_id(9))), "lies about 'name': its signature is not"),
        (found(replace(signed("name"), size=6)), "lies about 'name': its signature is not"),
        (found(replace(signed("name"), serial=9)), "lies about 'name': its signature is not"),
        (
            found(replace(signed("name"), key=signed("x", by=2).key)),
            "lies about 'name': its signature is not",
        ),
        (found(signed("name", by=2)), "lies about 'name': it was asked for entries of"),
        (found(signed("other")), "was asked for 'name' and answers with 'other'"),
        (found(signed("..")), "lists what nobody can have published"),
        (found(signed("na\x1b]0;me")), "lists what nobody can have published"),
        (found(more=True, after=0), "lead in a circle"),
        (Published(PublishCode.LISTED, 60, NodeId(bytes(32)), 1), "answers with published"),
    ],
)
async def test_an_answer_that_lies_is_one_line(
    answer: Message, reason: str, autojump_clock: MockClock
) -> None:
    network = MemoryNetwork()
    async with answering(network, lambda _: answer):
        client = CatalogueClient(network.transport("10.0.0.1"), TRACKER)
        with pytest.raises(ContentError, match=reason) as caught:
            await client.find("name", publisher(1).node_id)
        line = str(caught.value)
        assert line.isprintable()
        assert str(TRACKER) in line


async def test_a_tracker_that_never_comes_to_an_end_is_left(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()

    def endless(message: Message) -> Found:
        after = question_of(message).after
        return found(more=True, after=after + 1)

    async with answering(network, endless):
        with pytest.raises(ContentError, match="more than a catalogue may hold"):
            await CatalogueClient(network.transport("10.0.0.1"), TRACKER).search(Question())


async def test_a_tracker_that_is_always_nearly_late_holds_nobody_up_for_long(
    autojump_clock: MockClock,
) -> None:
    """`get NAME` waited for it as long as for a full catalogue: 38 conversations of 29 s."""
    network = MemoryNetwork()
    pages = limits.TRACKER_EXCHANGES_MAX // 2

    async def nearly_late(message: Message) -> Message:
        await trio.sleep(0.9 * limits.TRACKER_EXCHANGE_S / pages)
        return found(more=True, after=question_of(message).after + 1)

    async with answering(network, nearly_late):
        with pytest.raises(NoSourceError, match="have not come to an end within 60 s"):
            await CatalogueClient(network.transport("10.0.0.1"), TRACKER).find("name")
    assert trio.current_time() <= limits.SEARCH_PATIENCE_S + 1


async def test_a_tracker_that_restarts_again_and_again_is_left(autojump_clock: MockClock) -> None:
    network, epochs = MemoryNetwork(), iter(range(10**6))

    def restless(message: Message) -> Found:
        return replace(found(more=True, after=question_of(message).after + 1), epoch=next(epochs))

    async with answering(network, restless):
        with pytest.raises(ContentError, match="more than a catalogue may hold"):
            await CatalogueClient(network.transport("10.0.0.1"), TRACKER).search(Question())


@pytest.mark.parametrize("kind", ["hangs", "refuses", "says bye"])
async def test_a_tracker_that_does_not_answer_is_one_line(kind: str, autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    if kind == "hangs":
        network.hanging.add(TRACKER)
    async with answering(network, lambda _: Bye(ByeCode.FULL, "no\x1b[2J room")):
        address = OTHER if kind == "refuses" else TRACKER
        with pytest.raises(NoSourceError, match=f"tracker {address}") as caught:
            await CatalogueClient(network.transport("10.0.0.1"), address).find("name")
    assert str(caught.value).isprintable()
    assert trio.current_time() <= limits.TRACKER_EXCHANGE_S


async def test_the_first_tracker_that_has_the_name_wins_and_silence_is_not_an_answer(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    transport = network.transport("10.0.0.1")
    third = Address("192.0.2.3", 7700)

    async def ask(trackers: Sequence[Address]) -> tuple[Listing, Address] | None:
        return await find_first(transport, trackers, "name", None)

    async with (
        answering(network, lambda _: found()),
        answering(network, lambda _: found(signed("name")), OTHER),
    ):
        assert await ask([TRACKER]) is None
        result = await ask([third, TRACKER, OTHER])
        assert result is not None
        assert result[1] == OTHER
        with pytest.raises(NoSourceError, match=str(third)):
            await ask([third, TRACKER])


# --- keeping a name


@asynccontextmanager
async def publishing(network: MemoryNetwork, entry: PublishedShare, said: list[str]) -> AsyncIterator[None]:
    task = Publisher(network.transport("10.0.0.1"), [TRACKER, TRACKER], entry, rng=Random(1), say=said.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        yield
        nursery.cancel_scope.cancel()


async def test_a_name_is_published_again_at_the_trackers_interval(autojump_clock: MockClock) -> None:
    network, times, said = MemoryNetwork(), list[float](), list[str]()

    def listed(message: Message) -> Published:
        assert isinstance(message, Publish)
        times.append(trio.current_time())
        return Published(PublishCode.LISTED, 100, publisher(1).node_id, 1)

    async with answering(network, listed), publishing(network, signed("name"), said):
        await trio.sleep(1000)
    assert 10 <= len(times) <= 14
    assert len(said) == 1
    assert said[0].startswith("published as name at tracker 192.0.2.1:7700, by ")


async def test_a_tracker_that_does_not_answer_is_asked_less_and_less_often(autojump_clock: MockClock) -> None:
    network, said = MemoryNetwork(), list[str]()
    async with publishing(network, signed("name"), said):
        await trio.sleep(3600)
    assert 18 <= len(network.dials) <= 26, "1, 2, 4 s and so on up to five minutes, less jitter"
    assert len(said) == 1


async def test_a_restarted_tracker_has_the_name_again_within_an_interval(autojump_clock: MockClock) -> None:
    house, said = House(), list[str]()
    async with publishing(house.network, signed("name"), said):
        await trio.sleep(1000)
        assert said == [
            "not published: tracker 192.0.2.1:7700: cannot reach 192.0.2.1:7700: connection refused"
        ]
        await house.server.listen(None, TRACKER.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.server.run)
            await trio.sleep(limits.TRACKER_BACKOFF_S_MAX + 1)
            assert len(house.catalogue) == 1
            assert len(said) == 2
            nursery.cancel_scope.cancel()


async def test_a_name_that_is_taken_is_said_once_and_had_when_it_is_free(autojump_clock: MockClock) -> None:
    said = list[str]()
    async with running() as house:
        await house.client().publish(signed("Name", by=2))
        async with publishing(house.network, signed("name"), said):
            await trio.sleep(limits.CATALOGUE_LIFETIME_S - 10)
            [line] = said
            assert "belongs to " + publisher(2).node_id.hex() in line
            await trio.sleep(200)
        assert len(said) == 2
        listing = await house.client().find("name")
        assert listing is not None
        assert listing.entry.node == publisher(1).node_id


@pytest.mark.parametrize("code", PublishCode)
def test_every_outcome_is_a_line(code: PublishCode) -> None:
    line = outcome(Published(code, 60, publisher(2).node_id, 7), signed("name"), TRACKER)
    assert line.isprintable()
    assert str(TRACKER) in line
    assert line.startswith("published" if code is PublishCode.LISTED else "not published")
