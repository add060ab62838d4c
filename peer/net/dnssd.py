"""DNS-SD over multicast DNS (RFC 6763): the real side of `net/lan.py`.

Each share is one instance of `_manyhands._tcp`, called KEY-NODE: the key tells who has use for it before
anything is resolved. Members say what they take part in; one task (`run`) looks what the machine is
connected to, does what `net/networks.py` decides about it, and announces what is not announced yet. So a
network that is not there yet, changes or fails is no matter of theirs, and a share that is taken out and put
in again at once (as when its trackers change) is not heard to go.

One `_Era` lasts from a start of `net/mdns.py` to its end: nothing heard in an earlier network is looked up in
a later one.
"""

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import islice
from threading import Lock
from typing import Final, Protocol, TypeVar, TypeVarTuple

import trio

from peer.ids import Address, NodeId, ShareId
from peer.limits import (
    LAN_ADDRESSES_MAX,
    LAN_ANSWERS_MAX,
    LAN_FULL_PAUSE_S,
    LAN_LOOKUP_PAUSE_S,
    LAN_LOOKUPS_MAX,
    LAN_NAMES_MAX,
    LAN_PEERS_MAX,
    LAN_PER_HOST_MAX,
)
from peer.net import mdns
from peer.net.lan import lan_key
from peer.net.mdns import SERVICE_TYPE, Heard
from peer.net.networks import Interface, Step, Watch, dialable, networks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)

_NODE_DIGITS: Final = 12
_NAME: Final = re.compile(rf"([0-9a-f]+)-([0-9a-f]{{{_NODE_DIGITS}}})\.{re.escape(SERVICE_TYPE)}")


def instance_name(key: str, node: NodeId) -> str:
    """The full name of one node's announcement of one share."""
    return f"{key}-{node.hex()[:_NODE_DIGITS]}.{SERVICE_TYPE}"


def parse_name(name: str) -> tuple[str, str] | None:
    """Key and node of a full instance name from the network; None for what we would not have written."""
    parts = _NAME.fullmatch(name)
    return None if parts is None else (parts[1], parts[2])


def usable_addresses(texts: Iterable[str], port: int | None) -> list[Address]:
    """The addresses of an answer that may be dialled, few, each once."""
    few = islice(texts, LAN_ANSWERS_MAX)
    found = dict.fromkeys(address for text in few if (address := _dialable(text, port)) is not None)
    return list(found)[:LAN_ADDRESSES_MAX]


def _dialable(text: str, port: int | None) -> Address | None:
    try:
        ip_address(text)
    except ValueError:
        return None
    return dialable(text, port)


class Responder(Protocol):
    """As `mdns.Responder`, which see."""

    async def announce(self, name: str, port: int, hosts: Sequence[str], server: str) -> None: ...
    async def withdraw(self, name: str) -> None: ...
    async def search(self) -> None: ...
    async def resolve(self, name: str) -> tuple[list[str], int | None]: ...
    def close(self) -> None: ...


class InThread(Protocol):
    """As `trio.to_thread.run_sync`."""

    async def __call__(self, job: Callable[[*Ts], T], /, *args: *Ts) -> T: ...


class _Mail:
    """What zeroconf's thread has heard and trio's has not taken: each name once, and not more than so many,
    however fast they come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = Lock()
        self._names: dict[str, bool] = {}

    def put(self, name: str, there: bool) -> None:
        """Called by zeroconf's thread."""
        if parse_name(name) is None:
            return
        with self._lock:
            if name not in self._names and len(self._names) >= LAN_NAMES_MAX:
                return  # a flood; who is there is asked again
            self._names[name] = there
        self._wake()

    def take(self) -> dict[str, bool]:
        """All of it."""
        with self._lock:
            names, self._names = self._names, {}
        return names


class _Era:
    """One start of the responder, and what was heard since."""

    def __init__(self, responder: Responder, mail: _Mail) -> None:
        self.responder = responder
        self.mail = mail
        self.announced: set[str] = set()
        """Names."""
        self.heard: dict[str, None] = {}
        """Instances that are there, the last ones: a share that comes later looks through them."""
        self.lookups: set[trio.CancelScope] = set()


