"""What the library logs while a command runs is a line for people, a traceback only if one was asked for."""

import logging
from collections.abc import Iterator

import pytest

from peer.cli.run import DEBUG_VARIABLE, log_to_people


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    root = logging.getLogger("peer")
    before = root.handlers[:]
    root.handlers.clear()
    yield logging.getLogger("peer.dialler")
    root.handlers[:] = before


@pytest.mark.makes_a_bug
def test_a_bug_is_one_line(
    library: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    log_to_people()
    log_to_people()
    try:
        raise ValueError("not a \x1b[2Jcertificate")
    except ValueError:
        library.exception("dialling %s failed", "192.0.2.1:7701")
    library.info("nobody needs to know")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("peer: dialling 192.0.2.1:7701 failed: ValueError: not a ")
    assert DEBUG_VARIABLE in line
    assert "\x1b" not in line


def test_whoever_asked_for_tracebacks_gets_pythons_own_log(
    library: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    log_to_people()
    assert not logging.getLogger("peer").handlers
