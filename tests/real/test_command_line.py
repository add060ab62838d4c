"""The commands as scripts rely on them: real processes, exit codes, stdout apart from stderr."""

import hashlib
import os
import signal
import socket
import subprocess
import unicodedata
from pathlib import Path

import pytest
from blake3 import blake3

from tests.real.commands import ask, begin, end, get, run, sharing

NOBODY = "magnet:?xt=urn:blake3:" + "ab" * 32
SLOW = "1MB"
"""A rate at which eight megabytes last long enough to be interrupted in the middle, on any machine."""


def fill(folder: Path) -> Path:
    """A small folder with what folders have."""
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "large.bin").write_bytes(bytes(range(256)) * 1000)
    (folder / "sub" / "tool").write_bytes(b"#!/bin/sh\n")
    (folder / "sub" / "tool").chmod(0o755)
    (folder / "nothing").touch()
    (folder / "naïve 文.txt").write_text("text")
    (folder / "link").symlink_to("large.bin")
    return folder


def test_a_folder_travels_whole(tmp_path: Path) -> None:
    source = fill(tmp_path / "folder")
    with sharing(source, tmp_path / "h1") as link:
        got = get(link, tmp_path / "out", tmp_path / "h2", "--json")
        again = get(link, tmp_path / "out", tmp_path / "h2", "--json")
    assert got.code == 0, got.err
    copy = tmp_path / "out" / "folder"
    for path in sorted(source.rglob("*")):
        other = copy / path.relative_to(source)
        if path.is_symlink():
            assert not other.exists(), "links are left out"
        elif path.is_dir():
            assert other.is_dir()
        else:
            assert other.read_bytes() == path.read_bytes()
            assert bool(other.stat().st_mode & 0o100) == bool(path.stat().st_mode & 0o100)
    assert not (tmp_path / "out" / "folder.part").exists()
    total = 256_000 + 10 + 4
    assert got.json["bytes"] == total
    assert got.json["name"] == "folder"
    assert got.json["path"] == str(copy)
    assert sum(got.json["sources"].values()) == total
    assert got.json["share_id"] in link
    assert set(got.json) == {
        "share_id", "name", "bytes", "seconds", "path", "sources", "resumed_bytes", "wasted_bytes",
    }  # fmt: skip
    assert again.code == 0
    assert again.json["resumed_bytes"] == total
    assert again.json["sources"] == {}


def test_the_same_bytes_have_the_same_link_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"same")
    (tmp_path / "two.bin").write_bytes(b"same")
    links = []
    for name in ("one.bin", "two.bin"):
        with sharing(tmp_path / name, tmp_path / "h") as link:
            links.append(link.split("&")[0])
    assert links[0] == links[1]


