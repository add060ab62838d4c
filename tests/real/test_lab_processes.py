"""Children of the lab's: none outlives whoever started it, whenever the signal comes."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab import demo
from lab.cli import stop
from lab.processes import launch, program, undisturbed
from tests.real.commands import PATIENCE_S, environment, wait_until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGTERM))
print("up", flush=True)
while True:
    time.sleep(600)
"""
"""Answers the request to stop with one to whoever asked, and goes on."""
STOPPED = 128 + signal.SIGTERM


@pytest.mark.usefixtures("stoppable")
def test_a_signal_between_the_fork_and_its_registration_leaves_no_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by CI: a child that nobody held wrote into the folder that had just been removed."""
    born: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def interrupted(*arguments: Any, **more: Any) -> "subprocess.Popen[str]":
        born.append(real(*arguments, **more))
        signal.raise_signal(signal.SIGTERM)
        return born[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(SystemExit) as stopped, ExitStack() as stack:
        launch(stack, SLEEPER)
    assert stopped.value.code == STOPPED
    assert [child.returncode for child in born] == [-signal.SIGTERM]


@pytest.mark.usefixtures("stoppable")
def test_a_second_signal_kills_what_was_only_asked_to_stop() -> None:
    child: subprocess.Popen[str] | None = None

    def impatient() -> None:
        nonlocal child
        with ExitStack() as stack:
            child = launch(stack, [sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"

    with pytest.raises(SystemExit):
        impatient()
    assert child is not None
    assert child.returncode == -signal.SIGKILL


@pytest.mark.usefixtures("stoppable")
def test_signals_wait_until_the_end_of_the_block_and_come_once() -> None:
    reached = False

    def together() -> None:
        nonlocal reached
        with undisturbed():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            reached = True

    with pytest.raises(SystemExit):
        together()
    assert reached
    assert signal.getsignal(signal.SIGTERM) is stop


@pytest.mark.usefixtures("stoppable")
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stop_is_no_ctrl_c_while_signals_begin_and_cease_to_be_held(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a suite that failed once: a demonstration that was stopped ended as if by Ctrl-C."""
    real, count = signal.signal, 0

    def disturbed(number: signal.Signals, handler: Any) -> Any:
        nonlocal count
        before = real(number, handler)
        count += 1
        if count == after:
            signal.raise_signal(signal.SIGTERM)
        return before

    def together() -> None:
        with undisturbed():
            pass

    monkeypatch.setattr(signal, "signal", disturbed)
    with pytest.raises(SystemExit) as stopped:
        together()
    assert stopped.value.code == STOPPED


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with undisturbed():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_demonstration_that_was_stopped_leaves_no_folder(tmp_path: Path) -> None:
    """Its copies stayed in the folder for temporary files."""
    (tmp_path / "film.bin").write_bytes(bytes(1_000_000))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "lab.demo", str(tmp_path / "film.bin"), "--peers", "1", "--up", "80kbit"]
    show = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment() | {"TMPDIR": str(tmp_path / "tmp")}
    )
    assert show.stdout is not None
    assert any(line.startswith("tracker at ") for line in show.stdout)
    show.terminate()
    show.communicate(timeout=PATIENCE_S)
    assert show.returncode == STOPPED
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_demonstration_into_a_pipe_begins_each_statement_on_a_line(tmp_path: Path) -> None:
    """The verdict stood behind the last peer's, without as much as a blank."""
    (tmp_path / "film.bin").write_bytes(bytes(range(256)) * 400)
    command = [sys.executable, "-m", "lab.demo", str(tmp_path / "film.bin"), "--peers", "1", "--up", "80mbit"]
    shown = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=PATIENCE_S, check=True
    )
    assert "The copy is identical to the source, byte by byte." in shown.stdout.splitlines()


@pytest.mark.usefixtures("stoppable")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--up", "fast"], 2, "'fast' is not a rate"),
        (["--up", "0"], 2, "nothing would ever arrive"),
        (["--peers", "0"], 2, "'0' peers"),
        (["--peers", "-1"], 2, "'-1' peers"),
        (["--keep", __file__], 5, "cannot make"),
    ],
)
def test_a_demonstration_that_cannot_be_is_said(
    arguments: list[str],
    status: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these was a traceback, or waited for ever."""
    monkeypatch.setenv("MANYHANDS_LAN", "0")
    try:
        found = demo.main(arguments)
    except SystemExit as error:  # of argparse
        found = int(str(error.code))
    assert found == status
    said = capsys.readouterr()
    assert says in " ".join((said.out + said.err).split())


def test_a_real_world_that_was_stopped_leaves_no_folder(tmp_path: Path) -> None:
    """SIGTERM ended it on the spot: its children died with it, their files stayed."""
    command = [sys.executable, "-m", "lab", "simulate", "textbook", "--world", "real"]
    world = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment() | {"TMPDIR": str(tmp_path)}
    )
    wait_until(lambda: list(tmp_path.glob("*/home-*")), world)
    world.terminate()
    world.communicate(timeout=PATIENCE_S)
    assert world.returncode == STOPPED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_child_whose_parent_died_before_it_could_ask_ends_itself() -> None:
    *python, code = program("peer")
    orphan = code.replace(f"({os.getpid()})", "(1)")
    assert orphan != code
    done = subprocess.run([*python, orphan, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stdout == ""
