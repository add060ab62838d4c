"""What the kernel says about the disk becomes one line that names the thing and the way out."""

import errno
import os

import pytest

from peer.errors import ExitCode, StorageError, StorageFullError, StorageLackError
from peer.store.trouble import LACK, translate, trouble


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_every_error_is_one_line_that_names_the_path(code: int) -> None:
    error = translate(OSError(code, os.strerror(code)), "/some/where\x1b[2J")
    line = str(error)
    assert line.startswith("/some/where\\x1b[2J: ")
    assert "\n" not in line
    assert ": " in line.removeprefix("/some/where\\x1b[2J: "), "a reason and a way out"
    assert error.exit_code is ExitCode.STORAGE
    assert isinstance(error, StorageFullError) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert isinstance(error, StorageLackError) == (code in LACK)


def test_an_error_without_a_code_is_told_as_well() -> None:
    assert "strange" in str(translate(OSError("strange"), "/p"))


def raise_inside(error: Exception) -> None:
    with trouble("/p"):
        raise error


def test_only_os_errors_are_translated() -> None:
    with pytest.raises(StorageError, match=r"^/p: permission denied") as caught:
        raise_inside(PermissionError(errno.EACCES, "no"))
    assert isinstance(caught.value.__cause__, PermissionError)
    with pytest.raises(KeyError):
        raise_inside(KeyError(1))
    with pytest.raises(StorageError, match=r"^mine$"):
        raise_inside(StorageError("mine"))


def test_where_there_is_no_trouble_nobody_is_asked_for_the_path() -> None:
    def describe(parts: tuple[str, ...]) -> str:
        asked.append(parts)
        return "/".join(("/downloads", *parts))

    asked: list[tuple[str, ...]] = []
    with trouble(describe, ("a", "b")):
        pass
    assert asked == []
    with pytest.raises(StorageError, match=r"^/downloads/a/b: "), trouble(describe, ("a", "b")):
        raise OSError(errno.EIO, "io")
    assert asked == [("a", "b")]
