"""Who is known, who is connected, whom to dial next. Pure: time, randomness and events are arguments.

A *known* address is a hint (`known`, `addresses`); a *connected* peer is a link with a node id. Of two
links to one node exactly one survives, by a rule that both sides compute: see `keep_which`. Whoever sent
bad bytes is banned for this share: the node id at once, its host when several of its nodes were (a node id
costs nothing, but honest peers may share a router with one liar), a loopback host never.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from random import Random
from typing import TypeVar

from peer.errors import ByeCode, LocalProtocolError
from peer.ids import PORT_MAX, Address, LinkId, NodeId
from peer.limits import (
    BANNED_NODES_PER_HOST_MAX,
    BANS_MAX,
    DUPLICATE_GRACE_S,
    LINK_NEW_S,
    LINK_PROVEN_S,
    LINK_TRIAL_S,
    LINKS_DIALLED_MAX,
    LINKS_MAX,
    LINKS_PER_HOST_MAX,
    LINKS_SPARE,
    TURNOVER_S,
    TURNOVER_SHARE,
)
from peer.swarm.addresses import canonical, canonical_host, is_loopback, may_tell, network_of, usable
from peer.swarm.known import HEARSAY, Dial, KnownAddresses, Linked, Source
from peer.wire.messages import KnownPeer

T = TypeVar("T")
U = TypeVar("U")

STILL_BANNED = "not taken back in this run, sent away before"

BAN_REASON_CHARS_MAX = 120
"""Of why somebody was banned: a goodbye says STILL_BANNED before it, and carries 200 bytes."""

OWN_ADDRESSES_MAX = 64
"""Addresses at which we met ourselves; a machine has fewer."""


class Noted(Enum):
    """What became of an address that was told."""

    NOTED = "noted"
    SELF = "it is this node"
    BANNED = "it is banned"
    UNUSABLE = "nobody can be dialled there"
    UNTRUSTED = "its informant may not tell such an address"
    FULL = "the book is full"


class Keep(Enum):
    """Which of two connections between the same two nodes survives."""

    EXISTING = "existing"
    NEW = "new"
    BOTH = "both until the other side has decided"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The new link stays. close: an older link to the same node that goes, with ``Bye(DUPLICATE)``."""

    close: LinkId | None = None


@dataclass(frozen=True, slots=True)
class Turned:
    """The new link goes, with this code, and a reason where the code alone leaves people wondering."""

    code: ByeCode
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LinkView:
    """What decides whether a connected peer is worth its place.

    we_need: it holds something that we lack. it_needs: we hold something that it lacks.
    both_complete: neither can ever need the other. moved_at: when data last went either way, or it began.
    """

    link: LinkId
    we_need: bool
    it_needs: bool
    both_complete: bool = False
    moved_at: float = inf


@dataclass(frozen=True, slots=True)
class BookStatistics:
    known: int
    connected: int
    dialling: int
    banned: int


@dataclass(slots=True)
class _Connected:
    link: LinkId
    node: NodeId
    dialled: bool
    host: str
    peer: KnownPeer | None  # where it can be dialled
    since: float
    superseded_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Ban:
    """Where the node was met, and what it had done."""

    host: str
    why: str


def keep_which(local: NodeId, remote: NodeId, existing_dialled_by_us: bool, new_dialled_by_us: bool) -> Keep:
    """Two connections between the same two nodes: which survives, so that both sides say the same.

    Both dialled at once: the one that the lower node id dialled. Both dialled by the same side: that side
    alone decides, since the two may have come up in another order at the other end: it keeps the existing
    one, and the other side keeps both until one is closed or proves dead (see `PeerBook.overdue`).
    """
    if existing_dialled_by_us != new_dialled_by_us:
        lower_is_us = local < remote
        return Keep.EXISTING if existing_dialled_by_us == lower_is_us else Keep.NEW
    return Keep.EXISTING if new_dialled_by_us else Keep.BOTH


