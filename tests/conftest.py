"""How properties are searched for counterexamples, and what no test may leave in the log.

The suite judges a change, so it must say the same of the same code on any machine, however busy: every run
tries the same examples, and none fails for being slow. Chance is left to `make explore`, whose finds are kept
as `@example`s.
"""

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

STEADY = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

# A shell's `make test &` ignores SIGINT, and every program that a test starts would be deaf to its Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

OURS = ("peer", "tracker", "lab")
"""Loggers."""


def pytest_collection_finish() -> None:
    """Thousands of tests are there for good, and need not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


settings.register_profile("steady", STEADY)
settings.register_profile("explore", STEADY, derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def no_bug_is_hidden(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Where one connection's trouble must not end a server, a bug of ours is a traceback in the log and no
    more: no test passes over that, unless it is marked to make one."""
    yield
    if request.node.get_closest_marker("makes_a_bug") is None:
        ours = [record for record in caplog.get_records("call") if record.name.startswith(OURS)]
        assert not [record.getMessage() for record in ours if record.exc_info]
