"""A mirror: fetch and seed everything that trackers list, and what comes later.

One task for each tracker reads its catalogue, from where it stopped the last time: a full one at once, and
more no faster than names are published, because a tracker may say for ever that it has more. One task for
each share keeps it: it waits for one of the few places to fetch, takes part in the swarm until all is here,
gives the place back and seeds on. A fetch that stands still gives its place to one that waits, and queues
again. What was fetched once is checked and seeded after a restart without anybody's help, from the ledger and
the manifests beside the shares.

When a publisher gives a name to another share, the new one gets a folder of its own, and the old one is
seeded until the new one is complete. Its folder stays: a mirror removes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import trio

from peer import limits
from peer.bitfield import Bitfield
from peer.bucket import Bucket
from peer.discovery.catalogue import Answered, CatalogueClient, Place, Question
from peer.errors import ContentError, ManyhandsError
from peer.holding import Holding
from peer.ids import Address, NodeId, ShareId
from peer.manifest import Manifest
from peer.member import Member, Phase
from peer.member_statistics import MemberStatistics, member_statistics
from peer.node import Node
from peer.paths import printable, shortened
from peer.placement import Kept, Ledger, Verdict
from peer.published import Listing, PublishedShare
from peer.remarks import Remarks
from peer.store.filesystem import Folder
from peer.store.mirrored import MirrorState
from peer.target import Target
from peer.units import format_bytes
from peer.workers import Lane

LOOK_EVERY_S = 1.0

SIZES_MAX = 8
"""Sizes of one share that are remembered: all but one are lies."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a catalogue is mirrored. only: patterns for names, all for none. node: of this publisher.

    bytes_max: no more than this in all; None: whatever the disk holds.
    """

    only: tuple[str, ...] = ()
    node: NodeId | None = None
    bytes_max: int | None = None

    def wants(self, listing: Listing) -> bool:
        """Whether a listing is to be mirrored."""
        name = listing.entry.name
        return not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)


@dataclass(frozen=True, slots=True)
class MirrorStatistics:
    """Shares by how they stand. members: of those that are fetched or seeded now."""

    seeding: int
    fetching: int
    waiting: int
    given_up: int
    members: tuple[MemberStatistics, ...]


class _MirroredTarget(Target):
    """Where one share of a mirror goes. Its manifest is kept, to seed it after a restart without any help."""

    def __init__(self, folder: Folder, keeper: "_Keeper", mirror: "Mirror") -> None:
        super().__init__(folder, keeper.kept.folder, (), mirror.node.services.workers)
        self._keeper = keeper
        self._mirror = mirror

    async def recall(self, share: ShareId) -> tuple[Manifest, bytes] | None:
        workers = self._mirror.node.services.workers
        kept = await workers.run(Lane.DISK, self._mirror.state.manifest, share)
        return await super().recall(share) if kept is None else kept

    async def prepare(self, manifest: Manifest, data: bytes) -> tuple[Holding, Bitfield]:
        if manifest.total_bytes not in self._keeper.sizes:
            said = ", ".join(map(str, sorted(self._keeper.sizes)))
            raise ContentError(f"it has {manifest.total_bytes} bytes, and its publisher says {said}")
        await self._mirror.change(self._mirror.state.keep_manifest, manifest.share_id, data)
        return await super().prepare(manifest, data)


class _Keeper:
    """One share that is being kept. gone: nobody is to keep it any more.

    sizes: all that publishers say it has; one that lies must not keep the share of another from being kept.
    """

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.sizes = {kept.size}
        self.member: Member | None = None
        self.gone = trio.Event()
        self.given_up = False

    @property
    def complete(self) -> bool:
        return self.member is not None and self.member.complete.is_set()


class Mirror:
    """See the module. open_folder: opens the mirror's folder, once for each share. say: a line for the user.

    The node must be running, and nobody else may take part with it in what is mirrored.
    """

    def __init__(
        self,
        node: Node,
        open_folder: Callable[[], Folder],
        trackers: Sequence[Address],
        *,
        wish: Wish | None = None,
        interval_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.node = node
        self.state: MirrorState
        self._open_folder = open_folder
        self._trackers = tuple(dict.fromkeys(trackers))
        self._wish = wish or Wish()
        self._interval_s = interval_s
        self._say = say
        self._ledger = Ledger()
        self._keepers: dict[ShareId, _Keeper] = {}
        self._places = trio.CapacityLimiter(limits.MIRROR_FETCHES_MAX)
        self._disk = trio.Lock()
        self._said_full = False
        self._remarks = Remarks(trio.current_time())
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Mirror until cancelled. Raises StorageError if the folder cannot be used at all."""
        workers = self.node.services.workers
        self.state = MirrorState(await workers.run(Lane.DISK, self._open_folder))
        try:
            self._ledger = await workers.run(Lane.DISK, self.state.open)
            async with trio.open_nursery() as self._nursery:
                for kept in self._ledger.current:
                    self._start(kept)
                for tracker in self._trackers:
                    self._nursery.start_soon(self._follow, tracker)
                await trio.sleep_forever()
        finally:
            self.state.close()

    async def change(self, job: Callable[..., None], *arguments: object) -> None:
        """Change the mirror's own files: one change at a time."""
        async with self._disk:
            await self.node.services.workers.run(Lane.DISK, job, *arguments)

    def statistics(self) -> MirrorStatistics:
        """As it stands."""
        keepers = list(self._keepers.values())
        running = [keeper.member for keeper in keepers if keeper.member is not None]
        seeding = sum(keeper.complete for keeper in keepers)
        given_up = sum(keeper.given_up for keeper in keepers)
        return MirrorStatistics(
            seeding=seeding,
            fetching=len(running) - seeding,
            waiting=len(keepers) - len(running) - given_up,
            given_up=given_up,
            members=tuple(member_statistics(member) for member in running),
        )

    # --- the catalogues

    async def _follow(self, tracker: Address) -> None:
        """Take up what a tracker lists, at the interval; its troubles are said once each."""
        client = CatalogueClient(self.node.services.transport, tracker)
        budget = Bucket(limits.MIRROR_PAGES_PER_S, limits.SEARCH_EXCHANGES_MAX, trio.current_time())
        place, said, failures, quiet = Place(), "", 0, 0
        while True:
            try:
                more = True
                while more:
                    answered = await self._read_on(client, place, budget)
                    quiet = 0 if await self._take_up(answered.listings) else quiet + 1
                    place, more = answered.place, answered.more
                # After news there may be more soon, and at the start a publisher may just be starting, too.
                pause = min(limits.TRACKER_BACKOFF_S_MIN * 2.0 ** min(quiet, 30), self._interval_s)
                failures, said = 0, ""
            except ManyhandsError as error:
                pause = min(limits.TRACKER_BACKOFF_S_MIN * 2.0 ** min(failures, 30), self._interval_s)
                failures += 1
                if str(error) != said:
                    said = str(error)
                    self._say(said)
            await trio.sleep(pause * self.node.services.rng.uniform(0.85, 1.0))

    async def _read_on(self, client: CatalogueClient, place: Place, budget: Bucket) -> Answered:
        """What a tracker lists after a place, as soon as its earlier answers are paid for."""
        await trio.sleep(budget.wait(trio.current_time()))
        before = client.pages
        try:
            return await client.search(
                Question(node=self._wish.node), place=place, most=limits.MIRROR_LISTINGS_MAX
            )
        finally:
            budget.spend(client.pages - before, trio.current_time())

    async def _take_up(self, listings: Sequence[Listing]) -> bool:
        """Begin with what is new; whether anything was."""
        new: list[Kept] = []
        wanted = [listing.entry for listing in listings if self._wish.wants(listing)]
        there: frozenset[str] = frozenset()
        if any(self._ledger.get(entry.share) is None for entry in wanted):
            there = await self.node.services.workers.run(Lane.DISK, self.state.names)
        for entry in wanted:
            verdict = self._ledger.judge(entry, self._wish.bytes_max)
            if verdict is Verdict.NEW:
                try:
                    new.append(self._ledger.place(entry, there))
                except ValueError as error:
                    self._remark(entry, str(error))
            elif verdict is Verdict.KEPT:
                self._ledger.renewed(entry)
                self._hear_of_size(entry)
                kept = self._ledger.get(entry.share)
                if kept is not None and entry.share not in self._keepers:
                    new.append(kept)  # the ledger could not be saved when it was new
            elif verdict is Verdict.OLD:
                why = f"left out, {verdict.value} ({entry.node.hex()})"
                self._remark(entry, f"{shortened(entry.name)}: {why}")
            elif verdict is Verdict.TOO_LARGE:
                why = f"left out, {format_bytes(entry.size)} do not fit --max-size"
                self._remark(entry, f"{shortened(entry.name)}: {why}")
            elif not self._said_full:
                self._said_full = True
                self._say(f"this mirror keeps {limits.MIRROR_SHARES_MAX} shares; others are left out")
        if new:  # durable before the first byte of a share: a folder that is not in the ledger is not ours
            await self.change(self.state.save, self._ledger.encode())
        for kept in new:
            if kept.share not in self._keepers:  # another tracker listed it at the same time
                self._say(
                    f"{printable(kept.name)}: {format_bytes(kept.size)}, published by {kept.node.hex()}, "
                    f"into {printable(kept.folder)}"
                )
                self._start(kept)
        return bool(new)

    def _remark(self, entry: PublishedShare, line: str) -> None:
        """Say why a listing is left out."""
        said = self._remarks.on(entry.signature, line, trio.current_time())
        if said is not None:
            self._say(said)

    def _hear_of_size(self, entry: PublishedShare) -> None:
        keeper = self._keepers.get(entry.share)
        if keeper is not None and entry.size not in keeper.sizes and len(keeper.sizes) < SIZES_MAX:
            keeper.sizes.add(entry.size)
            if keeper.given_up:
                keeper.given_up = False  # its task has ended
                self._nursery.start_soon(self._keep, keeper)

    # --- one share

    def _start(self, kept: Kept) -> None:
        keeper = self._keepers[kept.share] = _Keeper(kept)
        self._nursery.start_soon(self._keep, keeper)

    async def _keep(self, keeper: _Keeper) -> None:
        """Fetch and seed one share, through all troubles, until it is retired or cannot be had."""
        said = ""
        while not keeper.gone.is_set():
            failed = False
            try:
                await self._attempt(keeper)
            except* ContentError as group:
                keeper.given_up = True
                self._say(f"{printable(keeper.kept.name)}: given up: {_first_line(group)}")
            except* ManyhandsError as group:
                failed = True
                if (line := _first_line(group)) != said:
                    said = line
                    self._say(f"{printable(keeper.kept.name)}: {line}; will be tried again")
            keeper.member = None
            if keeper.given_up:
                return
            if failed:
                with trio.move_on_after(limits.MIRROR_RETRY_S):
                    await keeper.gone.wait()
        self._let_go(keeper.kept.share)

    def _let_go(self, share: ShareId) -> None:
        """Nobody keeps it any more; unless it has come back meanwhile."""
        del self._keepers[share]
        kept = self._ledger.get(share)
        if kept is not None and not kept.retired:
            self._start(kept)

    async def _attempt(self, keeper: _Keeper) -> None:
        """Take part in the swarm until the share is retired, or stands still while others wait."""
        kept, services = keeper.kept, self.node.services
        await self._places.acquire_on_behalf_of(keeper)
        released = False
        try:
            folder = await services.workers.run(Lane.DISK, self._open_folder)
            target = _MirroredTarget(folder, keeper, self)
            member = keeper.member = Member(kept.share, services, target=target, trackers=self._trackers)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.node.take_part, member)
                    if await self._until_complete(keeper, member):
                        self._places.release_on_behalf_of(keeper)
                        released = True
                        await self._completed(keeper)
                        await keeper.gone.wait()
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await target.close()
        finally:
            if not released:
                self._places.release_on_behalf_of(keeper)

    async def _until_complete(self, keeper: _Keeper, member: Member) -> bool:
        """True when it is; False if it is retired, or stands still while another waits for the place."""
        while not member.complete.is_set():
            if keeper.gone.is_set():
                return False
            now = trio.current_time()
            if member.phase in (Phase.CHECKING, Phase.COMPLETING):
                member.progressed_at = now
            stalled = now - member.progressed_at > limits.MIRROR_STALL_S
            if stalled and self._places.statistics().tasks_waiting:
                return False
            with trio.move_on_after(LOOK_EVERY_S):
                await member.complete.wait()
        return True

    async def _completed(self, keeper: _Keeper) -> None:
        known = keeper.kept.complete
        older = self._ledger.completed(keeper.kept.share)
        news = older or not known
        if news:
            self._say(f"{printable(keeper.kept.folder)}: complete and verified, seeding")
        for one in older:  # whether it can be written down or not
            self._say(f"{printable(one.folder)}: a newer {printable(one.name)} is here, no longer seeded")
            replaced = self._keepers.get(one.share)
            if replaced is not None:
                replaced.gone.set()
                if replaced.given_up:  # its task has ended
                    self._let_go(one.share)
        if news:
            await self.change(self.state.save, self._ledger.encode())


def _first_line(group: BaseExceptionGroup[ManyhandsError]) -> str:
    for error in group.exceptions:
        return _first_line(error) if isinstance(error, BaseExceptionGroup) else str(error)
    return "failed"
