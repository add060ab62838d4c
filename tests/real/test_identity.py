"""The node's key: made once, kept private, and refused when it is not."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peer.errors import StorageError
from peer.home import Home
from peer.identity import KEY_FILE, Identity, load_or_create_identity
from peer.limits import HOME_VERSION


def test_made_once_and_found_again(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    made = load_or_create_identity(home)
    assert len(made.node_id) == 32
    assert load_or_create_identity(home).node_id == made.node_id
    assert load_or_create_identity(tmp_path / "other").node_id != made.node_id
    assert os.listdir(home) == [KEY_FILE]
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_identity(tmp_path / "home")
    finally:
        os.umask(before)
    assert (tmp_path / "home" / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_computes_the_same_id(tmp_path: Path) -> None:
    identity = load_or_create_identity(tmp_path)
    command = ["openssl", "pkey", "-in", str(tmp_path / KEY_FILE), "-pubout", "-outform", "DER"]
    public = subprocess.run(command, capture_output=True, check=True).stdout
    assert hashlib.sha256(public).digest() == identity.node_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create_identity(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(StorageError, match="chmod 600"):
        load_or_create_identity(tmp_path)


def test_a_home_that_anybody_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StorageError, match="chmod o-w"):
        load_or_create_identity(tmp_path)
    assert not (tmp_path / KEY_FILE).exists()


NOT_KEYS = {
    "empty": b"",
    "nonsense": b"\0\xff" * 50,
    "truncated": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIN\n",
    "X25519": b"-----BEGIN PRIVATE KEY-----\n"
    b"MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("what", list(NOT_KEYS))
def test_what_is_not_a_key_is_refused_and_kept(tmp_path: Path, what: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(NOT_KEYS[what])
    path.chmod(0o600)
    with pytest.raises(StorageError, match="move it away"):
        load_or_create_identity(tmp_path)
    assert path.read_bytes() == NOT_KEYS[what]


def test_a_link_or_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    load_or_create_identity(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / KEY_FILE).symlink_to(tmp_path / "a" / KEY_FILE)
    with pytest.raises(StorageError, match="symbolic link"):
        load_or_create_identity(tmp_path / "b")
    (tmp_path / "c" / KEY_FILE).mkdir(parents=True)
    with pytest.raises(StorageError, match="not a file"):
        load_or_create_identity(tmp_path / "c")


def test_a_home_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="cannot use"):
        load_or_create_identity(tmp_path / "home")


def test_two_that_create_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from peer.identity import load_or_create_identity as f;"
        "print(f(pathlib.Path(sys.argv[1])).node_id.hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    ids = [process.communicate()[0] for process in both]
    assert len(set(ids)) == 1
    assert len(ids[0].strip()) == 64
    assert os.listdir(tmp_path) == [KEY_FILE]


def test_the_private_key_is_not_printed() -> None:
    assert "rivate" not in repr(Identity.generate())


def test_importing_it_does_not_import_cryptography() -> None:
    code = "import sys, peer.identity; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_home_is_one_process_at_a_time(tmp_path: Path) -> None:
    """Row 14 of the faults: two nodes with one key would be one node to everybody else."""
    first = Home(tmp_path)
    with pytest.raises(StorageError, match=f"another peer is running with the home {tmp_path}.*--home DIR"):
        Home(tmp_path)
    Home(tmp_path, exclusive=False).close()  # to look is allowed
    first.close()
    Home(tmp_path).close()


def test_a_home_whose_disk_was_full_when_it_was_made_is_a_home(tmp_path: Path) -> None:
    """It was taken for one of a newer program's, also when there was room again."""
    (tmp_path / "version").touch()
    Home(tmp_path).close()
    assert (tmp_path / "version").read_text() == f"{HOME_VERSION}\n"
    Home(tmp_path).close()
