"""Where a share is fetched to: what is there already, what is wanted, and the end when all of it is here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from unicodedata import normalize

import trio

from peer.bitfield import Bitfield
from peer.errors import ContentError, StorageError, UsageError
from peer.holding import Holding
from peer.ids import FileIndex, PieceIndex, ShareId
from peer.limits import CHECK_FILE_BYTES, CHECK_JOB_BYTES, CHECKS_AT_ONCE_MAX
from peer.manifest import Manifest
from peer.paths import printable
from peer.store.check import Verdict, check
from peer.store.filesystem import FileState, Folder, PathParts
from peer.store.incoming import IncomingStore, open_incoming
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.store.partial import stored_manifest
from peer.store.trouble import trouble
from peer.workers import Lane, Workers


class Target:
    """NAME in a folder. Lives on the event loop; everything that blocks goes through the workers.

    expected_bytes: the size that was promised with the share's name; another is refused.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        only: Sequence[str],
        workers: Workers,
        *,
        expected_bytes: int | None = None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._only = only
        self._workers = workers
        self._expected_bytes = expected_bytes
        self._store: IncomingStore | None = None
        self._manifest: Manifest | None = None
        self.progress: tuple[int, int] = (0, 0)
        """Bytes looked at and bytes to look at, while something is checked."""
        self.wanted_bytes = 0
        self.resumed_bytes = 0
        """Of what is wanted, what was here before this run."""

    @property
    def path(self) -> str:
        """Where the share is, or will be, as a person would write it."""
        return self._folder.describe((self._name,))

    @property
    def store(self) -> IncomingStore:
        """The open store. Only after `prepare`."""
        if self._store is None:
            raise StorageError("the download has not begun")
        return self._store

    @property
    def landed(self) -> dict[FileIndex, tuple[PathParts, FileState]]:
        """The files that are good at their place: where, and in which state."""
        return self.store.served.known()

    def as_source(self) -> SourceStore | None:
        """A whole download in its place as a share of its own, which knows of the files what the download
        knows; None where files are missing."""
        manifest, store = self._manifest, self._store
        if manifest is None or store is None or not store.held.is_full:
            return None
        paths = [(self._name, *file.path) for file in manifest.files]
        return SourceStore(self._folder, manifest, paths, store.served)

    async def recall(self, share: ShareId) -> tuple[Manifest, bytes] | None:
        """The manifest that an earlier run left here: then nobody need be asked for it."""
        return await self._workers.run(Lane.DISK, stored_manifest, self._folder, self._name, share)

    async def prepare(self, manifest: Manifest, data: bytes) -> tuple[Holding, Bitfield]:
        """Look what is here, and make ready to write the rest.

        Returns what is held and which pieces are wanted. Raises UsageError when no file is selected,
        ContentError for another size than was promised, StorageError when the place is taken, too small, or
        may not be written to.
        """
        self._check_size(manifest)
        self._manifest = manifest
        layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
        wanted_files = await self._workers.run(Lane.COMPUTE, select, manifest, self._only, self._name)
        good = await self._find_good_files(manifest)
        store = await self._workers.run(
            Lane.DISK,
            partial(open_incoming, self._folder, self._name, manifest, wanted=wanted_files, good=good),
        )
        self._store = store
        await self._prove([*store.doubtful, *store.unproven], layout)
        have, wanted = store.held, store.wanted
        self.wanted_bytes = sum(layout.piece_length(PieceIndex(piece)) for piece in wanted.indices())
        self.resumed_bytes = sum(
            layout.piece_length(PieceIndex(piece)) for piece in have.indices() if piece in wanted
        )
        return Holding(manifest, data, layout, store, have), wanted

    async def complete(self, forget: Callable[[PieceIndex], object]) -> None:
        """Put the files in their place, durably, and take NAME.part away.

        forget: called for each piece that goes with NAME.part, while it is still there: from then on it must
        not be offered.

        Raises ContentError if a file's bytes are what the pieces say but not what the manifest says of the
        file as a whole: then the share was made wrongly, or to deceive. Raises StorageError.
        """
        async with trio.open_nursery() as nursery:
            # Both take as long as reading or writing everything once, on different parts of the machine.
            nursery.start_soon(self._workers.run, Lane.DISK, partial(self.store.checkpoint))
            wrong = await self._wrong_files()
        if wrong and self._manifest is not None:
            name = printable("/".join((self._name, *self._manifest.files[wrong[0]].path)))
            raise ContentError(
                f"{name}: its pieces are what the link names, but its checksum as a whole is another:"
                " the share was made wrongly, ask who shared it"
            )
        for piece in await self._workers.run(Lane.DISK, self.store.complete):
            forget(piece)
        await self._workers.run(Lane.DISK, self.store.leave)

    def _check_size(self, manifest: Manifest) -> None:
        if self._expected_bytes is not None and self._expected_bytes != manifest.total_bytes:
            raise ContentError(
                f"{printable(self._name)} has {manifest.total_bytes} bytes, and its publisher says"
                f" {self._expected_bytes}: not fetched"
            )

    async def _wrong_files(self) -> list[FileIndex]:
        """Files whose bytes contradict the manifest's hash of the whole, on every core."""
        wrong: list[FileIndex] = []
        todo = batched(self.store.wanted_files, self.store.layout.sizes)

        async def work() -> None:
            for files in todo:
                wrong.extend(await self._workers.run(Lane.COMPUTE, self.store.wrong_files, files))

        async with trio.open_nursery() as nursery:
            for _ in range(CHECKS_AT_ONCE_MAX):
                nursery.start_soon(work)
        return wrong

    async def close(self) -> None:
        """Make what is here durable and let go. Raises StorageError; may be called again."""
        store, self._store = self._store, None
        try:
            if store is not None:
                await self._workers.run(Lane.DISK, store.close)
        finally:
            self._folder.close()

    async def _find_good_files(self, manifest: Manifest) -> dict[FileIndex, FileState]:
        """Files that already lie at the target, by hashing."""
        if not await self._workers.run(Lane.DISK, self._is_anything_there):
            return {}
        paths = [(self._name, *file.path) for file in manifest.files]
        found = await check(
            self._folder, paths, manifest, self._workers, whole_files=True, progress=self._note_progress
        )
        return {
            FileIndex(number): state
            for number, (verdict, state) in enumerate(zip(found.verdicts, found.states, strict=True))
            if verdict is Verdict.GOOD and state is not None
        }

    def _is_anything_there(self) -> bool:
        with trouble(self.path):
            return self._folder.kind((self._name,)) is not None

    async def _prove(self, pieces: Sequence[PieceIndex], layout: Layout) -> None:
        """Hash pieces that an earlier run left, on every core; those that are wrong are dropped."""
        todo = iter(pieces)
        total = sum(layout.piece_length(piece) for piece in pieces)
        self._note_progress(0, total)

        async def work() -> None:
            for piece in todo:
                await self._workers.run(Lane.COMPUTE, self.store.check, piece)
                self._note_progress(self.progress[0] + layout.piece_length(piece), total)

        async with trio.open_nursery() as nursery:
            for _ in range(min(CHECKS_AT_ONCE_MAX, len(pieces))):
                nursery.start_soon(work)

    def _note_progress(self, done: int, total: int) -> None:
        self.progress = (done, total)


