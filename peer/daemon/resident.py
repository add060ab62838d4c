"""One share in the daemon: closed until somebody needs it, open while it is at work.

A closed share is its record and nothing else; a thousand of them cost next to nothing. `open` makes a member
of it, from the shelf and without hashing, and `close` ends that. A complete share that nobody has been
connected to for DORMANT_S closes by itself. A share that is being fetched stays open until it is complete.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from peer.bitfield import Bitfield
from peer.daemon.context import Context
from peer.daemon.records import ShareRecord, Stamps
from peer.errors import ManyhandsError, StorageError, UsageError
from peer.holding import Holding
from peer.ids import Address, FileIndex, KnownPeer
from peer.limits import AWAKE_LOOK_S, DORMANT_S, REOPEN_S
from peer.manifest import Manifest
from peer.member import Member, Phase
from peer.net.lan import NoLan
from peer.store.filesystem import FileState, Folder, PathParts
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.store.trouble import trouble
from peer.swarm.known import Source
from peer.swarm.orders import ORDERS
from peer.target import Target
from peer.workers import Lane

logger = logging.getLogger(__name__)


class Resident:
    """See the module. ``changed`` is called with each new record, after it is on the shelf."""

    def __init__(self, record: ShareRecord, context: Context, changed: Callable[[ShareRecord], None]) -> None:
        self.record = record
        self.member: Member | None = None
        self.target: Target | None = None
        self.error: ManyhandsError | None = None
        """What ended it; cleared when it is opened again."""
        self.troubles: dict[str, None] = {}
        """What was found wrong with its files, one line each."""
        self.news = trio.Event()
        """Set, and replaced, when it opens, closes, completes or fails."""
        self.removed = False
        self.unsure = False
        """The shelf may have another record: the last could not be written, or so the disk said."""
        self.fresh = False
        """A command has just brought it, and nothing of it has begun: if it fails so, it is not kept."""
        self.speaks = False
        """Its open member talks to trackers and the local network itself."""
        self.idle_since = 0.0
        self.complete_since = trio.current_time()
        """When it was complete first, in this process."""
        self._failed_at = -REOPEN_S
        self._context = context
        self._changed = changed
        self._amending = trio.Lock()
        self._gate = trio.Lock()
        """Held by who opens it, for a moment, and by who wants it closed for a while."""
        self._scope: trio.CancelScope | None = None
        self._ready = trio.Event()
        self._closed = trio.Event()

    # --- from outside

    @property
    def state(self) -> str:
        """One word or two for a list."""
        if self.record.paused:
            return "paused"
        if self.error is not None:
            return "failed"
        if self.member is not None:
            return self.member.phase.value
        return "idle" if self.record.complete else "waiting"

    async def open(self, *, again: bool = False) -> Member | None:
        """Put it to work, if it is not. None if it is paused, or cannot be opened: then `error` says why.

        again: also right after a failure.
        """
        async with self._gate:
            while self._scope is not None and self._scope.cancel_called:
                await self._closed.wait()
            if self._scope is None:
                if self.record.paused or self.removed or self._context.nursery is None:
                    return None
                if not again and trio.current_time() - self._failed_at < REOPEN_S:
                    return None
                self.error = None
                self._scope, self._ready, self._closed = trio.CancelScope(), trio.Event(), trio.Event()
                # A task of the daemon's own: whoever wanted it opened may be gone before it is.
                self._context.nursery.start_soon(self._live, self._scope)
            ready = self._ready
        await ready.wait()
        return self.member

    async def close(self) -> None:
        """End its work: peers are told, what has come is made durable."""
        if self.member is not None:
            await self.member.goodbye()
        if self._scope is not None:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._closed.wait()

    @asynccontextmanager
    async def kept_closed(self) -> AsyncIterator[None]:
        """It is closed, and nobody opens it before the block ends: what it lives on can be replaced."""
        async with self._gate:
            await self.close()
            yield

    async def pause(self) -> None:
        """Close it until it is resumed, also after a restart. Who resumes it meanwhile opens it again."""
        async with self._gate:
            await self.amend(lambda record: replace(record, paused=True))
            await self.close()

    async def retire(self) -> None:
        """Close it for good: it is removed, and nothing is put on the shelf for it from now on."""
        self.removed = True
        await self.close()
        async with self._amending:  # whoever was at it has ended
            pass

    async def amend(self, amended: Callable[[ShareRecord], ShareRecord]) -> None:
        """Put a changed record on the shelf, and go by it from now on. Without effect once it is removed."""
        async with self._amending:
            if self.removed:
                return
            record = amended(self.record)
            self.unsure = True
            await self._context.workers.run(Lane.DISK, self._context.shelf.put, record)
            self.record, self.unsure = record, False
        if self.member is not None:
            self._apply_limits()
        self._changed(record)

    def is_changed(self) -> bool:
        """Whether what was complete need not be so any more. Blocking. Raises StorageError."""
        if self.record.rests:
            return is_changed(self.record, self._context)
        member, target = self.member, self.target  # the shelf has no stamps of a part of a share
        if member is None or member.manifest is None or target is None or not member.complete.is_set():
            return True
        landed, files = target.landed, member.manifest[0].files
        root = self._context.places.folder(self.record.path)
        try:
            for number in target.store.wanted_files:
                # An empty file, which never was a piece's, has no state.
                path, state = landed.get(number, ((self.record.name, *files[number].path), None))
                now = root.state(path)
                if now != state and (state is not None or now.size):
                    return True
        except OSError:
            return True
        finally:
            root.close()
        return False

    def _apply_limits(self) -> None:
        services = self._context.node.services
        services.up.set_share_rate(self.record.share, self.record.up)
        services.down.set_share_rate(self.record.share, self.record.down)

    # --- a life

    async def _live(self, scope: trio.CancelScope) -> None:
        def opened(member: Member) -> None:
            self.member = member
            self._apply_limits()
            self._ready.set()
            self._tell()

        try:
            with scope:
                await (self._serve(opened) if self.record.rests else self._fetch(opened))
        except* ManyhandsError as group:
            self.error = _first(group)
            self._failed_at = trio.current_time()
            if self.member is not None and not isinstance(self.error, UsageError):
                self.fresh = False  # it got as far as to look, and can be resumed
            logger.warning("%s: %s", self.record.name, self.error, extra={"share": self.record.share.hex()})
        finally:
            services = self._context.node.services
            services.up.set_share_rate(self.record.share, None)
            services.down.set_share_rate(self.record.share, None)
            if self.member is not None and self.member.holding is not None:
                self.fresh = False
            self.member = self.target = self._scope = None
            self.speaks = False
            self._ready.set()
            self._closed.set()
            self._tell()
            self._changed(self.record)

    def _tell(self) -> None:
        self.news.set()
        self.news = trio.Event()

    async def _serve(self, opened: Callable[[Member], None]) -> None:
        """Serve a complete share until nobody has wanted it for long."""
        context = self._context
        holding, store, root, stamps = await context.workers.run(Lane.DISK, self._open_store)
        services = replace(context.node.services, lan=NoLan())  # the herald announces it, open or closed
        member = Member(self.record.share, services, holding=holding)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(context.node.take_part, member)
                opened(member)
                await self._until_idle(member)
                nursery.cancel_scope.cancel()
        finally:
            self.troubles.update(member.unreadable)
            with trio.CancelScope(shield=True):
                await context.workers.run(Lane.DISK, self._close_store, store, root, stamps)

    def _open_store(self) -> tuple[Holding, SourceStore, Folder, Stamps]:
        share, shelf = self.record.share, self._context.shelf
        manifest, data = shelf.manifest(share)
        stamps = shelf.stamps(share)
        if len(stamps.paths) != len(manifest.files):
            raise StorageError("its stamps are not those of its manifest: share it again")
        root = self._context.places.folder(stamps.root)
        store = SourceStore(root, manifest, stamps.paths, stamps.states)
        have = Bitfield(manifest.piece_count, full=True)
        layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
        return Holding(manifest, data, layout, store, have), store, root, stamps

    def _close_store(self, store: SourceStore, root: Folder, stamps: Stamps) -> None:
        """Let go of the files. One that was only touched was hashed anew: that is worth remembering."""
        known = store.files.known()
        states = tuple(known[FileIndex(number)][1] for number in range(len(stamps.states)))
        store.close()
        root.close()
        if states != stamps.states:
            self._context.shelf.put_stamps(self.record.share, replace(stamps, states=states))

    async def _fetch(self, opened: Callable[[Member], None]) -> None:
        """Fetch, then serve; stay open as long as not all of the share is here."""
        context, record = self._context, self.record
        folder = await context.workers.run(Lane.DISK, self._open_folder)
        target = self.target = Target(folder, record.name, record.only, context.workers)
        trackers = [Address.parse(text) for text in record.trackers]
        services = context.node.services
        if record.piece_order is not None:
            policies = replace(services.policies, make_picker=ORDERS[record.piece_order])
            services = replace(services, policies=policies)
        member = Member(record.share, services, target=target, trackers=trackers)
        member.learned(map(KnownPeer.parse, record.peers), Source.OPTION)
        self.speaks = True
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(context.node.take_part, member)
                opened(member)
                await member.complete.wait()
                await self._complete(member, target)
                if not self.record.rests:
                    await trio.sleep_forever()
                await self._until_idle(member)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await target.close()

    def _open_folder(self) -> Folder:
        return self._context.places.folder(self.record.path, create=True)

    async def _complete(self, member: Member, target: Target) -> None:
        """All is here: note it, with what is needed to serve it after a restart."""
        if member.manifest is None:
            raise StorageError("complete without a manifest")
        manifest, workers = member.manifest[0], self._context.workers
        if not self.record.only:
            await workers.run(Lane.DISK, self._put_content, manifest, target.landed)
        total, count = target.wanted_bytes, len(target.store.wanted_files)
        self.complete_since = trio.current_time()
        await self.amend(lambda record: replace(record, complete=True, total_bytes=total, files=count))
        logger.info(
            "complete: %s",
            self.record.name,
            extra={"share": self.record.share.hex(), "path": self.record.shown},
        )
        self._tell()

    def _put_content(self, manifest: Manifest, landed: dict[FileIndex, tuple[PathParts, FileState]]) -> None:
        root = self._context.places.folder(self.record.path)
        try:
            for number, entry in enumerate(manifest.files):
                if FileIndex(number) not in landed:  # an empty file, which never was a piece's
                    path = (self.record.name, *entry.path)
                    with trouble(root.describe(path)):
                        landed[FileIndex(number)] = (path, root.state(path))
        finally:
            root.close()
        self._context.shelf.put_content(manifest, stamps_of(manifest, landed, self.record.path))

    async def _until_idle(self, member: Member) -> None:
        self.idle_since = trio.current_time()
        while True:
            await trio.sleep(AWAKE_LOOK_S)
            now = trio.current_time()
            if member.links or member.phase is not Phase.SEEDING:
                self.idle_since = now
            elif now - self.idle_since >= DORMANT_S:
                return


def stamps_of(
    manifest: Manifest, known: Mapping[FileIndex, tuple[PathParts, FileState]], root: str
) -> Stamps:
    """The stamps of a share all of whose files are known."""
    found: Sequence[tuple[PathParts, FileState]] = [
        known[FileIndex(number)] for number in range(len(manifest.files))
    ]
    return Stamps(root, tuple(path for path, _ in found), tuple(state for _, state in found))


def is_changed(record: ShareRecord, context: Context) -> bool:
    """Whether a file of a complete share is not in the state that the shelf knows. Blocking. StorageError."""
    stamps = context.shelf.stamps(record.share)
    root = context.places.folder(stamps.root)
    try:
        return any(root.state(path) != state for path, state in zip(stamps.paths, stamps.states, strict=True))
    except OSError:
        return True
    finally:
        root.close()


def _first(group: BaseExceptionGroup[ManyhandsError]) -> ManyhandsError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
