"""The place of a download: pieces in, pieces out, and at the end a file or folder that is whole.

While it comes it lies in `NAME.part` (store/partial.py); files that are already good at the target stay there
and are used in place (store/places.py). The crash rule (RELIABILITY, decision 5 and 'Durability recipe'):

    write the verified piece -> hint in the journal
    every few seconds: sync the data and the names -> durable record in the journal -> sync the journal

so a durable record never speaks of data that a power loss can take. After a start, pieces with only a hint
are `doubtful`: they must be hashed, and written again, before they are held; pieces with a record are held,
and hashed at the latest before completion. After a failed sync nothing written since the last good one is
believed: it is dropped and fetched again (`take_lost`), because a second sync would succeed without having
saved anything.

Methods block and raise StorageError; StorageFullError where going on makes sense when there is room again.
Threads may share it. `complete` and `close` are for when no piece is being written.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Final

from peer.bitfield import Bitfield
from peer.errors import LocalProtocolError, StorageError
from peer.ids import FileIndex, PieceIndex
from peer.limits import KIB, UNCACHED_SHARE_BYTES_MIN
from peer.manifest import Manifest
from peer.paths import printable
from peer.store.filesystem import FileSlice, FileState, Folder
from peer.store.journal import Journal
from peer.store.landing import Landing, check_space, check_strangers, check_target
from peer.store.layout import Layout
from peer.store.ledger import Ledger, Standing
from peer.store.outgoing import Change, SourceFiles, read_piece
from peer.store.places import Place, Places
from peer.store.records import Clean, Contents, Durable, Header, Lost, Record, Written
from peer.store.resume import claimed, corrections, judge
from peer.store.trouble import translate, trouble
from peer.store.wholes import Wholes

_EXTRA_BYTES: Final = 64 * KIB
"""For journal, lock and folders when it is asked whether there is room."""


def open_incoming(
    folder: Folder,
    name: str,
    manifest: Manifest,
    *,
    wanted: Collection[FileIndex] | None = None,
    good: Mapping[FileIndex, FileState] | None = None,
) -> "IncomingStore":
    """Begin or resume fetching a share as NAME into the folder.

    wanted: the files to fetch, all by default. good: files found complete and right at the target, with the
    states in which they were hashed (`store/check.py`).
    Raises StorageError, before anything is written: something else is at the target or in NAME.part, another
    process is at work there, no permission; StorageFullError when the files will not fit.
    """
    layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
    return IncomingStore(Places(folder, name, manifest, layout), wanted, good or {})


class IncomingStore:
    """One share being fetched into one folder. Made by `open_incoming`."""

    def __init__(
        self, places: Places, wanted: Collection[FileIndex] | None, good: Mapping[FileIndex, FileState]
    ) -> None:
        self.layout = places.layout
        self._places = places
        self._manifest = places.manifest
        self._partial = places.partial
        files = range(len(self._manifest.files)) if wanted is None else wanted
        self._wanted_files = frozenset(map(FileIndex, files))
        self._wanted = self._related = self.layout.pieces_of_all(self._wanted_files)
        self._landing = Landing(places, self._wanted_files)
        self._ledger = Ledger(self.layout.piece_count)
        self._wholes = Wholes(self.layout, places.read_own)
        self._touched: set[FileIndex] = set()
        self._lost: list[PieceIndex] = []
        self._failed_syncs = 0
        self._state = Lock()
        """Guards the ledger and what stands between it and here; held for moments."""
        self._journal: Journal | None = None
        self._journal_lock = Lock()
        self._writing = Lock()
        """The kernel lets one thread write to a file at a time, and the others spin: here they sleep."""
        self._syncing = Lock()
        """One checkpoint, completion or close at a time; held while disks work."""
        self._begin(good)

    # --- what is here

    @property
    def held(self) -> Bitfield:
        """A copy: pieces whose bytes are here and may be served."""
        with self._state:
            return self._ledger.held.copy()

    @property
    def wanted(self) -> Bitfield:
        """A copy: the pieces that have bytes of the wanted files. Those aside that are not here, but are only
        shared by files that are good at the target and files that are not wanted: nobody needs them."""
        return self._wanted.copy()

    @property
    def doubtful(self) -> tuple[PieceIndex, ...]:
        """Pieces that are perhaps here: call `check` for each before asking others for it."""
        with self._state:
            return tuple(map(PieceIndex, self._ledger.doubtful.indices()))

    @property
    def unproven(self) -> tuple[PieceIndex, ...]:
        """Held pieces that nobody hashed in this run: call `check` for each before `complete`."""
        with self._state:
            return self._ledger.unproven()

    def standing(self) -> Standing:
        """Counts of pieces."""
        with self._state:
            return self._ledger.standing()

    def take_lost(self) -> tuple[PieceIndex, ...]:
        """Pieces that were held and are not any more, after a failed sync or `check`; each once."""
        with self._state:
            lost, self._lost = self._lost, []
            return tuple(piece for piece in lost if piece not in self._ledger.held)

    def holds(self, piece: PieceIndex) -> bool:
        """Whether the piece is held now. A piece just written may be lost again before its writer looks."""
        return piece in self._ledger.held

    def take_changes(self) -> tuple[Change, ...]:
        """Files at the target that somebody changed; each once."""
        return self._places.target.take_changes()

    def check(self, piece: PieceIndex) -> bool:
        """Read and hash a piece: held and proven if it is right, dropped if not or if it cannot be read."""
        data = read_piece(self._manifest, self.layout, self._places.slices, piece)
        if data is not None and piece in self._ledger.doubtful:
            # A sync of an earlier run may have failed, and its `Lost` as well. Then the page cache shows what
            # no later sync will save: only what is written again is.
            try:
                self._write(piece, data)
            except StorageError:
                data = None
        with self._state:
            was_held = piece in self._ledger.held
            if data is not None:
                self._ledger.proved(piece)
                if piece not in self._ledger.durable:
                    self._touched.update(self._places.partials(self.layout.files_of(piece)))
                return piece in self._ledger.held
            known = self._ledger.dropped(piece)
            if was_held:
                self._lost.append(piece)
        if known:
            self._hint(Lost((piece,)))
        return False

    # --- pieces in and out

    def write_piece(self, piece: PieceIndex, data: memoryview | bytes) -> None:
        """Write a VERIFIED piece, and note it in the journal as a hint. Without effect if it is held."""
        if len(data) != self.layout.piece_length(piece):
            raise LocalProtocolError(f"piece {piece} has {self.layout.piece_length(piece)} bytes")
        if self._write(piece, data):
            self._hint(Written((piece,)))
            self._wholes.written(piece, memoryview(data))

    def _write(self, piece: PieceIndex, data: memoryview | bytes | bytearray) -> bool:
        """Hold a verified piece; False if it is held already. Raises StorageError."""
        segments = self.layout.segments(piece)
        view = memoryview(data)
        written = False
        while not written:
            with self._state:
                if piece in self._ledger.held:
                    return False
                failures = self._failed_syncs
            done = 0
            with self._writing:
                for part in segments:
                    self._places.write(part, view[done : done + part.length])
                    done += part.length
            with self._state:
                # A sync that failed meanwhile may have taken these bytes with it: then once more.
                written = failures == self._failed_syncs
                if written:
                    self._ledger.wrote(piece)
                    # Only now: a checkpoint takes pieces and the files to sync for them in one step.
                    self._touched.update(self._places.partials(part.file for part in segments))
        return True

    def slices(self, piece: PieceIndex, offset: int, length: int) -> list[FileSlice]:
        """Where these bytes of a held piece are now. Raises SourceChangedError, StorageError."""
        if piece not in self._ledger.held:
            raise StorageError(f"piece {piece} is not here")
        return self._places.slices(piece, offset, length)

    def still_good(self, piece: PieceIndex) -> bool:
        """Whether the piece is held, and the files behind it are what was hashed."""
        return piece in self._ledger.held and self._places.still_good(piece)

    def prefetch(self, piece: PieceIndex) -> None:
        """Hint that the piece will be read soon."""
        self._places.prefetch(piece)

    # --- durability

    def checkpoint(self, *, keep_cached: bool = True) -> None:
        """Make durable what was written. Look at `take_lost` after it, also when a later try succeeded.

        keep_cached: whether somebody will read it soon. If not, a large download leaves the page cache to
        others: it would push out what the user works with, and takes its memory from the same few pages
        again and again, which is faster wherever fresh memory is dear (a virtual machine's is).
        """
        with self._syncing:
            self._checkpoint(keep_cached=keep_cached or self.layout.total_bytes < UNCACHED_SHARE_BYTES_MIN)

    def _checkpoint(self, *, keep_cached: bool = True) -> None:
        with self._state:
            pieces = self._ledger.undurable()
            touched, self._touched = self._touched, set()
        fresh = self._places.take_fresh()  # after the pieces: it must hold all names that they need
        journal = self._journal
        if journal is None or not (pieces or fresh or journal.needs_rewrite):
            return
        try:
            self._places.sync(touched, fresh, keep_cached=keep_cached)
        except OSError as error:
            self._places.note_fresh(fresh)
            self._lose(touched)
            raise translate(error, self._partial.shown) from error
        with trouble(self._partial.shown):
            self._record(journal, pieces)
        with self._state:
            self._ledger.synced(pieces)

    def _record(self, journal: Journal, pieces: tuple[PieceIndex, ...]) -> None:
        """Put the pieces, whose data is durable, into the journal, durably. Raises OSError."""
        with self._journal_lock:
            if journal.needs_rewrite:
                journal.rewrite(self._snapshot(pieces))
                return
            if pieces:
                journal.append(Durable(pieces))
        journal.sync()  # writers may add hints meanwhile

    def _snapshot(self, pieces: tuple[PieceIndex, ...] = ()) -> list[Record]:
        """What a new journal must say. pieces: durable, but not yet so in the ledger."""
        with self._state:
            durable = self._ledger.durable.copy()
            for piece in pieces:
                durable.add(piece)
            hinted = self._ledger.held.copy()
            hinted.update(self._ledger.doubtful)
        hinted.difference_update(durable)
        return [Durable(tuple(durable.indices())), Written(tuple(hinted.indices()))]

    def _lose(self, touched: Iterable[FileIndex]) -> None:
        with self._state:
            lost = self._ledger.lose()
            self._lost += lost
            self._failed_syncs += 1
        self._places.forget(touched)
        if lost:  # or the page cache, which still shows these bytes, would pass for proof after a kill
            self._hint(Lost(lost))

    def _hint(self, record: Record) -> None:
        """Note it without being sure: a lost hint only costs a piece, so a full disk is no error here."""
        with suppress(OSError), self._journal_lock:
            if self._journal is not None:
                self._journal.append(record)

    @property
    def wanted_files(self) -> frozenset[FileIndex]:
        """The files to fetch."""
        return self._wanted_files

    @property
    def served(self) -> SourceFiles:
        """The files that are good at their place."""
        return self._places.target

    def wrong_files(self, files: Iterable[FileIndex]) -> list[FileIndex]:
        """Of these files, all fetched, the ones whose hash as a whole is not the manifest's.

        Their pieces are right, so the manifest contradicts itself: made wrongly, or to deceive whoever trusts
        its file hashes (`b3sum`). A file that is one whole piece has two hashes that were compared when the
        manifest was read. What was hashed while it came is not read again, unless its state tells that
        somebody else has written to it since. Raises StorageError; also where the pieces are right no longer,
        because somebody changed the file after they were written: no fault of the manifest's.
        """
        wrong = []
        for file in files:
            expected = self._manifest.files[file].digest
            if self._places.of(file) is not Place.PARTIAL:
                continue
            if self._places.is_untouched(file) and (
                self._is_one_piece(file) or self._wholes.digest(file) == expected
            ):
                continue
            if self._places.digest(file) == expected:
                continue
            self._places.forget((file,))  # another file may have its name by now, and that one would land
            pieces = self.layout.pieces_of(file)
            bad = [piece for piece in pieces if not self.check(PieceIndex(piece))]
            if bad:
                shown = printable(self._places.folder.describe(self._places.partial_path(file)))
                raise StorageError(
                    f"{shown} was changed by another program, or its disk fails: run the same command again"
                )
            wrong.append(file)
        return wrong

    def _is_one_piece(self, file: FileIndex) -> bool:
        pieces = self.layout.pieces_of(file)
        return len(pieces) == 1 and len(self.layout.files_of(PieceIndex(pieces[0]))) == 1

    # --- the end

    def complete(self) -> tuple[PieceIndex, ...]:
        """Move the wanted files to their place, durably.

        Returns pieces that are to be served no longer, since they also have parts of unwanted files, which go
        with NAME.part: `leave` is next, once nobody is offered them.

        All wanted pieces must be held and proven (LocalProtocolError). Raises StorageError; nothing is lost
        then, it may be called again.
        """
        with self._syncing:
            if self._ledger.proven.has_any_missing_from(self._wanted):
                raise LocalProtocolError("not all wanted pieces are here and proven")
            self._places.target.confirm(self._wanted_files)
            for file in self._landing.shortened():
                self._drop_file(file)
            self._landing.prepare()
            self._checkpoint()
            self._landing.move()
            return self._drop_partial()

    def _drop_file(self, file: FileIndex) -> None:
        pieces = tuple(map(PieceIndex, self.layout.pieces_of(file)))
        with self._state:
            self._lost += [piece for piece in pieces if self._ledger.dropped(piece)]
        self._hint(Lost(pieces))
        shown = self._places.folder.describe(self._places.partial_path(file))
        raise StorageError(f"{shown} was cut off by another program: run the same command again")

    def _drop_partial(self) -> tuple[PieceIndex, ...]:
        """What goes with NAME.part: nothing if it has pieces of files that nobody asked for this time."""
        with self._state:
            others = self._related.missing_from(self._ledger.held)
            if not self._ledger.doubtful.is_empty or any(map(self._in_partial, others)):
                return ()
            dropped = tuple(filter(self._in_partial, map(PieceIndex, self._ledger.held.indices())))
            for piece in dropped:
                self._ledger.dropped(piece)
                self._wanted.discard(piece)
        return dropped

    def leave(self) -> None:
        """Take NAME.part away after `complete`, unless it has pieces of files nobody asked for this time."""
        with self._syncing:
            if not self._is_spent():
                return
            self._drop_journal()
            with suppress(StorageError):  # all is in its place; what stays behind is cleared by the next run
                self._partial.remove()
            self._partial.release()

    def _is_spent(self) -> bool:
        """Whether NAME.part has nothing, and nothing that is still to be hashed."""
        with self._state:
            held = self._ledger.held.indices()
            return self._ledger.doubtful.is_empty and not any(map(self._in_partial, held))

    def _in_partial(self, piece: int) -> bool:
        """Whether it has bytes in NAME.part."""
        files = self.layout.files_of(PieceIndex(piece))
        return any(self._places.of(file) is not Place.TARGET for file in files)

    def close(self) -> None:
        """Make everything durable, mark the journal as closed in order, release the lock.

        A NAME.part without any piece is removed. May be called again. Raises StorageError, closed all the
        same.
        """
        with self._syncing:
            try:
                if self._journal is not None:
                    self._end(self._journal)
            finally:
                self.abandon()

    def _end(self, journal: Journal) -> None:
        if self._is_spent():
            self._drop_journal()
            self._partial.remove()
            return
        self._checkpoint()
        if not self._ledger.doubtful.is_empty:
            return  # there is still something to hash: not clean
        states = self._places.partial_states(self._places.partials(self._all_files()))
        times = tuple(states[file].mtime_ns if file in states else 0 for file in self._all_files())
        with trouble(self._partial.shown), self._journal_lock:
            journal.append(Clean(times))
            journal.sync()

    def abandon(self) -> None:
        """Let go of everything as it is: the next run finds what a kill would have left."""
        self._drop_journal()
        self._places.close()

    def _drop_journal(self) -> None:
        with self._journal_lock:
            if self._journal is not None:
                self._journal.close()
            self._journal = None

    # --- the beginning

    def _begin(self, good: Mapping[FileIndex, FileState]) -> None:
        wanted = sorted(self._wanted_files)
        extra_bytes = _EXTRA_BYTES + 2 * len(self._manifest.pieces)
        check_target(self._places, wanted, good)
        existed = self._partial.exists()
        if not existed:
            check_strangers(self._places, good)
            self._adopt(good)
            check_space(self._places, wanted, extra_bytes)
        self._partial.acquire()
        try:
            has_manifest = self._partial.belongs_to(self._manifest.share_id)
            contents = self._partial.read_journal()
            if contents is not None and contents.header.share != self._manifest.share_id:
                contents = None
            self._resume(contents, good)
            if existed and self._ledger.held.is_empty and self._ledger.doubtful.is_empty:
                check_strangers(self._places, good)  # NAME.part alone proves nothing: it was never checked
            check_space(self._places, wanted, extra_bytes)
            if not has_manifest:
                self._partial.write_manifest(self._manifest.encode())
            self._start_journal(contents)
        except BaseException:
            if not existed:
                with suppress(StorageError):
                    self._partial.remove()
            self.abandon()
            raise

    def _resume(self, contents: Contents | None, good: Mapping[FileIndex, FileState]) -> None:
        """Judge what an earlier run left, then adopt what is good."""
        folder = self._places.folder
        with trouble(self._partial.shown):
            is_any = folder.kind(self._partial.data) is not None
        if is_any:
            pieces = map(PieceIndex, claimed(contents, self.layout.piece_count).indices())
            files = {file for piece in pieces for file in self.layout.files_of(piece)}
            states = self._places.partial_states(sorted(files.difference(good)))
            self._places.found(states)
            judge(self._ledger, self.layout, contents, states, good)
        self._adopt(good)

    def _adopt(self, good: Mapping[FileIndex, FileState]) -> None:
        """Use these files where they lie at the target."""
        self._places.landed(good)
        wanted = self._related.copy()
        for piece in map(PieceIndex, self.layout.pieces_of_all(good).indices()):
            elsewhere = [f for f in self.layout.files_of(piece) if self._places.of(f) is not Place.TARGET]
            if not elsewhere:
                self._ledger.adopted(piece)
            elif self._wanted_files.isdisjoint(elsewhere):
                wanted.discard(piece)
        self._wanted = wanted

    def _start_journal(self, contents: Contents | None) -> None:
        header = Header(self._manifest.share_id, self.layout.piece_count)
        with trouble(self._partial.shown):
            journal = Journal(self._places.folder, self._partial.journal, header, contents)
            try:
                journal.rewrite(self._snapshot())
            except OSError:
                there = None if contents is None else self._partial.read_journal()  # the old one or the new
                if there is None:
                    raise
                # On a full disk go on with it: what is missing may need no room any more.
                journal = Journal(self._places.folder, self._partial.journal, header, there)
                for record in corrections(self._ledger, there):
                    journal.append(record)
            self._places.folder.sync_folder(())  # the name of NAME.part itself
        self._journal = journal

    def _all_files(self) -> Iterable[FileIndex]:
        return map(FileIndex, range(len(self._manifest.files)))