class _Part:
    """Somebody's part in one share.

    Anybody may announce anything, under any addresses. So one host has few places; where all are taken, the
    oldest make room, but slowly (`pause_s`); and a goodbye frees none: its addresses may be told again.
    """

    def __init__(self, port: int, found: Callable[[Address], None]) -> None:
        self.port = port
        self.waiting: dict[str, None] = {}
        """Instances to be looked up."""
        self.woken = trio.Event()
        self._found = found
        self._told: dict[Address, bool] = {}
        """In order, and whether they are still there."""
        self._hosts: Counter[str] = Counter()
        self._by: dict[str, list[Address]] = {}
        """And by which instance."""

    @property
    def pause_s(self) -> float:
        """After a look-up."""
        return LAN_FULL_PAUSE_S if len(self._told) >= LAN_PEERS_MAX else LAN_LOOKUP_PAUSE_S

    def heard(self, name: str) -> None:
        if name in self.waiting or len(self.waiting) < LAN_PEERS_MAX:
            self.waiting[name] = None
            self.woken.set()

    def gone(self, name: str) -> None:
        """Once it is back its addresses are worth telling again."""
        self.waiting.pop(name, None)
        for address in self._by.pop(name, ()):
            self._told[address] = False

    def tell(self, name: str, addresses: Iterable[Address]) -> None:
        for address in addresses:
            if self._told.get(address) or not self._has_room(address):
                continue
            self._told[address] = True
            self._by.setdefault(name, []).append(address)
            self._found(address)

    def moved(self) -> None:
        """Another network. Who was told in the one before is not told again, unless they fill the list."""
        self.waiting.clear()
        if len(self._told) >= LAN_PEERS_MAX:
            self._told.clear()
            self._hosts.clear()
            self._by.clear()

    def _has_room(self, address: Address) -> bool:
        """Whether it may be told; an address that was not told before has a place then."""
        if address in self._told:
            return True
        if self._hosts[address.host] >= LAN_PER_HOST_MAX:
            return False
        if len(self._told) >= LAN_PEERS_MAX:
            self._forget(next(iter(self._told)))
        self._hosts[address.host] += 1
        return True

    def _forget(self, oldest: Address) -> None:
        del self._told[oldest]
        self._hosts -= Counter((oldest.host,))
        for name, addresses in list(self._by.items()):
            if oldest in addresses:
                addresses.remove(oldest)
                if not addresses:
                    del self._by[name]


