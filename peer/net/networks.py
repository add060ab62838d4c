"""What this machine is connected to, and what follows from it for the discovery of others. Pure.

A laptop is opened in another network, an interface gets its address ten seconds after the daemon started, a
cable is pulled: nothing tells a program so on every system. So somebody looks, every LAN_LOOK_S, and this
decides: start (again) where multicast is to go elsewhere than before, say the new addresses where only they
have changed, search again at longer and longer intervals. Starts that follow each other soon, because they
fail or because an interface comes and goes, are put off for longer and longer.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Final

from peer.ids import PORT_MAX, Address
from peer.limits import (
    LAN_ADDRESSES_MAX,
    LAN_CALM_S,
    LAN_INTERFACES_MAX,
    LAN_LINGER_S,
    LAN_LOOK_S,
    LAN_PAUSE_S_MAX,
    LAN_SEARCH_S,
    LAN_SEARCH_S_MAX,
    LAN_SLEPT_S,
)
from peer.swarm.addresses import canonical_host, may_tell

_INSIDE: Final = re.compile(r"(docker|br-|veth|virbr|vnet|lxc|lxd|cni|podman|vboxnet|vmnet|bridge1\d\d).*")
"""Interfaces that as a rule lead into this machine: containers and virtual machines."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of the machine and its addresses, in the order of the system."""

    index: int
    name: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Networks:
    """What one look has found. multicast: index of the interface and IPv4 address; announced: what others can
    dial. slept_s: how long the machine has been asleep since it was started, all in all."""

    multicast: frozenset[tuple[int, str]] = frozenset()
    announced: frozenset[str] = frozenset()
    slept_s: float = 0.0

    @property
    def hosts(self) -> list[str]:
        """The addresses to which sockets are to be bound."""
        return sorted({host for _, host in self.multicast})


def dialable(host: str, port: int | None) -> Address | None:
    """The address if another machine may be made to dial it; None for loopback, link-local and the like.

    As a tracker's word for a stranger: no privileged port either. Whoever is on the same network could else
    send us to the router's web page, or to a service that listens on 127.0.0.1 alone.
    """
    if port is None:
        return None
    address = Address(canonical_host(host), port)
    return address if may_tell("", address) and port <= PORT_MAX else None


def networks(interfaces: Iterable[Interface], slept_s: float = 0.0, only: str | None = None) -> Networks:
    """What the interfaces mean for the discovery. only: the one address that this node listens on, if so.

    Where there are more addresses than may be announced, each interface has its first one in before any has
    its second, IPv4 before IPv6, and interfaces that lead into this machine come last.
    """
    ranked: list[tuple[bool, int, bool, int, str]] = []
    for interface in interfaces:
        seen = {4: 0, 6: 0}
        for text in interface.hosts:
            address = dialable(text, PORT_MAX)
            if address is None or (only is not None and address.host != only):
                continue
            version = 6 if ":" in address.host else 4
            inside = _INSIDE.fullmatch(interface.name) is not None
            ranked.append((inside, seen[version], version == 6, interface.index, address.host))
            seen[version] += 1
    ranked.sort()
    multicast = [(index, host) for _, _, is_six, index, host in ranked if not is_six]
    announced = list(dict.fromkeys(host for *_, host in ranked))
    return Networks(
        frozenset(multicast[:LAN_INTERFACES_MAX]), frozenset(announced[:LAN_ADDRESSES_MAX]), slept_s
    )


class Step(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    START = "begin, or begin anew, where multicast goes now"
    STOP = "fall silent"
    ANNOUNCE = "say the new addresses"
    SEARCH = "ask again who is there"


class Watch:
    """When to look, and what to do about it. Whoever does it says so by `starting`, then `started`
    or `stopped`; by `announced`, `searched` and `stopped`."""

    def __init__(self) -> None:
        self.look_at = -inf
        """When the machine's addresses are to be looked at, while somebody takes part."""
        self._seen = Networks()
        self._used: Networks | None = None
        """What the discovery was started with; None while it does not run."""
        self._idle_at: float | None = None
        self._tried_at = -inf
        self._tries = 0
        self._not_before = -inf
        self._search_at = inf
        self._search_s = LAN_SEARCH_S

    @property
    def seen(self) -> Networks:
        """What the last look has found."""
        return self._seen

    def saw(self, found: Networks, now: float) -> None:
        """Somebody has looked."""
        self._seen = found
        self.look_at = now + LAN_LOOK_S

    def missed(self, now: float) -> None:
        """Somebody has looked in vain: what was seen last still counts."""
        self.look_at = now + LAN_LOOK_S

    def step(self, now: float, *, wanted: bool) -> Step:
        """What to do now. wanted: somebody takes part in a share."""
        if not wanted:
            self.look_at = -inf
            if self._used is None:
                return Step.NOTHING
            self._idle_at = now if self._idle_at is None else self._idle_at
            return Step.STOP if now >= self._idle_at + LAN_LINGER_S else Step.NOTHING
        self._idle_at = None
        if not self._seen.multicast:
            return Step.NOTHING if self._used is None else Step.STOP
        if self._used is None or self._is_elsewhere(self._used):
            return Step.START if now >= self._not_before else Step.NOTHING
        if self._used.announced != self._seen.announced:
            return Step.ANNOUNCE
        return Step.SEARCH if now >= self._search_at else Step.NOTHING

    def deadline(self, *, wanted: bool) -> float:
        """When to ask `step` again, after it had nothing to do; infinite for not before something happens."""
        if not wanted:
            return inf if self._idle_at is None else self._idle_at + LAN_LINGER_S
        if not self._seen.multicast:
            return self.look_at
        if self._used is None or self._is_elsewhere(self._used):
            return min(self.look_at, self._not_before)
        return min(self.look_at, self._search_at)

    def starting(self, now: float) -> None:
        """An attempt begins, and with it the pause before the next one."""
        if now - self._tried_at >= LAN_CALM_S:
            self._tries = 0
        self._tried_at = now
        self._not_before = now + min(LAN_LOOK_S * 2.0 ** min(self._tries, 30), LAN_PAUSE_S_MAX)
        self._tries += 1
        self._used = None

    def started(self, now: float) -> None:
        """It runs, and has asked who is there."""
        self._used = self._seen
        self._search_s = LAN_SEARCH_S
        self._search_at = now + self._search_s

    def announced(self) -> None:
        """The new addresses have been said."""
        if self._used is not None:
            self._used = replace(self._used, announced=self._seen.announced)

    def searched(self, now: float) -> None:
        """It was asked again who is there."""
        self._search_s = min(2 * self._search_s, LAN_SEARCH_S_MAX)
        self._search_at = now + self._search_s

    def stopped(self) -> None:
        """It has fallen silent, or does not run any more, or could not be started."""
        self._used = self._idle_at = None

    def _is_elsewhere(self, used: Networks) -> bool:
        slept = self._seen.slept_s - used.slept_s > LAN_SLEPT_S
        return slept or used.multicast != self._seen.multicast
