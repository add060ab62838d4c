"""Shares in memory for the stores' tests, and what a disk must hold when one is complete."""

from collections.abc import Iterable, Iterator, Mapping
from random import Random

from blake3 import blake3

from peer.bitfield import Bitfield
from peer.ids import FileIndex, PieceIndex
from peer.limits import PIECE_BYTES_MIN
from peer.manifest import FileEntry, Manifest
from peer.store.filesystem import FileState, Folder, Kind, PathParts
from peer.store.incoming import IncomingStore, open_incoming
from peer.store.journal import read_journal
from peer.store.layout import Layout
from peer.store.trouble import trouble

NAME = "share"


class Share:
    """A manifest and all its bytes."""

    def __init__(
        self,
        files: Mapping[PathParts, bytes],
        *,
        folders: Iterable[PathParts] = (),
        executable: Iterable[PathParts] = (),
        piece_bytes: int = PIECE_BYTES_MIN,
    ) -> None:
        self.files = dict(sorted(files.items()))
        self.folders = tuple(sorted(folders))
        self.executable = frozenset(executable)
        self.paths = tuple(self.files)
        self.layout = Layout(piece_bytes, [len(data) for data in self.files.values()])
        self._data = tuple(self.files.values())
        entries = tuple(
            FileEntry(path, len(data), blake3(data).digest(), path in self.executable)
            for path, data in self.files.items()
        )
        pieces = b"".join(blake3(self.piece(piece)).digest() for piece in self.pieces())
        self.manifest = Manifest(piece_bytes, entries, self.folders, pieces)

    def pieces(self) -> Iterator[PieceIndex]:
        return map(PieceIndex, range(self.layout.piece_count))

    def piece(self, piece: PieceIndex) -> bytes:
        return b"".join(
            self._data[part.file][part.offset : part.offset + part.length]
            for part in self.layout.segments(piece)
        )

    def file(self, *path: str) -> FileIndex:
        return FileIndex(self.paths.index(path))


def random_share(seed: int, sizes: Mapping[PathParts, int], **more: Iterable[PathParts]) -> Share:
    """Random bytes of these sizes."""
    rng = Random(seed)
    return Share({path: rng.randbytes(size) for path, size in sizes.items()}, **more)  # type: ignore[arg-type]


def write_share(folder: Folder, share: Share, name: str = NAME) -> None:
    """The whole share as a user would have it."""
    folder.make_folder((name,) if share.paths != ((),) else ())
    for path, data in share.files.items():
        folder.make_folder((name, *path)[:-1])
        folder.create((name, *path), executable=path in share.executable).write(data, 0)
    for path in share.folders:
        folder.make_folder((name, *path))


def good_files(folder: Folder, share: Share, name: str = NAME) -> dict[FileIndex, FileState]:
    """The share's files that are complete and right at the target."""
    found = {}
    for number, (path, data) in enumerate(share.files.items()):
        if folder.kind((name,)) is None or folder.kind((name, *path)[:-1]) is None:
            continue
        if folder.kind((name, *path)) is Kind.FILE and read_file(folder, (name, *path)) == data:
            found[FileIndex(number)] = folder.state((name, *path))
    return found


def read_file(folder: Folder, path: PathParts) -> bytes:
    file = folder.open(path)
    data = bytearray(file.size())
    assert file.read_into(memoryview(data), 0) == len(data)
    return bytes(data)


def tree(folder: Folder, path: PathParts = ()) -> dict[PathParts, bytes | None]:
    """All that is below: files with their bytes, empty folders with None."""
    found: dict[PathParts, bytes | None] = {}
    for entry in folder.entries(path):
        below = (*path, entry.name)
        if entry.kind is Kind.FOLDER:
            inner = tree(folder, below)
            found |= inner or {below: None}
        else:
            found[below] = read_file(folder, below)
    return found


def expected_tree(
    share: Share, wanted: Iterable[FileIndex] | None = None, name: str = NAME
) -> dict[PathParts, bytes | None]:
    """All of the share, or only some files."""
    if wanted is not None:
        return {(name, *share.paths[file]): share.files[share.paths[file]] for file in wanted}
    whole: dict[PathParts, bytes | None] = {(name, *path): data for path, data in share.files.items()}
    return whole | {(name, *path): None for path in share.folders}


def resume(folder: Folder, share: Share, wanted: Iterable[FileIndex] | None = None) -> IncomingStore:
    """As the node does it: look at the target, open, hash what is doubtful."""
    chosen = None if wanted is None else tuple(wanted)
    with trouble("the target"):
        good = good_files(folder, share)
    store = open_incoming(folder, NAME, share.manifest, wanted=chosen, good=good)
    for piece in store.doubtful:
        store.check(piece)
    return store


def missing(store: IncomingStore) -> list[PieceIndex]:
    return [PieceIndex(piece) for piece in store.held.missing_from(store.wanted)]


def fetch(store: IncomingStore, share: Share, pieces: Iterable[int] | None = None) -> None:
    for piece in missing(store) if pieces is None else map(PieceIndex, pieces):
        store.write_piece(piece, share.piece(piece))


def finish(store: IncomingStore, share: Share) -> None:
    """Fetch what is missing, prove what is not, complete."""
    while True:
        fetch(store, share)
        for piece in store.unproven:
            store.check(piece)
        if not missing(store):
            break
    store.complete()
    store.leave()
    store.close()


def read_piece(store: IncomingStore, share: Share, piece: PieceIndex) -> bytes:
    """Through the slices, in two parts."""
    length = share.layout.piece_length(piece)
    cut = length // 3
    made = bytearray()
    for offset, count in ((0, cut), (cut, length - cut)):
        for part in store.slices(piece, offset, count):
            data = bytearray(part.count)
            assert part.file.read_into(memoryview(data), part.offset) == part.count
            made += data
    return bytes(made)


def assert_held_is_true(store: IncomingStore, share: Share) -> None:
    """Invariant I2: no have-bit without provable bytes."""
    held: Bitfield = store.held
    for number in held.indices():
        piece = PieceIndex(number)
        assert read_piece(store, share, piece) == share.piece(piece), f"piece {piece} is held and wrong"


def recorded(folder: Folder) -> set[int]:
    """What the journal calls durable."""
    path = (NAME + ".part", "journal")
    contents = read_journal(folder, path) if folder.kind(path[:1]) is Kind.FOLDER else None
    return set() if contents is None else set_of(contents.durable)


def lies_there(folder: Folder, share: Share, piece: PieceIndex) -> bool:
    """Whether the files, read by themselves, have the bytes of the piece."""
    made = bytearray()
    for part in share.layout.segments(piece):
        path = share.paths[part.file]
        for whole in ((NAME, *path), (NAME + ".part", "data", *path)):
            if folder.kind(whole[:1]) is not None and folder.kind(whole) is Kind.FILE:
                data = bytearray(part.length)
                folder.open(whole).read_into(memoryview(data), part.offset)
                made += data
    return made == share.piece(piece)


def set_of(bits: Bitfield) -> set[int]:
    return set(bits.indices())
