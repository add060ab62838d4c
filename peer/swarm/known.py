"""The addresses that are known and not more than that: who told them, how they behaved, when to dial. Pure.

An address is only a hint. Whoever told it may lie, to hide honest peers or to make us dial a victim: so
hearsay (tracker, exchange) has budgets for dials under way and for dials a minute, each informant may fill
only a part of the book, and informants whose addresses do not answer are heard last.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from random import Random
from typing import NamedTuple

from peer.ids import Address, NodeId
from peer.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_JITTER_SHARE,
    BACKOFF_MAX_S,
    BACKOFF_NAMED_MAX_S,
    DIAL_FAILURES_MAX,
    HALF_OPEN_MAX,
    HALF_OPEN_UNTRUSTED_MAX,
    KNOWN_PEERS_MAX,
    KNOWN_PER_INFORMANT_MAX,
    NEW_DIALS_PER_MINUTE_MAX,
)
from peer.swarm.addresses import network_of

MINUTE_S = 60.0


class Source(IntEnum):
    """Where an address came from, most trusted first."""

    OPTION = 0
    LINK = 1
    LAN = 2
    TRACKER = 3
    EXCHANGE = 4


HEARSAY = frozenset({Source.TRACKER, Source.EXCHANGE})
NAMED = frozenset({Source.OPTION, Source.LINK})


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to this address now; tell the book by `failed` or `connected`."""

    address: Address
    node: NodeId | None


@dataclass(slots=True)
class Known:
    """One address. lot: random, so that equals are dialled in an order of our own.

    informant: the network that it was told from.
    proven: it answered once, as a peer of this share. failures: since it last did well. vouched: who is there
    was said by the user, a link or the local network. hurried_at: when it was last announced again.
    """

    address: Address
    source: Source
    informant: str
    lot: float
    node: NodeId | None = None
    failures: int = 0
    not_before: float = 0.0
    proven: bool = False
    vouched: bool = False
    hurried_at: float = -inf

    @property
    def is_hearsay(self) -> bool:
        return self.source in HEARSAY and not self.proven

    @property
    def wait_max(self) -> float:
        """Seconds between two dials, at most, while it may have become useful meanwhile."""
        return BACKOFF_NAMED_MAX_S if self.source in NAMED else BACKOFF_MAX_S

    @property
    def is_given_up(self) -> bool:
        return self.source in HEARSAY and self.failures >= DIAL_FAILURES_MAX


class Linked(NamedTuple):
    """To whom there are links already: nobody is dialled twice."""

    addresses: frozenset[Address]
    nodes: frozenset[NodeId]


