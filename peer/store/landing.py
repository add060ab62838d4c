"""Where a download lands: is there room, is the place free, and the move from NAME.part to NAME.

Nothing at the target is ever replaced: every move refuses to (RENAME_NOREPLACE or what stands in for it), and
whatever stands in the way is named.
"""

from collections.abc import Collection, Container, Iterable, Iterator

from peer.buggify import Point, buggify
from peer.errors import StorageError, StorageFullError
from peer.ids import FileIndex
from peer.limits import SYNC_EACH_MAX
from peer.paths import fold, printable
from peer.store.filesystem import Folder, Kind, PathParts
from peer.store.places import Place, Places, parents
from peer.store.trouble import translate, trouble
from peer.units import format_bytes

_BLOCK_BYTES = 4096
"""What the smallest file takes on most file systems."""


def check_target(places: Places, wanted: Iterable[FileIndex], good: Container[FileIndex]) -> None:
    """Make sure that nothing is where the wanted files will be, those aside that are known to be good.

    Raises StorageError that names what is in the way.
    """
    folder, top = places.folder, places.top
    with trouble(folder.describe(top)):
        kind = folder.kind(top)
    if kind is None:
        return
    if not places.manifest.is_single_file and kind is not Kind.FOLDER:
        raise _in_the_way(folder, top, "is there, where a folder is to be")
    for number in wanted:
        if number in good:
            continue
        path = places.target_path(number)
        with trouble(folder.describe(path)):
            found = folder.kind(path)
        if found is not None:
            raise _in_the_way(folder, path, "is there and is not what the link names")


def check_strangers(places: Places, good: Iterable[FileIndex]) -> None:
    """Make sure that the folder at the target, if there is one, has to do with this share: some of it is
    there, or at least nothing else. Whoever made the link chose the name, and a `bin` or a repository of the
    user's own would take what is put into it for the user's.

    Raises StorageError that names it. A file without bytes proves nothing: everybody can name one.
    """
    folder, top = places.folder, places.top
    if any(places.manifest.files[number].size for number in good):
        return
    ours = {fold(file.path[0]) for file in places.manifest.files if file.path}
    ours |= {fold(path[0]) for path in places.manifest.folders}
    with trouble(folder.describe(top)):
        if folder.kind(top) is not Kind.FOLDER:
            return
        strangers = any(fold(entry.name) not in ours for entry in folder.entries(top))
    if strangers:
        raise _in_the_way(folder, top, "is there, and has other things in it and nothing of this share")


