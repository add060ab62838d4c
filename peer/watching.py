"""Looks after shared files that their owner goes on using, also while nobody asks for them.

Serving notices a change at the next request (store/outgoing.py); this notices it within seconds without one
(within half a minute in a download that is whole and in its place, which is looked after in the same way),
withdraws the pieces, and tells the sharer once, by name. A file that was only touched (its bytes are what
they were) is hashed again and shared on without a word. What a disk could not read is withdrawn as well, and
tried again now and then: a read error may pass, and nobody restarts a share for it.
"""

from collections.abc import Callable

import trio

from peer.bitfield import Bitfield
from peer.errors import StorageError
from peer.ids import PieceIndex
from peer.limits import SOURCE_LOOK_FILES, SOURCE_LOOK_S, SOURCE_RETRY_PIECES, SOURCE_RETRY_S
from peer.outflow import PieceReader
from peer.store.outgoing import Change, SourceStore
from peer.workers import Lane, Workers


class SourceWatch:
    """The files of one share. ``have``: the pieces that we say we hold. ``told``: a line for the sharer.
    ``held``: a piece can be had again. ``every``: seconds between two looks."""

    def __init__(
        self,
        store: SourceStore,
        have: Bitfield,
        workers: Workers,
        *,
        told: Callable[[str], object],
        held: Callable[[PieceIndex], None],
        every: float = SOURCE_LOOK_S,
    ) -> None:
        self._every = every
        self._store = store
        self._have = have
        self._workers = workers
        self._told = told
        self._held = held
        self._next = 0
        self._next_piece = 0
        self._unread: list[Change] = []
        """Changed files that could not be read when they were to be compared."""

    async def run(self) -> None:
        """Until cancelled. Looks at some files at a time, so that a share of any size costs little."""
        retry_at = trio.current_time() + SOURCE_RETRY_S
        while True:
            await trio.sleep(self._every)
            await self.look()
            if trio.current_time() >= retry_at:
                await self.retry()
                retry_at = trio.current_time() + SOURCE_RETRY_S

    async def look(self) -> None:
        """Look at the next files, and settle what was found changed here or while serving."""
        count = len(self._store.layout.sizes)
        batch = range(self._next, min(self._next + SOURCE_LOOK_FILES, count))
        self._next = batch.stop if batch.stop < count else 0
        await self._workers.run(Lane.DISK, self._store.look, batch)
        for change in self._store.take_changes():
            await self._settle(change)

    async def _settle(self, change: Change) -> None:
        """Withdraw the file's pieces, unless its bytes are what they were."""
        for piece in change.pieces:
            self._have.discard(piece)
        try:
            same = await self._workers.run(Lane.COMPUTE, self._store.recheck, change.file)
        except StorageError:
            same = False
            self._unread.append(change)
        if not same:
            self._told(str(change))
            return
        for number in change.pieces:
            piece = PieceIndex(number)
            # A piece of many small files is good again when all of them are.
            try:
                good = self._store.still_good(piece)
            except StorageError:
                self._unread.append(change)
                return
            if good and self._have.add(piece):
                self._held(piece)

    async def retry(self) -> None:
        """Try once more to read what could not be read: some of the pieces that are not here, in turn."""
        unread, self._unread = self._unread, []
        for change in unread:
            await self._settle(change)
        missing = [piece for piece in map(PieceIndex, self._have.missing()) if self._is_whole(piece)]
        later = [piece for piece in missing if piece >= self._next_piece]
        batch = (later or missing)[:SOURCE_RETRY_PIECES]
        self._next_piece = batch[-1] + 1 if batch else 0
        for piece in batch:
            good = await self._workers.run(Lane.COMPUTE, self._store.check, piece)
            if good and self._have.add(piece):
                self._held(piece)

    def _is_whole(self, piece: PieceIndex) -> bool:
        """Whether no file of the piece has changed, as far as is known without looking."""
        return not self._store.files.is_spoiled(piece)


async def watch_sources(
    workers: Workers,
    told: Callable[[str], object],
    held: Callable[[PieceIndex], None],
    reader: PieceReader | None,
    have: Bitfield,
    every: float = SOURCE_LOOK_S,
) -> None:
    """Watch what is served, if it is whole files, in their place: until cancelled."""
    if isinstance(reader, SourceStore):
        await SourceWatch(reader, have, workers, told=told, held=held, every=every).run()
