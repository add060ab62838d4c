"""Starting a server: for a person at a terminal, or for a measurement.

For a measurement (`measured`) the server tells on stdout, one JSON object a line: first where it listens,
and at its end what it has used. SIGINT ends it.
"""

import argparse
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lab.parent import end_with_parent
from lab.servers.library import Library

Serve: TypeAlias = Callable[[socket.socket, Library], None]

BACKLOG = 4096
"""How many clients may wait to be accepted; the kernel cuts it to net.core.somaxconn."""

LIFETIME_S = 300
"""A server under measurement ends itself after that long, whatever became of whoever started it."""


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback, and only there."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Every accepted socket inherits this. Without it Nagle's algorithm holds an answer's body back until its
    # first line is acknowledged, and the client delays that by 40 ms: measured, ten times slower than all
    # the rest.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


def run(serve: Serve) -> None:
    """The command line of each server."""
    parser = argparse.ArgumentParser(description="Serve the files of a folder on 127.0.0.1.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        library = Library.of_folder(options.folder)
        listener = listen(options.port)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot serve {options.folder} on port {options.port}: {error}")
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}, {len(library.files)} files", file=sys.stderr)
    with suppress(KeyboardInterrupt, BaseExceptionGroup):
        serve(listener, library)


def measured(serve: Serve, library: Library) -> None:
    """Serve until SIGINT, then report what it took. Never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(LIFETIME_S)
    end_with_parent(os.getppid())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # CRASH must leave no core file behind
    listener = listen()
    try:
        _tell(port=listener.getsockname()[1], **_usage())
        serve(listener, library)
    except* KeyboardInterrupt:
        pass
    finally:
        _tell(**_usage())
        os._exit(0)  # threads that wait for their clients would keep us


def _tell(**facts: float) -> None:
    print(json.dumps(facts), flush=True)


def _usage() -> dict[str, float]:
    """CPU seconds and context switches of this process and of the children it has waited for."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu_s": sum(part.ru_utime + part.ru_stime for part in parts),
        "switches": sum(part.ru_nvcsw + part.ru_nivcsw for part in parts),
    }
