"""Checking tells which pieces and files of a share lie on disk, whatever else lies there."""

import errno
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peer.errors import StorageError
from peer.ids import FileIndex, PieceIndex
from peer.limits import PIECE_BYTES_MIN
from peer.manifest import FileEntry, Manifest
from peer.sim.workers import InlineWorkers
from peer.store import hashing
from peer.store.check import Check, Spellings, Verdict, check
from peer.store.files import open_folder
from peer.store.filesystem import Entry, File, Kind, PathParts
from peer.store.layout import Layout
from peer.store.scan import scan
from peer.workers import ThreadWorkers, Workers
from tests.glue.test_scan import TroubledFolder, Wrapped, content, write

PIECE = PIECE_BYTES_MIN

TREE = {
    "a": content(5, 1),
    "b": content(7 * PIECE + 3, 2),
    "c": content(PIECE, 3),
    "d/e": content(PIECE - 1, 4),
    "d/f": b"",
    "g": content(100, 5),
}
NAMES = list(TREE)


@pytest.fixture(params=[InlineWorkers(), ThreadWorkers()], ids=["inline", "threads"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr(hashing, "HASH_RUN_BYTES", 2 * PIECE)
    found: Workers = request.param
    return found


async def manifest_of(path: Path) -> Manifest:
    return (await scan(open_folder(str(path)), (), InlineWorkers())).manifest


async def check_path(path: Path, manifest: Manifest, workers: Workers, *, whole_files: bool = False) -> Check:
    root = open_folder(str(path))
    try:
        paths = [file.path for file in manifest.files]
        return await check(root, paths, manifest, workers, whole_files=whole_files, tasks=3)
    finally:
        root.close()


def by_name(found: Check) -> dict[str, Verdict]:
    return dict(zip(NAMES, found.verdicts, strict=True))


@pytest.mark.parametrize("whole_files", [False, True])
async def test_all_good(tmp_path: Path, workers: Workers, whole_files: bool) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    (tmp_path / "extra").write_bytes(b"not of the share")
    found = await check_path(tmp_path, manifest, workers, whole_files=whole_files)
    assert found.is_complete
    assert found.pieces.is_full
    assert set(found.verdicts) == {Verdict.GOOD}
    assert [state.size for state in found.states if state] == [len(data) for data in TREE.values()]


async def test_nothing_there(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path / "source", TREE)
    manifest = await manifest_of(tmp_path / "source")
    (tmp_path / "target").mkdir()
    found = await check_path(tmp_path / "target", manifest, workers)
    assert found.pieces.is_empty
    assert set(found.verdicts) == {Verdict.MISSING}
    assert found.states == (None,) * len(TREE)
    assert not found.is_complete


@pytest.mark.parametrize("whole_files", [False, True])
async def test_each_kind_of_damage(tmp_path: Path, workers: Workers, whole_files: bool) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
    flipped = bytearray(TREE["b"])
    flipped[3 * PIECE] ^= 1
    (tmp_path / "b").write_bytes(flipped)
    (tmp_path / "c").write_bytes(TREE["c"] + b"more")
    (tmp_path / "d/e").write_bytes(TREE["d/e"][:10])
    (tmp_path / "d/f").write_bytes(b"not empty")
    (tmp_path / "g").unlink()
    (tmp_path / "g").symlink_to("a")
    found = await check_path(tmp_path, manifest, workers, whole_files=whole_files)
    assert by_name(found) == {
        "a": Verdict.GOOD,  # although its piece is bad, which the short d/e shares
        "b": Verdict.BAD,
        "c": Verdict.LONGER,
        "d/e": Verdict.BAD,
        "d/f": Verdict.LONGER,
        "g": Verdict.MISSING,
    }
    assert list(found.pieces.missing()) == [3, *range(layout.packed_first, layout.piece_count)]
    assert not found.is_complete


async def test_what_stands_in_the_way_is_no_file(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    for name in ("a", "b", "c", "d/f"):
        (tmp_path / name).unlink()
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "b")
    (tmp_path / "c").symlink_to("/dev/zero")
    (tmp_path / "d/e").unlink()
    (tmp_path / "d").rmdir()
    (tmp_path / "d").write_bytes(b"a file where a folder should be")
    found = await check_path(tmp_path, manifest, workers)
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.MISSING) | {"g": Verdict.GOOD}


def test_names_are_found_as_the_disk_spells_them(tmp_path: Path) -> None:
    """On Linux a name in decomposed form is another one; a manifest has the composed form."""
    apart, kelvin = unicodedata.normalize("NFD", "é"), "\u212a"
    write(tmp_path, {f"d{apart}/{apart}": b"1", "é/plain": b"2", f"{apart}/x": b"3", f"{kelvin}.txt": b"4"})
    (tmp_path / "link").symlink_to(f"d{apart}")
    root = open_folder(str(tmp_path))
    nowhere = [("gone", "é"), ("link", "é"), ("é" * 300,)]
    asked = [("dé", "é"), ("é", "plain"), ("K.txt",), ("dé", "gone"), *nowhere]
    found = Spellings(root).found(asked)
    assert found[0] == (f"d{apart}", apart)
    assert found[1] == ("é", "plain"), "the form that the manifest has comes first"
    assert found[2] == (f"{kelvin}.txt",)
    assert found[3] == (f"d{apart}", "gone")
    assert found[4:] == nowhere
    root.close()


async def test_a_single_file(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, {"some name": TREE["b"]})
    root = open_folder(str(tmp_path))
    manifest = (await scan(root, ("some name",), workers)).manifest
    (tmp_path / "some name").rename(tmp_path / "another")
    assert (await check(root, [("another",)], manifest, workers)).is_complete


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("victim", ["a", "b", "d/f"])
async def test_an_unreadable_file_does_not_hide_the_others(
    tmp_path: Path, workers: Workers, code: int, victim: str
) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)

    def strike(what: str, path: PathParts) -> None:
        if path == tuple(victim.split("/")):
            raise OSError(code, "no")

    root = TroubledFolder(open_folder(str(tmp_path)), strike)
    found = await check(root, [file.path for file in manifest.files], manifest, workers)  # type: ignore[arg-type]
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {victim: Verdict.UNREADABLE}


