"""Scanning makes the share that is on disk: all of it, or a refusal that says why."""

import errno
import os
import socket
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from peer.errors import ManyhandsError, SourceChangedError, StorageError, UsageError
from peer.limits import KIB, PATH_DEPTH_MAX, PIECE_BYTES_MIN
from peer.manifest import EMPTY_DIGEST, Manifest
from peer.paths import printable
from peer.sim.workers import InlineWorkers
from peer.store import hashing
from peer.store import scan as scan_module
from peer.store.files import open_folder
from peer.store.filesystem import Entry, File, Folder, Kind, PathParts
from peer.store.scan import Scan, open_source, scan
from peer.workers import ThreadWorkers, Workers

PIECE = PIECE_BYTES_MIN
WORKERS = [InlineWorkers(), ThreadWorkers()]


@pytest.fixture(params=WORKERS, ids=["inline", "threads"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr(hashing, "HASH_RUN_BYTES", 2 * PIECE)
    monkeypatch.setattr(scan_module, "_ENTRIES_PER_JOB", 3)
    found: Workers = request.param
    return found


def content(size: int, seed: int = 0) -> bytes:
    return blake3(bytes([seed])).digest(length=size)


def write(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


async def scan_path(path: Path, workers: Workers) -> Scan:
    root, top = open_source(str(path))
    try:
        return await scan(root, top, workers, tasks=3)
    finally:
        root.close()


def check_against_disk(found: Scan, contents: dict[str, bytes]) -> None:
    manifest = found.manifest
    assert {"/".join(file.path): file.size for file in manifest.files} == {
        path: len(data) for path, data in contents.items()
    }
    datas = [contents["/".join(file.path)] for file in manifest.files]
    assert [file.digest for file in manifest.files] == [blake3(data).digest() for data in datas]
    size = manifest.piece_bytes
    large = [data for data in datas if len(data) >= size]
    packed = b"".join(data for data in datas if len(data) < size)
    pieces = [data[at : at + size] for data in [*large, packed] for at in range(0, len(data), size)]
    assert [manifest.piece_digest(i) for i in range(manifest.piece_count)] == [
        blake3(piece).digest() for piece in pieces
    ]
    assert Manifest.decode(manifest.encode(), manifest.share_id) == manifest


TREE = {
    "a.txt": content(5, 1),
    "large": content(7 * PIECE + 3, 2),
    "one piece": content(PIECE, 3),
    "sub/almost": content(PIECE - 1, 4),
    "sub/deep/er/x": content(100, 5),
    "sub/empty": b"",
    "sub/é": content(PIECE + 1, 6),
    "z": content(PIECE - 7, 7),
}


async def test_a_tree(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    (tmp_path / "hollow/inner").mkdir(parents=True)
    (tmp_path / "z").chmod(0o755)
    found = await scan_path(tmp_path, workers)
    check_against_disk(found, TREE)
    assert found.manifest.folders == (("hollow", "inner"),)
    assert [file.path for file in found.manifest.files if file.executable] == [("z",)]
    assert found.paths == tuple(file.path for file in found.manifest.files)
    assert [state.size for state in found.states] == [file.size for file in found.manifest.files]
    assert found.states[0].mtime_ns == (tmp_path / "a.txt").stat().st_mtime_ns
    assert not found.skipped


async def test_same_bytes_same_id_whatever_the_name_and_the_times(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path / "one", TREE)
    write(tmp_path / "two", dict(reversed(TREE.items())))
    one, two = await scan_path(tmp_path / "one", workers), await scan_path(tmp_path / "two", workers)
    assert one.manifest.share_id == two.manifest.share_id
    (tmp_path / "two/a.txt").chmod(0o755)
    three = await scan_path(tmp_path / "two", workers)
    assert three.manifest.share_id != one.manifest.share_id


@pytest.mark.parametrize("size", [0, 1, PIECE, 5 * PIECE + 1])
async def test_a_single_file(tmp_path: Path, workers: Workers, size: int) -> None:
    data = content(size)
    write(tmp_path, {"other": b"x", "f.bin": data})
    found = await scan_path(tmp_path / "f.bin", workers)
    assert found.manifest.is_single_file
    check_against_disk(found, {"": data})
    assert found.paths == (("f.bin",),)


async def test_the_path_that_the_user_wrote_may_be_a_link(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, {"real/f": b"abc"})
    (tmp_path / "to_file").symlink_to("real/f")
    (tmp_path / "to_folder").symlink_to("real")
    check_against_disk(await scan_path(tmp_path / "to_file", workers), {"": b"abc"})
    check_against_disk(await scan_path(tmp_path / "to_folder", workers), {"f": b"abc"})


async def test_an_empty_folder_is_a_share(tmp_path: Path, workers: Workers) -> None:
    found = await scan_path(tmp_path, workers)
    assert not found.manifest.files
    assert not found.manifest.folders
    assert found.manifest.piece_count == 0


async def test_links_and_devices_are_left_out_and_listed(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, {"f": b"abc", "g/h": b"x"})
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "dangling\x1b").symlink_to("nowhere")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/up").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        found = await scan_path(tmp_path, workers)
    check_against_disk(found, {"f": b"abc", "g/h": b"x"})
    assert found.manifest.folders == (("links",),)
    assert sorted((Path(item.path).name, item.reason) for item in found.skipped) == [
        ("dangling\\x1b", "a symbolic link"),
        ("link", "a symbolic link"),
        ("pipe", "a device, socket or pipe"),
        ("socket", "a device, socket or pipe"),
        ("up", "a symbolic link"),
    ]


async def test_names_are_nfc_in_the_manifest_and_kept_as_on_disk(tmp_path: Path, workers: Workers) -> None:
    on_disk = unicodedata.normalize("NFD", "café")
    write(tmp_path, {f"{on_disk}/{on_disk}": b"abc"})
    found = await scan_path(tmp_path, workers)
    check_against_disk(found, {"café/café": b"abc"})
    assert found.paths == ((on_disk, on_disk),)


async def refusal(path: Path, workers: Workers, kind: type[ManyhandsError]) -> str:
    with pytest.raises(ManyhandsError) as caught:
        await scan_path(path, workers)
    text = str(caught.value)
    assert type(caught.value) is kind
    assert printable(text) == text
    return text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("back\\slash", "separates folders"),
        ("new\nline", "control"),
        ("\x1b[2J", "control"),
        ("\u202egpj.exe", "reorders"),
        ("x" * 250, "250 bytes"),
        ("nul", "device"),
        (os.fsdecode(b"latin-\xe9"), "not valid Unicode"),
    ],
)
async def test_a_name_that_cannot_be_shared_is_named(
    tmp_path: Path, workers: Workers, name: str, says: str
) -> None:
    for folder in (tmp_path / "as_file", tmp_path / "as_folder"):
        folder.mkdir()
    (tmp_path / "as_file" / name).write_bytes(b"x")
    (tmp_path / "as_folder" / name).mkdir()
    for folder in (tmp_path / "as_file", tmp_path / "as_folder"):
        text = await refusal(folder, workers, UsageError)
        assert says in text
        assert "rename" in text
        assert str(folder) in text


@pytest.mark.parametrize(
    "names", [("README", "readme"), ("é", unicodedata.normalize("NFD", "é")), ("Src/a", "src/b")]
)
async def test_names_that_are_one_elsewhere_are_refused(
    tmp_path: Path, workers: Workers, names: tuple[str, str]
) -> None:
    write(tmp_path, dict.fromkeys(names, b"x"))
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system ignores the difference itself")
    assert "rename" in await refusal(tmp_path, workers, UsageError)


async def test_too_deep_too_many_too_large(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "deep"
    write(deep, {"d/" * (PATH_DEPTH_MAX - 1) + "f": b"x"})
    await scan_path(deep, workers)
    write(deep, {"d/" * PATH_DEPTH_MAX + "f": b"x"})
    assert "folders deep" in await refusal(deep, workers, UsageError)

    wide = tmp_path / "wide"
    write(wide, {str(i): b"" for i in range(4)})
    monkeypatch.setattr(scan_module, "FILES_MAX", 3)
    assert "more than 3 files" in await refusal(wide, workers, UsageError)

    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(9 * 1024**4)
    assert "too many for one share" in await refusal(big, workers, UsageError)


async def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path / "nothing/below"):
        with pytest.raises(StorageError, match=r"nothing.*does not exist"):
            open_source(str(path))
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in await refusal(tmp_path / "pipe", InlineWorkers(), StorageError)


class TroubledFolder:
    """A real folder in which the test's event strikes when a file is opened or listed."""

    def __init__(self, inner: Folder, strike: Callable[[str, PathParts], None]) -> None:
        self._inner = inner
        self._strike = strike

    def open(self, path: PathParts) -> File:
        self._strike("open", path)
        return self._inner.open(path)

    def entries(self, path: PathParts) -> Iterator[Entry]:
        self._strike("entries", path)
        return self._inner.entries(path)

    def state(self, path: PathParts) -> object:
        self._strike("state", path)
        return self._inner.state(path)

    def kind(self, path: PathParts) -> Kind | None:
        return self._inner.kind(path)

    def describe(self, path: PathParts = ()) -> str:
        return self._inner.describe(path)


EVENTS: dict[str, tuple[type[ManyhandsError], str]] = {
    "permission": (StorageError, "permission denied"),
    "unreadable folder": (StorageError, "permission denied"),
    "removed before it is hashed": (StorageError, "does not exist"),
    "removed while walking": (SourceChangedError, "disappeared"),
    "appended": (SourceChangedError, "changed"),
    "cut": (SourceChangedError, "changed"),
    "rewritten in place": (SourceChangedError, "changed"),
    "replaced": (SourceChangedError, "changed"),
    "made executable": (SourceChangedError, "changed"),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("victim", ["large", "sub/small"])
async def test_trouble_is_named(tmp_path: Path, workers: Workers, event: str, victim: str) -> None:
    write(tmp_path, {"large": content(20 * PIECE), "sub/small": content(10), "other": content(PIECE)})
    path = tmp_path / victim
    parts = tuple(victim.split("/"))

    def strike(what: str, asked: PathParts) -> None:
        if event == "unreadable folder" and what == "entries" and asked:
            raise PermissionError(errno.EACCES, "no")
        if event == "removed while walking" and what == "state" and asked == parts:
            path.unlink()
        if what != "open" or asked != parts:
            return
        if event == "permission":
            raise PermissionError(errno.EACCES, "no")
        if event == "removed before it is hashed":
            path.unlink()
        elif event == "appended":
            path.write_bytes(path.read_bytes() + b"x")
        elif event == "cut":
            os.truncate(path, 1)
        elif event == "rewritten in place":
            data = path.read_bytes()
            path.write_bytes(bytes(len(data)))
            os.utime(path, ns=(1, 1))
        elif event == "replaced":
            (tmp_path / "new").write_bytes(path.read_bytes())
            (tmp_path / "new").replace(path)
        elif event == "made executable":
            path.chmod(0o755)

    root = TroubledFolder(open_folder(str(tmp_path)), strike)
    kind, says = EVENTS[event]
    with pytest.raises(StorageError, match=says) as caught:
        await scan(root, (), workers)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert str(path if event != "unreadable folder" else tmp_path / "sub") in str(caught.value)


@pytest.mark.parametrize("victim", ["large", "small"])
async def test_a_change_while_it_is_read_is_noticed(tmp_path: Path, workers: Workers, victim: str) -> None:
    """Between its opening and its closing, the moment that only the second look can notice."""
    write(tmp_path, {"large": content(20 * PIECE), "small": content(10)})
    inner = open_folder(str(tmp_path))

    class Folder(TroubledFolder):
        def open(self, path: PathParts) -> File:
            opened = super().open(path)
            if path == (victim,):
                read = opened.read_into

                def late(buffer: memoryview, offset: int) -> int:
                    count = read(buffer, offset)
                    with (tmp_path / victim).open("r+b") as file:
                        file.write(b"changed")
                    return count

                return Wrapped(opened, late)  # type: ignore[return-value]
            return opened

    with pytest.raises(SourceChangedError, match=f"{victim} changed"):
        await scan(Folder(inner, lambda what, path: None), (), workers)  # type: ignore[arg-type]


class Wrapped:
    """A file with another way of reading."""

    def __init__(self, inner: File, read_into: Callable[[memoryview, int], int]) -> None:
        self._inner = inner
        self.read_into = read_into

    def state(self) -> object:
        return self._inner.state()

    def prefetch(self, offset: int, count: int) -> None:
        self._inner.prefetch(offset, count)

    def close(self) -> None:
        self._inner.close()


async def test_a_file_with_less_than_its_size_is_refused(tmp_path: Path, workers: Workers) -> None:
    """As in /sys: 4096 bytes by its state, few when read."""
    write(tmp_path, {"f": content(10)})

    class Folder(TroubledFolder):
        def open(self, path: PathParts) -> File:
            return Wrapped(super().open(path), lambda buffer, offset: 3)  # type: ignore[return-value]

    with pytest.raises(StorageError, match="less than its size"):
        await scan(Folder(open_folder(str(tmp_path)), lambda what, path: None), (), workers)  # type: ignore[arg-type]


async def test_progress_ends_at_the_total(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, TREE)
    seen: list[tuple[int, int]] = []
    root = open_folder(str(tmp_path))
    found = await scan(root, (), workers, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (found.manifest.total_bytes, found.manifest.total_bytes)


async def test_a_huge_sparse_file_costs_no_memory(tmp_path: Path) -> None:
    """256 MiB in 16 MiB of buffers: the peak of Python's own memory stays far below the file."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(256 * 1024 * KIB)
    tracemalloc.start()
    try:
        found = await scan_path(path, ThreadWorkers())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.manifest.piece_count == 1024
    assert peak < 40 * 1024 * KIB


async def test_empty_files_have_the_hash_of_nothing(tmp_path: Path, workers: Workers) -> None:
    write(tmp_path, {"a": b"", "b": b""})
    found = await scan_path(tmp_path, workers)
    assert [file.digest for file in found.manifest.files] == [EMPTY_DIGEST] * 2
