"""The published shares of one tracker: names that can be searched, in bounded memory. Pure.

Theory of operation. An entry is signed by its publisher (peer/published.py); whoever calls `publish` has
checked the signature. Names that differ only in case are one name. A name belongs to the node that published
it first, until it has not been published again for `CATALOGUE_LIFETIME_S`; the holder alone may give it to
another share, with a higher serial. Nothing is evicted: who comes when a limit is reached is refused, be it
the publisher's, its address's, or that of the catalogue. So a flood harms those who flood, and at worst names
that nobody has yet.

Entries are numbered as they are listed, and a changed entry gets a new number. So a reader that remembers how
far it came asks only for what came later, and a long answer goes on where it stopped. A search looks at a
bounded number of names: at those that have its rarest word, or, where even that one is common, at all of them
in their order. What it has not looked at when it stops is left for the next question. To find out which word
is rare is work as well: a quarter as many words are looked at for it, the longest first, and what has not
been counted then is common. `looks` has all of it, so that who asks can be made to wait for what he costs.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from peer import limits
from peer.ids import NodeId, ShareId
from peer.paths import fold
from peer.published import NOBODY, Listing, PublishedShare
from peer.wire.messages import Found, PublishCode, Published, Search
from tracker.counting import count_down, count_up
from tracker.observed import observe
from tracker.wheel import Wheel
from tracker.words import WordIndex, words_of


@dataclass(frozen=True, slots=True)
class CatalogueLimits:
    """What the catalogue may hold. See peer/limits.py for the reasons."""

    names: int = limits.CATALOGUE_NAMES_MAX
    names_per_node: int = limits.CATALOGUE_NAMES_PER_NODE_MAX
    names_per_address: int = limits.CATALOGUE_NAMES_PER_ADDRESS_MAX
    looks: int = limits.SEARCH_LOOKS_MAX


@dataclass(frozen=True, slots=True)
class CatalogueStatistics:
    """names, publishers: now. The rest: since the start."""

    names: int
    publishers: int
    listed: int
    renewed: int
    refused: int
    expired: int
    searches: int


class _Listed:
    """One entry in its place. ``network``: whom its publisher shares a limit with (`tracker.observed`).
    ``text``: its words, each after a blank, so that a blank and a beginning are found in it. ``bucket`` and
    ``deadline`` belong to the wheel.
    """

    __slots__ = ("bucket", "deadline", "entry", "network", "node", "number", "text")

    def __init__(self, entry: PublishedShare, node: NodeId, network: str, number: int, text: str) -> None:
        self.entry = entry
        self.node = node
        self.network = network
        self.number = number
        self.text = text
        self.deadline = 0.0
        self.bucket: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.text.split())


class Catalogue:
    """All names of one tracker. epoch: a number of the owner's that no earlier life of it had."""

    def __init__(self, epoch: int, bounds: CatalogueLimits | None = None) -> None:
        self._epoch = epoch
        self._bounds = bounds or CatalogueLimits()
        self._by_name: dict[str, _Listed] = {}
        self._by_number: dict[int, _Listed] = {}
        self._numbers: list[int] = []  # ascending
        self._last = 0
        self._index = WordIndex()
        self._wheel: Wheel[_Listed] = Wheel(limits.EXPIRY_GRAIN_S)
        self._publishers: dict[NodeId, dict[int, _Listed]] = {}
        self._per_network: dict[str, int] = {}
        self.looks = 0
        """Names that all searches looked at, and words and numbers of the index."""
        self._listed = self._renewed = self._refused = self._expired = self._searches = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def publish(self, entry: PublishedShare, node: NodeId, host: str, now: float) -> Published:
        """Take in one entry, whose signature is right, of a publisher at the observed ``host``; answer it."""
        self.expire(now)
        key = fold(entry.name)
        there = self._by_name.get(key)
        if there is not None and there.deadline <= now:
            self._remove(there)
            there = None
        network = observe(host).network
        code = self._verdict(there, entry, node, network)
        if code is not PublishCode.LISTED:
            self._refused += 1
        elif there is not None and there.entry == entry:
            self._renewed += 1
            self._count_with(there, self._room_for(there, network))
            self._wheel.put(there, now + limits.CATALOGUE_LIFETIME_S)
        else:
            if there is not None:
                network = self._room_for(there, network)
                self._remove(there)
            there = self._add(key, entry, node, network)
            self._listed += 1
            self._wheel.put(there, now + limits.CATALOGUE_LIFETIME_S)
        holder, serial = (there.node, there.entry.serial) if there is not None else (NOBODY, 0)
        return Published(code, self.interval, holder, serial)

    def search(self, search: Search, now: float, count: Callable[[ShareId], tuple[int, int]]) -> Found:
        """Answer a search. count: seeders and leechers of a share, as the registry knows them."""
        self._searches += 1
        want = min(search.want, limits.CATALOGUE_ENTRIES_PER_MESSAGE_MAX)
        starts = [f" {word}" for text in search.words for word in words_of(text)]
        starts = starts[: limits.SEARCH_WORDS_MAX]
        found: list[Listing] = []
        candidates = self._candidates(search, [start[1:] for start in starts])
        looked = 0
        for number in candidates:
            if looked >= self._bounds.looks or len(found) >= want:
                break
            looked += 1
            listed = self._by_number[number]
            for start in starts:
                if start not in listed.text:
                    break
            else:
                if listed.deadline > now and search.node in (NOBODY, listed.node):
                    found.append(Listing(listed.entry, *count(listed.entry.share)))
        self.looks += looked
        more = looked < len(candidates)
        reached = self._last
        if more:
            reached = candidates[looked - 1] if looked else search.after
        return Found(self._epoch, reached, more=more, names=len(self), listings=tuple(found))

    @property
    def interval(self) -> int:
        """Seconds until a publisher should repeat itself: longer the more names there are."""
        fair = len(self._by_name) / limits.PUBLISHES_PER_S_TARGET
        return round(min(max(fair, limits.CATALOGUE_INTERVAL_S_MIN), limits.CATALOGUE_INTERVAL_S_MAX))

    def expire(self, now: float) -> bool:
        """Drop names whose time is over, a bounded number; True if there may be more."""
        for _ in range(limits.CATALOGUE_EXPIRIES_PER_CALL_MAX):
            listed = self._wheel.pop_due(now)
            if listed is None:
                return False
            self._remove(listed)
            self._expired += 1
        return True

    def statistics(self) -> CatalogueStatistics:
        return CatalogueStatistics(
            names=len(self._by_name),
            publishers=len(self._publishers),
            listed=self._listed,
            renewed=self._renewed,
            refused=self._refused,
            expired=self._expired,
            searches=self._searches,
        )

    def _verdict(
        self, there: _Listed | None, entry: PublishedShare, node: NodeId, network: str
    ) -> PublishCode:
        if there is not None:
            if there.node != node:
                return PublishCode.NAME_TAKEN
            if there.entry != entry and entry.serial <= there.entry.serial:
                return PublishCode.OUTDATED
            return PublishCode.LISTED
        for held, most, code in (
            (len(self._publishers.get(node, ())), self._bounds.names_per_node, PublishCode.PUBLISHER_FULL),
            (self._per_network.get(network, 0), self._bounds.names_per_address, PublishCode.ADDRESS_FULL),
            (len(self._by_name), self._bounds.names, PublishCode.CATALOGUE_FULL),
        ):
            if held >= most:
                return code
        return PublishCode.LISTED

    def _room_for(self, there: _Listed, network: str) -> str:
        """The network that a listed name counts for when its holder comes from this one: his new one, so that
        the old one is free for others; where that is full, still the one that has taken it in."""
        if self._per_network.get(network, 0) >= self._bounds.names_per_address:
            return there.network
        return network

    def _count_with(self, listed: _Listed, network: str) -> None:
        if network != listed.network:
            count_down(self._per_network, listed.network)
            count_up(self._per_network, network)
            listed.network = network

    def _candidates(self, search: Search, words: list[str]) -> Sequence[int]:
        """The numbers to look at, ascending, all that could answer the search among them; no more than one
        question looks at, and one behind them if there are more."""
        if search.name:
            listed = self._by_name.get(fold(search.name))
            numbers = [listed.number] if listed is not None else []
        elif search.node != NOBODY:
            numbers = sorted(self._publishers.get(search.node, ()))
        else:
            rarest = self._rarest(words)
            numbers = self._numbers if rarest is None else self._index.numbers(rarest)
        begin = bisect_right(numbers, search.after)
        return numbers[begin : begin + self._bounds.looks + 1]

    def _rarest(self, words: list[str]) -> str | None:
        """The word that the fewest names have. None: each is so common that its names are not worth
        gathering, or it takes too long to know."""
        rarest, rarity = None, self._bounds.looks // 2
        left = max(self._bounds.looks // 4, 1)
        for word in sorted(dict.fromkeys(words), key=len, reverse=True):
            if not left:
                break
            often, looked = self._index.count(word, rarity, left)
            left -= looked
            self.looks += looked
            if often < rarity:
                rarest, rarity = word, often
        if rarest is not None:
            self.looks += rarity
        return rarest

    def _add(self, key: str, entry: PublishedShare, node: NodeId, network: str) -> _Listed:
        own = self._publishers.setdefault(node, {})
        for other in own.values():  # one copy of the key for all names of a publisher
            entry, node = replace(entry, key=other.entry.key), other.node
            break
        self._last += 1
        words = words_of(entry.name)
        listed = _Listed(entry, node, network, self._last, "".join(f" {word}" for word in words))
        self._by_name[key] = self._by_number[listed.number] = own[listed.number] = listed
        self._numbers.append(listed.number)
        self._index.add(listed.number, words)
        count_up(self._per_network, network)
        return listed

    def _remove(self, listed: _Listed) -> None:
        self._wheel.discard(listed)
        del self._by_name[fold(listed.entry.name)]
        del self._by_number[listed.number]
        del self._numbers[bisect_left(self._numbers, listed.number)]
        self._index.remove(listed.number, listed.words)
        own = self._publishers[listed.node]
        del own[listed.number]
        if not own:
            del self._publishers[listed.node]
        count_down(self._per_network, listed.network)

    def check_invariants(self) -> None:
        """Every table tells the same story, and every limit holds."""
        bounds = self._bounds
        assert len(self._by_name) <= bounds.names
        assert self._numbers == sorted(self._by_number)
        assert {id(x) for x in self._by_name.values()} == {id(x) for x in self._by_number.values()}
        assert len(self._by_name) == len(self._by_number) == len(self._wheel)
        networks: dict[str, int] = {}
        for key, listed in self._by_name.items():
            assert key == fold(listed.entry.name)
            assert self._by_number[listed.number] is listed
            assert listed.number <= self._last
            assert self._publishers[listed.node][listed.number] is listed
            assert listed.words == words_of(listed.entry.name)
            for word in listed.words:
                assert listed.number in self._index.numbers(word)
            networks[listed.network] = networks.get(listed.network, 0) + 1
        assert networks == self._per_network
        assert all(count <= bounds.names_per_address for count in networks.values())
        assert all(0 < len(own) <= bounds.names_per_node for own in self._publishers.values())
        assert sum(map(len, self._publishers.values())) == len(self._by_name)
        self._index.check_invariants()
        self._wheel.check_invariants()
