"""Publishing, searching, getting by name and mirroring, as users do it: real processes on loopback."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from peer.cli import COMMANDS
from peer.errors import ExitCode, StorageError
from peer.ids import ShareId
from peer.serials import FILE, serial_for
from tests.real.commands import PATIENCE_S, ask, begin, end, get, run, sharing, wait_until

NOBODY = "ab" * 32


@contextmanager
def tracker() -> Iterator[str]:
    """A tracker on loopback; gives its address."""
    process = begin("tracker", "--host", "127.0.0.1", "--port", "0")
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
    finally:
        end(process)


def search(home: Path, address: str, *words: str) -> list[dict[str, object]]:
    """What is found, once something is."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        result = run("peer", "search", *words, "--tracker", address, "--home", home, "--json")
        if result.code == ExitCode.DONE or time.monotonic() > deadline:
            found: list[dict[str, object]] = result.json["results"]
            return found
        assert result.code == ExitCode.NO_SOURCE, result.err


@pytest.mark.slow
def test_published_searched_got_by_name_and_mirrored(tmp_path: Path) -> None:
    source = tmp_path / "stuff"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(os.urandom(300_000))
    (source / "deep" / "b.txt").write_text("b\n")
    home, mirror_home, folder = tmp_path / "home", tmp_path / "mirror-home", tmp_path / "mirrored"

    def mirrored(name: str) -> bytes | None:
        path = folder / name / "a.bin"
        return path.read_bytes() if path.exists() else None

    with tracker() as address:
        mirror: list[str | Path] = [
            "mirror",
            "--tracker",
            address,
            "-o",
            folder,
            "--host",
            "127.0.0.1",
            "--home",
            mirror_home,
        ]
        mirror += ["--interval", "1s", "--port", "0"]
        with sharing(source, home, "--publish", "My Stuff 2026", "--tracker", address):
            mirroring = begin("peer", *mirror)
            [result] = search(tmp_path / "asking", address, "stuff", "20")
            publisher = run("peer", "id", "--home", home).out.strip()
            assert (result["name"], result["publisher"]) == ("My Stuff 2026", publisher)
            line = run("peer", "search", "my", "--tracker", address, "--home", tmp_path / "asking").out
            assert publisher in line
            assert line.endswith("  My Stuff 2026\n")
            options = ["--tracker", address, "--json"]
            got = get("MY STUFF 2026", tmp_path / "got", tmp_path / "getting", *options, "--from", publisher)
            assert got.code == ExitCode.DONE, got.err
            assert got.json["publisher"] == publisher
            assert f"published by {publisher} at {address}" in got.err
            assert (tmp_path / "got" / "My Stuff 2026" / "deep" / "b.txt").read_text() == "b\n"
            refused = get("my stuff 2026", tmp_path / "no", tmp_path / "getting", *options, "--from", NOBODY)
            assert refused.code == ExitCode.NO_SOURCE
            assert f"nothing is published as my stuff 2026 by {NOBODY}" in refused.err
            wait_until(lambda: mirrored("My Stuff 2026") is not None, mirroring)
        assert end(mirroring).code == ExitCode.DONE
        again = begin("peer", *mirror)
        (source / "a.bin").write_bytes(b"changed")
        with sharing(source, home, "--publish", "My Stuff 2026", "--tracker", address) as link:
            newer = f"My Stuff 2026.{link.partition('blake3:')[2][:8]}"
            wait_until(lambda: mirrored(newer) == b"changed", again)
        stopped = end(again, signal.SIGINT)
        assert stopped.code == ExitCode.DONE
        assert "My Stuff 2026: complete and verified" not in stopped.err, "it had that already"
        assert mirrored("My Stuff 2026") == (tmp_path / "got" / "My Stuff 2026" / "a.bin").read_bytes()
        assert json.loads((home / FILE).read_text())["my stuff 2026"]["serial"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["get", "some name"], ExitCode.USAGE, "needs --tracker HOST"),
        (["get", "a/b", "--tracker", "127.0.0.1:1"], ExitCode.USAGE, "neither a link, magnet:?..., nor a"),
        (
            ["get", "name", "--tracker", "127.0.0.1:1"],
            ExitCode.NO_SOURCE,
            "tracker 127.0.0.1:1: cannot reach",
        ),
        (
            ["get", "magnet:?xt=urn:blake3:" + NOBODY, "--from", NOBODY],
            ExitCode.USAGE,
            "--from is for published",
        ),
        (["get", "name", "--tracker", "h", "--from", "abc"], ExitCode.USAGE, "'abc' is not a node id"),
        (["search", "x"], ExitCode.USAGE, "--tracker"),
        (["search", "x", "--tracker", "127.0.0.1:1"], ExitCode.NO_SOURCE, "cannot reach"),
        (["search", *"abcdefghi", "--tracker", "127.0.0.1:1"], ExitCode.USAGE, "9 words are too many"),
        (["mirror"], ExitCode.USAGE, "name at least one tracker"),
        (["share", ".", "--publish", "name"], ExitCode.USAGE, "--publish needs a tracker"),
        (
            ["share", ".", "--publish", "a/b", "--tracker", "h"],
            ExitCode.USAGE,
            "cannot publish: the name 'a/b'",
        ),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], code: ExitCode, reason: str, tmp_path: Path) -> None:
    result = ask("peer", *arguments, "--home", tmp_path)
    assert result.code == code, result.err
    assert reason in " ".join(result.err.split())
    assert result.out == ""


@pytest.mark.parametrize("command", ["get", "share", "serve", "mirror"])
def test_the_port_of_the_environment_holds_for_every_command_that_listens(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANYHANDS_PORT", "no port")
    arguments = {"get": ["magnet:?x"], "share": ["."], "serve": [], "mirror": []}[command]
    result = CliRunner().invoke(import_module(COMMANDS[command]).command, arguments)
    assert result.exit_code == ExitCode.USAGE
    assert "'no port' is not a valid integer range" in result.output


def test_serials_grow_with_the_share_and_survive(tmp_path: Path) -> None:
    one, two = ShareId(b"1" * 32), ShareId(b"2" * 32)
    assert serial_for(tmp_path, "Name", one) == 1
    assert serial_for(tmp_path, "name", one) == 1
    assert serial_for(tmp_path, "name", two) == 2
    assert serial_for(tmp_path, "other", one) == 3
    assert serial_for(tmp_path, "name", one) == 4
    assert serial_for(tmp_path, "other", one) == 3


def test_names_signed_at_once_all_get_their_serials(tmp_path: Path) -> None:
    """A daemon's names all but one were "cannot publish: it does not exist": they wrote one draft."""
    names = [f"name{number}" for number in range(32)]
    with ThreadPoolExecutor(8) as threads:
        serials = list(threads.map(lambda name: serial_for(tmp_path, name, ShareId(bytes(32))), names))
    assert sorted(serials) == list(range(1, 33))
    assert [serial_for(tmp_path, name, ShareId(bytes(32))) for name in names] == serials


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"n": {"share": 5, "serial": 1}}', '{"n": {}}', '{"n": 7}', "\\"),
        *('{"n": {"share": "", "serial": "1"}}', '{"n": {"share": "", "serial": 1.5}}'),
    ],
)
def test_serials_that_cannot_be_read_are_not_guessed(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StorageError, match=FILE):
        serial_for(tmp_path, "name", ShareId(bytes(32)))
    assert (tmp_path / FILE).read_text() == text
