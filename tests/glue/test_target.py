"""Which files of a share are selected by the user's patterns, and what that may cost."""

import unicodedata
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TypeVar, TypeVarTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer import target
from peer.errors import ContentError, UsageError
from peer.ids import FileIndex, ShareId
from peer.limits import PIECE_BYTES_MIN
from peer.manifest import FileEntry, Manifest
from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder
from peer.sim.workers import InlineWorkers
from peer.store.filesystem import PathParts
from peer.target import Target, batched, select
from peer.workers import Lane

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


def manifest(*paths: PathParts) -> Manifest:
    """What selecting reads of one; the paths need not be possible ones."""
    files = [FileEntry(path, 0, bytes(32)) for path in paths]
    return cast("Manifest", SimpleNamespace(piece_bytes=PIECE_BYTES_MIN, files=files, total_bytes=0))


def chosen(paths: list[PathParts], *patterns: str) -> list[PathParts]:
    found = select(manifest(*paths), patterns, "share")
    return [paths[number] for number in sorted(found)]


TREE: list[PathParts] = [("a.txt",), ("docs", "b.txt"), ("docs", "more", "c.jpg"), ("src", "docs", "d.py")]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ((), TREE),
        (("*.txt",), TREE[:2]),
        (("docs",), TREE[1:3]),
        (("docs/",), TREE[1:3]),
        (("docs/b.txt",), TREE[1:2]),
        (("docs/more",), TREE[2:3]),
        (("*/docs",), TREE[3:]),
        (("d.py", "a.txt"), [TREE[0], TREE[3]]),
        (("b.txt/",), TREE[1:2]),
    ],
)
def test_patterns_match_names_paths_and_folders(patterns: tuple[str, ...], found: list[PathParts]) -> None:
    assert chosen(TREE, *patterns) == found


@pytest.mark.parametrize("pattern", ["more", "DOCS", "docs/c.jpg", "b.*/x", "", "/"])
def test_what_matches_nothing_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(UsageError, match="no file of the share matches"):
        chosen(TREE, pattern)


def test_a_share_of_one_file_goes_by_its_name() -> None:
    assert select(manifest(()), ("sha*",), "share") == {0}


def test_a_name_completed_by_a_macs_shell_is_found() -> None:
    """Names in a manifest are composed; a decomposed pattern matched none of them."""
    paths: list[PathParts] = [("Caf\N{LATIN SMALL LETTER E WITH ACUTE}.txt",)]
    assert chosen(paths, unicodedata.normalize("NFD", paths[0][0])) == paths


NAMES = st.sampled_from(["a", "b", "ab", "a.b"])
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=6)
PATTERNS = st.lists(st.text("ab*?/.", max_size=5), min_size=1, max_size=3)


@given(PATHS, PATTERNS)
def test_a_file_is_selected_exactly_where_a_pattern_says_so(
    paths: list[PathParts], patterns: list[str]
) -> None:
    def matches(path: PathParts, pattern: str) -> bool:
        pattern = pattern.rstrip("/")
        if "/" not in pattern and fnmatchcase(path[-1], pattern):
            return True
        return any(fnmatchcase("/".join(path[:depth]), pattern) for depth in range(1, len(path) + 1))

    expected = [path for path in paths if any(matches(path, pattern) for pattern in patterns)]
    try:
        found = chosen(paths, *patterns)
    except UsageError:
        found = []
    assert found == expected


def test_a_folder_is_compared_once_for_all_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand files and three patterns took seconds, in which the node did nothing else."""
    calls = 0

    def count(name: str, pattern: str) -> bool:
        nonlocal calls
        calls += 1
        return fnmatchcase(name, pattern)

    monkeypatch.setattr(target, "fnmatchcase", count)
    paths: list[PathParts] = [(f"{n // 100}", "deep", "er", f"{n}.txt") for n in range(1000)]
    assert chosen(paths, "7.txt", "none", "*.jpg") == [paths[7]]
    assert calls <= 3 * len(paths) + 3 * 3 * 10


async def test_patterns_are_compared_off_the_event_loop() -> None:
    ran: list[object] = []

    class Noting(InlineWorkers):
        async def run(self, lane: Lane, job: Callable[[*Ts], T], *args: *Ts) -> T:
            ran.append(job)
            return await super().run(lane, job, *args)

    folder = SimFolder(SimDisk(), ())
    made = Target(folder, "share", ("x",), Noting())
    with pytest.raises(UsageError):
        await made.prepare(manifest(*TREE), b"")
    assert ran == [select]


async def test_another_size_than_was_promised_is_refused() -> None:
    made = Target(SimFolder(SimDisk(), ()), "share", (), InlineWorkers(), expected_bytes=1)
    with pytest.raises(ContentError, match="its publisher says 1"):
        await made.prepare(manifest(*TREE), b"")
    assert await made.recall(ShareId(bytes(32))) is None


def test_batches_hold_every_file_once_and_are_worth_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "CHECK_JOB_BYTES", 100)
    monkeypatch.setattr(target, "CHECK_FILE_BYTES", 10)
    sizes = [40, 40, 0, 200, 5]
    found = list(batched({FileIndex(n) for n in (4, 3, 1, 0, 2)}, sizes))
    assert found == [[0, 1], [2, 3], [4]]
    assert list(batched((), sizes)) == []
