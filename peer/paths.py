"""The one judge of names that come from outside: from a manifest, a link, or the disk of the sharer.

Whoever makes a manifest also chooses its hashes, so a dangerous name would pass every content check
(CVE-2009-1760, CVE-2026-57079): names are judged here, on every way in, before the file system sees them.
Nothing is repaired, because repairs are what attackers play with (CVE-2007-1799): a name is legal or refused.

A name must mean the same on Linux and on macOS, whose file systems ignore case and normalisation: that is why
names are NFC and why two names that differ only in case may not stand beside each other. Names that only
Windows dislikes (`a:b`, `x?`, `aux.c`) are legal, real source trees have them; bare device names are not.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NoReturn, TypeAlias

from peer.limits import FOLDERS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX

Parts: TypeAlias = tuple[str, ...]

_PLAIN = re.compile(rf"[ !-.0-\[\]-~]{{1,{NAME_BYTES_MAX}}}")
"""Printable ASCII without slash and backslash: nearly all names, judged in one step."""

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"]
)

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what is shown, so that `gpj.exe` can look like `exe.jpg`."""

_REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "half a surrogate pair (the name is not valid Unicode)",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}

_IGNORED_BY_DISKS = re.compile("[\u00ad\u200b-\u200d\u2060-\u206f\ufe00-\ufe0f\ufeff]")
"""HFS+ drops some invisible characters when it compares names (CVE-2014-9390)."""

_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
"""Invisible, but part of ordinary Persian, Hindi and emoji: shown as they are."""


def check_component(name: str) -> None:
    """Check one name of a file or folder. Raises ValueError with a sentence that names it."""
    if not _PLAIN.fullmatch(name):
        _check_unusual(name)
    if name in (".", ".."):
        raise ValueError(f"the name {name!r} means another folder")
    if len(name) <= 7 and name.lower() in _DEVICES:
        raise ValueError(f"the name {name!r} is a device on some systems")


def _check_unusual(name: str) -> None:
    if not name:
        raise ValueError("a name is empty")
    shown = shortened(name)
    for char in name:
        if char in "/\\":
            raise ValueError(f"the name {shown!r} contains {char!r}, which separates folders")
        if char in _BIDI:
            raise ValueError(f"the name {shown!r} contains U+{ord(char):04X}, which reorders what is shown")
        refused = _REFUSED_CATEGORIES.get(unicodedata.category(char))
        if refused is not None:
            raise ValueError(f"the name {shown!r} contains {refused}")
    size = len(name.encode())
    if size > NAME_BYTES_MAX:
        raise ValueError(f"the name {shown!r} has {size} bytes; at most {NAME_BYTES_MAX} are portable")
    if not unicodedata.is_normalized("NFC", name):
        raise ValueError(f"the name {shown!r} is not in Unicode normal form NFC")


def landing_name(name: str | None, share: bytes) -> str:
    """What a share is called where it is put: as its link or its publisher says, unless that would be hidden.

    Whoever made the link chose the name, and often the folder is the user's own: `.ssh` or `.bashrc` there is
    obeyed by programs and looked at by nobody (croc, CVE-2023-43619).
    """
    return name if name and not name.startswith(".") else f"share-{share.hex()[:16]}"


def check_path(parts: Parts) -> None:
    """Check the path of a file or folder below its share. Raises ValueError with a sentence."""
    if not parts:
        raise ValueError("a path is empty")
    for name in parts:
        check_component(name)
    _check_extent(parts)


def check_paths(files: Sequence[Parts], folders: Sequence[Parts]) -> None:
    """Check all files and all empty folders of one share, each path and how they stand to each other.

    Refused: the same path twice, paths that differ only in case or normalisation, a file that is also a
    folder, an empty folder that is not empty. Raises ValueError with a sentence. Linear in the total number
    of components; 100,000 paths take a fraction of a second.
    """
    tree = _Tree()
    for path in files:
        tree.add(path, is_file=True)
    for path in folders:
        tree.add(path, is_file=False)