def test_a_tracker_brings_peers_together(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"x" * 100_000)
    tracker = begin("tracker", "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "ht")
    try:
        assert tracker.stderr is not None
        address = tracker.stderr.readline().strip().removeprefix("listening on ")
        # A link without addresses: only the tracker can help.
        with sharing(tmp_path / "file.bin", tmp_path / "h1", "--tracker", address) as link:
            bare = link.split("&x.pe")[0]
            assert f"tr={address}" in bare
            got = get(bare, tmp_path / "out", tmp_path / "h2", "--timeout", "3m")
        assert got.code == 0, got.err
        assert (tmp_path / "out" / "file.bin").read_bytes() == b"x" * 100_000
    finally:
        assert end(tracker).code == 0


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ("", "magnet:?"),
        ("http://example.com", "magnet:?"),
        ("magnet:?dn=name", "xt"),
        ("magnet:?xt=urn:blake3:abcd", "64"),
        ("magnet:?xt=urn:btih:" + "ab" * 20, "btih"),
        (NOBODY + "&tr=host:0", "port"),
        (NOBODY + "&dn=..", ".."),
    ],
)
def test_a_link_that_cannot_be_read(link: str, what: str, tmp_path: Path) -> None:
    result = ask("peer", "get", link, "-o", tmp_path, "--host", "127.0.0.1", "--home", tmp_path / "h")
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert what in result.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["get"], "LINK"),
        (["get", NOBODY, "--up", "fast"], "fast"),
        (["get", NOBODY, "--timeout", "soon"], "soon"),
        (["get", NOBODY, "--timeout", "0s"], "no time at all"),
        (["get", NOBODY, "--peer", "host:notaport"], "port"),
        (["get", NOBODY, "--peer", "0.0.0.0:7701"], "nobody can be reached there"),
        (["share", ".", "--announce", "224.0.0.1"], "nobody can be reached there"),
        (["share", ".", "--announce", "\udcff"], "is no host"),
        (["get", NOBODY, "--tracker", "\udcff"], "is no host"),
        (["get", NOBODY, "--peer", "\udcff:1"], "is no host"),
        (["get", NOBODY, "--seed", "--seed-for", "1s"], "--seed"),
        (["share"], "PATH"),
        (["fetch"], "No such command 'fetch'; see peer --help"),
        (["get", NOBODY, "--progress", "loud"], "see peer get --help"),
        (["share", ".", "--port", "80x"], "'80x' is not a whole number; see peer share --help"),
        (["get", NOBODY, "\x1b[31mred"], "extra argument"),
        (["verify", NOBODY], "DIR"),
        (["share", ""], "empty"),
        (["inspect", ""], "empty"),
        (["get", NOBODY, "-o", ""], "empty"),
        (["id", "--home", ""], "empty"),
    ],
)
def test_a_mistake_in_an_argument(arguments: list[str], what: str) -> None:
    result = ask("peer", *arguments)
    assert result.code == 2
    assert what in result.err
    (line,) = result.err.splitlines()
    assert line.startswith("peer"), "and of which command"


def test_an_announced_host_gets_the_port_that_is_listened_on(tmp_path: Path) -> None:
    """The link said 7701 whatever --port was: nobody came."""
    with sharing(Path(__file__), tmp_path / "home", "--announce", "127.0.0.1") as link:
        assert "x.pe=127.0.0.1:7701" not in link
        assert get(link, tmp_path / "out", tmp_path / "other").code == 0


