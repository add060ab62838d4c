"""Every document is found from docs/index.md, no link is dead, and the places in the code are there."""

import ast
import re
from pathlib import Path

import pytest

from tests.documents import DOCS, PAGES, ROOT, anchors, links, prose

IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def target(page: Path, link: str) -> Path:
    return (page.parent / link.partition("#")[0]).resolve() if link.partition("#")[0] else page


def test_every_document_is_linked_from_the_index() -> None:
    index = DOCS / "index.md"
    linked = {target(index, link) for link in links(index) if "://" not in link}
    missing = [
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page != index and page not in linked
    ]
    assert not missing, f"docs/index.md does not link {', '.join(missing)}: give each a line there"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_link_is_dead(page: Path) -> None:
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        there = target(page, link)
        assert there.exists(), f"{page.relative_to(ROOT)} links {link}, which is not there"
        assert ROOT in there.parents, f"{page.relative_to(ROOT)} links {link}, outside the project"
        anchor = link.partition("#")[2]
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), (
                f"{page.relative_to(ROOT)} links {link}: there is no such heading"
            )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_named_files_exist(page: Path) -> None:
    """`peer/node.py` in the text of a document is a file of ours."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:peer|lab|tracker|tests|benchmarks)/[\w/]+\.(?:py|toml))\b", text):
        assert (ROOT / name).is_file(), f"{page.relative_to(ROOT)} names {name}, which is not there"


def test_the_places_in_the_code_are_there() -> None:
    """The tutorial's "`Name` in [file](link)": the file defines that name."""
    found = re.findall(r"`(\w+)`\s+in\s+\[([\w/]+\.py)\]", prose(DOCS / "tutorial.md"))
    assert len(found) >= 15
    for name, file in found:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names |= {item.id for item in node.targets if isinstance(item, ast.Name)}
        assert name in names, f"docs/tutorial.md: {file} defines no {name}"
