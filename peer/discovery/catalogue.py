"""Asking a tracker's catalogue, and believing only what its publishers signed.

A tracker can leave entries out, and count seeders as it likes. It cannot change an entry, name another
publisher, or answer with an entry that was not asked for: each is checked here, and one that does not hold is
a `ContentError` that says which. Whether the share is as large as its entry says, who fetches it checks.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from peer import limits
from peer.errors import ConnectionLost, ContentError, NoSourceError, RemoteProtocolError
from peer.identity import is_signed
from peer.ids import Address, NodeId
from peer.net.channel import MessageChannel
from peer.net.transport import Transport
from peer.paths import fold, printable, shortened
from peer.published import NOBODY, Listing, PublishedShare, check_published
from peer.wire.codec import clip_text
from peer.wire.messages import Bye, Found, Message, Publish, Published, Search

PAGES_PER_CONNECTION: int = limits.TRACKER_EXCHANGES_MAX // 2
"""Answers taken on one connection before another is made: a tracker need not give more."""

Answer = TypeVar("Answer", Found, Published)


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. name: this one alone, empty for any; words: each must begin a word of the name."""

    words: tuple[str, ...] = ()
    name: str = ""
    node: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader of a catalogue came: whose numbers, and which."""

    epoch: int = -1
    after: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """listings: all that were found, or the first of them if there is ``more``. place: where to go on.
    names: how many are published in all."""

    listings: tuple[Listing, ...]
    place: Place
    more: bool
    names: int


class CatalogueClient:
    """Talks to one tracker, one conversation at a time. Every conversation has a deadline of its own."""

    def __init__(self, transport: Transport, tracker: Address) -> None:
        self._transport = transport
        self.tracker = tracker
        self.pages = 0
        """Answers to searches, since the start."""

    async def answer(self, question: Question, *, most: int) -> Answered:
        """The same as `search`, from the beginning, for a person who waits for it."""
        try:
            with trio.fail_after(limits.SEARCH_PATIENCE_S):
                return await self.search(question, most=most)
        except trio.TooSlowError:
            raise NoSourceError(
                f"tracker {self.tracker}: its answers have not come to an end within"
                f" {limits.SEARCH_PATIENCE_S:.0f} s"
            ) from None

    async def search(
        self, question: Question, *, place: Place | None = None, most: int = limits.CATALOGUE_NAMES_MAX
    ) -> Answered:
        """At most ``most`` entries that answer the question, listed after ``place``.

        A place of another life of the tracker means from the beginning. Raises ContentError for an answer
        that lies, NoSourceError for a tracker that cannot be asked.
        """
        listings: list[Listing] = []
        place = place or Place()
        for _ in range(limits.SEARCH_EXCHANGES_MAX // PAGES_PER_CONNECTION + 1):
            async with self._conversation() as channel:
                for _ in range(PAGES_PER_CONNECTION):
                    found = await self._page(channel, question, place, most - len(listings))
                    if found.epoch != place.epoch and place.after > 0:  # restarted: its numbers begin again
                        place, listings = Place(found.epoch), []
                        continue
                    if found.next < place.after or (found.more and found.next == place.after):
                        raise ContentError(f"tracker {self.tracker}: its answers lead in a circle")
                    listings += found.listings
                    place = Place(found.epoch, found.next)
                    if not found.more or len(listings) >= most:
                        return Answered(tuple(listings), place, found.more, found.names)
        raise ContentError(f"tracker {self.tracker}: it lists more than a catalogue may hold")

    async def find(self, name: str, node: NodeId | None = None) -> Listing | None:
        """The entry of that name; None if there is none, or none of that publisher. Raises as `search`."""
        answered = await self.answer(Question(name=name, node=node), most=1)
        return answered.listings[0] if answered.listings else None

    async def publish(self, entry: PublishedShare) -> Published:
        """Ask for an entry to be listed. Raises NoSourceError for a tracker that does not answer."""
        async with self._conversation() as channel:
            return await self._exchange(channel, Publish.of(limits.PROTOCOL_VERSION, entry), Published)

    async def _page(self, channel: MessageChannel, question: Question, place: Place, most: int) -> Found:
        search = Search(
            version=limits.PROTOCOL_VERSION,
            words=question.words[: limits.SEARCH_WORDS_MAX],
            name=clip_text(question.name, limits.NAME_BYTES_MAX),
            node=question.node or NOBODY,
            after=place.after,
            want=min(most, limits.CATALOGUE_ENTRIES_PER_MESSAGE_MAX),
        )
        found = await self._exchange(channel, search, Found)
        self.pages += 1
        for listing in found.listings:
            check_listing(listing.entry, question, self.tracker)
        return found

    async def _exchange(self, channel: MessageChannel, message: Message, kind: type[Answer]) -> Answer:
        await channel.send(message)
        answer = await channel.receive()
        if isinstance(answer, Bye):
            raise NoSourceError(
                f"tracker {self.tracker} refuses: {printable(answer.reason) or answer.code.name.lower()}"
            )
        if not isinstance(answer, kind):
            raise ContentError(f"tracker {self.tracker} answers with {type(answer).__name__.lower()}")
        return answer

    @asynccontextmanager
    async def _conversation(self) -> AsyncIterator[MessageChannel]:
        """A channel to the tracker; whatever goes wrong with it becomes one line."""
        try:
            with trio.fail_after(limits.TRACKER_EXCHANGE_S):
                stream = await self._transport.dial(self.tracker)
                try:
                    yield MessageChannel(stream)
                finally:
                    await trio.aclose_forcefully(stream)
        except trio.TooSlowError:
            raise NoSourceError(
                f"tracker {self.tracker}: no answer within {limits.TRACKER_EXCHANGE_S:.0f} s"
            ) from None
        except (ConnectionLost, OSError) as error:
            raise NoSourceError(f"tracker {self.tracker}: {printable(str(error))}") from error
        except RemoteProtocolError as error:
            raise ContentError(f"tracker {self.tracker}: {printable(str(error))}") from error


def check_listing(entry: PublishedShare, question: Question, tracker: Address) -> None:
    """Raise ContentError, one line, unless the entry is legal, signed by its publisher and was asked for."""
    shown = shortened(entry.name)
    try:
        check_published(entry)
    except ValueError as error:
        raise ContentError(f"tracker {tracker} lists what nobody can have published: {error}") from None
    if not is_signed(entry):
        raise ContentError(
            f"tracker {tracker} lies about {shown!r}: its signature is not that of the publisher "
            f"{entry.node.hex()}"
        )
    if question.node is not None and entry.node != question.node:
        raise ContentError(
            f"tracker {tracker} lies about {shown!r}: it was asked for entries of {question.node.hex()}, "
            f"and this one is of {entry.node.hex()}"
        )
    if question.name and fold(entry.name) != fold(question.name):
        raise ContentError(f"tracker {tracker} was asked for {question.name!r} and answers with {shown!r}")


async def find_first(
    transport: Transport, trackers: Sequence[Address], name: str, node: NodeId | None
) -> tuple[Listing, Address] | None:
    """The entry of that name at the first tracker that has it, and that tracker; None if all answered no.

    Raises ContentError for the first that lies; the last NoSourceError, if none has it and not all answered.
    """
    trouble: NoSourceError | None = None
    for tracker in trackers:
        try:
            listing = await CatalogueClient(transport, tracker).find(name, node)
        except NoSourceError as error:
            trouble = error
            continue
        if listing is not None:
            return listing, tracker
    if trouble is not None:
        raise trouble
    return None
