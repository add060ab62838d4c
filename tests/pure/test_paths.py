"""Names from outside: every class of path attack that we know of, by name, and the properties behind them."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer import paths as paths_module
from peer.limits import NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX
from peer.paths import (
    check_component,
    check_path,
    check_paths,
    fold,
    landing_name,
    printable,
    shortened,
    shown_path,
)

LEGAL = [
    "a",
    "a b.txt",
    " leading",
    "...",
    "..a",
    ".hidden",
    "12:30?.mp3",
    "aux.c",
    "console",
    "com10",
    "naïve",
    "日本語　.txt",
    "👩\u200d👩\u200d👧",
    "न\u200dमस्ते",
    "$(reboot); `x` | y & z",
    "x" * NAME_BYTES_MAX,
    "é" * (NAME_BYTES_MAX // 2),
]

REFUSED = {
    "nothing": "",
    "this folder": ".",
    "the folder above (CVE-2009-1760 libtorrent)": "..",
    "traversal in one component (CVE-2010-1512 aria2)": "../../etc/passwd",
    "the filter that forgot one (CVE-2007-1799 KTorrent)": "a/../../b",
    "absolute": "/etc/passwd",
    "inner slash": "a/b",
    "backslash": "..\\..\\boot.ini",
    "drive and backslash": "C:\\x",
    "NUL cuts the name for C": "a.txt\0.exe",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "delete": "a\x7f",
    "C1 control: CSI in one byte": "a\x9b31m",
    "ANSI escape (croc GHSA-364c-vvqx-446c)": "\x1b[2J\x1b]0;owned\x07",
    "right-to-left override": "cod\u202egpj.exe",
    "bidi isolate": "a\u2066b",
    "right-to-left mark": "a\u200fb",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "half a surrogate pair": "a\ud800",
    "undecodable byte of a file system": "a\udcff",
    "not NFC": unicodedata.normalize("NFD", "é"),
    "too long": "x" * (NAME_BYTES_MAX + 1),
    "too long in bytes only": "é" * (NAME_BYTES_MAX // 2 + 1),
    "device CON": "CON",
    "device nul": "nul",
    "device com1": "Com1",
    "device lpt with superscript": "LPT¹",
    "device conin$": "CONIN$",
}


@pytest.mark.parametrize("name", LEGAL)
def test_ordinary_names_are_legal(name: str) -> None:
    check_component(name)
    check_path((name, name))
    check_paths([(name,)], [])


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED.keys())
def test_dangerous_names_are_refused_wherever_they_stand(name: str) -> None:
    checks: list[Callable[[], None]] = [
        lambda: check_component(name),
        lambda: check_path((name,)),
        lambda: check_path(("a", name, "b")),
        lambda: check_paths([("a", name)], []),
        lambda: check_paths([("a", name, "b")], []),
        lambda: check_paths([], [("a", name)]),
    ]
    for check in checks:
        with pytest.raises(ValueError, match="name") as caught:
            check()
        assert_one_printable_line(str(caught.value))


def assert_one_printable_line(text: str) -> None:
    assert printable(text) == text
    assert "\n" not in text
    assert len(text) < 400


CLASHES: dict[str, tuple[list[str], list[str]]] = {
    "same file twice": (["a", "a"], []),
    "same folder twice": ([], ["a", "a"]),
    "file and empty folder": (["a"], ["a"]),
    "case": (["readme", "README"], []),
    "case of a folder": (["Src/a", "src/b"], []),
    "case of a folder deep down": (["x/y/Z/a", "x/y/z/b"], []),
    "case of file and folder": (["a", "A/b"], []),
    "case of empty folder and folder": (["A/b"], ["a"]),
    "full case folding": (["straße", "STRASSE"], []),
    "ligature": (["ﬁle", "file"], []),
    "Greek final sigma": (["ΟΔΟΣ", "οδος"], []),
    "invisible character (CVE-2014-9390)": ([".g\u200dit", ".git"], []),
    "file as folder": (["a", "a/b"], []),
    "file as folder, other order": (["a/b", "a"], []),
    "file as folder, far apart": (["a/b/c/d", "x", "a/b"], []),
    "empty folder with a file": (["a/b"], ["a"]),
    "empty folder with a folder": ([], ["a", "a/b"]),
    "empty folder with a file deep down": (["a/b/c/d"], ["a/b"]),
}


@pytest.mark.parametrize(("files", "folders"), CLASHES.values(), ids=CLASHES.keys())
def test_paths_that_cannot_stand_together_are_refused(files: list[str], folders: list[str]) -> None:
    with pytest.raises(ValueError, match=r"clash|twice") as caught:
        check_paths([split(path) for path in files], [split(path) for path in folders])
    assert_one_printable_line(str(caught.value))


def split(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def test_names_may_repeat_in_different_folders() -> None:
    check_paths([("a", "x"), ("b", "x"), ("b", "a"), ("x",)], [("c", "x"), ("c", "b")])


def test_folders_are_counted_once_each_and_files_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths_module, "FOLDERS_MAX", 3)
    files = [("a", "b", str(n)) for n in range(10)] + [(str(n),) for n in range(10)]
    check_paths(files, [("a", "empty")])
    for more in ([*files, ("c", "x")], [*files, ("a", "d", "x")]):
        with pytest.raises(ValueError, match="more than 3 folders"):
            check_paths(more, [("a", "empty")])
    with pytest.raises(ValueError, match="more than 3 folders"):
        check_paths(files, [("a", "empty"), ("empty",)])


def test_empty_path_is_refused() -> None:
    checks: list[Callable[[], None]] = [
        lambda: check_path(()),
        lambda: check_paths([()], []),
        lambda: check_paths([], [()]),
    ]
    for check in checks:
        with pytest.raises(ValueError, match="empty"):
            check()


def test_depth_and_length_of_a_path_are_limited() -> None:
    check_path(("a",) * PATH_DEPTH_MAX)
    deep = ("a",) * (PATH_DEPTH_MAX + 1)
    fits = ("é" * 100,) * (PATH_BYTES_MAX // 200)
    check_path(fits)
    long = (*fits, "é" * 50)
    for path in (deep, long):
        with pytest.raises(ValueError, match=r"deep|bytes"):
            check_path(path)
        with pytest.raises(ValueError, match=r"deep|bytes"):
            check_paths([path], [])
        with pytest.raises(ValueError, match=r"deep|bytes"):
            check_paths([], [path])


@given(st.text(alphabet=st.characters(), max_size=300))
def test_whatever_passes_is_harmless(name: str) -> None:
    try:
        check_component(name)
    except ValueError as error:
        assert_one_printable_line(str(error))
        return
    encoded = name.encode()
    assert 0 < len(encoded) <= NAME_BYTES_MAX
    assert name not in (".", "..")
    assert not any(byte < 32 or byte in b"/\\\x7f" for byte in encoded)
    assert unicodedata.normalize("NFC", name) == name


@given(st.text(alphabet=st.characters()))
def test_printable_text_is_printable_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066" for char in shown)
    shown.encode()


def test_printable_keeps_what_people_write() -> None:
    for text in ("naïve", "日本語　x", "👩\u200d👧", "न\u200dमस्ते", "a\u00a0b"):
        assert printable(text) == text
    assert printable("\x1b[31m\u202e\udcff\U000e0001") == "\\x1b[31m\\u202e\\udcff\\U000e0001"


def test_messages_stay_short() -> None:
    assert len(shortened("x" * 1000)) <= 60
    assert len(shown_path(("x" * 200,) * 50)) <= 100


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_folding_ignores_case_and_form_and_is_stable(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert fold(unicodedata.normalize("NFD", name)) == fold(unicodedata.normalize("NFC", name))


names = st.sampled_from(["a", "A", "b", "B", "é", "É"])
paths = st.lists(st.lists(names, min_size=1, max_size=4).map(tuple), max_size=6)


@given(paths, paths)
def test_clash_check_agrees_with_its_definition(
    files: list[tuple[str, ...]], folders: list[tuple[str, ...]]
) -> None:
    """By definition every prefix, folded, has one spelling, and no leaf lies in another."""
    leaves = files + folders
    spellings: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for path in leaves:
        for depth in range(1, len(path) + 1):
            spellings.setdefault(tuple(map(fold, path[:depth])), set()).add(path[:depth])
    inner = {path[:depth] for path in leaves for depth in range(1, len(path))}
    legal = (
        len(set(leaves)) == len(leaves)
        and all(len(forms) == 1 for forms in spellings.values())
        and not inner & set(leaves)
    )
    try:
        check_paths(files, folders)
    except ValueError:
        assert not legal
    else:
        assert legal


@pytest.mark.parametrize(
    ("name", "lands"),
    [
        ("film.bin", "film.bin"),
        ("a.b", "a.b"),
        (".ssh", "share-abababababababab"),
        ("...", "share-abababababababab"),
        ("", "share-abababababababab"),
        (None, "share-abababababababab"),
    ],
)
def test_what_a_share_is_called_where_it_is_put(name: str | None, lands: str) -> None:
    assert landing_name(name, b"\xab" * 32) == lands