class _Tree:
    """All names seen so far, as one dictionary from a parent's number and a folded name."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, str], tuple[int, str]] = {}  # (parent, folded) -> (number, name)
        self._leaves: dict[int, str] = {}
        self._folded: dict[str, str] = {}
        self._parents: dict[Parts, int] = {(): 0}
        self._empty = 0

    def add(self, path: Parts, *, is_file: bool) -> None:
        if not path:
            raise ValueError("a path is empty")
        _check_extent(path)
        parent = self._parent(path[:-1])
        key = (parent, self._fold(path[-1]))
        there = self._nodes.get(key)
        if there is not None:
            self._refuse_clash(path, *there)
        number = len(self._nodes) + 1
        self._nodes[key] = (number, path[-1])
        self._leaves[number] = "file" if is_file else "empty folder"
        self._empty += not is_file
        self._check_count()

    def _parent(self, path: Parts) -> int:
        known = self._parents.get(path)
        if known is not None:
            return known
        above = self._parent(path[:-1])
        key = (above, self._fold(path[-1]))
        number, name = self._nodes.setdefault(key, (len(self._nodes) + 1, path[-1]))
        if name != path[-1] or number in self._leaves:
            self._refuse_clash(path, number, name)
        self._parents[path] = number
        self._check_count()
        return number

    def _check_count(self) -> None:
        if len(self._parents) - 1 + self._empty > FOLDERS_MAX:
            raise ValueError(f"there are more than {FOLDERS_MAX} folders")

    def _fold(self, name: str) -> str:
        folded = self._folded.get(name)
        if folded is None:
            check_component(name)
            folded = self._folded[name] = fold(name)
        return folded

    def _refuse_clash(self, path: Parts, number: int, name: str) -> NoReturn:
        if name != path[-1]:
            raise ValueError(
                f"{shown_path(path)!r} clashes with {shortened(name)!r} beside it:"
                " the two names are one on file systems that ignore case"
            )
        kind = self._leaves.get(number, "folder")
        raise ValueError(f"{shown_path(path)!r} appears twice, once as a {kind}")


def _check_extent(parts: Parts) -> None:
    if len(parts) > PATH_DEPTH_MAX:
        raise ValueError(f"{shown_path(parts[:2])!r}... is more than {PATH_DEPTH_MAX} folders deep")
    if sum(map(len, parts)) * 4 > PATH_BYTES_MAX:  # UTF-8 has at most 4 bytes a character
        size = sum(len(part.encode("utf-8", "replace")) for part in parts)
        if size > PATH_BYTES_MAX:
            raise ValueError(f"the path {shown_path(parts)!r} has {size} bytes; at most {PATH_BYTES_MAX}")


def fold(name: str) -> str:
    """What is left of a name on a file system that ignores case, normalisation and invisible characters.

    Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145).
    """
    if name.isascii():
        return name.lower()
    visible = _IGNORED_BY_DISKS.sub("", name)
    folded = unicodedata.normalize("NFD", visible).casefold()
    return unicodedata.normalize("NFC", folded)


def printable(text: str) -> str:
    """The text with everything escaped that could command a terminal or mislead its reader.

    Control characters, escape sequences, bidirectional overrides, surrogates and unassigned code points
    become ``\\x1b`` and the like (croc, GHSA-364c-vvqx-446c). Letters of all scripts and emoji stay.
    """
    if text.isprintable():
        return text
    return "".join(map(_printable_char, text))


def _printable_char(char: str) -> str:
    if char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs":
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, length_max: int = 60) -> str:
    """The text cut in its middle, for messages of one line; made printable."""
    # Cut again, because escapes are up to ten times as long as what they stand for.
    return _cut(printable(_cut(text, length_max)), length_max)


def _cut(text: str, length_max: int) -> str:
    if len(text) <= length_max:
        return text
    half = (length_max - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def shown_path(parts: Iterable[str]) -> str:
    """A path as messages show it: joined, cut, printable."""
    return shortened("/".join(parts), 100)
