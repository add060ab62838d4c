"""docs/tutorial.md is run: each command block of each chapter, in order, as a reader would."""

import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.documents import DOCS, blocks
from tests.real.commands import PATIENCE_S, environment

TUTORIAL = DOCS / "tutorial.md"

SEEN = {
    "1": [r"ESTABLISHED", r"accept\(\)", r"TIME_WAIT"],
    "2": [r"sequential +0%", r"thread +100%", r"4 claims confirmed"],
    "3": [r"piece of 64 KiB +msgpack +65,\d+ +1\.00 x", r"accepted", r"refused"],
    "4": [r"30 +3 h .*45 min .*4 x"],
    "5": [r"pieces +62 of 16", r"share +[0-9a-f]{64}", r"[0-9a-f]{64}  film\.bin"],
    "6": [r"complete and verified", r"^identical$"],
    "7": [r"3 of 3 peers complete", r"animation: swarm\.html"],
    "8": [r"client-server +3 ", r"peer-to-peer +3 ", r"trace [0-9a-f]{32}", r"report: measured/report\.html"],
}
"""What a reader sees in each chapter."""


def programs(folder: Path) -> Path:
    """A folder with `peer`, `tracker` and `lab`, as in the path of a reader."""
    folder.mkdir()
    for name in ("peer", "tracker", "lab"):
        script = folder / name
        code = f"from {name}.cli import main; main()"
        if name == "lab":  # figures have their own tests, and would cost a third of this one
            code = f"import sys; sys.modules['matplotlib'] = None; {code}"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


def test_every_chapter_has_its_commands() -> None:
    chapters = [block.heading.partition(".")[0] for block in blocks(TUTORIAL)]
    assert chapters == list(SEEN)
    assert {block.kind for block in blocks(TUTORIAL)} == {"sh"}


@pytest.mark.slow
def test_the_tutorial_is_run(tmp_path: Path) -> None:
    """In one shell: later chapters use what earlier ones made."""
    work = tmp_path / "work"
    work.mkdir()
    script = ["set -eu"]
    for block in blocks(TUTORIAL):
        script += [f"echo '=== {block.heading.partition('.')[0]}'", block.body]
    inherited = environment()
    path = f"{programs(tmp_path / 'bin')}:{inherited['PATH']}"
    output = tmp_path / "output"
    with output.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            cwd=work,
            env=inherited | {"PATH": path, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(2 * PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # also what a failed chapter left in the background
            shell.wait()
    said = output.read_text(encoding="utf-8")
    assert code == 0, said
    assert "Traceback" not in said
    parts = re.split(r"^=== (\d)\n", said, flags=re.M)[1:]
    chapters = dict(zip(parts[::2], parts[1::2], strict=True))
    for number, patterns in SEEN.items():
        for pattern in patterns:
            assert re.search(pattern, chapters[number], re.M), (number, pattern, chapters[number])
    assert (work / "swarm.html").is_file()
    assert (work / "measured" / "swarm.html").is_file()