class PeerBook:
    """The known and the connected peers of one share."""

    def __init__(
        self,
        local: NodeId,
        rng: Random,
        *,
        lan: bool = False,
        last_heard: Callable[[LinkId], float] | None = None,
        links_max: int = LINKS_MAX,
        links_dialled_max: int = LINKS_DIALLED_MAX,
    ) -> None:
        """local: our own id. lan: trust addresses of every class from everybody.

        last_heard: when bytes last came in on a link; without it links are taken for alive.
        """
        self._local = local
        self._rng = rng
        self._lan = lan
        self._last_heard = last_heard
        self._links_max = links_max
        self._links_dialled_max = min(links_dialled_max, links_max)
        self._known = KnownAddresses(rng)
        self._links: dict[LinkId, _Connected] = {}
        self._by_node: dict[NodeId, list[LinkId]] = {}
        self._own: dict[Address, None] = {}
        self._turnover_at = 0.0
        self._arrivals = 0
        self._banned_nodes: dict[NodeId, _Ban] = {}
        self._banned_hosts: dict[str, str] = {}  # and why the last node there was

    # --- learning

    def add(
        self,
        address: Address,
        source: Source,
        now: float,
        *,
        node: NodeId | None = None,
        informant: str = "",
    ) -> Noted:
        """Somebody told of an address. informant: the host that told it, as the socket saw it."""
        address = canonical(address)
        refusal = self._refusal(address, source, node, informant)
        if refusal is not None:
            return refusal
        taken = self._known.add(address, source, node, canonical_host(informant), now)
        return Noted.NOTED if taken else Noted.FULL

    def own_address(self, address: Address) -> None:
        """This address is ours: never dial it."""
        _remember(self._own, canonical(address), None, OWN_ADDRESSES_MAX)
        self._known.drop(canonical(address))

    def ban(self, node: NodeId, host: str, why: str = "") -> None:
        """This node, met at this host, sent bad bytes: it is neither dialled nor welcome for this share. why:
        what it is told when it comes back."""
        host, why = canonical_host(host), why[:BAN_REASON_CHARS_MAX]
        _remember(self._banned_nodes, node, _Ban(host, why), BANS_MAX)
        if not is_loopback(host):
            count = sum(ban.host == host for ban in self._banned_nodes.values())
            if count >= BANNED_NODES_PER_HOST_MAX:
                _remember(self._banned_hosts, host, why, BANS_MAX)
        self._known.drop_if(lambda known: self._is_banned(known.node, known.address.host))

    # --- dialling

    def next_dials(self, now: float) -> list[Dial]:
        """Whom to dial now. Each is counted as under way until `failed`, `rest` or `connected`."""
        room = self._links_dialled_max - len(self._links) - self._known.dialling
        return self._known.claim(now, room, self._linked()) if room > 0 else []

    def next_deadline(self, now: float) -> float | None:
        """When `next_dials` may have something to say that it has not now; None until something happens."""
        if len(self._links) + self._known.dialling >= self._links_dialled_max:
            return None
        return self._known.deadline(now, self._linked())

    def failed(self, address: Address, now: float) -> None:
        """A dial came to nothing, or whoever answered was no peer of this share."""
        self._known.failed(canonical(address), now)

    def rest(self, address: Address, now: float, *, for_now: bool = False) -> None:
        """Do not dial this one for long: there is nothing to gain there. for_now: it is full, or has not got
        the share yet, which may soon be otherwise."""
        self._known.rest(canonical(address), now, for_now=for_now)

    # --- connections

    def connected(
        self,
        link: LinkId,
        node: NodeId,
        now: float,
        *,
        remote: Address,
        dialled: Address | None = None,
        listens: int = 0,
    ) -> Welcome | Turned:
        """A hello was received on a new link. remote: its address as the socket saw it.

        dialled: the address that we dialled, None if it dialled us. listens: the port its hello names, or 0.
        """
        if link in self._links:
            raise LocalProtocolError(f"link {link} is connected already")
        if node == self._local:
            if dialled is not None:
                self.own_address(dialled)
            return Turned(ByeCode.SELF)
        host = canonical_host(remote.host)
        if self._is_banned(node, host):
            if dialled is not None:
                self._known.drop(canonical(dialled))
            ban = self._banned_nodes.get(node)
            why = self._banned_hosts[host] if ban is None else ban.why
            return Turned(ByeCode.CORRUPT, f"{STILL_BANNED}: {why}" if why else STILL_BANNED)
        address = self._where(node, remote, dialled, listens, now)
        verdict = self._against_existing(node, dialled is not None, now)
        if isinstance(verdict, Welcome) and verdict.close is None and self._full(host, dialled is not None):
            verdict = Turned(ByeCode.FULL)
            if dialled is not None:
                self._known.rest(canonical(dialled), now, for_now=True)
        if isinstance(verdict, Welcome):
            if verdict.close is not None:
                self._unlink(verdict.close)
            peer = None if address is None else KnownPeer(address, node)
            self._links[link] = _Connected(link, node, dialled is not None, host, peer, now)
            self._by_node.setdefault(node, []).append(link)
            self._arrivals += 1
        return verdict

    def disconnected(self, link: LinkId, now: float, *, clean: bool) -> None:
        """A link is gone. clean: with a goodbye, after it was of use; else it broke. Unknown: ignored."""
        gone = self._unlink(link)
        if gone is not None and gone.node not in self._by_node:
            self._known.parted(gone.node, now, not clean, now - gone.since < LINK_PROVEN_S)

    def overdue(self, now: float) -> list[LinkId]:
        """Older links of nodes that have connected again, whose time to go by themselves is over."""
        return [
            link.link
            for link in self._links.values()
            if link.superseded_at is not None
            and now - link.superseded_at >= DUPLICATE_GRACE_S
            and len(self._by_node[link.node]) > 1
        ]

    @property
    def arrivals(self) -> int:
        """How often somebody was connected: while it stays the same there is nobody new to tell of."""
        return self._arrivals

    @property
    def is_crowded(self) -> bool:
        """Whether places are short, so that `surplus` may name others than those that are complete."""
        return len(self._links) > min(self._links_max - LINKS_SPARE, self._links_dialled_max - 1)

    def surplus(self, views: Sequence[LinkView], now: float) -> list[LinkId]:
        """Links to close with ``Bye(USELESS)``.

        Two complete peers, always. When places are short, whoever neither needs us nor has what we need, and
        had the time to say so (who has no manifest yet cannot know, and is busy while it comes). And
        when all links that we may dial are taken while others could be tried: every TURNOVER_S the few on
        which nothing has moved for longest (LINK_TRIAL_S at least), whatever they claim to hold: sixty peers
        that promise everything and give nothing would else keep us from those that give.
        """
        useless = [view.link for view in views if view.both_complete]
        short = LINKS_SPARE - (self._links_max - len(self._links) + len(useless))
        idle = [
            v.link for v in views if not (v.we_need or v.it_needs or v.both_complete or self._is_new(v, now))
        ]
        idle.sort(key=lambda link: self._links[link].since if link in self._links else 0.0)
        surplus = useless + idle[: max(0, short)]
        if not surplus and now >= self._turnover_at and len(self._links) >= self._links_dialled_max:
            surplus = self._stale(views, now)
        return surplus

    def _is_new(self, view: LinkView, now: float) -> bool:
        """Whether the link has just begun, or something has just moved on it."""
        link = self._links.get(view.link)
        since = -inf if link is None else link.since
        return now - since < LINK_NEW_S or 0 <= now - view.moved_at < LINK_NEW_S

    def _stale(self, views: Sequence[LinkView], now: float) -> list[LinkId]:
        """The links that make room for others, if there are others."""
        self._turnover_at = now + TURNOVER_S
        deadline = self._known.deadline(now, self._linked())
        if deadline is None or deadline > now:
            return []
        stale = [view for view in views if now - view.moved_at >= LINK_TRIAL_S]
        stale.sort(key=lambda view: (view.it_needs or view.we_need, view.moved_at))
        return [view.link for view in stale[: max(1, self._links_dialled_max // TURNOVER_SHARE)]]

    def address_of(self, link: LinkId) -> Address | None:
        """Where the peer of a link can be dialled, if anybody knows."""
        connected = self._links.get(link)
        return None if connected is None or connected.peer is None else connected.peer.address

    def tell(self, count: int, but: LinkId | None = None) -> tuple[KnownPeer, ...]:
        """Some peers that we are connected to, for peer exchange: never hearsay, in random order."""
        asker = self._links.get(but) if but is not None else None
        peers = {
            link.peer.address: link.peer
            for link in self._links.values()
            if link.peer is not None and (asker is None or link.node != asker.node)
        }
        chosen = list(peers.values())
        return tuple(self._rng.sample(chosen, min(count, len(chosen))))

    def statistics(self) -> BookStatistics:
        banned = len(self._banned_nodes) + len(self._banned_hosts)
        return BookStatistics(len(self._known), len(self._links), self._known.dialling, banned)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not agree."""
        self._known.check_invariants()
        assert len(self._links) <= self._links_max
        assert not any(address in self._known for address in self._own)
        by_node: dict[NodeId, list[LinkId]] = {}
        for link in self._links.values():
            by_node.setdefault(link.node, []).append(link.link)
        assert {node: set(links) for node, links in self._by_node.items()} == {
            node: set(links) for node, links in by_node.items()
        }
        assert all(len(links) <= 2 for links in by_node.values())
        assert self._local not in by_node
        assert max(len(self._banned_nodes), len(self._banned_hosts)) <= BANS_MAX

    # --- inside

    def _refusal(self, address: Address, source: Source, node: NodeId | None, informant: str) -> Noted | None:
        if address in self._own or node == self._local:
            return Noted.SELF
        if self._is_banned(node, address.host):
            return Noted.BANNED
        if not usable(address):
            return Noted.UNUSABLE
        if source in HEARSAY and not self._lan and not may_tell(informant, address):
            return Noted.UNTRUSTED
        return None

    def _is_banned(self, node: NodeId | None, host: str) -> bool:
        return node in self._banned_nodes or host in self._banned_hosts

    def _linked(self) -> Linked:
        peers = [link.peer for link in self._links.values()]
        return Linked(frozenset(peer.address for peer in peers if peer is not None), frozenset(self._by_node))

    def _where(
        self, node: NodeId, remote: Address, dialled: Address | None, listens: int, now: float
    ) -> Address | None:
        """Where this peer can be dialled; noted, since it has just proven to exist."""
        if dialled is not None:
            address = canonical(dialled)
            self._known.answered(address, node)
            return address
        address = canonical(Address(remote.host, listens))
        if not (0 < listens <= PORT_MAX and usable(address)):
            return None
        self.add(address, Source.EXCHANGE, now, node=node, informant=remote.host)
        return address

    def _against_existing(self, node: NodeId, dialled: bool, now: float) -> Welcome | Turned:
        links = self._by_node.get(node)
        if not links:
            return Welcome()
        existing = self._links[links[0]]
        if self._last_heard is not None and now - self._last_heard(existing.link) >= DUPLICATE_GRACE_S:
            return Welcome(close=existing.link)
        keep = keep_which(self._local, node, existing.dialled, dialled)
        if keep is Keep.NEW and len(links) == 1:
            return Welcome(close=existing.link)
        if keep is Keep.EXISTING or len(links) > 1 or len(self._links) >= self._links_max:
            return Turned(ByeCode.DUPLICATE)
        existing.superseded_at = now
        return Welcome()

    def _full(self, host: str, dialled: bool) -> bool:
        if len(self._links) >= self._links_max:
            return True
        if dialled or is_loopback(host):
            return False
        network = network_of(host)
        return sum(network_of(link.host) == network for link in self._links.values()) >= LINKS_PER_HOST_MAX

    def _unlink(self, link: LinkId) -> _Connected | None:
        gone = self._links.pop(link, None)
        if gone is not None:
            siblings = self._by_node[gone.node]
            siblings.remove(link)
            if not siblings:
                del self._by_node[gone.node]
        return gone


def _remember(table: dict[T, U], key: T, value: U, count_max: int) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > count_max:
        del table[next(iter(table))]