def batched(files: Iterable[FileIndex], sizes: Sequence[int]) -> Iterator[list[FileIndex]]:
    """The files in batches that are worth a job each."""
    batch: list[FileIndex] = []
    size = 0
    for file in sorted(files):
        batch.append(file)
        size += sizes[file] + CHECK_FILE_BYTES
        if size >= CHECK_JOB_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def select(manifest: Manifest, only: Sequence[str], name: str) -> frozenset[FileIndex]:
    """The files that match any of the patterns; all for no pattern.

    A pattern is matched, with upper and lower case apart, against the path below the share, against the last
    component if it has no slash, and against the folders that hold the file: ``docs`` selects all below docs.
    Both are compared in Unicode form NFC: a Mac's shell completes names decomposed. Blocking: a hundred
    thousand files take a second. Raises UsageError if nothing matches.
    """
    if not only:
        return frozenset(map(FileIndex, range(len(manifest.files))))
    patterns = [normalize("NFC", pattern).rstrip("/") for pattern in only]
    folders: dict[tuple[str, ...], bool] = {}
    chosen = frozenset(
        FileIndex(number)
        for number, file in enumerate(manifest.files)
        if _is_chosen(file.path or (name,), patterns, folders)
    )
    if not chosen:
        shown = ", ".join(printable(pattern) for pattern in only)
        raise UsageError(f"no file of the share matches {shown}: `peer inspect` lists them")
    return chosen


def _is_chosen(path: PathParts, patterns: Sequence[str], folders: dict[PathParts, bool]) -> bool:
    """folders: what is known of folders, of which many files share one."""
    last = path[-1]
    if any("/" not in pattern and fnmatchcase(last, pattern) for pattern in patterns):
        return True
    above, there = path[:-1], "/".join(path)
    if above and above not in folders:
        paths = ["/".join(above[:depth]) for depth in range(1, len(path))]
        folders[above] = any(fnmatchcase(folder, pattern) for folder in paths for pattern in patterns)
    if above and folders[above]:
        return True
    return any("/" in pattern and fnmatchcase(there, pattern) for pattern in patterns)
