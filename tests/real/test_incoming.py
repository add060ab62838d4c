"""A download on the real disk: threads, many small files, a second process, permissions."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.errors import StorageError
from peer.ids import PieceIndex
from peer.limits import FILES_OPEN_MAX, FOLDERS_OPEN_MAX, KIB
from peer.store import native
from peer.store.files import open_folder
from peer.store.filesystem import Folder
from peer.store.incoming import open_incoming
from peer.store.outgoing import SourceStore
from tests.real.test_files import open_descriptors
from tests.store_kit import (
    NAME,
    assert_held_is_true,
    expected_tree,
    fetch,
    finish,
    random_share,
    resume,
    set_of,
    tree,
    write_share,
)

SHARE = random_share(
    1,
    {
        ("large",): 24 * 16 * KIB + 5,
        ("b", "larger"): 90 * 16 * KIB,
        ("empty",): 0,
        **{("small", f"{n % 9}", f"{n:03}"): 900 + n for n in range(300)},
    },
    folders=[("hollow", "er")],
    executable=[("large",), ("small", "0", "000")],
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "downloads"), create=True)


def test_from_start_to_end(folder: Folder, tmp_path: Path) -> None:
    before = open_descriptors()
    store = open_incoming(folder, NAME, SHARE.manifest)
    fetch(store, SHARE, range(0, SHARE.layout.piece_count, 2))
    assert open_descriptors() <= before + FILES_OPEN_MAX + FOLDERS_OPEN_MAX + 2
    store.checkpoint()
    store.close()
    store = resume(folder, SHARE)
    assert set_of(store.held) == set(range(0, SHARE.layout.piece_count, 2))
    assert_held_is_true(store, SHARE)
    finish(store, SHARE)
    assert tree(folder) == expected_tree(SHARE)
    assert os.access(tmp_path / "downloads" / NAME / "large", os.X_OK)
    assert not os.access(tmp_path / "downloads" / NAME / "b" / "larger", os.X_OK)


@pytest.mark.parametrize("offers_less", [False, True])
def test_threads_may_write_serve_and_checkpoint_at_once(
    folder: Folder, offers_less: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if offers_less:
        for name in ("rename_exclusive", "reserve", "sync_file_system"):
            monkeypatch.setattr(native, name, lambda *_: False)
    store = open_incoming(folder, NAME, SHARE.manifest)
    stop = threading.Event()

    def checkpoints() -> None:
        while not stop.is_set():
            store.checkpoint()

    def serve() -> int:
        count = 0
        while True:  # once at least, whenever this thread is given its turn
            assert_held_is_true(store, SHARE)
            count += 1
            if stop.is_set():
                return count

    def write(piece: PieceIndex) -> None:
        store.write_piece(piece, SHARE.piece(piece))

    with ThreadPoolExecutor(6) as pool:
        saving, serving = pool.submit(checkpoints), pool.submit(serve)
        list(pool.map(write, [piece for piece in SHARE.pieces() for _ in range(2)]))
        stop.set()
        assert serving.result() > 0
        saving.result()
    assert store.held.is_full
    store.checkpoint()
    assert store.standing().durable == SHARE.layout.piece_count
    store.complete()
    store.close()
    assert tree(folder) == expected_tree(SHARE)


HOLDER = """
import sys
from peer.store.files import open_folder
from peer.store.partial import Partial
partial = Partial(open_folder(sys.argv[1]), "share")
partial.acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused(folder: Folder) -> None:
    command = [sys.executable, "-c", HOLDER, folder.describe()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(StorageError, match="in use by another process"):
            open_incoming(folder, NAME, SHARE.manifest)
        other.kill()  # whatever ends it, the lock goes with it
        other.wait()
    finish(open_incoming(folder, NAME, SHARE.manifest), SHARE)
    assert tree(folder) == expected_tree(SHARE)


def test_a_folder_that_may_not_be_written_is_named(folder: Folder, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may do everything")
    os.chmod(tmp_path / "downloads", 0o500)
    with pytest.raises(StorageError, match="part: permission denied"):
        open_incoming(folder, NAME, SHARE.manifest)
    os.chmod(tmp_path / "downloads", 0o700)


def test_a_hard_link_planted_among_the_data_is_not_written_through(folder: Folder, tmp_path: Path) -> None:
    """Another user's file, linked to where ours will be."""
    canary = tmp_path / "canary"
    canary.write_bytes(b"canary")
    store = open_incoming(folder, NAME, SHARE.manifest)
    (tmp_path / "downloads/share.part/data").mkdir()
    os.link(canary, tmp_path / "downloads/share.part/data/large")
    with pytest.raises(StorageError, match="hard link"):
        store.write_piece(PieceIndex(90), SHARE.piece(PieceIndex(90)))
    assert canary.read_bytes() == b"canary"


def test_a_shared_folder_is_served_and_its_changes_seen(folder: Folder, tmp_path: Path) -> None:
    write_share(folder, SHARE)
    paths = [(NAME, *path) for path in SHARE.paths]
    store = SourceStore(folder, SHARE.manifest, paths, [folder.state(path) for path in paths])
    assert all(store.check(piece) for piece in SHARE.pieces())
    part = store.slices(PieceIndex(0), 5, 100)[0]
    assert os.pread(part.file.fileno() or -1, 100, part.offset) == SHARE.piece(PieceIndex(0))[5:105]
    larger = tmp_path / "downloads" / NAME / "b" / "larger"
    stat = larger.stat()
    with larger.open("r+b") as file:
        file.write(b"!")
    os.utime(larger, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # hides the time of modification, not of change
    assert not store.still_good(PieceIndex(0))
    os.replace(tmp_path / "downloads" / NAME / "small/0/000", tmp_path / "elsewhere")
    assert not store.check(PieceIndex(SHARE.layout.packed_first))
    assert [change.reason for change in store.take_changes()] == ["was changed", "was moved or deleted"]
    store.close()
