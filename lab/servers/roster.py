"""The six, by name."""

import importlib
from typing import Final

from lab.servers.start import Serve

SERVERS: Final = {
    "sequential": "sequential_server",
    "process": "process_server",
    "thread": "thread_server",
    "select": "select_server",
    "select+pool": "select_pool_server",
    "trio": "trio_server",
}


def serve_of(name: str) -> Serve:
    """The function `serve` of a server, imported when it is needed."""
    serve: Serve = importlib.import_module(f"lab.servers.{SERVERS[name]}").serve
    return serve
