"""The home on a real disk: whatever lies in the place of its small files, and whenever the power goes."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from peer.errors import StorageError
from peer.home import MANIFESTS, Home
from peer.identity import KEY_FILE, load_or_create_identity
from peer.ids import ShareId
from peer.serials import FILE as SERIALS
from peer.serials import serial_for
from tests.real.commands import run

SHARE = ShareId(bytes(32))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def sock(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("plant", [pipe, sock, device, Path.mkdir])
@pytest.mark.parametrize("name", ["version", "lock", SERIALS, f"{SERIALS}.new", KEY_FILE])
def test_what_lies_in_place_of_a_small_file_is_named(
    name: str, plant: Callable[[Path], None], tmp_path: Path
) -> None:
    """A pipe made every command wait for ever: for somebody to write, or to read."""
    plant(tmp_path / name)
    draft = name.endswith(".new")
    if draft and plant is not Path.mkdir:
        assert serial_for(tmp_path, "film", SHARE) == 1
        return
    uses: dict[str, Callable[[], object]] = {
        "version": partial(Home, tmp_path),
        "lock": partial(Home, tmp_path),
        KEY_FILE: partial(load_or_create_identity, tmp_path),
    }
    with pytest.raises(StorageError) as caught:
        uses.get(name, partial(serial_for, tmp_path, "film", SHARE))()
    assert str(tmp_path / (SERIALS if draft else name)) in str(caught.value)
    assert any(way in str(caught.value) for way in ("move it away", "replace it", "put the key itself"))


@pytest.mark.parametrize("plant", [pipe, device, Path.mkdir])
def test_a_manifest_that_is_none_is_not_remembered(plant: Callable[[Path], None], tmp_path: Path) -> None:
    home = Home(tmp_path, exclusive=False)
    (tmp_path / MANIFESTS).mkdir()
    plant(tmp_path / MANIFESTS / SHARE.hex())
    found = home.recall_manifest(SHARE)
    assert found is None


@pytest.mark.parametrize("name", ["config.toml", "version"])
def test_a_command_with_a_pipe_in_its_home_ends(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    done = run("peer", "serve", "--port", "0", "--home", tmp_path)
    assert done.err == f"peer: {tmp_path / name} is not a regular file: move it away\n"
    assert done.code == 5
    assert run("peer", "status", "--home", tmp_path).code == 2, "no daemon runs"


def test_a_new_home_is_durable_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is in it was: after a power loss the home was gone, and with it an id that others knew."""
    synced = set()

    def fsync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    load_or_create_identity(tmp_path / "above" / "home")
    folders = (tmp_path, tmp_path / "above", tmp_path / "above" / "home")
    assert {folder.stat().st_ino for folder in folders} <= synced
    synced.clear()
    (tmp_path / "made").mkdir()
    load_or_create_identity(tmp_path / "made")
    assert tmp_path.stat().st_ino in synced, "made by somebody who did not sync it"


def test_a_file_system_without_locks_is_told_from_a_home_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said that another peer runs."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match=r"cannot use the home .*locks"):
        Home(tmp_path)
