"""What is on the other side of the standard streams ends no transfer and shows no traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.commands import PATIENCE_S, ROOT, command, environment, sharing

DATA = bytes(range(256)) * 2000


def run_raw(*arguments: str | bytes | Path, **how: Any) -> "subprocess.CompletedProcess[bytes]":
    """A command with its bytes as they are."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [*command("peer"), *arguments],
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
        **{"env": environment(), "capture_output": True, **how},
    )
    return done


def in_shell(line: str, *arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
    """A command in a shell that redirects its streams: ``line`` follows "$@"."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", f'"$@" {line}', "bash", *command("peer", *arguments)],
        check=False,
        timeout=PATIENCE_S,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
    )
    return done


@pytest.mark.parametrize("away", ["2>&-", "2>/dev/full", "2>&1 >/dev/null | true", "</dev/null 2>&- >&- <&-"])
def test_a_transfer_does_not_need_somebody_who_reads_its_progress(away: str, tmp_path: Path) -> None:
    """It ended with an internal error, or, when the reader went, as if it were done."""
    source = tmp_path / "film.bin"
    source.write_bytes(DATA)
    with sharing(source, tmp_path / "sharer") as link:
        done = in_shell(away, "get", link, "-o", tmp_path / "in", "--home", tmp_path / "getter")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "in" / "film.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("away", "code", "said"),
    [
        (">/dev/full", 5, b"standard output cannot be written to: no space left on device"),
        ("| true", 0, b""),
        (">&-", 0, b""),
    ],
)
def test_a_result_that_nobody_takes(away: str, code: int, said: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(DATA)
    options = ("--home", tmp_path / "home", "--progress", "none")
    for arguments in (
        ("inspect", tmp_path / "film.bin", *options),
        ("share", "--help"),
        ("id", *options[:2]),
    ):
        done = in_shell(away, *arguments)
        assert done.returncode == code or (code == 0 and "--help" in arguments), done.stderr
        assert b"internal" not in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr
        assert said in done.stderr


def test_a_sharer_whose_output_is_closed_shares(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(DATA)
    words = command("peer", "share", tmp_path / "film.bin", "--home", tmp_path / "home", "--port", "0")
    sharer = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    try:
        assert sharer.stderr is not None
        lines = iter(sharer.stderr)
        assert any(line.startswith("sharing film.bin") for line in lines)
    finally:
        sharer.send_signal(signal.SIGINT)
        sharer.communicate(timeout=PATIENCE_S)
    assert sharer.returncode == 0


def test_a_trace_on_a_full_disk_ends_and_not_the_transfer(tmp_path: Path) -> None:
    source = tmp_path / "film.bin"
    source.write_bytes(DATA)
    with sharing(source, tmp_path / "sharer") as link:
        options = ("-o", tmp_path / "in", "--home", tmp_path / "getter", "--trace", "/dev/full")
        done = run_raw("get", link, *options)
    assert done.returncode == 0, done.stderr
    assert b"the trace /dev/full ends here: no space left on device" in done.stderr
    assert b"ignored" not in done.stderr
    assert (tmp_path / "in" / "film.bin").read_bytes() == DATA


def test_a_trace_into_another_program(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(DATA)
    with sharing(tmp_path / "film.bin", tmp_path / "sharer") as link:
        done = in_shell(
            f"--trace >(grep -c got >'{tmp_path / 'count'}')",
            *("get", link, "-o", tmp_path / "in", "--home", tmp_path / "getter"),
        )
    assert done.returncode == 0, done.stderr
    assert b"ends here" not in done.stderr
    assert int((tmp_path / "count").read_text()) > 0


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_that_a_terminal_cannot_show(encoding: str, tmp_path: Path) -> None:
    """A folder whose name is no text, or a file's that the locale has no letters for: an internal error."""
    source = tmp_path / "žluť.txt"
    source.write_bytes(DATA)
    folder = os.fsencode(tmp_path) + b"/odd\xff"
    with sharing(source, tmp_path / "sharer") as link:
        done = run_raw(
            *("get", link, "--json", "--home", tmp_path / "getter", "-o", folder),
            env=environment() | {"PYTHONIOENCODING": f"{encoding}:strict"},
        )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.decode("utf-8", "strict"))
    assert os.fsencode(result["path"]) == folder + "/žluť.txt".encode()
    assert result["name"] == "žluť.txt"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_home_of_nobody_is_one_line(how: str) -> None:
    """It was a traceback."""
    nobody = "~nobody-of-that-name/x"
    options, variables = ((), {"MANYHANDS_HOME": nobody}) if how == "variable" else (("--home", nobody), {})
    done = run_raw("id", *options, env=environment() | variables)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"there is no such user's folder" in done.stderr


def test_a_stream_that_was_made_non_blocking_waits() -> None:
    code = (
        "import os, sys; from peer import streams; streams.settle(); os.set_blocking(1, False);"
        "sys.stdout.write('x' * 3_000_000); sys.stdout.flush()"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", '"$@" | (sleep 0.3; wc -c)', "bash", sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "3000000"
    assert not done.stderr