async def test_a_bad_sector_costs_its_piece_only(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)

    class Folder(TroubledFolder):
        def open(self, path: PathParts) -> File:
            opened = super().open(path)
            if path != ("b",):
                return opened

            def read_into(buffer: memoryview, offset: int) -> int:
                if offset <= 3 * PIECE < offset + len(buffer):
                    raise OSError(errno.EIO, "bad sector")
                return opened.read_into(buffer, offset)

            return Wrapped(opened, read_into)  # type: ignore[return-value]

    root = Folder(open_folder(str(tmp_path)), lambda what, path: None)
    found = await check(root, [file.path for file in manifest.files], manifest, workers)  # type: ignore[arg-type]
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {"b": Verdict.UNREADABLE}
    assert list(found.pieces.missing()) == [3]


async def test_a_short_file_costs_what_it_lacks_only(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    os.truncate(tmp_path / "b", 3 * PIECE + 1)
    found = await check_path(tmp_path, manifest, workers)
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {"b": Verdict.BAD}
    assert list(found.pieces.missing()) == [3, 4, 5, 6, 7]


async def test_a_shortage_of_ours_is_no_verdict(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)

    def strike(what: str, path: PathParts) -> None:
        raise OSError(errno.EMFILE, "too many")

    root = TroubledFolder(open_folder(str(tmp_path)), strike)
    with pytest.raises(StorageError, match="too many files are open"):
        await check(root, [file.path for file in manifest.files], manifest, workers)  # type: ignore[arg-type]


async def test_a_file_that_changes_meanwhile_proves_nothing(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)

    class Folder(TroubledFolder):
        def open(self, path: PathParts) -> File:
            opened = super().open(path)

            def read_into(buffer: memoryview, offset: int) -> int:
                count = opened.read_into(buffer, offset)
                with tmp_path.joinpath(*path).open("r+b") as file:
                    file.write(b"changed")
                return count

            return Wrapped(opened, read_into) if path == ("b",) else opened  # type: ignore[return-value]

    root = Folder(open_folder(str(tmp_path)), lambda what, path: None)
    found = await check(root, [file.path for file in manifest.files], manifest, workers)  # type: ignore[arg-type]
    assert by_name(found)["b"] is Verdict.BAD
    assert not any(piece in found.pieces for piece in range(8))


class Watched(TroubledFolder):
    """What is done with the file ``victim`` is the test's; whatever is opened is counted."""

    def __init__(self, path: Path, victim: str, wrap: Callable[[File], object]) -> None:
        super().__init__(open_folder(str(path)), lambda what, path: None)
        self.open_files = 0
        self._victim = tuple(victim.split("/"))
        self._wrap = wrap

    def open(self, path: PathParts) -> File:
        opened = super().open(path)
        self.open_files += 1
        made = self._wrap(opened) if path == self._victim else Wrapped(opened, opened.read_into)
        assert isinstance(made, Wrapped)
        made.close = lambda: self._closed(opened)  # type: ignore[method-assign]
        return made  # type: ignore[return-value]

    def _closed(self, opened: File) -> None:
        self.open_files -= 1
        opened.close()


async def check_watched(root: Watched, manifest: Manifest, workers: Workers) -> Check:
    return await check(root, [file.path for file in manifest.files], manifest, workers)  # type: ignore[arg-type]


async def test_a_small_file_that_was_touched_meanwhile_proves_nothing(
    tmp_path: Path, workers: Workers
) -> None:
    """Its bytes were right when they were read; what they are now nobody knows."""
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)

    def wrap(opened: File) -> object:
        def read_into(buffer: memoryview, offset: int) -> int:
            count = opened.read_into(buffer, offset)
            os.utime(tmp_path / "a", (1, 1))
            return count

        return Wrapped(opened, read_into)

    root = Watched(tmp_path, "a", wrap)
    found = await check_watched(root, manifest, workers)
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {"a": Verdict.BAD}
    assert root.open_files == 0


