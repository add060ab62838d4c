"""Nothing is decided by the time of day (RELIABILITY row 8): clocks jump, and are ten years wrong.

Timers are trio's, which are monotonic; certificates are not checked for time (tests/real/test_tls.py); file
times are compared with themselves only. The simulation forbids every clock but trio's while it runs.
"""

import ast

from tests.meta.test_house import ALL

ALLOWED = {
    "peer.cli.start": "the first line of a trace: traces of several machines are laid over each other",
    "peer.daemon.logs": "a line of a log says when it was written",
    "peer.net.swarmca": "the constant dates of certificates",
}

WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime", "strftime"}


def test_nothing_asks_for_the_time_of_day() -> None:
    for module, tree in ALL:
        if module.startswith("lab") or module in ALLOWED:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                clock = node.value.id in {"time", "datetime", "date"} and node.attr in WALL_CLOCKS
                assert not clock, f"{module}:{node.lineno} asks for the time of day: use trio.current_time()"
            if isinstance(node, ast.ImportFrom) and node.module in {"time", "datetime"}:
                names = {alias.name for alias in node.names}
                assert not names & (WALL_CLOCKS | {"datetime", "date"}), f"{module}: the time of day"
