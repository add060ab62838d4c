"""What every `Folder` must do, whichever disk is behind it: the real and the simulated side run these."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from peer.store.filesystem import Entry, Folder, Kind


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """An OSError with one of these codes must be raised inside."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the code is checked below
        yield
    assert caught.value.errno in codes


def read(folder: Folder, path: tuple[str, ...]) -> bytes:
    """A whole file."""
    file = folder.open(path)
    data = bytearray(file.size())
    assert file.read_into(memoryview(data), 0) == len(data)
    file.close()
    return bytes(data)


def write(folder: Folder, path: tuple[str, ...], data: bytes, *, executable: bool = False) -> None:
    """A new file."""
    file = folder.create(path, executable=executable)
    file.write(data, 0)
    file.close()


def reads_what_was_written(folder: Folder) -> None:
    file = folder.create(("f",))
    file.write(b"0123456789", 0)
    file.write(memoryview(b"ab"), 4095)
    assert file.size() == 4097
    buffer = bytearray(8)
    assert file.read_into(memoryview(buffer), 4092) == 5
    assert bytes(buffer) == b"\0\0\0ab\0\0\0"
    assert file.read_into(memoryview(buffer), 4097) == 0
    assert file.read_into(memoryview(buffer), 9999) == 0
    file.sync()
    file.close()
    file.close()
    assert read(folder, ("f",))[:10] == b"0123456789"


def sizes_are_set(folder: Folder) -> None:
    file = folder.create(("f",))
    file.write(b"x" * 10_000, 0)
    file.truncate(100)
    file.truncate(200)
    assert read(folder, ("f",)) == b"x" * 100 + b"\0" * 100
    file.allocate(50_000)
    assert file.size() == 50_000
    assert folder.allocated_bytes(("f",)) >= 50_000
    file.allocate(10)
    assert read(folder, ("f",)) == b"x" * 10
    file.allocate(0)
    assert file.size() == 0


def holes_take_no_space(folder: Folder) -> None:
    file = folder.create(("f",))
    file.truncate(1 << 24)
    assert folder.allocated_bytes(("f",)) < 1 << 20


def create_never_replaces(folder: Folder) -> None:
    write(folder, ("f",), b"old")
    folder.make_folder(("d",))
    for name in ("f", "d"):
        with pytest.raises(FileExistsError):
            folder.create((name,))
    assert read(folder, ("f",)) == b"old"


def folders_are_made_with_parents(folder: Folder) -> None:
    folder.make_folder(("a", "b", "c"))
    folder.make_folder(("a", "b", "c"))
    write(folder, ("a", "b", "f"), b"")
    with pytest.raises(FileNotFoundError):
        folder.create(("a", "x", "f"))
    with pytest.raises(NotADirectoryError):
        folder.make_folder(("a", "b", "f", "g"))
    with refused(errno.ENOTDIR, errno.EEXIST):
        folder.make_folder(("a", "b", "f"))
    with pytest.raises(IsADirectoryError):
        folder.open(("a", "b"))
    assert list(folder.entries(("a", "b"))) == [Entry("c", Kind.FOLDER), Entry("f", Kind.FILE)]


def entries_are_sorted(folder: Folder) -> None:
    for name in ("b", "a", "Z", "é", "10", "9"):
        write(folder, (name,), b"")
    assert [entry.name for entry in folder.entries(())] == ["10", "9", "Z", "a", "b", "é"]
    with pytest.raises(FileNotFoundError):
        folder.entries(("none",))


def kinds_are_told(folder: Folder) -> None:
    write(folder, ("f",), b"")
    folder.make_folder(("d",))
    assert folder.kind(()) is Kind.FOLDER
    assert folder.kind(("f",)) is Kind.FILE
    assert folder.kind(("d",)) is Kind.FOLDER
    assert folder.kind(("none",)) is None
    assert folder.kind(("none", "none")) is None
    with pytest.raises(NotADirectoryError):
        folder.kind(("f", "below"))


