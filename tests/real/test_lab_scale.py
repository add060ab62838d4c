"""`lab scale` with real processes, tiny: resumed after a kill, and one line for what cannot be."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cli import run
from peer.limits import LIMIT_BURST_S
from tests.real.commands import PATIENCE_S, environment, wait_until

TINY = ("--file", "64KiB", "--origin-up", "2mbit", "--peers", "1,2")


BARE = "import sys; sys.modules['matplotlib'] = None; from lab.cli import main; main()"
"""The lab without figures: they are not what these runs are about, and most of what they cost."""


def begin(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BARE, "scale", *TINY, "--json", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | {"TMPDIR": str(folder.parent)},
        start_new_session=True,
    )


def session(leader: int) -> Iterator[int]:
    """Who is still alive of all that a run started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[3]) == leader and words[0] != "Z":
                yield int(entry.name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc")
def test_a_run_that_was_stopped_goes_on_and_leaves_nobody_behind(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    first = begin(folder)
    points = folder / "points.jsonl"
    wait_until(lambda: points.is_file() and points.read_text().endswith("\n"), first)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 128 + signal.SIGTERM, err
    assert out == ""
    wait_until(lambda: not list(session(first.pid)))  # the system ends who was being started just then
    kept = len(points.read_text().splitlines())
    assert 1 <= kept < 4

    second = begin(folder)
    out, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, err
    assert f"{kept} points are there already; {4 - kept} to measure" in err
    rows = json.loads(out)["rows"]
    assert {(row["mode"], row["peers"]) for row in rows} == {
        (mode, peers) for mode in ("client-server", "peer-to-peer") for peers in (1, 2)
    }
    # What a limit has saved up while nobody asked goes at once; the fluid bound knows nothing of that.
    assert all(row["seconds"] >= row["bound_s"] - LIMIT_BURST_S for row in rows)
    assert all(0.99 <= row["origin_copies"] <= row["peers"] for row in rows)
    assert "A swarm of 2, measured" in (folder / "swarm.html").read_text()
    assert 'href="swarm.html"' in (folder / "report.html").read_text()
    assert not list(tmp_path.glob("manyhands-scale-*"))

    third = begin(folder)
    out, err = third.communicate(timeout=PATIENCE_S)
    assert third.returncode == 0, err
    assert "4 points are there already; 0 to measure" in err
    assert (folder / "swarm.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--origin-up", "0"], "--origin-up"),
        (["--origin-up", "-1mbit"], "-1mbit"),
        (["--origin-up", "quick"], "quick"),
        (["--peer-up", "0mbit"], "--peer-up"),
        (["--peer-up", "nan"], "nan"),
        (["--peers", "0"], "0"),
        (["--peers", "-3"], "-3"),
        (["--peers", "many"], "many"),
        (["--peers", "129"], "a process of its own"),
        (["--file", "0"], "--file"),
        (["--file", "-1MiB"], "-1MiB"),
        (["--file", "4Mb"], "bits or bytes"),
        (["--file", "900TB", "--origin-up", "10TB"], "copies of the file"),
        (["--file", "1TB"], "hours"),
        (["--free-riders", "-1"], "--free-riders"),
        (["--peers", "1,2", "--free-riders", "2"], "--free-riders"),
        (["--peers", "1,2", "--late", "2"], "--late"),
        (["--out", __file__], "is a file"),
    ],
)
def test_trouble_is_one_line(arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scale", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("lab")
    assert names in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_for_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run(["scale", *TINY, "--out", str(tmp_path / "closed")]) == 5
    assert "permission denied" in capsys.readouterr().err


@pytest.mark.slow
def test_too_few_descriptors_are_one_line(tmp_path: Path) -> None:
    def poor() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))

    done = subprocess.run(
        [sys.executable, "-m", "lab", "scale", "--swarm-only", "--file", "64KiB", "--peers", "8"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment() | {"TMPDIR": str(tmp_path)},
        preexec_fn=poor,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("lab: ")
    assert not list(tmp_path.glob("manyhands-scale-*"))
