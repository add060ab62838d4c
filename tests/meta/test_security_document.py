"""docs/security.md names, for each fault, the tests that hold it: they exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_named_test_exists() -> None:
    found = NAMED.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(found) > 25
    for path, name in found:
        file = ROOT / path
        assert file.is_file(), f"docs/security.md names {path}, which is not there"
        if name:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            functions = {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert name in functions, f"docs/security.md names {name}, which is not in {path}"


def test_every_row_names_a_test() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| fault")]
    assert len(rows) >= 19
    for row in rows:
        assert NAMED.search(row), f"docs/security.md: no test holds this row: {row}"