TOO_LONG = 300 * "x"


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["id", "--home", TOO_LONG], 5, "the path is too long"),
        (["config", "--home", TOO_LONG], 5, "the path is too long"),
        (["verify", __file__, TOO_LONG], 5, "the path is too long"),
        (["verify", __file__, __file__], 2, "is a file: name the folder that it is in"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(arguments: list[str], code: int, what: str) -> None:
    """A traceback for a home that cannot be looked into; an internal error for a folder."""
    result = ask("peer", *arguments)
    assert result.code == code
    assert what in result.err
    assert len([line for line in result.err.splitlines() if not line.startswith("hashing")]) == 1


def test_a_mistake_is_the_same_in_a_process_from_its_first_line_on() -> None:
    """The others of these are asked of one that was forked."""
    arguments = ("peer", "get", NOBODY, "--up", "fast")
    assert run(*arguments) == ask(*arguments)


def test_a_share_that_nobody_has(tmp_path: Path) -> None:
    result = get(NOBODY, tmp_path, tmp_path / "h", "--timeout", "1s", "--peer", "127.0.0.1:1")
    assert result.code == 3
    last = result.err.strip().splitlines()[-1]
    assert "no progress for 1.0s" in last
    assert "127.0.0.1:1" in last, "it says who was tried"
    assert "--peer" in last, "and the way out"


def test_a_tracker_that_refuses_is_named_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with sharing(tmp_path / "file.bin", tmp_path / "h1", "--tracker", "127.0.0.1:1") as link:
        assert get(link, tmp_path / "out", tmp_path / "h2").code == 0


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        starts: list[tuple[str, list[str]]] = [
            ("peer", ["share", str(tmp_path / "file.bin")]),
            ("tracker", []),
        ]
        for program, arguments in starts:
            home = tmp_path / f"h-{program}"
            result = run(program, *arguments, "--host", "127.0.0.1", "--port", port, "--home", home)
            assert result.code == 2
            assert port in result.err
            assert "--port" in result.err


def test_a_different_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file.bin").write_bytes(b"mine")
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        result = get(link, tmp_path / "out", tmp_path / "h2")
    assert result.code == 5
    assert str(tmp_path / "out" / "file.bin") in result.err
    assert (tmp_path / "out" / "file.bin").read_bytes() == b"mine"


def test_a_target_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        result = get(link, tmp_path / "file.bin" / "below", tmp_path / "h2")
    assert result.code == 5
    assert len(result.err.strip().splitlines()) <= 2


@pytest.mark.parametrize("name", ["missing", "bad\nname"])
def test_a_path_that_cannot_be_shared(name: str, tmp_path: Path) -> None:
    if "\n" in name:
        (tmp_path / name).touch()
    result = run(
        "peer", "share", tmp_path / name, "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "h"
    )
    assert result.code in {2, 5}
    assert result.out == ""
    assert len(result.err.strip().splitlines()) == 1


def test_a_file_where_a_folder_of_the_path_should_be(tmp_path: Path) -> None:
    """It was said that something was in the way at a place where nothing was."""
    (tmp_path / "file").write_bytes(b"")
    result = get(NOBODY, tmp_path / "file" / "below" / "it", tmp_path / "h")
    assert result.code == 5
    assert "a part of this path is a file" in result.err
    result = get(NOBODY, tmp_path / "file", tmp_path / "h")
    assert "something with this name is already there" in result.err


def test_a_name_that_a_mac_has_written_is_shared_as_others_write_it(tmp_path: Path) -> None:
    """Its letters were in Unicode form NFD, and it was refused; below the top it was not."""
    (tmp_path / "zlut\u030c\u00fd.txt").write_bytes(b"horse")
    with sharing(tmp_path / "zlut\u030c\u00fd.txt", tmp_path / "sharer") as link:
        assert get(link, tmp_path / "in", tmp_path / "getter").code == 0
    assert (tmp_path / "in" / "zlu\u0165\u00fd.txt").read_bytes() == b"horse"


def test_two_processes_in_one_home(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with sharing(tmp_path / "file.bin", tmp_path / "h") as link:
        result = get(link, tmp_path / "out", tmp_path / "h")
    assert result.code == 5
    assert "--home" in result.err


def test_a_source_that_disappears_is_reported_and_nothing_wrong_is_sent(tmp_path: Path) -> None:
    source = tmp_path / "folder"
    source.mkdir()
    (source / "file.bin").write_bytes(b"data" * 10_000)
    process = begin(
        "peer", "share", source, "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "h1",
        "--progress", "none",
    )  # fmt: skip
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    (source / "file.bin").unlink()
    source.rmdir()
    result = get(link, tmp_path / "out", tmp_path / "h2", "--timeout", "2s")
    assert result.code == 3
    assert not (tmp_path / "out" / "folder").exists()
    assert process.stderr is not None
    assert any("file.bin" in line for line in process.stderr), "it says what is no longer shared"
    assert end(process).code == 0


def test_interrupted_then_the_same_command_goes_on(tmp_path: Path) -> None:
    data = hashlib.shake_256(b"interrupted").digest(8_000_000)
    (tmp_path / "file.bin").write_bytes(data)
    with sharing(tmp_path / "file.bin", tmp_path / "h1", "--up", SLOW) as link:
        process = begin(
            "peer", "get", link, "-o", tmp_path / "out", "--host", "127.0.0.1", "--home", tmp_path / "h2",
            "--progress", "json",
        )  # fmt: skip
        wait_for_progress(process, 1_000_000)
        stopped = end(process, signal.SIGINT)
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        again = get(link, tmp_path / "out", tmp_path / "h2", "--json")
    assert stopped.code == 130
    assert "run the same command again" in stopped.err
    assert again.code == 0, again.err
    assert again.json["resumed_bytes"] >= 900_000
    assert (tmp_path / "out" / "file.bin").read_bytes() == data


def test_killed_without_warning_then_the_same_command_goes_on(tmp_path: Path) -> None:
    data = hashlib.shake_256(b"killed").digest(8_000_000)
    (tmp_path / "file.bin").write_bytes(data)
    with sharing(tmp_path / "file.bin", tmp_path / "h1", "--up", SLOW) as link:
        process = begin(
            "peer", "get", link, "-o", tmp_path / "out", "--host", "127.0.0.1", "--home", tmp_path / "h2",
            "--progress", "json",
        )  # fmt: skip
        wait_for_progress(process, 1_000_000)
        assert end(process, signal.SIGKILL).code == -signal.SIGKILL
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        again = get(link, tmp_path / "out", tmp_path / "h2", "--json")
    assert again.code == 0, again.err
    assert again.json["resumed_bytes"] >= 900_000
    assert (tmp_path / "out" / "file.bin").read_bytes() == data


def wait_for_progress(process: subprocess.Popen[str], count: int) -> None:
    """Read progress until so many bytes are there."""
    import json

    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("done", 0) >= count:
            return
    pytest.fail("the transfer ended before it was interrupted")


@pytest.mark.parametrize(
    "words", [["inspect", "PATH"], ["share", "PATH", "--port", "0"], ["verify", "PATH", "."]]
)
def test_hashing_ends_with_the_first_interruption(words: list[str], tmp_path: Path) -> None:
    """`inspect` and `verify` went on to the end; `share` ended as if all were done."""
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(1 << 40)
    arguments = [str(source) if word == "PATH" else word for word in words]
    process = begin("peer", *arguments, "--home", tmp_path / "home", "--progress", "json")
    assert process.stderr is not None
    while '"hashing"' not in process.stderr.readline():
        assert process.poll() is None
    result = end(process, signal.SIGINT)
    assert result.code == 130
    assert result.out == ""


def test_seeding_on_after_completion(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data" * 5000)
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        process = begin(
            "peer", "get", link, "-o", tmp_path / "out", "--host", "127.0.0.1", "--port", "0", "--home",
            tmp_path / "h2", "--seed", "--json", "--progress", "none",
        )  # fmt: skip
        assert process.stdout is not None
        assert '"share_id"' in process.stdout.readline(), "printed on completion, not at the end"
    assert end(process).code == 0


def test_inspect_and_verify_agree_with_b3sum(tmp_path: Path) -> None:
    source = fill(tmp_path / "folder")
    listed = run("peer", "inspect", source, "--checksums", "--home", tmp_path / "h")
    assert listed.code == 0
    for line in listed.out.splitlines():
        digest, _, path = line.partition("  ")
        assert blake3((tmp_path / path).read_bytes()).hexdigest() == digest
    with sharing(source, tmp_path / "h1") as link:
        seen = run("peer", "inspect", link, "--host", "127.0.0.1", "--home", tmp_path / "h2")
        good = run("peer", "verify", link, tmp_path, "--host", "127.0.0.1", "--home", tmp_path / "h2")
    assert seen.code == 0
    assert "folder/large.bin" in seen.out
    assert good.code == 0, good.out
    (source / "large.bin").write_bytes(b"changed")
    # The manifest is known by now: no peer is needed any more.
    bad = run("peer", "verify", link, source, "--home", tmp_path / "h2")
    assert bad.code == 4
    assert "large.bin" in bad.out


def test_verify_finds_a_share_with_a_folder_of_its_own_name(tmp_path: Path) -> None:
    """As the source of many a program has. All of it was said to be missing."""
    source = tmp_path / "program"
    (source / "program").mkdir(parents=True)
    (source / "README").write_bytes(b"read me")
    (source / "program" / "main.py").write_bytes(b"pass")
    for folder in (source, tmp_path):
        result = run("peer", "verify", source, folder, "--home", tmp_path / "h")
        assert result.code == 0, result.out
    (source / "README").unlink()
    result = run("peer", "verify", source / "program", source, "--home", tmp_path / "h")
    assert result.code == 0, result.out


@pytest.mark.parametrize("name", ["config.toml", "version"])
def test_a_pipe_in_the_home_is_not_waited_for(name: str, tmp_path: Path) -> None:
    """Every command hung until somebody wrote into it."""
    os.mkfifo(tmp_path / name)
    result = run("peer", "config", "--home", tmp_path)
    assert result.code == (5 if name == "config.toml" else 0)
    assert ("is not a regular file" in result.err) == (name == "config.toml")


def test_verify_finds_names_whose_accents_are_decomposed(tmp_path: Path) -> None:
    """As a Mac writes them. The manifest has the other form, and all of it was said to be missing."""
    source = tmp_path / unicodedata.normalize("NFD", "café")
    (source / unicodedata.normalize("NFD", "é")).mkdir(parents=True)
    (source / unicodedata.normalize("NFD", "é") / unicodedata.normalize("NFD", "ü.txt")).write_bytes(b"text")
    for folder in (source, tmp_path):
        result = run("peer", "verify", source, folder, "--home", tmp_path / "h")
        assert result.code == 0, result.out


def test_the_id_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    first = run("peer", "id", "--home", tmp_path / "h")
    again = run("peer", "id", "--home", tmp_path / "h")
    assert first.code == 0
    assert first.out == again.out
    assert len(bytes.fromhex(first.out.strip())) == 32
    keys = [path for path in (tmp_path / "h").iterdir() if path.suffix == ".pem"]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600]


def test_only_some_files(tmp_path: Path) -> None:
    source = fill(tmp_path / "folder")
    with sharing(source, tmp_path / "h1") as link:
        none = get(link, tmp_path / "out", tmp_path / "h2", "--only", "*.pdf")
        some = get(link, tmp_path / "out", tmp_path / "h2", "--only", "sub")
    assert none.code == 2
    assert "*.pdf" in none.err
    assert some.code == 0, some.err
    assert (tmp_path / "out" / "folder" / "sub" / "tool").exists()
    assert not (tmp_path / "out" / "folder" / "large.bin").exists()


def test_plain_is_refused_by_who_was_not_told_to_allow_it(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        refused = get(link, tmp_path / "out", tmp_path / "h2", "--plain", "--timeout", "2s")
    with sharing(tmp_path / "file.bin", tmp_path / "h1", "--plain") as link:
        taken = get(link, tmp_path / "out", tmp_path / "h2", "--plain")
    assert refused.code == 3
    assert taken.code == 0


def test_a_private_swarm_lets_nobody_in_without_its_secret(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    (tmp_path / "secret").write_text("correct horse battery staple\n")
    (tmp_path / "wrong").write_text("correct horse battery stable\n")
    key = ("--swarm-key", tmp_path / "secret")
    tracker = begin("tracker", "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "ht", *key)
    try:
        assert tracker.stderr is not None
        address = tracker.stderr.readline().strip().removeprefix("listening on ")
        with sharing(tmp_path / "file.bin", tmp_path / "h1", "--tracker", address, *key) as link:
            outsider = get(link, tmp_path / "out", tmp_path / "h2", "--timeout", "2s")
            stranger = get(
                link, tmp_path / "out", tmp_path / "h2", "--timeout", "2s", "--swarm-key", tmp_path / "wrong"
            )
            member = get(link.split("&x.pe")[0], tmp_path / "out", tmp_path / "h2", *key)
    finally:
        end(tracker)
    assert outsider.code == 3
    assert stranger.code == 3
    assert member.code == 0, member.err