async def test_a_small_file_that_gives_less_than_its_size_is_bad(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    root = Watched(tmp_path, "a", lambda opened: Wrapped(opened, lambda buffer, offset: 0))
    found = await check_watched(root, manifest, workers)
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {"a": Verdict.BAD}


class Fading(Wrapped):
    """Says what it is when it is opened, and not any more when it is closed."""

    def __init__(self, opened: File, code: int) -> None:
        super().__init__(opened, opened.read_into)
        self._codes = iter((None, code))

    def state(self) -> object:
        if code := next(self._codes):
            raise OSError(code, "no")
        return super().state()


@pytest.mark.parametrize("victim", ["a", "b"])
async def test_a_file_that_cannot_be_looked_at_in_the_end_proves_nothing(
    tmp_path: Path, workers: Workers, victim: str
) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
    root = Watched(tmp_path, victim, lambda opened: Fading(opened, errno.EIO))
    found = await check_watched(root, manifest, workers)
    assert by_name(found) == dict.fromkeys(NAMES, Verdict.GOOD) | {victim: Verdict.UNREADABLE}
    assert set(found.pieces.missing()) == set(layout.pieces_of(FileIndex(NAMES.index(victim))))
    assert root.open_files == 0


async def test_a_shortage_in_the_end_is_no_verdict_and_leaves_no_file_open(
    tmp_path: Path, workers: Workers
) -> None:
    write(tmp_path, TREE)
    manifest = await manifest_of(tmp_path)
    root = Watched(tmp_path, "a", lambda opened: Fading(opened, errno.ENFILE))
    with pytest.raises(StorageError, match="too many"):
        await check_watched(root, manifest, workers)
    assert root.open_files == 0


@pytest.mark.parametrize("composed_last", [False, True])
def test_of_two_spellings_the_manifests_wins_in_whatever_order_they_are_listed(composed_last: bool) -> None:
    apart = unicodedata.normalize("NFD", "é")
    names = [apart, "é"] if composed_last else ["é", apart]

    class Both:
        def kind(self, path: PathParts) -> None:
            return None

        def entries(self, path: PathParts) -> list[Entry]:
            return [Entry(name, Kind.FOLDER) for name in names]

    assert Spellings(Both()).found([("é", "x")]) == [("é", "x")]  # type: ignore[arg-type]


async def test_good_files_whose_pieces_are_said_to_be_others_are_not_complete(tmp_path: Path) -> None:
    write(tmp_path, {"x": b"abc", "y": b"def"})
    true = await manifest_of(tmp_path)
    lying = Manifest(PIECE, true.files, (), bytes(32))
    found = await check_path(tmp_path, lying, InlineWorkers())
    assert set(found.verdicts) == {Verdict.GOOD}
    assert not found.is_complete


async def test_zeros_in_a_manifest_do_not_make_a_missing_piece_good(tmp_path: Path) -> None:
    manifest = Manifest(PIECE, (FileEntry(("x",), 3, bytes(32)),), (), bytes(32))
    found = await check_path(tmp_path, manifest, InlineWorkers())
    assert found.pieces.is_empty


async def test_a_manifest_whose_file_hash_is_another_is_found_out(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, {"x": content(3 * PIECE)})
    true = await manifest_of(tmp_path)
    lying = Manifest(PIECE, (FileEntry(("x",), 3 * PIECE, bytes(32)),), (), true.pieces)
    assert (await check_path(tmp_path, lying, workers)).is_complete
    root = open_folder(str(tmp_path))
    assert (await check(root, [("x",)], lying, workers)).is_complete, "long files are not hashed unasked"
    root.close()
    assert not (await check_path(tmp_path, lying, workers, whole_files=True)).is_complete


@given(st.data())
@settings(
    max_examples=40,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture],
)
def test_any_damage_is_found_and_only_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:

    async def go() -> None:
        sizes = data.draw(st.lists(st.integers(0, 3 * PIECE), min_size=1, max_size=5))
        files = {f"f{i}": content(size, i) for i, size in enumerate(sizes)}
        path = tmp_path_factory.mktemp("share")
        write(path, files)
        manifest = await manifest_of(path)
        layout = Layout(manifest.piece_bytes, sizes)
        bad: set[int] = set()
        wrong: set[int] = set()
        for _ in range(data.draw(st.integers(0, 3)) if layout.piece_count else 0):
            piece = PieceIndex(data.draw(st.integers(0, layout.piece_count - 1)))
            at = data.draw(st.integers(0, layout.piece_length(piece) - 1))
            (place,) = layout.segments(piece, at, 1)
            with (path / f"f{place.file}").open("r+b") as file:
                file.seek(place.offset)
                byte = files[f"f{place.file}"][place.offset]
                file.seek(place.offset)
                file.write(bytes([byte ^ 1]))
            bad.add(piece)
            wrong.add(place.file)
        found = await check_path(path, manifest, InlineWorkers(), whole_files=data.draw(st.booleans()))
        assert set(found.pieces.missing()) == bad
        assert {f for f, verdict in enumerate(found.verdicts) if verdict is Verdict.BAD} == wrong
        assert all(verdict in (Verdict.GOOD, Verdict.BAD) for verdict in found.verdicts)
        assert all(layout.pieces_of(FileIndex(f)) for f in wrong)

    trio.run(go)
