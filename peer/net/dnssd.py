"""DNS-SD over multicast DNS (RFC 6762, RFC 6763), by python-zeroconf: the real side of `net/lan.py`.

Each share is one instance of `_manyhands._tcp`, called KEY-NODE: the key tells who has use for it before
anything is resolved. zeroconf runs in threads of its own and calls back from them; names cross into trio by
its token, and what blocks (opening, registering, resolving) runs in worker threads.

It is imported when it is first needed: it costs a tenth of a second, and many runs never need it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from peer.ids import Address, NodeId, ShareId
from peer.limits import (
    LAN_ADDRESSES_MAX,
    LAN_LOOKUP_S,
    LAN_NAMES_MAX,
    LAN_PEERS_MAX,
    LAN_WAITING_MAX,
)
from peer.net.lan import lan_key

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

SERVICE_TYPE: Final = "_manyhands._tcp.local."
_NODE_DIGITS: Final = 12
_NODE: Final = re.compile(rf"[0-9a-f]{{{_NODE_DIGITS}}}")


def instance_name(key: str, node: NodeId) -> str:
    """The full name of one node's announcement of one share."""
    return f"{key}-{node.hex()[:_NODE_DIGITS]}.{SERVICE_TYPE}"


def parse_name(name: str) -> tuple[str, str] | None:
    """Key and node of a full instance name from the network; None for what we would not have written."""
    label, dot, kind = name.partition(".")
    key, dash, node = label.partition("-")
    if not dot or not dash or kind != SERVICE_TYPE or not _NODE.fullmatch(node):
        return None
    return key, node


def usable_addresses(texts: Sequence[str], port: int | None) -> list[Address]:
    """The addresses of an answer that can be dialled from another machine, few, each once."""
    found: dict[Address, None] = {}
    for text in texts:
        try:
            ip = ipaddress.ip_address(text)
        except ValueError:
            continue
        local = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
        if not local and port is not None and 0 < port < 1 << 16:
            found[Address(str(ip), port)] = None
    return list(found)[:LAN_ADDRESSES_MAX]


def own_addresses() -> list[str]:
    """This machine's addresses that others on its networks can dial."""
    import ifaddr  # zeroconf's own helper

    texts = [
        address.ip if isinstance(address.ip, str) else address.ip[0]
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
    ]
    return [address.host for address in usable_addresses(texts, 1)]


