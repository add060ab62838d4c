"""Ctrl-C before a command has begun its work: an interruption like any other."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.real.commands import PATIENCE_S, environment

EARLY = """
import signal, sys
from {start} import main

class Pressed:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Pressed())
main()
"""
"""Ctrl-C is pressed while this module is loaded: what the first half second of a command is spent on."""


GET = ("get", "magnet:?xt=urn:blake3:" + 64 * "0", "-o", ".")


def start_of(program: str) -> str:
    """The module that the console script of this program runs."""
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = str(scripts[program]).partition(":")
    assert function == "main"
    return module


@pytest.mark.parametrize(
    ("program", "words", "module"),
    [
        ("peer", GET, "peer.streams"),
        ("peer", GET, "peer.cli.configured"),
        ("peer", GET, "peer.cli.get"),
        ("peer", GET, "click"),
        ("tracker", ("--port", "0"), "click"),
        ("lab", ("--help",), "click"),
        ("tracker", ("--port", "0"), "peer.streams"),
        ("tracker", ("--port", "0"), "peer.home"),
        ("tracker", ("--port", "0"), "tracker.server"),
    ],
)
def test_an_early_interruption_is_no_abortion(
    program: str, words: tuple[str, ...], module: str, tmp_path: Path
) -> None:
    """It was "Aborted!" and code 1, or a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(start=start_of(program), module=module), *words],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment() | {"MANYHANDS_HOME": str(tmp_path)},
    )
    assert done.returncode in {130, -signal.SIGINT}, done.stderr  # a shell makes 130 of both
    assert not done.stderr.strip()
