"""Ctrl-C before a command has begun its work: an interruption like any other."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.commands import PATIENCE_S, environment

EARLY = """
import signal, sys
import peer.cli

class Pressed:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Pressed())
peer.cli.main()
"""
"""Ctrl-C is pressed while this module is loaded: what the first half second of a command is spent on."""


@pytest.mark.parametrize("module", ["peer.streams", "peer.cli.configured", "peer.cli.get"])
def test_an_early_interruption_is_no_abortion(module: str, tmp_path: Path) -> None:
    """It was "Aborted!" and code 1, or a traceback."""
    words = ["get", "magnet:?xt=urn:blake3:" + 64 * "0", "--home", str(tmp_path), "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(module=module), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
    )
    assert done.returncode in {130, -signal.SIGINT}, done.stderr  # a shell makes 130 of both
    assert not done.stderr.strip()