class DnsSd:
    """The real `Lan`. secret: of a private swarm. host: the only address that this node listens on, if so;
    0.0.0.0 is all of them, and none that another machine can dial."""

    def __init__(self, node: NodeId, *, secret: bytes = b"", host: str | None = None) -> None:
        self.trouble: str | None = None
        self._node = node
        self._secret = secret
        self._host = None if host is None or ipaddress.ip_address(host).is_unspecified else host
        self._zeroconf: Zeroconf | None = None
        self._users = 0
        self._opening = trio.Lock()
        self._names: dict[str, None] = {}
        """Instances seen, the last ones: a share that comes later looks through them."""
        self._waiting: dict[str, trio.MemorySendChannel[str]] = {}
        """Who wants to know of new instances, by key."""
        self._announced: dict[str, trio.Event] = {}
        """Set when the announcement of that key is withdrawn."""

    async def take_part(self, share: ShareId, port: int, found: Callable[[Address], None]) -> None:
        key = lan_key(share, self._secret)
        # Whose trackers change is taken out and put in again at once: the old announcement, which has the
        # same name, is to be withdrawn before the new one comes, and not the new one with it.
        while (before := self._announced.get(key)) is not None:
            await before.wait()
        withdrawn = self._announced[key] = trio.Event()
        try:
            await self._take_part(key, port, found)
        finally:
            del self._announced[key]
            withdrawn.set()

    async def _take_part(self, key: str, port: int, found: Callable[[Address], None]) -> None:
        send, receive = trio.open_memory_channel[str](LAN_WAITING_MAX)
        told: set[Address] = set()
        try:
            zeroconf = await self._open()
            self._waiting[key] = send
            await trio.to_thread.run_sync(self._register, zeroconf, key, port)
            for name in list(self._names):
                self._hand_on(name)
            async for name in receive:
                for address in await trio.to_thread.run_sync(
                    _resolve, zeroconf, name, abandon_on_cancel=True
                ):
                    if address not in told and len(told) < LAN_PEERS_MAX:
                        told.add(address)
                        found(address)
        except OSError as error:
            self.trouble = f"the local network cannot be searched: {error.strerror or error}"
        finally:
            self._waiting.pop(key, None)
            with trio.CancelScope(shield=True):
                await self._close(key)

    async def _open(self) -> Zeroconf:
        """Begin to listen, with the first share. Raises OSError."""
        self._users += 1
        async with self._opening:
            if self._zeroconf is None:
                token = trio.lowlevel.current_trio_token()
                self._zeroconf = await trio.to_thread.run_sync(self._begin, token)
            return self._zeroconf

    async def _close(self, key: str) -> None:
        """Withdraw the share; with the last one, fall silent."""
        self._users -= 1
        async with self._opening:
            if self._zeroconf is None:
                return
            if self._users:
                await trio.to_thread.run_sync(self._withdraw, self._zeroconf, key)
                return
            zeroconf, self._zeroconf = self._zeroconf, None
            await trio.to_thread.run_sync(_end, zeroconf)

    # --- in worker threads

    def _begin(self, token: trio.lowlevel.TrioToken) -> Zeroconf:
        from zeroconf import InterfaceChoice, IPVersion, NotRunningException, ServiceBrowser, Zeroconf

        interfaces = [self._host] if self._host else InterfaceChoice.All
        try:
            zeroconf = Zeroconf(interfaces=interfaces, ip_version=None if self._host else IPVersion.V4Only)
        except (RuntimeError, NotRunningException) as error:
            raise OSError(str(error)) from error

        def seen(zeroconf: Zeroconf, service_type: str, name: str, state_change: object) -> None:
            """Called by zeroconf's thread."""
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._seen, name)

        ServiceBrowser(zeroconf, SERVICE_TYPE, handlers=[seen])
        return zeroconf

    def _info(self, key: str, port: int) -> ServiceInfo:
        from zeroconf import ServiceInfo

        name = instance_name(key, self._node)
        hosts = [self._host] if self._host else own_addresses()
        return ServiceInfo(
            SERVICE_TYPE,
            name,
            port=port,
            parsed_addresses=hosts,
            server=f"{self._node.hex()[:_NODE_DIGITS]}.local.",
            properties={"v": "1"},
        )

    def _register(self, zeroconf: Zeroconf, key: str, port: int) -> None:
        from zeroconf import Error

        try:
            zeroconf.register_service(self._info(key, port))
        except Error as error:
            raise OSError(str(error) or type(error).__name__) from error

    def _withdraw(self, zeroconf: Zeroconf, key: str) -> None:
        from zeroconf import Error

        info = zeroconf.registry.async_get_info_name(instance_name(key, self._node).lower())
        if info is not None:
            with suppress(Error):  # of a loaded machine: others notice when the announcement expires
                zeroconf.unregister_service(info)

    # --- in trio's thread

    def _seen(self, name: str) -> None:
        """An instance has appeared, changed or gone."""
        self._names.pop(name, None)
        self._names[name] = None
        if len(self._names) > LAN_NAMES_MAX:
            del self._names[next(iter(self._names))]
        self._hand_on(name)

    def _hand_on(self, name: str) -> None:
        parsed = parse_name(name)
        if parsed is None or parsed[1] == self._node.hex()[:_NODE_DIGITS]:
            return
        waiting = self._waiting.get(parsed[0])
        if waiting is not None:
            with suppress(trio.WouldBlock):  # a flood; they announce themselves again
                waiting.send_nowait(name)


def _end(zeroconf: Zeroconf) -> None:
    """Say goodbye for all that is announced, and close."""
    from zeroconf import Error

    with suppress(Error):  # of a loaded machine, as above
        zeroconf.close()


def _resolve(zeroconf: Zeroconf, name: str) -> list[Address]:
    """Where an instance listens; nothing if nobody answers, or if zeroconf does not like the name."""
    from zeroconf import Error, ServiceInfo

    try:
        info = ServiceInfo(SERVICE_TYPE, name)
        if not info.request(zeroconf, int(1000 * LAN_LOOKUP_S)):
            return []
    except Error:
        return []
    return usable_addresses(info.parsed_addresses(), info.port)
