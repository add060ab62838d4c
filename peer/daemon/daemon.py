"""The daemon: knows its shares, opens those that are needed, and does what commands ask.

It survives its own end: what it knows is on the shelf before a command hears that it is known, so a new
process goes on where this one was, killed or not. Lifetimes: the daemon's nursery holds the node, the herald
and every open share; a share that fails takes nothing else with it.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace

import trio

from peer.control import protocol
from peer.control.protocol import Body, Request
from peer.daemon import status
from peer.daemon.context import Context, Places
from peer.daemon.following import Report, follow
from peer.daemon.herald import Herald
from peer.daemon.publishing import Publishing
from peer.daemon.records import Role, ShareRecord
from peer.daemon.registry import Registry, rejoin
from peer.daemon.resident import Resident, is_changed
from peer.daemon.sharing import Hashed, hash_source, link_of
from peer.daemon.shelf import Damaged, Shelf
from peer.errors import ManyhandsError, StorageError, UsageError
from peer.ids import Address, KnownPeer, ShareId
from peer.limits import (
    AWAKE_LOOK_S,
    AWAKE_SHARES_MAX,
    CONTROL_FOLLOW_S,
    RECHECK_SHARES,
    STATUS_FRESH_S,
    STATUS_SHARES_MAX,
)
from peer.magnet import parse
from peer.member import Member
from peer.node import Node
from peer.paths import landing_name
from peer.swarm.known import Source
from peer.swarm.orders import ORDERS
from peer.workers import Lane, Workers

logger = logging.getLogger(__name__)

VERSION = 1
"""Of what commands and daemon say to each other."""


class Daemon:
    """See the module. The node listens already, and is run from here."""

    def __init__(self, node: Node, workers: Workers, shelf: Shelf, places: Places) -> None:
        self.context = Context(node, workers, shelf, places)
        self.stopping = trio.Event()
        """Set it to have `run` end in order."""
        self.ended = trio.Event()
        """`run` has ended, all is durable."""
        self.damaged: list[Damaged] = []
        self.residents: dict[ShareId, Resident] = {}
        self._registry = Registry()
        self._herald = Herald(node.services, self._wanted)
        self.publishing: Publishing | None = None
        """What keeps published names listed; to be set before `run` where there is somebody who can sign."""
        self._admitting = trio.Lock()
        self._rechecking = trio.Lock()
        self._started_at = trio.current_time()
        self._packed: tuple[float, bytes] = (-math.inf, b"")
        node.absent = self._absent

    # --- lifetime

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until `stopping` is set or it is cancelled. Started when every known share can be had.

        Raises StorageError if the shelf cannot be read.
        """
        node = self.context.node
        try:
            async with trio.open_nursery() as nursery:
                self.context.nursery = nursery
                await self._load()
                nursery.start_soon(node.run)
                nursery.start_soon(self._herald.run)
                nursery.start_soon(self._keep_time)
                if self.publishing is not None:
                    nursery.start_soon(self.publishing.run)
                task_status.started()
                for resident in self._all():
                    if not resident.record.rests and not resident.record.paused:
                        nursery.start_soon(resident.open)
                nursery.start_soon(self.recheck)
                await self.stopping.wait()
                self.context.nursery = None  # nothing is opened any more
                await node.goodbye()
                nursery.cancel_scope.cancel()
        finally:
            self.context.nursery = None
            self.ended.set()

    async def _load(self) -> None:
        records, self.damaged = await self.context.workers.run(Lane.DISK, self.context.shelf.load)
        for record in records:
            self._take_in(record)
        for damaged in self.damaged:
            logger.error("%s", damaged.text, extra={"share": damaged.share.hex()})
        logger.info("%d shares known", len(records), extra={"shares": len(records)})

    def _take_in(self, record: ShareRecord) -> Resident:
        resident = Resident(record, self.context, self._changed)
        self.residents[record.share] = resident
        self.damaged = [damaged for damaged in self.damaged if damaged.share != record.share]
        self._changed(record)
        return resident

    def _all(self) -> Iterator[Resident]:
        return (self.residents[record.share] for record in self._registry)

    def _changed(self, record: ShareRecord) -> None:
        """A record is new, or other than it was, or its share has closed: keep the herald in step."""
        resident = self.residents.get(record.share)
        if resident is None or self.stopping.is_set():  # removed, or everything ends
            return
        self._registry.put(record)
        self._packed = (-math.inf, b"")
        if self.publishing is not None:
            self.publishing.keep(record)
        if record.rests and not record.paused and not resident.speaks:
            self._herald.add(record.share, map(Address.parse, record.trackers))
        else:
            self._herald.remove(record.share, silent=resident.speaks)

    async def _keep_time(self) -> None:
        while True:
            await trio.sleep(AWAKE_LOOK_S)
            now = trio.current_time()
            for resident in list(self._all()):
                record = resident.record
                if not record.complete or record.seed_s is None or resident.removed:
                    continue
                if now - resident.complete_since >= record.seed_s:
                    extra = {"share": record.share.hex()}
                    logger.info("seeded for its time: %s", record.name, extra=extra)
                    try:
                        await self._forget(record.share)
                    except StorageError as error:  # it is known as long as the shelf has it
                        logger.error("%s cannot be forgotten: %s", record.name, error, extra=extra)

    async def recheck(self) -> None:
        """Look whether the files of complete shares are as they were, without hashing. A share with a file
        that is not is opened: its member hashes that one, and serves it on or tells."""
        context = self.context
        async with self._rechecking:
            waiting = [resident for resident in self._all() if resident.record.rests]
            for start in range(0, len(waiting), RECHECK_SHARES):
                batch = waiting[start : start + RECHECK_SHARES]
                for resident in await context.workers.run(Lane.DISK, _changed_ones, batch, context):
                    await resident.open()

    # --- shares that somebody wants

    async def _absent(self, share: ShareId) -> Member | None:
        """Somebody asks for a share that is not open."""
        resident = self.residents.get(share)
        if resident is None or not self._has_room():
            return None
        return await resident.open()

    def _has_room(self) -> bool:
        """Whether one more complete share may be opened; makes room where one is idle."""
        awake = [resident for resident in self.residents.values() if resident.member is not None]
        if len(awake) < AWAKE_SHARES_MAX:
            return True
        idle = [r for r in awake if r.record.rests and r.member is not None and not r.member.links]
        if not idle or self.context.nursery is None:
            return False
        self.context.nursery.start_soon(min(idle, key=lambda resident: resident.idle_since).close)
        return True

    def _wanted(self, share: ShareId, peers: list[KnownPeer], tracker: Address) -> None:
        if self.context.nursery is not None:
            self.context.nursery.start_soon(self._meet, share, peers, tracker)

    async def _meet(self, share: ShareId, peers: list[KnownPeer], tracker: Address) -> None:
        member = await self._absent(share)
        if member is not None:
            member.dialler.learned(peers, Source.TRACKER, tracker.host)

    # --- what commands ask

    def quick(self, request: Request) -> bytes | None:
        """The packed answer to what can be answered at once and is asked often; None for everything else."""
        if not isinstance(request, protocol.Status) or request.share is not None:
            return None
        now = trio.current_time()
        if now - self._packed[0] >= STATUS_FRESH_S:
            self._packed = (now, protocol.pack_body(self._status()))
        return self._packed[1]

    async def perform(self, request: Request, report: Report) -> Body:  # noqa: PLR0911 - one case a request
        """Do it. ``report`` is told how it goes. Raises ManyhandsError for what cannot be done."""
        match request:
            case protocol.Share():
                return await self._share(request, report)
            case protocol.Get():
                return await self._get(request, report)
            case protocol.List():
                return self._list()
            case protocol.Status():
                return self._status() if request.share is None else self._one(request.share)
            case protocol.Remove():
                if (damaged := self._damaged_one(request.share)) is not None:
                    await self._forget(damaged.share)
                    name = damaged.share.hex()
                    return {"share": name, "name": name, "path": "their place"}  # which nobody knows any more
                record = self._registry.find(request.share)
                await self._forget(record.share)
                return {"share": record.share.hex(), "name": record.name, "path": record.shown}
            case protocol.Pause():
                return await self._each(request.share, Resident.pause)
            case protocol.Resume():
                return await self._each(request.share, self._resume)
            case protocol.Limits():
                return await self._limit(request)
            case protocol.Stop():
                self.stopping.set()
                return {}

    async def _share(self, request: protocol.Share, report: Report) -> Body:
        latest = [0, 0]

        def note(done: int, total: int) -> None:
            latest[:] = (done, total)

        async def tell() -> None:
            while True:
                await trio.sleep(CONTROL_FOLLOW_S)
                await report({"phase": "hashing", "done": latest[0], "total": latest[1]})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            hashed = await hash_source(self.context, request, note)
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):  # here and below: who asked may hang up, and nothing is half done
            resident, known = await self._admit(hashed.record, hashed, request)
        logger.info(
            "shares %s", hashed.record.name, extra={"share": hashed.record.share.hex(), "path": request.path}
        )
        return {
            **status.brief(resident, self.context),
            "known": known,
            "skipped": [f"{skipped.path} ({skipped.reason})" for skipped in hashed.skipped],
        }

    async def _get(self, request: protocol.Get, report: Report) -> Body:
        link = parse(request.link)
        if not request.folder.startswith("/"):
            raise UsageError(f"{request.folder!r} is no absolute path")
        if request.order is not None and request.order not in ORDERS:
            raise UsageError(f"{request.order[:60]!r} is no order of pieces: there are {', '.join(ORDERS)}")
        trackers = dict.fromkeys(
            (*map(str, link.trackers), *request.trackers, *map(str, self.context.trackers))
        )
        peers = dict.fromkeys((*map(str, link.peers), *request.peers))
        try:
            for text in trackers:
                Address.parse(text)
            for text in peers:
                KnownPeer.parse(text)
        except ValueError as error:
            raise UsageError(str(error)) from error
        record = ShareRecord(
            link.share,
            Role.GET,
            landing_name(link.name, link.share),
            request.folder,
            0,
            trackers=tuple(trackers),
            peers=tuple(peers),
            only=request.only,
            seed_s=None if request.seed_s == math.inf else request.seed_s,
            piece_order=request.order,
        ).with_limits(request.up, request.down)
        with trio.CancelScope(shield=True):  # what is known is fetched, whoever has hung up
            resident, _ = await self._admit(record, None, request)
            if resident.record.complete and await self._is_changed(resident):
                async with resident.kept_closed():
                    await resident.amend(lambda known: replace(known, complete=False))
            if not resident.record.complete:
                await resident.open(again=True)
        try:
            return await follow(resident, report, request.timeout_s)
        except ManyhandsError as error:
            if error is resident.error:
                await self._withdraw(resident)
            raise

    async def _withdraw(self, resident: Resident) -> None:
        """A get that failed before anything of it had begun (a wrong folder, no such file): as if it had not
        been. What has begun stays known, with the error, and can be resumed."""
        async with self._admitting:
            share = resident.record.share
            # Asked for again meanwhile, it has no error, and whoever asked sees to it.
            if resident.fresh and resident.error is not None and self.residents.get(share) is resident:
                try:
                    with trio.CancelScope(shield=True):
                        await self._drop(share)
                except StorageError as error:
                    extra = {"share": share.hex()}
                    logger.error("%s cannot be forgotten: %s", resident.record.name, error, extra=extra)

    async def _is_changed(self, resident: Resident) -> bool:
        try:
            return await self.context.workers.run(Lane.DISK, resident.is_changed)
        except StorageError:
            return True

    async def _admit(
        self, record: ShareRecord, hashed: Hashed | None, request: protocol.Share | protocol.Get
    ) -> tuple[Resident, bool]:
        """Keep a share that a command brings."""
        context = self.context
        async with self._admitting:
            admission = self._registry.consider(replace(record, order=self._registry.next_order))
            for other in list(self._all()):  # a name stands for one share: the one that was given it last
                named = record.publish is not None and other.record.publish == record.publish
                if named and other.record.share != record.share:
                    await other.amend(lambda known: replace(known, publish=None))
            resident = self.residents.get(record.share)
            if resident is None:
                await self._put_content(hashed)
                await context.workers.run(Lane.DISK, context.shelf.put, admission.record)
                resident = self._take_in(admission.record)
                resident.fresh = record.role is Role.GET
            else:
                # Who opened it before it is known anew would go by what was, and write that back in the end.
                async with resident.kept_closed() if admission.restart else nullcontext():
                    await self._put_content(hashed)
                    # By the record as it is now: the share may have become complete meanwhile.
                    up, down = request.up, request.down  # in a record, no limit is one that was not named
                    await resident.amend(lambda known: rejoin(known, record).record.with_limits(up, down))
                    resident.error = None  # not before: with its error it is known to be resumed
                    resident.troubles.clear()
            for share in admission.replaces:  # last: whatever fails before leaves what was known
                await self._drop(share)
        return resident, admission.known

    async def _put_content(self, hashed: Hashed | None) -> None:
        if hashed is not None:
            shelf = self.context.shelf
            await self.context.workers.run(Lane.DISK, shelf.put_content, hashed.manifest, hashed.stamps)

    async def _forget(self, share: ShareId) -> None:
        """A share is no longer known. Its files stay. Raises StorageError; it is known then as before."""
        with trio.CancelScope(shield=True):  # or it goes on at work while nobody knows it
            # Else what removes it would take a new one of the same id from the shelf.
            async with self._admitting:
                await self._drop(share)

    def _damaged_one(self, text: str) -> Damaged | None:
        """A share that cannot be read has no name and no path: only its whole id means it."""
        return next((damaged for damaged in self.damaged if damaged.share.hex() == text.lower()), None)

    async def _drop(self, share: ShareId) -> None:
        resident = self.residents.pop(share, None)
        self._registry.remove(share)
        self._herald.remove(share)
        if self.publishing is not None:
            self.publishing.drop(share)
        self._packed = (-math.inf, b"")
        if resident is not None:
            await resident.retire()
        try:
            await self.context.workers.run(Lane.DISK, self.context.shelf.remove, share)
        except StorageError:
            if resident is not None:
                await self._take_back(resident.record)
            raise
        self.damaged = [damaged for damaged in self.damaged if damaged.share != share]

    async def _take_back(self, record: ShareRecord) -> None:
        """It could not be forgotten: it goes on as before."""
        resident = self._take_in(record)
        with suppress(StorageError):  # the disk may have done it, or half of it, all the same
            await self.context.workers.run(Lane.DISK, self.context.shelf.put, record)
        if not record.rests and self.context.nursery is not None:
            self.context.nursery.start_soon(resident.open)

    async def _each(self, share: str | None, deed: Callable[[Resident], Awaitable[None]]) -> Body:
        chosen = list(self._all()) if share is None else [self.residents[self._registry.find(share).share]]
        failed: list[StorageError] = []
        for resident in chosen:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                with trio.CancelScope(shield=True):  # or it is paused, and at work until the next start
                    await deed(resident)
            except StorageError as error:  # one record that cannot be written keeps no other share from it
                failed.append(error)
        if failed:
            raise failed[0]
        return {"shares": [resident.record.name for resident in chosen]}

    async def _resume(self, resident: Resident) -> None:
        resident.error = None
        if resident.record.paused or resident.unsure:
            await resident.amend(lambda record: replace(record, paused=False))
        if not resident.record.rests:
            await resident.open(again=True)

    async def _limit(self, request: protocol.Limits) -> Body:
        if request.share is not None:
            resident = self.residents[self._registry.find(request.share).share]
            await resident.amend(lambda record: record.with_limits(request.up, request.down))
            record = resident.record
            return {"share": record.share.hex(), "name": record.name, "up": record.up, "down": record.down}
        services = self.context.node.services
        for pacer, rate in ((services.up, request.up), (services.down, request.down)):
            if rate is not None:
                pacer.set_rate(None if rate == math.inf else rate)
        self._packed = (-math.inf, b"")
        return {"up": services.up.limiter.rate, "down": services.down.limiter.rate}

    def _list(self) -> Body:
        return {
            "shares": [status.brief(resident, self.context) for resident in self._all()],
            "damaged": [damaged.text for damaged in self.damaged],
        }

    def _status(self) -> Body:
        working = status.at_work(list(self._all()))
        return status.node_body(
            self.context,
            self.residents.values(),
            version=VERSION,
            seconds=trio.current_time() - self._started_at,
            shares=[status.whole(resident, self.context) for resident in working[:STATUS_SHARES_MAX]],
            damaged=[damaged.text for damaged in self.damaged],
            trackers=[
                {"tracker": str(tracker), "shares": news.shares, "error": news.error}
                for tracker, news in self._herald.news().items()
            ],
        )

    def _one(self, text: str) -> Body:
        resident = self.residents[self._registry.find(text).share]
        return {**status.whole(resident, self.context), "link": str(link_of(resident.record, self.context))}


def _changed_ones(residents: list[Resident], context: Context) -> list[Resident]:
    """Those whose files, or stamps, are not as they were. Blocking."""
    found = []
    for resident in residents:
        try:
            if is_changed(resident.record, context):
                found.append(resident)
        except StorageError:
            found.append(resident)
    return found
