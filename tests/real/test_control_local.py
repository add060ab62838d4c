"""The socket of a home: its folder is the user's alone, and what is no socket stays."""

import os
import sys
from pathlib import Path

import pytest

from peer.control import local
from peer.errors import StorageError, UsageError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("before", [None, 0o700, 0o701, 0o710, 0o777])
async def test_the_folder_and_the_socket_are_private_whatever_the_folder_was(
    before: int | None, tmp_path: Path
) -> None:
    if before is not None:
        (tmp_path / local.FOLDER).mkdir()
        (tmp_path / local.FOLDER).chmod(before)
    umask = os.umask(0o022)
    try:
        listener = local.listen(tmp_path)
        assert os.umask(0o022) == 0o022, "as it was"
    finally:
        os.umask(umask)
    async with listener:
        assert (mode(local.socket_path(tmp_path).parent), mode(local.socket_path(tmp_path))) == (0o700, 0o600)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a way round the short addresses of sockets"
)
async def test_a_long_path_costs_no_descriptor(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    home.mkdir()
    before = os.listdir("/proc/self/fd")
    async with local.listen(home) as listener:
        stream = await local.connect(home)
        assert stream is not None
        async with stream, await listener.accept():
            assert len(os.listdir("/proc/self/fd")) == len(before) + 3
    assert await local.connect(home) is None
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / local.FOLDER).symlink_to(elsewhere)
    with pytest.raises(StorageError, match="is not a folder of yours"):
        local.listen(tmp_path)
    (tmp_path / local.FOLDER).unlink()
    (tmp_path / local.FOLDER).mkdir()
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with pytest.raises(StorageError, match="is not a folder of yours"):
        local.listen(tmp_path)


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_what_is_no_socket_is_left_alone(what: str, tmp_path: Path) -> None:
    path = local.socket_path(tmp_path)
    path.parent.mkdir()
    if what == "file":
        path.write_text("kept")
    else:
        path.mkdir()
    with pytest.raises(StorageError, match="is no socket: move it away"):
        local.listen(tmp_path)
    assert path.exists()


async def test_who_connects_is_told_apart_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await local.connect(tmp_path) is None, "nobody is there"
    async with local.listen(tmp_path) as listener:
        with pytest.raises(UsageError, match="runs with the home"):
            local.listen(tmp_path)
        stream = await local.connect(tmp_path)
        assert stream is not None
        async with stream, await listener.accept():
            assert local.is_ours(stream.socket)
        ours = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
        with pytest.raises(StorageError, match="belongs to another user"):
            await local.connect(tmp_path)
    monkeypatch.undo()
    assert await local.connect(tmp_path) is None, "it has gone and left its socket"
    assert local.identity(tmp_path) is not None
    local.remove(tmp_path)
    assert local.identity(tmp_path) is None