def states_tell_change(folder: Folder) -> None:
    write(folder, ("f",), b"1", executable=True)
    before = folder.state(("f",))
    assert (before.size, before.executable) == (1, True)
    file = folder.open(("f",), write=True)
    assert file.state() == before
    file.write(b"22", 0)
    assert file.state() != before
    assert folder.state(("f",)) == file.state()
    write(folder, ("g",), b"1")
    assert not folder.state(("g",)).executable
    assert folder.state(("g",)).inode != before.inode
    with pytest.raises(IsADirectoryError):
        folder.state(())


def rename_never_replaces(folder: Folder) -> None:
    for path in (("f",), ("g",), ("d", "f"), ("e", "f")):
        folder.make_folder(path[:-1])
        write(folder, path, "/".join(path).encode())
    folder.make_folder(("empty",))
    for old, new in ((("f",), ("g",)), (("d",), ("e",)), (("f",), ("d",)), (("d",), ("empty",))):
        with pytest.raises(FileExistsError):
            folder.rename(old, new)
    folder.rename(("f",), ("d", "g"))
    folder.rename(("d",), ("empty", "d"))
    assert read(folder, ("empty", "d", "g")) == b"f"
    assert read(folder, ("empty", "d", "f")) == b"d/f"
    assert folder.kind(("d",)) is None
    with pytest.raises(FileNotFoundError):
        folder.rename(("none",), ("h",))


def a_renamed_folder_is_not_found_by_its_old_name(folder: Folder) -> None:
    folder.make_folder(("a", "b"))
    write(folder, ("a", "b", "f"), b"first")
    folder.rename(("a",), ("old",))
    folder.make_folder(("a", "b"))
    write(folder, ("a", "b", "f"), b"second")
    assert read(folder, ("old", "b", "f")) == b"first"
    assert read(folder, ("a", "b", "f")) == b"second"


def replace_replaces_files(folder: Folder) -> None:
    write(folder, ("f",), b"old")
    write(folder, ("f.new",), b"new")
    folder.replace(("f.new",), ("f",))
    assert read(folder, ("f",)) == b"new"
    assert folder.kind(("f.new",)) is None


def removal(folder: Folder) -> None:
    folder.make_folder(("d",))
    write(folder, ("d", "f"), b"x")
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        folder.remove(("d",))
    file = folder.open(("d", "f"))
    folder.remove(("d", "f"))
    folder.remove(("d",))
    assert not list(folder.entries(()))
    assert file.size() == 1  # what is open stays readable
    with pytest.raises(FileNotFoundError):
        folder.remove(("d",))
    folder.make_folder(("d",))
    write(folder, ("d", "f"), b"again")
    assert read(folder, ("d", "f")) == b"again"


def locks_exclude(folder: Folder) -> None:
    write(folder, ("f",), b"")
    first, second = folder.open(("f",), write=True), folder.open(("f",), write=True)
    assert first.lock()
    assert first.lock()
    assert not second.lock()
    first.close()
    assert second.lock()


def read_only_files_refuse_writing(folder: Folder) -> None:
    write(folder, ("f",), b"x")
    with refused(errno.EBADF):
        folder.open(("f",)).write(b"y", 0)
    with pytest.raises(FileNotFoundError):
        folder.open(("none",), write=True)
    assert folder.kind(("none",)) is None


def syncs_and_hints_succeed(folder: Folder) -> None:
    folder.make_folder(("a", "b"))
    write(folder, ("a", "b", "f"), b"x")
    folder.open(("a", "b", "f")).prefetch(0, 1 << 40)
    folder.sync_folder(())
    folder.sync_folder(("a", "b"))
    folder.sync_everything()
    folder.sync_everything(("a",))
    assert folder.free_bytes() > 0
    assert folder.describe(("a", "b")).endswith("/a/b")


CHECKS: tuple[Callable[[Folder], None], ...] = (
    reads_what_was_written,
    sizes_are_set,
    holes_take_no_space,
    create_never_replaces,
    folders_are_made_with_parents,
    entries_are_sorted,
    kinds_are_told,
    states_tell_change,
    rename_never_replaces,
    a_renamed_folder_is_not_found_by_its_old_name,
    replace_replaces_files,
    removal,
    locks_exclude,
    read_only_files_refuse_writing,
    syncs_and_hints_succeed,
)