class KnownAddresses:
    """A bounded table of addresses, and the order in which to dial them."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._table: dict[Address, Known] = {}
        self._dialling: dict[Address, Known] = {}
        self._told: Counter[str] = Counter()
        self._blame: Counter[str] = Counter()
        self._new_dials: deque[float] = deque()
        self._no_room_for: Source | None = None
        """Room was looked for in vain, for this source and so for all that are trusted less. To look at the
        whole table for each of fifty addresses in a message of anybody's would cost too much."""

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, address: Address) -> bool:
        return address in self._table

    @property
    def dialling(self) -> int:
        """Dials under way."""
        return len(self._dialling)

    def add(self, address: Address, source: Source, node: NodeId | None, informant: str, now: float) -> bool:
        """Note an address that may be dialled; False if there is no room for it (or for this informant)."""
        known = self._table.get(address)
        if known is not None:
            if source is Source.LAN and known.proven:
                self._is_back(known, now)
            if known.is_given_up:
                known.failures = DIAL_FAILURES_MAX - 1  # one more chance, when its rest is over
            known.node = _expected(known, source, node, informant)
            known.source = min(known.source, source)
            known.vouched = known.vouched or _vouches(source, known.node, node)
            return True
        teller = network_of(informant)
        if source in HEARSAY and self._told[teller] >= KNOWN_PER_INFORMANT_MAX:
            return False
        if len(self._table) >= KNOWN_PEERS_MAX and not self._make_room(source):
            return False
        lot, vouched = self._rng.random(), _vouches(source, node, node)
        self._table[address] = Known(address, source, teller, lot, node, vouched=vouched)
        self._told[teller] += 1
        return True

    def _is_back(self, known: Known, now: float) -> None:
        """It is announced on the local network again: a laptop that was opened, and need not wait until its
        back-off is over. Anybody there may announce it, again and again: so only where a peer of this share
        was met before, and no more often than what the user names is dialled."""
        if now >= known.hurried_at + BACKOFF_NAMED_MAX_S:
            known.hurried_at = now
            known.not_before = min(known.not_before, now)
            self._no_room_for = None

    def drop(self, address: Address) -> None:
        """Forget an address."""
        known = self._table.pop(address, None)
        if known is not None:
            self._no_room_for = None
            self._dialling.pop(address, None)
            self._told[known.informant] -= 1
            if not self._told[known.informant]:
                del self._told[known.informant]

    def drop_if(self, condition: Callable[[Known], bool]) -> None:
        """Forget every address of which this is true."""
        for known in [known for known in self._table.values() if condition(known)]:
            self.drop(known.address)

    def claim(self, now: float, room: int, linked: Linked) -> list[Dial]:
        """The addresses to dial now, best first, at most ``room``; each is under way from now on."""
        room = min(room, HALF_OPEN_MAX - len(self._dialling))
        if room <= 0:
            return []
        ready = [known for known in self._waiting(linked) if known.not_before <= now]
        ready.sort(key=self._rank)
        hearsay = sum(known.is_hearsay for known in self._dialling.values())
        self._forget_dials(now)
        dials: list[Dial] = []
        nodes: set[NodeId] = set()
        for known in ready:
            if len(dials) == room:
                break
            if known.node is not None and known.node in nodes:
                continue  # another address of somebody whom we dial already
            if known.is_hearsay:
                if hearsay >= HALF_OPEN_UNTRUSTED_MAX or len(self._new_dials) >= NEW_DIALS_PER_MINUTE_MAX:
                    continue
                hearsay += 1
                self._new_dials.append(now)
            if known.node is not None:
                nodes.add(known.node)
            self._dialling[known.address] = known
            # An id that nobody vouched for and that a dial did not meet with is not insisted on: whoever told
            # it first could else keep us from an honest peer for ever, and so could the peer itself, if it
            # comes back with another identity.
            dials.append(Dial(known.address, known.node if known.vouched or not known.failures else None))
        return dials

    def deadline(self, now: float, linked: Linked) -> float | None:
        """When `claim` may have something that it has not now; None until something else happens."""
        if len(self._dialling) >= HALF_OPEN_MAX:
            return None
        self._forget_dials(now)
        hearsay_full = sum(known.is_hearsay for known in self._dialling.values()) >= HALF_OPEN_UNTRUSTED_MAX
        budget_at = self._new_dials[0] + MINUTE_S if len(self._new_dials) >= NEW_DIALS_PER_MINUTE_MAX else now
        soonest: float | None = None
        for known in self._waiting(linked):
            is_hearsay = known.is_hearsay
            if is_hearsay and hearsay_full:
                continue
            time = max(now, known.not_before, budget_at if is_hearsay else now)
            soonest = time if soonest is None else min(soonest, time)
        return soonest

    def failed(self, address: Address, now: float) -> None:
        """A dial came to nothing, or whoever answered was no peer of this share."""
        known = self._table.get(address)
        if known is None:
            return
        self._dialling.pop(address, None)
        if known.is_hearsay:
            if len(self._blame) > KNOWN_PEERS_MAX:
                self._blame.clear()
            self._blame[known.informant] += 1
        known.failures += 1
        self._no_room_for = None
        known.not_before = now + (
            self._jittered(BACKOFF_MAX_S)
            if known.is_given_up
            else self._backoff_s(known.failures, known.wait_max)
        )

    def answered(self, address: Address, node: NodeId) -> None:
        """A peer of this share was met at this address."""
        known = self._table.get(address)
        self._dialling.pop(address, None)
        self._no_room_for = None
        if known is not None:
            known.node = node
            known.proven = True

    def parted(self, node: NodeId, now: float, failed: bool, again: bool) -> None:
        """The last link to a node is gone. failed: it broke. again: soon after it began, so count it."""
        self._no_room_for = None
        for known in self._table.values():
            if known.node == node:
                if failed and again:
                    known.failures += 1
                elif known.proven:  # elsewhere nobody was met: who told it may have lied about who is there
                    known.failures = int(failed)
                known.not_before = max(known.not_before, now + self._backoff_s(max(1, known.failures)))

    def rest(self, address: Address, now: float, *, for_now: bool = False) -> None:
        """Do not dial this one for long. for_now: what speaks against it may soon be over."""
        known = self._table.get(address)
        self._dialling.pop(address, None)
        self._no_room_for = None
        if known is not None:
            known.not_before = now + self._jittered(known.wait_max if for_now else BACKOFF_MAX_S)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        assert len(self._table) <= KNOWN_PEERS_MAX
        assert len(self._dialling) <= HALF_OPEN_MAX
        assert len(self._new_dials) <= NEW_DIALS_PER_MINUTE_MAX
        assert all(self._table.get(address) is known for address, known in self._dialling.items())
        assert Counter(known.informant for known in self._table.values()) == self._told
        assert all(known.address == address for address, known in self._table.items())

    def _waiting(self, linked: Linked) -> list[Known]:
        """Who could be dialled, sooner or later: neither linked nor being dialled nor given up."""
        addresses = linked.addresses.union(self._dialling)
        nodes = linked.nodes.union(known.node for known in self._dialling.values() if known.node is not None)
        return [
            known
            for address, known in self._table.items()
            if address not in addresses and known.node not in nodes and not known.is_given_up
        ]

    def _rank(self, known: Known) -> tuple[int, bool, int, int, float]:
        blame = self._blame[known.informant] if known.is_hearsay else 0
        return (known.source, not known.proven, known.failures, blame, known.lot)

    def _make_room(self, source: Source) -> bool:
        """Forget the worst address if it is worse than a new one from this source."""
        if self._no_room_for is not None and source >= self._no_room_for:
            return False
        idle = [known for known in self._table.values() if known.address not in self._dialling]
        worst = max(idle, key=lambda known: (known.failures, not known.proven, known.source, known.lot))
        if not worst.failures and (worst.proven or worst.source <= source):
            self._no_room_for = source
            return False
        self.drop(worst.address)
        return True

    def _forget_dials(self, now: float) -> None:
        while self._new_dials and self._new_dials[0] + MINUTE_S <= now:  # the same sum as in `deadline`
            self._new_dials.popleft()

    def _backoff_s(self, failures: int, longest: float = BACKOFF_MAX_S) -> float:
        return self._jittered(min(longest, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 30)))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + BACKOFF_JITTER_SHARE * self._rng.random())


def _vouches(source: Source, expected: NodeId | None, node: NodeId | None) -> bool:
    """Whether this source's word is the one that counts, for as long as the address is known."""
    return source not in HEARSAY and node is not None and node == expected


def _expected(known: Known, source: Source, node: NodeId | None, informant: str) -> NodeId | None:
    """Who is expected at an address that is told again.

    Hearsay never says who is where the user, a link or the local network sends us, and those say it whatever
    hearsay said before. Two hearsays that contradict each other say nothing. A host may speak of itself.
    """
    if node is None:
        return known.node
    if source not in HEARSAY:
        return node if known.source in HEARSAY else known.node or node
    if informant != known.address.host:
        if known.source not in HEARSAY:
            return known.node
        if known.is_hearsay and known.node not in (None, node):
            return None
    return known.node or node
