"""Our Markdown, as its tests read it: blocks of commands, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

_FENCE = re.compile(r"^(```+|~~~+)[ \t]*(?P<kind>[^\n]*)\n(?P<body>.*?)^\1[ \t]*$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its heading, what the fence says, and the lines inside."""

    heading: str
    kind: str
    body: str


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        above = [heading[2] for heading in _HEADING.finditer(text, 0, match.start())]
        yield Block(above[-1] if above else "", match["kind"].strip(), match["body"])


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """Where its links point."""
    for match in _LINK.finditer(prose(page)):
        yield match[1]


def anchors(page: Path) -> set[str]:
    """The names under which its headings are reached, as GitHub makes them."""
    found = set()
    for heading in _HEADING.finditer(prose(page)):
        plain = re.sub(r"[^\w\- ]", "", heading[2].replace("`", "").lower())
        found.add(plain.replace(" ", "-"))
    return found
