"""Who may greet us: the budget for strangers, before anybody knows what they want. Pure.

A stranger costs a descriptor, some 40 KiB and a millisecond of handshake before a word is understood. So:

* In all so many handshakes a second: the door waits, and strangers with it in the kernel's queue.
* In all so many greetings under way. In a full house the newcomer takes the place of the oldest greeting of
  whichever network has most of them, because an honest greeting is over in two round trips: a crowd from
  one network shows out its own, and keeps nobody of another network waiting.
* Of each network (one IPv4 address, an IPv6 /64) as many at once, and as many a second, as a household needs.

This machine's own addresses are bounded in all only: a laboratory runs a hundred peers on one.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from peer.bucket import Bucket, Buckets
from peer.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_MIN,
    DESCRIPTORS_RESERVED,
    DOOR_NETWORKS_MAX,
    GREETINGS_BURST,
    GREETINGS_MAX,
    GREETINGS_PER_NETWORK_BURST,
    GREETINGS_PER_NETWORK_MAX,
    GREETINGS_PER_NETWORK_PER_S,
    GREETINGS_PER_S,
)
from peer.swarm.addresses import is_loopback, network_of


@dataclass(frozen=True, slots=True)
class DoorBounds:
    """How many at once. See peer/limits.py for the reasons. connections: greeted or not, dialled or accepted;
    strangers never take more than half of them."""

    connections: int = CONNECTIONS_MAX
    greetings: int = GREETINGS_MAX
    greetings_per_network: int = GREETINGS_PER_NETWORK_MAX

    @classmethod
    def fitting(cls, descriptors: int | None, connections: int = CONNECTIONS_MAX) -> "DoorBounds":
        """What a process that may open so many files can afford; None for no such limit. Files come first: a
        peer that is turned away comes back, a write that fails for lack of descriptors stops a transfer."""
        if descriptors is not None:
            free = descriptors - min(DESCRIPTORS_RESERVED, descriptors // 2)
            connections = min(connections, max(free, CONNECTIONS_MIN))
        greetings = max(1, min(GREETINGS_MAX, connections // 2))
        return cls(connections, greetings, min(GREETINGS_PER_NETWORK_MAX, greetings))


class Refusal(Enum):
    """Why a stranger is turned away at once."""

    HOUSE_FULL = "every place is taken by a connected peer"
    TOO_OFTEN = "its network has come too often lately"


class Guest:
    """A greeting under way. Compared by identity."""

    __slots__ = ("network",)

    def __init__(self, network: str) -> None:
        self.network = network


@dataclass(frozen=True, slots=True)
class Admitted:
    """The stranger may greet us. instead: whose greeting ends for it, if anybody's."""

    guest: Guest
    instead: Guest | None = None


@dataclass(frozen=True, slots=True)
class DoorStatistics:
    """greeting: now. The other counts: since the start."""

    greeting: int
    admitted: int
    refused: int
    displaced: int


class Door:
    """The greetings of one node."""

    def __init__(self, bounds: DoorBounds | None = None) -> None:
        self.bounds = bounds or DoorBounds()
        self._guests: OrderedDict[Guest, None] = OrderedDict()  # in order of arrival
        self._counts: dict[str, int] = {}
        self._all: Bucket | None = None
        self._buckets = Buckets(GREETINGS_PER_NETWORK_PER_S, GREETINGS_PER_NETWORK_BURST, DOOR_NETWORKS_MAX)
        self._admitted = self._refused = self._displaced = 0

    def wait(self, now: float) -> float:
        """Seconds to wait before the next connection is accepted from the kernel's queue."""
        return self._bucket_of_all(now).wait(now)

    def knock(self, host: str, now: float, connected: int) -> Admitted | Refusal:
        """A connection came in. host: as the socket saw it. connected: peers that are greeted already."""
        network = network_of(host)
        refusal = self._refusal(network, is_loopback(host), now, connected)
        if refusal is not None:
            self._refused += 1
            return refusal
        self._bucket_of_all(now).take(now)
        instead = self._in_the_way(network, is_loopback(host), connected)
        if instead is not None:
            self._displaced += 1
            self.left(instead)
        guest = Guest(network)
        self._guests[guest] = None
        self._counts[network] = self._counts.get(network, 0) + 1
        self._admitted += 1
        return Admitted(guest, instead)

    def left(self, guest: Guest) -> None:
        """Its greeting is over, whatever came of it; again is harmless."""
        if guest not in self._guests:
            return
        del self._guests[guest]
        self._counts[guest.network] -= 1
        if not self._counts[guest.network]:
            del self._counts[guest.network]

    def statistics(self) -> DoorStatistics:
        return DoorStatistics(len(self._guests), self._admitted, self._refused, self._displaced)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        assert len(self._guests) <= self.bounds.greetings
        assert sum(self._counts.values()) == len(self._guests)
        assert all(count > 0 for count in self._counts.values())
        assert len(self._buckets) <= DOOR_NETWORKS_MAX

    # --- inside

    def _refusal(self, network: str, local: bool, now: float, connected: int) -> Refusal | None:
        if connected >= self.bounds.connections:
            return Refusal.HOUSE_FULL
        if not local and not self._buckets.of(network, now).take(now):
            return Refusal.TOO_OFTEN
        return None

    def _in_the_way(self, network: str, local: bool, connected: int) -> Guest | None:
        """Whose greeting must end so that another may begin."""
        if not local and self._counts.get(network, 0) >= self.bounds.greetings_per_network:
            return self._oldest_of(network)
        if len(self._guests) < min(self.bounds.greetings, self.bounds.connections - connected):
            return None
        most = max(self._counts.values(), default=0)
        return next((guest for guest in self._guests if self._counts[guest.network] == most), None)

    def _oldest_of(self, network: str) -> Guest | None:
        return next((guest for guest in self._guests if guest.network == network), None)

    def _bucket_of_all(self, now: float) -> Bucket:
        if self._all is None:
            self._all = Bucket(GREETINGS_PER_S, GREETINGS_BURST, now)
        return self._all