def check_space(places: Places, wanted: Iterable[FileIndex], extra_bytes: int) -> None:
    """Make sure that the wanted files will fit, where any are still to come.

    extra_bytes: what else will be written then. Raises StorageFullError with numbers.
    """
    folder = places.folder
    with trouble(folder.describe()):
        free = folder.free_bytes()
    needed = 0
    for number in wanted:
        if places.of(number) is not Place.TARGET:
            size = -(-places.layout.sizes[number] // _BLOCK_BYTES) * _BLOCK_BYTES
            needed += max(0, size - places.taken_bytes(number))
    needed += extra_bytes if needed else 0
    if needed > free:
        raise StorageFullError(
            f"{printable(folder.describe())}: {format_bytes(needed)} more are needed, {format_bytes(free)}"
            " are free: make room or choose another folder"
        )


class Landing:
    """The move of the wanted files of one share, which are all complete. May be tried again after an error.

    Raises StorageError.
    """

    def __init__(self, places: Places, wanted: Collection[FileIndex]) -> None:
        self._places = places
        self._folder = places.folder
        self._manifest = places.manifest
        self._wanted = sorted(wanted)
        self._moved: set[PathParts] = set()
        """Names at the target that are not durable yet."""

    def shortened(self) -> Iterator[FileIndex]:
        """Wanted files in NAME.part that somebody cut; those that somebody made longer are cut to size."""
        for number in self._places.partials(self._wanted):
            path = self._places.partial_path(number)
            size = self._manifest.files[number].size
            with trouble(self._folder.describe, path):
                there = self._folder.state(path).size
                if there > size:
                    self._folder.open(path, write=True).truncate(size)
            if there < size:
                yield number

    def prepare(self) -> None:
        """Make what has no bytes, in NAME.part if that can move as a whole; its names are to be synced."""
        if self._is_whole():
            made = self._make_empty(self._places.partial.data)
            self._places.note_fresh(made)

    def move(self) -> None:
        """Move everything durably; all in NAME.part must be durable."""
        if self._is_whole():
            _move(self._folder, self._places.partial.data, self._places.top)
            self._land(self._wanted)
        else:
            numbers = self._places.partials(self._wanted)
            self._make_folders(map(self._places.target_path, numbers))
            for number in numbers:
                path = self._places.target_path(number)
                _move(self._folder, self._places.partial_path(number), path)
                self._moved.add(path)
                self._land((number,))
            self._moved |= self._make_empty(self._places.top)
        self._sync()

    def _is_whole(self) -> bool:
        """Whether NAME.part/data as it is becomes the target, in one step."""
        if len(self._wanted) < len(self._manifest.files) or self._places.any_at_target:
            return False
        with trouble(self._folder.describe(self._places.top)):
            return self._folder.kind(self._places.top) is None

    def _make_empty(self, top: PathParts) -> set[PathParts]:
        """Empty files, and empty folders if all of the share is wanted. Returns their names."""
        made = set()
        for number in self._wanted:
            entry = self._manifest.files[number]
            if not entry.size and self._places.of(number) is not Place.TARGET:
                path = (*top, *entry.path)
                _make_empty_file(self._folder, path, executable=entry.executable)
                made.add(path)
        if len(self._wanted) == len(self._manifest.files):
            for folder in self._manifest.folders or ([] if self._manifest.files else [()]):
                path = (*top, *folder)
                with trouble(self._folder.describe(path)):
                    self._folder.make_folder(path)
                made.add(path)
        return made

    def _make_folders(self, paths: Iterable[PathParts]) -> None:
        """The folders that these names need, durably: a name that moves into a folder which a power loss
        takes is lost from both places."""
        folders = {path[:-1] for path in paths if len(path) > 1}
        for path in sorted(folders):
            with trouble(self._folder.describe(path)):
                self._folder.make_folder(path)
        if folders:
            self._moved |= folders
            self._sync()

    def _land(self, files: Iterable[FileIndex]) -> None:
        states = {}
        for number in files:
            path = self._places.target_path(number)
            with trouble(self._folder.describe, path):
                states[number] = self._folder.state(path)
        self._places.landed(states)

    def _sync(self) -> None:
        top = self._places.top
        with trouble(self._folder.describe(top)):
            folders = parents((path for path in self._moved if path != top), top, ())
            if len(folders) > SYNC_EACH_MAX or buggify(Point.SYNC_EVERYTHING):
                self._folder.sync_everything(top)
            else:
                for path in folders:
                    self._folder.sync_folder(path)
            self._folder.sync_folder(())
        self._moved.clear()


def _move(folder: Folder, old: PathParts, new: PathParts) -> None:
    """Move without replacing."""
    try:
        folder.rename(old, new)
    except FileExistsError as error:
        raise _in_the_way(folder, new, "has appeared meanwhile") from error
    except OSError as error:
        raise translate(error, folder.describe(new)) from error


def _make_empty_file(folder: Folder, path: PathParts, *, executable: bool) -> None:
    """Make an empty file; one that is there already will do."""
    try:
        folder.make_folder(path[:-1])
        folder.create(path, executable=executable).close()
    except FileExistsError as error:
        with trouble(folder.describe(path)):
            if folder.kind(path) is Kind.FILE and not folder.state(path).size:
                return
        raise _in_the_way(folder, path, "is there, where an empty file is to be") from error
    except OSError as error:
        raise translate(error, folder.describe(path)) from error


def _in_the_way(folder: Folder, path: PathParts, what: str) -> StorageError:
    shown = printable(folder.describe(path))
    return StorageError(f"{shown} {what}: move it away, or choose another folder. It was not touched.")
