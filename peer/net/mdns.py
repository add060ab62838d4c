"""Multicast DNS (RFC 6762) by python-zeroconf: what `net/dnssd.py` needs of it, and of the machine.

zeroconf runs an asyncio loop in a thread of its own. What it can be asked there is awaited from trio; what
blocks (`look`, `Responder` itself and `close`) is for worker threads. One `Responder` belongs to one set of
addresses: where they change, another one is made. zeroconf can change the interfaces of a running one since
0.150, but goes by the address alone (the same address on another interface is no change to it), and neither
asks again nor forgets what it heard in the network before.

It is imported when it is first needed: it costs a tenth of a second, and many runs never need it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from peer.limits import LAN_ANSWER_S, LAN_LOOKUP_S
from peer.net.networks import Interface

if TYPE_CHECKING:
    import asyncio

    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncServiceBrowser

T = TypeVar("T")

SERVICE_TYPE: Final = "_manyhands._tcp.local."

Heard = Callable[[str, bool], None]
"""Told of an instance by its full name, and whether it is there or has gone. Called by zeroconf's thread."""


def look() -> tuple[list[Interface], float]:
    """This machine's interfaces, and how long it has been asleep. Raises OSError."""
    import ifaddr  # zeroconf's own helper

    try:
        found = [
            Interface(
                adapter.index or 0,
                str(adapter.name),
                tuple(ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips),
            )
            for adapter in ifaddr.get_adapters()
        ]
    except (AssertionError, ValueError) as error:  # an interface of a kind that ifaddr does not know
        raise OSError(f"the interfaces of this machine cannot be read: {error}") from error
    return found, _slept_s()


def _slept_s() -> float:
    """The seconds that a clock which goes on in sleep is ahead of one that stands still; 0 where that is not
    known. A machine that wakes up may have the address that it had, elsewhere or after all has changed."""
    for counting, standing in (
        ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"),
        ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"),
    ):
        if hasattr(time, counting) and hasattr(time, standing):  # Linux; macOS
            return time.clock_gettime(getattr(time, counting)) - time.clock_gettime(getattr(time, standing))
    return 0.0


class Responder:
    """Announces and searches on some addresses of this machine. To make one blocks, and raises OSError."""

    def __init__(self, hosts: Sequence[str], heard: Heard) -> None:
        from zeroconf import Error, IPVersion, Zeroconf

        try:
            self._zeroconf = Zeroconf(interfaces=list(hosts), ip_version=IPVersion.V4Only)
        except (Error, RuntimeError) as error:
            raise OSError(str(error) or type(error).__name__) from error
        self._heard = heard
        self._browser: AsyncServiceBrowser | None = None
        self._repeating: dict[str, asyncio.Task[None]] = {}
        if not self._zeroconf.engine.senders:
            self.close()
            raise OSError(f"no multicast on {', '.join(hosts)}")

    async def announce(self, name: str, port: int, hosts: Sequence[str], server: str) -> None:
        """Announce an instance, or its new addresses. Raises OSError."""
        await self._in_time(self._announce(name, port, hosts, server))

    async def withdraw(self, name: str) -> None:
        """Say goodbye for an instance. Raises OSError."""
        await self._in_time(self._withdraw(name))

    async def search(self) -> None:
        """Ask who is there; all that is known already is heard again. Raises OSError."""
        await self._in_time(self._search())

    async def resolve(self, name: str) -> tuple[list[str], int | None]:
        """Hosts and port of an instance; none if nobody answers, or if zeroconf does not like the name."""
        with trio.move_on_after(2 * LAN_LOOKUP_S), suppress(OSError):
            return await self._ask(self._resolve(name))
        return [], None

    def close(self) -> None:
        """Say goodbye for all that is announced, and end. Blocks."""
        from asyncio import run_coroutine_threadsafe

        from zeroconf import Error

        loop = self._zeroconf.loop
        with suppress(Error, OSError, RuntimeError, TimeoutError):  # too busy: others notice when it expires
            if loop is not None and loop.is_running():
                run_coroutine_threadsafe(self._fall_silent(), loop).result(LAN_ANSWER_S)
            self._zeroconf.close()

    # --- in zeroconf's loop

    async def _announce(self, name: str, port: int, hosts: Sequence[str], server: str) -> None:
        from zeroconf import ServiceInfo

        info = ServiceInfo(
            SERVICE_TYPE, name, port=port, parsed_addresses=list(hosts), server=server, properties={"v": "1"}
        )
        if self._known(name) is None:
            # Node ids make the names unique: to ask for each whether it is taken would only cost packets, and
            # let anybody who heard the name claim it.
            said = await self._zeroconf.async_register_service(info, cooperating_responders=True)
        else:
            said = await self._zeroconf.async_update_service(info)
        self._let_go(name, said)

    async def _withdraw(self, name: str) -> None:
        info = self._known(name)
        if info is not None:
            self._let_go(name, await self._zeroconf.async_unregister_service(info))

    def _let_go(self, name: str, said: Awaitable[Any]) -> None:
        """What is announced is repeated for a second: nobody waits for that, or wants to know how it went. It
        ends where something else is said of the name: a goodbye is not to be followed by an announcement."""
        from asyncio import ensure_future

        async def repeat() -> None:
            with suppress(Exception):
                await said

        if (before := self._repeating.get(name)) is not None:
            before.cancel()
        task = self._repeating[name] = ensure_future(repeat())
        task.add_done_callback(lambda task: self._repeated(name, task))

    def _repeated(self, name: str, task: asyncio.Task[None]) -> None:
        if self._repeating.get(name) is task:
            del self._repeating[name]

    async def _fall_silent(self) -> None:
        for task in list(self._repeating.values()):
            task.cancel()
        if self._browser is not None:
            await self._browser.async_cancel()

    async def _search(self) -> None:
        from zeroconf.asyncio import AsyncServiceBrowser

        if self._browser is not None:
            await self._browser.async_cancel()
        self._browser = AsyncServiceBrowser(self._zeroconf, SERVICE_TYPE, handlers=[self._changed])

    async def _resolve(self, name: str) -> tuple[list[str], int | None]:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if not await info.async_request(self._zeroconf, 1000 * LAN_LOOKUP_S):
            return [], None
        return info.parsed_addresses(), info.port

    def _changed(self, zeroconf: object, service_type: str, name: str, state_change: object) -> None:
        from zeroconf import ServiceStateChange

        self._heard(name, state_change is not ServiceStateChange.Removed)

    def _known(self, name: str) -> ServiceInfo | None:
        return self._zeroconf.registry.async_get_info_name(name.lower())

    # --- between the loops

    async def _in_time(self, work: Coroutine[Any, Any, None]) -> None:
        with trio.move_on_after(LAN_ANSWER_S):
            await self._ask(work)
            return
        raise OSError("the machine is too busy for multicast DNS")

    async def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Await what runs in zeroconf's loop. Raises OSError, for whatever went wrong there."""
        from asyncio import run_coroutine_threadsafe
        from concurrent.futures import CancelledError

        from zeroconf import Error

        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def tell(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        loop = self._zeroconf.loop
        if loop is None or loop.is_closed():
            work.close()
            raise OSError("multicast DNS has ended")
        future = run_coroutine_threadsafe(work, loop)
        future.add_done_callback(tell)
        try:
            await done.wait()
        finally:
            future.cancel()
        try:
            return future.result(0)
        except (Error, RuntimeError, ValueError, CancelledError) as error:
            raise OSError(str(error) or type(error).__name__) from error