class DnsSd:
    """The real `Lan`. secret: of a private swarm. host: the only address that this node listens on, if so;
    0.0.0.0 is all of them, and none that another machine can dial. look, respond: as in `net/mdns.py`; both
    block, and so are run by in_thread."""

    def __init__(
        self,
        node: NodeId,
        *,
        secret: bytes = b"",
        host: str | None = None,
        look: Callable[[], tuple[list[Interface], float]] = mdns.look,
        respond: Callable[[Sequence[str], Heard], Responder] = mdns.Responder,
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self.trouble: str | None = None
        self._node = node
        self._digits = node.hex()[:_NODE_DIGITS]
        self._secret = secret
        self._host = None if host is None or ip_address(host).is_unspecified else host
        self._look = look
        self._respond = respond
        self._in_thread = in_thread
        self._watch = Watch()
        self._era: _Era | None = None
        self._parts: dict[str, list[_Part]] = {}
        self._changed = trio.Event()
        self._lookups = trio.CapacityLimiter(LAN_LOOKUPS_MAX)

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        key = lan_key(share, self._secret)
        part = _Part(port, found)
        self._parts.setdefault(key, []).append(part)
        self._changed.set()
        if self._era is not None:
            for name in self._era.heard:
                if name.startswith(f"{key}-"):
                    part.heard(name)
        try:
            while True:
                await self._look_up(part)
                part.woken = trio.Event()
                await part.woken.wait()
        finally:
            self._parts[key].remove(part)
            if not self._parts[key]:
                del self._parts[key]
            self._changed.set()

    async def run(self) -> None:
        try:
            while True:
                self._changed = trio.Event()
                if await self._act():
                    continue
                with trio.move_on_at(self._watch.deadline(wanted=bool(self._parts))):
                    await self._changed.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    # --- the machine's networks

    async def _act(self) -> bool:
        """Do what is due. Returns whether there may be more to do at once."""
        now = trio.current_time()
        if self._parts and now >= self._watch.look_at:
            await self._see()
        step = self._watch.step(trio.current_time(), wanted=bool(self._parts))
        if step is Step.STOP:
            await self._stop()
        elif step is Step.START:
            await self._attempt(self._start)
        elif step is Step.ANNOUNCE:
            await self._attempt(self._announce_anew)
        elif step is Step.SEARCH:
            await self._attempt(self._search)
        elif self._era is not None and self._era.announced != self._wanted().keys():
            await self._attempt(self._announce)
        else:
            return False
        return True

    async def _see(self) -> None:
        try:
            interfaces, slept_s = await self._in_thread(self._look)
            self._watch.saw(networks(interfaces, slept_s, self._host), trio.current_time())
            if self._era is not None:
                self.trouble = None
        except OSError as error:
            self._in_trouble(error)
            self._watch.missed(trio.current_time())

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """What fails ends the era, and nothing else."""
        try:
            await work()
        except OSError as error:
            self._in_trouble(error)
        except Exception as error:  # of a library that reads what strangers send
            logger.debug("discovery on the local network failed", exc_info=True)
            self._in_trouble(OSError(str(error) or type(error).__name__))
        else:
            self.trouble = None
            return
        await self._stop()

    def _in_trouble(self, error: OSError) -> None:
        trouble = f"the local network cannot be searched: {error.strerror or error}"
        if trouble != self.trouble:
            logger.info("%s", trouble)
        self.trouble = trouble

    async def _start(self) -> None:
        await self._stop()
        self._watch.starting(trio.current_time())
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._sort, idempotent=True)

        mail = _Mail(wake)
        hosts = self._watch.seen.hosts
        responder = await self._in_thread(self._respond, hosts, mail.put)
        self._era = _Era(responder, mail)
        for part in self._all_parts():
            part.moved()
        await self._announce()
        await responder.search()
        self._watch.started(trio.current_time())
        logger.debug("announcing on the local network from %s", ", ".join(hosts))

    async def _stop(self) -> None:
        """Say goodbye, and forget what was heard."""
        era, self._era = self._era, None
        if era is not None:
            for scope in era.lookups:
                scope.cancel()
            with trio.CancelScope(shield=True):
                await self._in_thread(era.responder.close)
        self._watch.stopped()

    async def _search(self) -> None:
        if self._era is not None:
            await self._era.responder.search()
        self._watch.searched(trio.current_time())

    async def _announce_anew(self) -> None:
        """The same shares at other addresses."""
        if self._era is not None:
            self._era.announced.clear()
        await self._announce()
        self._watch.announced()

    async def _announce(self) -> None:
        """What has come and what has gone since."""
        era = self._era
        if era is None:
            return
        wanted = self._wanted()
        hosts = sorted(self._watch.seen.announced)
        for name in era.announced - wanted.keys():
            era.announced.discard(name)
            await era.responder.withdraw(name)
        for name in wanted.keys() - era.announced:
            era.announced.add(name)
            await era.responder.announce(name, wanted[name], hosts, f"{self._digits}.local.")

    def _wanted(self) -> dict[str, int]:
        """Names to announce, with their ports."""
        return {instance_name(key, self._node): parts[-1].port for key, parts in self._parts.items()}

    # --- what is heard

    def _all_parts(self) -> list[_Part]:
        return [part for parts in self._parts.values() for part in parts]

    def _sort(self) -> None:
        """Hand on what zeroconf's thread has heard."""
        era = self._era
        if era is None:
            return
        for name, there in era.mail.take().items():
            parsed = parse_name(name)
            if parsed is None or parsed[1] == self._digits:
                continue
            era.heard.pop(name, None)
            if there:
                era.heard[name] = None
                if len(era.heard) > LAN_NAMES_MAX:
                    del era.heard[next(iter(era.heard))]
            for part in self._parts.get(parsed[0], ()):
                if there:
                    part.heard(name)
                else:
                    part.gone(name)

    async def _look_up(self, part: _Part) -> None:
        """All that waits, one after the other."""
        while part.waiting and (era := self._era) is not None:
            name = next(iter(part.waiting))
            del part.waiting[name]
            with trio.CancelScope() as scope:
                era.lookups.add(scope)
                try:
                    async with self._lookups:
                        hosts, port = await era.responder.resolve(name)
                    part.tell(name, usable_addresses(hosts, port))
                finally:
                    era.lookups.discard(scope)
            await trio.sleep(part.pause_s)
