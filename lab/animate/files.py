"""Traces from files and folders; a page into a file."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.animate.story import Story, read
from peer.errors import StorageError, UsageError

SUFFIX: Final = ".jsonl"
PAGE_NAME: Final = "swarm.html"

LINE_BYTES_MAX: Final = 1 << 20
"""Longer is no event: the longest holds a bitfield in hex, two digits for eight pieces."""


def read_story(paths: Sequence[Path]) -> Story:
    """The story of these traces; a folder stands for all its `*.jsonl`. Raises UsageError."""
    found: list[Path] = []
    for path in paths:
        found += _inside(path)
    return read((path.stem, _lines(path)) for path in dict.fromkeys(found))


def _inside(path: Path) -> list[Path]:
    """The traces of a folder, or the one file."""
    try:
        if not path.is_dir():
            return [path]
        found = [trace for trace in path.iterdir() if trace.name.endswith(SUFFIX)]
        inside = sorted(found, key=lambda trace: natural(trace.stem))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not inside:
        raise UsageError(f"{path} holds no traces (*{SUFFIX})")
    return inside


def natural(name: str) -> list[tuple[int, str]]:
    """peer-2 before peer-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(LINE_BYTES_MAX):
                yield line
    except FileNotFoundError:
        raise UsageError(f"there is no trace {path}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no trace: it is not text") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def write_traces(folder: Path, lines: Mapping[str, Sequence[str]]) -> None:
    """A file for each peer. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, own in lines.items():
            (folder / f"{name}{SUFFIX}").write_text("".join(own), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write traces to {folder}: {reason}; name another folder") from error


def write_page(path: Path, text: str) -> Path:
    """Write whole or not at all. Raises StorageError."""
    if path.is_dir():
        path /= PAGE_NAME
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {path}: {reason}; name another file with --out") from error
    finally:
        if draft.exists():
            draft.unlink()
    return path
