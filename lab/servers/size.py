"""How large each server's own code is: statements, so that comments and long lines do not count."""

import ast
import inspect
from collections.abc import Mapping
from typing import Final

from lab.servers import (
    library,
    process_server,
    select_pool_server,
    select_server,
    sequential_server,
    thread_server,
    trio_server,
)

_PARTS: Final = {
    "sequential": (sequential_server.serve, library.talk),
    "process": (process_server.serve, process_server.start_child, process_server.bury, library.talk),
    "thread": (thread_server.serve, library.talk),
    "select": (select_server.Conversation, select_server.SelectServer, select_server.serve),
    "select+pool": (
        select_server.Conversation,
        select_server.SelectServer,
        select_pool_server.SelectPoolServer,
        select_pool_server.serve,
    ),
    "trio": (trio_server.talk, trio_server.read_line, trio_server.serve_all, trio_server.serve),
}
"""All that a server consists of beyond the protocol itself."""


def statements() -> Mapping[str, int]:
    """Statements of each server, docstrings and imports left out."""
    return {name: sum(_count(inspect.getsource(part)) for part in parts) for name, parts in _PARTS.items()}


def _count(source: str) -> int:
    return sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in ast.walk(ast.parse(source)))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
