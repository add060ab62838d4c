"""What the containers run (deploy/docker/run), with programs in place of ours that say how they are run."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "docker" / "run"
PROGRAMS = ("peer", "tracker", "lab")
SAY_HOW = """#!/bin/sh
printf '%s\\n' "${0##*/}" "$@"
"""

# In the place of `sleep`: each call is one look later. A file comes with the first, grows with the second.
FILL = """#!/bin/sh
echo slept >>{looks}
[ "$(wc -l <{looks})" -gt 2 ] || echo more >>{shared}/file
"""


class Entry:
    """The script in a folder of its own, whose /shared and /run are there as well."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder / "bin"
        self.shared, self.secrets, self.looks = folder / "shared", folder / "secrets", folder / "looks"
        for made in (self._programs, self.shared, self.secrets):
            made.mkdir()
        for name in PROGRAMS:
            self.put(name, SAY_HOW)
        text = SCRIPT.read_text(encoding="utf-8")
        self._script = folder / "run"
        self._script.write_text(
            text.replace("/shared", str(self.shared)).replace("/run/secrets", str(self.secrets))
        )

    def put(self, name: str, text: str) -> None:
        path = self._programs / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        path = f"{self._programs}:{os.environ['PATH']}"
        return subprocess.run(
            [shutil.which("sh") or "/bin/sh", str(self._script), *arguments],
            env={"PATH": path} | dict(env or {}),
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def called(self, *arguments: str, env: Mapping[str, str] | None = None) -> list[str]:
        """What was started, word by word."""
        done = self.run(*arguments, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def refused(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What it said instead of starting anything: one line."""
        done = self.run(*arguments, env=env)
        assert done.returncode == 2
        assert not done.stdout
        [line] = done.stderr.splitlines()
        return line


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path)


def after(words: list[str], option: str) -> str | None:
    """The value of an option."""
    return words[words.index(option) + 1] if option in words else None


TRACKER = {"TRACKER": "tracker:7700"}


def test_each_role_starts_its_program_with_what_the_environment_says(entry: Entry) -> None:
    (entry.shared / "file").touch()
    limits = TRACKER | {"UP": "4mbit", "DOWN": "8mbit", "NAME": "Letters of 2026", "INTERVAL": "30s"}

    seed, peer, lab = (entry.called(role, env=limits) for role in ("seed", "peer", "lab"))
    assert seed[:3] == ["peer", "share", str(entry.shared)]
    assert after(seed, "--publish") == "Letters of 2026"
    assert peer[:4] == ["peer", "mirror", "-o", "/data"]
    assert after(peer, "--interval") == "30s"
    assert lab[:2] == ["lab", "fleet"]
    assert {after(words, "--tracker") for words in (seed, peer, lab)} == {"tracker:7700"}
    assert {after(words, "--up") for words in (seed, peer, lab)} == {"4mbit"}
    assert [after(words, "--down") for words in (seed, peer, lab)] == ["8mbit", "8mbit", None]
    assert entry.called("tracker", "--port", "7") == ["tracker", "--port", "7"]


def test_empty_variables_are_as_good_as_none(entry: Entry) -> None:
    (entry.shared / "file").touch()
    empty = TRACKER | dict.fromkeys(("UP", "DOWN", "NAME", "INTERVAL", "SWARM_KEY_FILE"), "")
    for role in ("seed", "peer", "lab"):
        words = entry.called(role, env=empty)
        assert words == entry.called(role, env=TRACKER)
        assert "" not in words


def test_what_the_caller_adds_goes_last_and_commands_run_as_they_are(entry: Entry) -> None:
    (entry.shared / "file").touch()
    assert entry.called("seed", "--port", "7", env=TRACKER)[-2:] == ["--port", "7"]
    assert entry.called("peer", "search", "a b", env=TRACKER) == ["peer", "search", "a b"]
    assert entry.called("lab", "scale") == ["lab", "scale"]
    assert entry.called("printf", "%s\n", "x y") == ["x y"]
    assert entry.called() == ["peer", "--help"]


def test_values_are_neither_split_nor_expanded(entry: Entry) -> None:
    key = entry.secrets / "the key"
    key.write_text("eight bytes and more")
    words = entry.called("peer", env=TRACKER | {"UP": "4 mbit", "DOWN": "*", "SWARM_KEY_FILE": str(key)})
    assert (after(words, "--up"), after(words, "--down")) == ("4 mbit", "*")
    assert after(words, "--swarm-key") == str(key)


@pytest.mark.parametrize("role", ["seed", "peer", "lab"])
def test_a_tracker_that_is_not_named_is_asked_for(entry: Entry, role: str) -> None:
    (entry.shared / "file").touch()
    for env in ({}, {"TRACKER": ""}):
        assert "set TRACKER" in entry.refused(role, env=env)


@pytest.mark.parametrize("text", ["public", "public\n", "public\r\n"])
def test_the_word_public_stands_for_no_secret(entry: Entry, text: str) -> None:
    (entry.secrets / "swarm_key").write_text(text, newline="")
    for role in ("tracker", "peer"):
        assert "--swarm-key" not in entry.called(role, env=TRACKER)


@pytest.mark.parametrize("text", ["", "publication", "public transport is free"])
def test_everything_else_is_a_secret(entry: Entry, text: str) -> None:
    """An empty one too: the program says that it is too short."""
    path = entry.secrets / "swarm_key"
    path.write_text(text)
    (entry.shared / "file").touch()
    for role in ("tracker", "seed", "peer", "lab"):
        assert after(entry.called(role, env=TRACKER), "--swarm-key") == str(path)


@pytest.mark.parametrize("role", ["tracker", "seed", "peer", "lab"])
def test_a_secret_that_is_missing_does_not_open_a_private_swarm(entry: Entry, role: str) -> None:
    missing, folder = entry.secrets / "missing", entry.secrets / "folder"
    folder.mkdir()
    assert str(missing) in entry.refused(role, env=TRACKER | {"SWARM_KEY_FILE": str(missing)})
    assert "is a folder" in entry.refused(role, env=TRACKER | {"SWARM_KEY_FILE": str(folder)})
    (entry.secrets / "swarm_key").mkdir()
    assert "is a folder" in entry.refused(role, env=TRACKER)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_secret_that_cannot_be_read_is_named(entry: Entry) -> None:
    path = entry.secrets / "swarm_key"
    path.write_text("eight bytes and more")
    path.chmod(0)
    assert f"cannot read the swarm key {path}" in entry.refused("peer", env=TRACKER)


def test_an_empty_folder_is_shared_when_it_was_filled_and_rests(entry: Entry) -> None:
    entry.put("sleep", FILL.format(looks=entry.looks, shared=entry.shared))
    done = entry.run("seed", env=TRACKER)
    assert done.stdout.splitlines()[:3] == ["peer", "share", str(entry.shared)]
    [line] = done.stderr.splitlines()
    assert "is empty" in line
    assert len(entry.looks.read_text().splitlines()) == 3  # a file came, it grew, it rested


def test_what_is_there_from_the_beginning_is_shared_at_once(entry: Entry) -> None:
    entry.put("sleep", FILL.format(looks=entry.looks, shared=entry.shared))
    (entry.shared / ".hidden").touch()
    assert entry.called("seed", env=TRACKER)[:2] == ["peer", "share"]
    assert not entry.looks.exists()
