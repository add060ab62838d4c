"""Asking for the secret of a private swarm: hidden on a terminal, from a pipe, interrupted."""

import os
import pty
import select
import signal
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from peer.home import swarm_secret
from tests.real.commands import PATIENCE_S, begin, command, end, environment, run, sharing

SECRET = "correct horse battery staple"
CTRL_C = b"\x03"
AGAIN_S = 2.0


def take_terminal() -> None:
    """Make stdin the controlling terminal, as a login does, and Ctrl-C mean something: a shell that starts
    tests in the background has them ignore it."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_terminal(answer: bytes, *arguments: str | Path) -> tuple[int, bytes]:
    """Run a command on a terminal of its own, type the answer when it asks; its exit code and screen."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("peer", *arguments),
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - no thread runs here
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = b""
        typed = False
        while True:
            if not select.select([ours], [], [], AGAIN_S)[0] and answer == CTRL_C and typed:
                # It came between Python's look for signals and its read: a person types it again.
                os.write(ours, answer)
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            screen += part
            if not typed and b"Swarm key:" in screen:
                os.write(ours, answer)
                typed = True
        code = process.wait(PATIENCE_S)
    os.close(ours)
    return code, screen


@pytest.fixture
def link_and_key(tmp_path: Path) -> Path:
    (tmp_path / "file.bin").write_bytes(b"data")
    (tmp_path / "secret").write_text(SECRET + "\n")
    return tmp_path


def test_it_is_asked_for_and_not_shown(link_and_key: Path) -> None:
    folder = link_and_key
    with sharing(folder / "file.bin", folder / "h1", "--swarm-key", folder / "secret") as link:
        code, screen = on_terminal(
            SECRET.encode() + b"\n",
            *("get", link, "-o", folder / "out", "--host", "127.0.0.1", "--home", folder / "h2"),
            *("--swarm-key", "-"),
        )
    assert code == 0, screen
    assert b"Swarm key:" in screen
    assert SECRET.encode() not in screen
    assert (folder / "out" / "file.bin").read_bytes() == b"data"


def test_ctrl_c_at_the_question_ends_it(tmp_path: Path) -> None:
    code, screen = on_terminal(CTRL_C, "share", tmp_path, "--home", tmp_path / "h", "--swarm-key", "-")
    assert code == 130, screen
    assert b"Traceback" not in screen


def test_it_comes_through_a_pipe(link_and_key: Path) -> None:
    folder = link_and_key
    with sharing(folder / "file.bin", folder / "h1", "--swarm-key", folder / "secret") as link:
        arguments = ("get", link, "-o", folder / "out", "--host", "127.0.0.1", "--home", folder / "h2")
        done = subprocess.run(
            command("peer", *arguments, "--swarm-key", "-"),
            input=SECRET + "\n", check=False, capture_output=True, text=True, timeout=PATIENCE_S,
            env=environment(),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command_name", ["share", "get"])
def test_a_private_swarm_is_never_plain(
    command_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    what = str(tmp_path) if command_name == "share" else f"magnet:?xt=urn:blake3:{'ab' * 32}"
    result = run(
        "peer", command_name, what, "--home", tmp_path / "h", "--plain", "--swarm-key", tmp_path / "secret"
    )
    assert result.code == 2
    assert "exclude each other" in result.err


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    result = run("peer", "share", tmp_path, "--home", tmp_path / "h", "--swarm-key", tmp_path / "secret")
    assert result.code == 2
    assert "8 to 4096 bytes, not 5" in result.err


@pytest.fixture
def laid_open(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "secret").chmod(0o644)
    return tmp_path / "secret"


def warnings_of(path: Path) -> list[str]:
    """What is said of a file that has the secret in it."""
    said: list[str] = []
    assert swarm_secret(path, said.append) == SECRET.encode()
    return said


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o444, 1)])
def test_a_file_of_ours_that_others_can_read_is_told_of(mode: int, count: int, laid_open: Path) -> None:
    laid_open.chmod(mode)
    said = warnings_of(laid_open)
    assert said == count * [f"{laid_open} can be read by other users: run chmod 600 {laid_open}"]


def test_a_file_of_somebody_else_is_not(laid_open: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: laid_open.stat().st_uid + 1)
    assert warnings_of(laid_open) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_a_mounted_secret_that_nobody_can_change_is_not(
    read_only: bool, laid_open: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: Mock(f_flag=os.ST_RDONLY if read_only else 0))
    assert len(warnings_of(laid_open)) == (not read_only)


def test_a_pipe_is_not(tmp_path: Path) -> None:
    taking, giving = os.pipe()
    os.fchmod(taking, 0o644)
    os.write(giving, SECRET.encode())
    os.close(giving)
    assert warnings_of(Path(f"/dev/fd/{taking}")) == []
    os.close(taking)


def test_what_cannot_be_looked_at_is_used_without_a_word(
    laid_open: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", Mock(side_effect=OSError("not here")))
    assert warnings_of(laid_open) == []


@pytest.mark.parametrize("name", ["peer", "tracker"])
def test_a_command_says_it_once_and_goes_on(name: str, laid_open: Path, tmp_path: Path) -> None:
    process = (
        begin("tracker", "--host", "127.0.0.1", "--port", "0", "--swarm-key", laid_open)
        if name == "tracker"
        else begin(
            *("peer", "share", laid_open, "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "home"),
            *("--swarm-key", laid_open),
        )
    )
    try:
        assert process.stderr is not None
        said = [process.stderr.readline(), process.stderr.readline()]
        while name == "peer" and not said[-1].startswith("sharing"):
            said.append(process.stderr.readline())
            assert said[-1], said
        if name == "tracker":
            assert said[0].startswith("listening on"), "scripts take the address from the first line"
    finally:
        result = end(process)
    warning = f"{name}: {laid_open} can be read by other users: run chmod 600 {laid_open}\n"
    assert said.count(warning) == 1
    assert "can be read" not in result.err
    assert result.code == 0
