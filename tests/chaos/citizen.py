"""One machine of a chaos run and the person at it, who wants the share and runs the same command again."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from peer.errors import ManyhandsError, StorageError
from peer.ids import Address
from peer.magnet import MagnetLink
from peer.sim.files import SimFolder
from peer.sim.world import DOWNLOADS, PORT, SimFetch, World
from peer.store.partial import remove_tree
from tests.chaos.plan import PeerPlan
from tests.chaos.violation import Violation
from tests.store_kit import NAME, Share

PART = NAME + ".part"

PACED_SHARE = 0.8
"""Of its uplink, what a node that is paced may use."""

AGAIN_S = 2.0
"""After an error of the disk the same command is given again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates that a node keeps to, in bytes a second: all of it, and the share."""

    up: float | None = None
    down: float | None = None
    share_up: float | None = None
    share_down: float | None = None

    @property
    def least_up(self) -> float | None:
        return min((rate for rate in (self.up, self.share_up) if rate is not None), default=None)

    @property
    def least_down(self) -> float | None:
        return min((rate for rate in (self.down, self.share_down) if rate is not None), default=None)


class Citizen:
    """A machine by its plan; `arrive` brings it to life. ``known``: addresses that it is told of."""

    def __init__(
        self,
        plan: PeerPlan,
        world: World,
        share: Share,
        link: MagnetLink,
        known: Callable[[PeerPlan], Iterable[Address]],
        trackers: Sequence[Address],
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.fetch: SimFetch | None = None
        self.running = False
        """Switched on just now."""
        self.gone = False
        """Left for good."""
        self.tainted = False
        """Its disk has lied: what the journal says of it is worth nothing after a power loss."""
        self.busy = trio.Lock()
        """Whoever switches it on or off holds this."""
        self.boots = 0
        self.only: tuple[str, ...] = ()
        """The files that are asked for; all for none."""
        self.alias: Address | None = None
        """Its second address."""
        self.limits = self._limits_at_rest
        self.relimited = 0
        """How often they have changed, and when last, in virtual seconds."""
        self.relimited_at = 0.0
        self._stopped = False
        self.machine = world.add_machine(self.name, up=plan.up, down=plan.down, latency=plan.latency)
        self._share = share
        self._link = link
        self._known = known
        self._trackers = trackers

    @property
    def _limits_at_rest(self) -> Limits:
        """Up: below its link's rate, so that it can be seen to."""
        if self.plan.free_rider:
            return Limits(up=0.0)
        return Limits(up=PACED_SHARE * self.plan.up if self.plan.paced else None)

    @property
    def must_complete(self) -> bool:
        return not (self.plan.has_it or self.plan.free_rider or self.gone)

    @property
    def complete(self) -> bool:
        there = self.running and self.fetch is not None and self.fetch.member.complete.is_set()
        return there and not self.only

    @property
    def has_leftovers(self) -> bool:
        """Whether it is complete, and something of NAME.part could not be removed: the next run does that."""
        part = (*DOWNLOADS, PART)
        return self.must_complete and any(path[: len(part)] == part for path in self.machine.disk.tree())

    async def arrive(self) -> None:
        """Join when the plan says so."""
        plan = self.plan
        await trio.sleep(plan.joins_at)
        async with self.busy:
            await self.machine.boot()
            if plan.has_it:
                await self.machine.share(NAME, self._share.files, trackers=self._trackers_known())
            else:
                self.machine.start_soon(self._get)
            self._on()

    async def crash(self) -> None:
        """Kill it. The caller has done to the disk what a power loss does, if there was one."""
        self.running = False
        self.fetch = None
        await self.machine.crash()

    async def come_back(self) -> None:
        """Start again, and give the same command."""
        if self._stopped:
            await self.machine.boot()
        else:
            await self.machine.restart()
        self._stopped = False
        self.machine.start_soon(self._seed if self.plan.has_it else self._get)
        self._on()

    async def leave(self) -> None:
        """Say goodbye and go, for good."""
        self.gone = True
        await self.stop()

    async def stop(self) -> None:
        """Say goodbye, and close the share in order, as after Ctrl-C. The machine stays on."""
        self.running = False
        self._stopped = True
        await self.machine.switch_off()
        if self.fetch is not None:
            with suppress(StorageError):
                await self.fetch.target.close()
            self.fetch = None

    def limit(self, limits: Limits | None = None) -> None:
        """Give its node these limits; those that it began with for None."""
        self.limits = limits or self._limits_at_rest
        self.relimited += 1
        self.relimited_at = trio.current_time()
        services, share = self.machine.node.services, self._share.manifest.share_id
        services.up.set_rate(self.limits.up)
        services.down.set_rate(self.limits.down)
        services.up.set_share_rate(share, self.limits.share_up)
        services.down.set_share_rate(share, self.limits.share_down)

    def move(self) -> None:
        """To another address."""
        host = self.machine.host
        host.network.move(host)
        self.machine.address = Address(host.address, PORT)
        if self.alias is not None:
            self.alias = Address(host.network.add_address(host), PORT)

    def addresses_for(self, number: int) -> list[Address]:
        """What the peer of that number is told of."""
        main = self.machine.address
        if self.alias is None:
            return [main]
        return [[main], [self.alias], [main, self.alias]][(number + self.plan.number) % 3]

    def _on(self) -> None:
        self.limit()
        self.boots += 1
        self.running = True

    def _trackers_known(self) -> Sequence[Address]:
        return self._trackers if self.plan.tracker else ()

    async def _seed(self) -> None:
        while True:
            try:
                await self.machine.seed(NAME, trackers=self._trackers_known(), peers=self._known(self.plan))
            except ManyhandsError:
                await trio.sleep(AGAIN_S)
            else:
                return

    async def _get(self) -> None:
        while True:
            self.fetch = fetch = self.machine.fetch(
                self._link, peers=self._known(self.plan), trackers=self._trackers_known(), only=self.only
            )
            await fetch.ended.wait()
            if not isinstance(fetch.error, StorageError):
                raise Violation("gave-up", f"{self.name}: {fetch.error!r}") from fetch.error
            with suppress(StorageError):
                await fetch.target.close()
            if self.tainted and "move it away" in str(fetch.error):
                self._move_away(PART if PART in str(fetch.error) else NAME)
            await trio.sleep(AGAIN_S)

    def _move_away(self, name: str) -> None:
        """What a lying disk made of a share is in the way, and the message says what to do."""
        folder = SimFolder(self.machine.disk, DOWNLOADS)
        with suppress(OSError):
            remove_tree(folder, (name,))
