"""The real disk: the folder kit, links and races that attack it, and systems that offer less."""

import errno
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from peer.daemon.records import Stamps
from peer.limits import FOLDERS_OPEN_MAX
from peer.store import native
from peer.store.files import open_folder
from peer.store.filesystem import Entry, Folder, Kind
from peer.store.records import Clean, encode
from tests.folder_kit import CHECKS, read, refused, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def folder(root: Path) -> Iterator[Folder]:
    made = open_folder(str(root), create=True)
    yield made
    made.close()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file outside the root that nothing may touch."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"canary")
    return outside


def open_descriptors() -> int:
    gc.collect()  # what others have left behind is not to be given back between two looks
    return len(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kit(folder: Folder, check: Callable[[Folder], None]) -> None:
    check(folder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_kit_on_a_system_that_offers_less(
    folder: Folder, check: Callable[[Folder], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if check.__name__ == "sizes_are_set":
        pytest.skip("nothing can be reserved there")
    for name in ("rename_exclusive", "reserve", "sync_file_system"):
        monkeypatch.setattr(native, name, lambda *_: False)
    check(folder)


def test_rename_on_a_file_system_without_hard_links(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(native, "rename_exclusive", lambda *_: False)
    monkeypatch.setattr(os, "link", refuse)
    write(folder, ("f",), b"f")
    write(folder, ("g",), b"g")
    with pytest.raises(FileExistsError):
        folder.rename(("f",), ("g",))
    folder.rename(("f",), ("h",))
    assert (read(folder, ("g",)), read(folder, ("h",))) == (b"g", b"f")


def test_a_missing_root_is_told_or_made(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_folder(str(root / "deep"))
    open_folder(str(root / "deep"), create=True).close()
    (root / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        open_folder(str(root / "file"))


def test_a_root_behind_a_link_is_what_the_user_named(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    write(open_folder(str(tmp_path / "link")), ("f",), b"x")
    assert (root / "f").read_bytes() == b"x"


def test_links_are_never_followed(folder: Folder, root: Path, canary: Path) -> None:
    (root / "link").symlink_to(canary)
    (root / "f").symlink_to(canary / "f")
    (root / "dangling").symlink_to(canary / "new")
    attempts: list[Callable[[], object]] = [
        lambda: folder.open(("f",)),
        lambda: folder.open(("f",), write=True),
        lambda: folder.open(("link", "f"), write=True),
        lambda: folder.create(("link", "new")),
        lambda: folder.create(("dangling",)),
        lambda: folder.make_folder(("link",)),
        lambda: folder.make_folder(("link", "new")),
        lambda: folder.make_folder(("dangling",)),
        lambda: folder.entries(("link",)),
        lambda: folder.kind(("link", "f")),
        lambda: folder.state(("f",)),
        lambda: folder.state(("link", "f")),
        lambda: folder.rename(("link", "f"), ("g",)),
        lambda: folder.remove(("link", "f")),
        lambda: folder.sync_folder(("link",)),
        lambda: folder.allocated_bytes(("link", "f")),
    ]
    for attempt in attempts:
        with refused(errno.ELOOP, errno.EEXIST):
            attempt()
    write(folder, ("g",), b"x")
    for call in (folder.rename, folder.replace):
        with refused(errno.ELOOP):
            call(("g",), ("link", "g"))
    assert folder.kind(("link",)) is Kind.LINK
    folder.remove(("link",))  # the link itself
    assert sorted(os.listdir(canary)) == ["f"]
    assert (canary / "f").read_bytes() == b"canary"


def test_writing_through_a_hard_link_is_refused(folder: Folder, root: Path, canary: Path) -> None:
    os.link(canary / "f", root / "f")
    with refused(errno.EMLINK):
        folder.open(("f",), write=True)
    assert read(folder, ("f",)) == b"canary"


def test_a_fifo_neither_blocks_nor_opens(folder: Folder, root: Path) -> None:
    os.mkfifo(root / "pipe")
    for want_write in (False, True):
        with refused(errno.EINVAL, errno.ENXIO):
            folder.open(("pipe",), write=want_write)
    assert folder.kind(("pipe",)) is Kind.OTHER
    assert list(folder.entries(())) == [Entry("pipe", Kind.OTHER)]


def test_a_parent_swapped_for_a_link_is_not_followed(folder: Folder, root: Path, canary: Path) -> None:
    """The parent's descriptor is already known when it is swapped."""
    write_to = ("d", "sub")
    folder.make_folder(write_to)
    write(folder, (*write_to, "f"), b"x")
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to(canary)
    write(folder, (*write_to, "g"), b"x")  # goes to the folder that we have open, or fails
    assert sorted(os.listdir(canary)) == ["f"]
    fresh = open_folder(str(root))
    with refused(errno.ELOOP):
        fresh.create((*write_to, "h"))


RACER = """
import ctypes, sys
swap = ctypes.CDLL(None).renameat2
one, two, count = sys.argv[1].encode(), sys.argv[2].encode(), 0
print("ready", flush=True)
while True:
    swap(-100, one, -100, two, 2)  # AT_FDCWD, RENAME_EXCHANGE
    count += 1
    if not count % 100:
        print(count, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two names in one step")
def test_CVE_2026_43619_symlink_race(root: Path, canary: Path) -> None:
    """rsync CVE-2026-43619: a racer swaps a folder for a link while files are made, read and moved in it."""
    (root / "d").mkdir(parents=True)
    (root / "link").symlink_to(canary)
    command = [sys.executable, "-c", RACER, str(root / "d"), str(root / "link")]
    done = {True: 0, False: 0}
    with (
        open(root.parent / "swaps", "w+b") as swaps,
        subprocess.Popen(command, stdout=swaps, env={}) as racer,
    ):
        try:
            while not os.fstat(swaps.fileno()).st_size:
                assert racer.poll() is None
            number = 0
            while number < 1000 or min(done.values()) <= 100 or os.fstat(swaps.fileno()).st_size <= 100:
                # until some steps have met the folder and some the link, whoever is given the processor
                assert racer.poll() is None
                attack(str(root), f"{number}", done)
                number += 1
        finally:
            racer.kill()
            racer.wait()
    assert os.listdir(canary) == ["f"]
    assert (canary / "f").read_bytes() == b"canary"


def attack(root: str, name: str, done: dict[bool, int]) -> None:
    folder = open_folder(root)  # nothing known beforehand: every walk is a new chance
    attempts: tuple[Callable[[], object], ...] = (
        lambda: folder.create(("d", name)).write(b"ours", 0),
        lambda: folder.open(("d", "f"), write=True).write(b"ours", 0),
        lambda: folder.rename(("d", name), ("d", "x" + name)),
        lambda: folder.remove(("d", "x" + name)),
        lambda: folder.make_folder(("d", "new" + name)),
        lambda: folder.remove(("d", "f")),
    )
    for attempt in attempts:
        try:
            attempt()
            done[True] += 1
        except OSError:
            done[False] += 1
    folder.close()


def test_descriptors_are_bounded_and_given_back(root: Path) -> None:
    before = open_descriptors()
    folder = open_folder(str(root), create=True)
    for number in range(3 * FOLDERS_OPEN_MAX):
        folder.make_folder((f"d{number}", "sub"))
        write(folder, (f"d{number}", "sub", "f"), b"")
    assert open_descriptors() <= before + FOLDERS_OPEN_MAX + 1
    file = folder.open(("d0", "sub", "f"))
    del file
    folder.close()
    assert open_descriptors() == before


def test_an_evicted_folder_stays_open_for_who_uses_it(folder: Folder) -> None:
    folder.make_folder(("d",))
    write(folder, ("d", "f"), b"x")
    listing = folder.entries(("d",))
    for number in range(2 * FOLDERS_OPEN_MAX):
        folder.make_folder((f"x{number}",))
    assert list(listing) == [Entry("f", Kind.FILE)]


def test_a_folder_removed_and_made_anew_is_found(folder: Folder, root: Path) -> None:
    folder.make_folder(("d", "e"))
    write(folder, ("d", "e", "f"), b"old")
    shutil.rmtree(root / "d")
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_bytes(b"new")
    assert read(folder, ("d", "e", "f")) == b"new"


def test_a_folder_in_one_removed_and_made_anew_is_found(folder: Folder, root: Path) -> None:
    """What had no files of its own, only folders, was asked for ever in the one that was gone."""
    folder.make_folder(("d", "e"))
    assert list(folder.entries(("d",))) == [Entry("e", Kind.FOLDER)]
    shutil.rmtree(root / "d")
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_bytes(b"new")
    assert folder.kind(("d", "e", "f")) is Kind.FILE
    folder.sync_folder(("d", "e"))
    shutil.rmtree(root / "d")
    assert folder.kind(("d", "e", "f")) is None
    shutil.rmtree(root)
    assert folder.kind(("d", "e", "f")) is None


def test_executable_bit_reaches_the_disk(folder: Folder, root: Path) -> None:
    write(folder, ("x",), b"", executable=True)
    write(folder, ("y",), b"")
    assert os.access(root / "x", os.X_OK)
    assert not os.stat(root / "y").st_mode & 0o111


def test_permission_and_read_only(folder: Folder, root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may do everything")
    folder.make_folder(("d",))
    os.chmod(root / "d", 0o500)
    with pytest.raises(PermissionError):
        folder.create(("d", "f"))
    os.chmod(root / "d", 0o700)


@pytest.mark.parametrize("year", [1601, 2400, 5000])
def test_a_time_far_away_fits_into_what_is_kept_of_it(year: int, folder: Folder, root: Path) -> None:
    """A daemon could not share a file of 1601, which is what Windows writes where it knows no time."""
    write(folder, ("f",), b"data")
    seconds = (year - 1970) * 31_556_952
    os.utime(root / "f", ns=(0, seconds * 10**9))  # a file system that cannot takes its nearest
    state = folder.state(("f",))
    assert folder.open(("f",)).state() == state
    assert Stamps.decode(Stamps("/root", (("f",),), (state,)).encode()).states == (state,)
    journal, _ = encode(Clean((state.mtime_ns,)))
    assert len(journal) == 1 + 4 + 8 + 4
