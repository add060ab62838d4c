"""The daemon as users and systemd run it: real processes, signals, its socket and who may use it."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import shake_256
from pathlib import Path

import pytest
import trio

from peer.control import local
from peer.control.client import ControlClient
from peer.control.protocol import Body, Get, Limits, List, Request, Share, encode_request
from peer.errors import ConnectionLost
from tests.real.commands import (
    PATIENCE_S,
    Result,
    begin,
    command,
    end,
    environment,
    free_port,
    get,
    run,
    sharing,
    wait_until,
)

MANY = 20


@contextmanager
def serving(home: Path, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon on loopback that says that it is ready; its log goes into a file beside its home."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(PATIENCE_S)
        with log_of(home).open("a") as log:
            process = subprocess.Popen(
                command("peer", "serve", "--home", home, "--host", "127.0.0.1", "--port", "0", *options),
                env=environment() | {"NOTIFY_SOCKET": f"{folder}/notify"},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert b"READY=1" in notify.recv(4096)
            yield process
            if process.poll() is None:
                process.terminate()
                assert process.wait(PATIENCE_S) == 0
                while b"STOPPING=1" not in notify.recv(4096):
                    pass
        finally:
            process.kill()
            process.communicate()
    assert "Traceback" not in log_of(home).read_text()


def log_of(home: Path) -> Path:
    return home.with_name(home.name + ".log")


def ask(home: Path, *arguments: str | Path) -> Result:
    return run("peer", *arguments, "--home", home)


def rows(home: Path) -> list[dict[str, object]]:
    listed = ask(home, "list", "--json")
    assert listed.code == 0, listed.err
    return [json.loads(line) for line in listed.out.splitlines()]


def test_commands_hand_their_work_to_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(b"data" * 10_000)
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a), serving(b, "--log-json"):
        shared = ask(a, "share", tmp_path / "film.bin")
        assert shared.code == 0, shared.err
        link = shared.out.strip()
        assert link.startswith("magnet:?xt=urn:blake3:")
        got = run("peer", "get", link, "-o", tmp_path / "out", "--home", b, "--json", "--order", "in-order")
        assert got.code == 0, got.err
        assert '"piece_order": "in-order"' in next(b.glob("shares/*/share")).read_text()
        assert (tmp_path / "out" / "film.bin").read_bytes() == b"data" * 10_000
        assert got.json["bytes"] == 40_000
        assert set(got.json) == {
            "share_id", "name", "bytes", "seconds", "path", "sources", "resumed_bytes", "wasted_bytes",
        }  # fmt: skip
        listed = ask(b, "list")
        assert got.json["share_id"][:12] in listed.out
        assert str(tmp_path / "out" / "film.bin") in listed.out
        limited = ask(b, "limits", "film.bin", "--up", "4mbit")
        assert limited.out == "film.bin: up 500.0 kB/s, down no limit\n"
        status = ask(b, "status", "--json")
        assert json.loads(status.out)["known"] == 1
        own = run("peer", "get", link, "-o", tmp_path, "--home", b, "--port", "7702")
        assert own.code == 2
        assert "--port" in own.err
        assert ask(b, "remove", "film.bin").code == 0
        assert (tmp_path / "out" / "film.bin").exists()
        unknown = ask(b, "pause", "film.bin")
        assert unknown.code == 2
        assert "peer list" in unknown.err
        assert ask(b, "stop").code == 0
    for line in log_of(b).read_text().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


def test_a_share_is_named_by_its_path_from_where_the_user_is(tmp_path: Path) -> None:
    """As tab completion writes it. It was unknown; and of a share without a byte the size was."""
    (tmp_path / "empty").mkdir()
    home, path = tmp_path / "home", os.path.relpath(tmp_path / "empty")
    with serving(home):
        assert ask(home, "share", path).code == 0
        assert "0 B" in ask(home, "list").out
        for words in (["pause", f"{path}/"], ["resume", path], ["limits", path], ["status", f"{path}/."]):
            done = ask(home, *words)
            assert done.code == 0, done.err
        assert ask(home, "remove", f"{path}/").code == 0


def test_inspect_and_verify_ask_the_swarm_beside_a_daemon(tmp_path: Path) -> None:
    """They wanted its home for themselves, and ended with the exit code of a broken disk."""
    (tmp_path / "film.bin").write_bytes(b"data" * 10_000)
    home = tmp_path / "home"
    with serving(home), sharing(tmp_path / "film.bin", tmp_path / "sharer") as link:
        seen = run("peer", "inspect", link, "--home", home, "--host", "127.0.0.1")
        assert seen.code == 0, seen.err
        assert "film.bin" in seen.out
        for manifest in home.glob("manifests/*"):
            manifest.unlink()
        good = run("peer", "verify", link, tmp_path, "--home", home, "--host", "127.0.0.1")
        assert good.code == 0, good.err
        assert ask(home, "status").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["status"],
        ["status", "--watch"],
        ["pause", "--all"],
        ["stop"],
        ["share", "."],
        ["get", "NAME", "--tracker"],
    ],
    ids=" ".join,
)
def test_ctrl_c_ends_a_command_whose_daemon_hangs(words: list[str], tmp_path: Path) -> None:
    """It took a second one; and a tracker that said nothing was waited for."""
    (tmp_path / "h" / "control").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as daemon, socket.create_server(("127.0.0.1", 0)) as tracker:
        daemon.bind(os.fspath(tmp_path / "h" / "control" / "socket"))
        daemon.listen()
        awaited = tracker if words[-1] == "--tracker" else daemon
        address = [f"127.0.0.1:{tracker.getsockname()[1]}"] if awaited is tracker else []
        process = begin("peer", *words, *address, "--home", tmp_path / "h")
        awaited.settimeout(PATIENCE_S)
        with awaited.accept()[0] as connection:
            connection.settimeout(PATIENCE_S)
            assert connection.recv(1), "it asks, and now it waits"
            result = end(process, signal.SIGINT)
    assert (result.code, result.err) == (130, ""), "not what it says when its patience ends"


def test_twenty_transfers_survive_a_kill(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    files = {f"film{number}.bin": shake_256(bytes([number])).digest(500_000) for number in range(MANY)}
    for name, data in files.items():
        (source / name).write_bytes(data)
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a):
        # Each alone at a rate that leaves the last one a long while to begin before the first is complete.
        shared = trio.run(ask_each, a, [Share(str(source / name), up=25_000.0) for name in files])
        gets = [Get(body["link"], str(tmp_path / "out")) for body in shared]
        with serving(b) as victim:
            trio.run(fetch_until_all_are_on_their_way, b, gets, victim)
            victim.wait(PATIENCE_S)
        unfinished = [name for name in files if not (tmp_path / "out" / name).exists()]
        assert len(unfinished) == MANY, "it was killed in the middle"
        trio.run(ask_each, a, [Limits(body["share"], up=math.inf) for body in shared])
        with serving(b):
            for body in trio.run(ask_each, b, gets):
                assert body["resumed_bytes"] > 0, "it went on from what was on the disk"
            assert all(row["complete"] for row in rows(b))
    for name, data in files.items():
        assert (tmp_path / "out" / name).read_bytes() == data


def test_a_published_name_is_kept_listed(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(b"data" * 10_000)
    with free_port() as port:
        for listed in range(2):  # and again by a daemon that remembers it, at a tracker that does not
            publish_and_get(tmp_path, str(port), listed)


def publish_and_get(tmp_path: Path, port: str, listed: int) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    tracker = begin("tracker", "--host", "127.0.0.1", "--port", port, "--home", tmp_path / "t")
    try:
        assert tracker.stderr is not None
        address = tracker.stderr.readline().strip().removeprefix("listening on ")
        with serving(a):
            if not listed:
                assert ask(a, "share", tmp_path / "film.bin", "--publish", "a film").code == 2
                shared = ask(a, "share", tmp_path / "film.bin", "--publish", "a film", "--tracker", address)
                assert shared.code == 0, shared.err
            while run("peer", "search", "film", "--tracker", address, "--home", b).code != 0:
                assert tracker.poll() is None
            got = get("a film", tmp_path / f"out{listed}", b, "--tracker", address)
            assert got.code == 0, got.err
            assert (tmp_path / f"out{listed}" / "a film").read_bytes() == b"data" * 10_000
    finally:
        assert end(tracker).code == 0


async def ask_each(home: Path, requests: Sequence[Request]) -> list[Body]:
    """As so many commands would, one after the other."""
    stream = await local.connect(home)
    assert stream is not None
    async with ControlClient(stream) as client:
        return [await client.ask(request) for request in requests]


async def fetch_until_all_are_on_their_way(
    home: Path, gets: Sequence[Get], victim: subprocess.Popen[str]
) -> None:
    """Follow all at once, and kill the daemon as soon as each has got something."""
    on_the_way: set[int] = set()
    async with trio.open_nursery() as nursery:

        async def follow(number: int) -> None:
            def look(news: Body) -> None:
                if news.get("held", 0) > 0:
                    on_the_way.add(number)
                if len(on_the_way) == len(gets):
                    victim.kill()

            stream = await local.connect(home)
            assert stream is not None
            async with ControlClient(stream) as client:
                with pytest.raises(ConnectionLost):
                    await client.ask(gets[number], look)

        for number in range(len(gets)):
            nursery.start_soon(follow, number)


def test_a_stale_socket_is_replaced_and_a_live_one_is_an_error(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as process:
        second = run("peer", "serve", "--home", home, "--host", "127.0.0.1", "--port", "0")
        assert second.code == 5
        assert "--home" in second.err
        process.kill()
        process.wait()
    assert local.socket_path(home).is_socket(), "a kill leaves it behind"
    gone = ask(home, "list")
    assert gone.code == 2
    assert "peer serve" in gone.err
    with serving(home):
        assert ask(home, "list").code == 0
        assert stat_mode(local.socket_path(home)) == 0o600
        assert stat_mode(local.socket_path(home).parent) == 0o700
    assert not local.socket_path(home).exists()


def test_stop_returns_when_the_home_is_free_for_the_next(tmp_path: Path) -> None:
    """It returned as soon as the daemon had heard it: `peer stop && peer serve` failed now and then."""
    home = tmp_path / "home"
    with serving(home):
        assert ask(home, "stop").code == 0
        assert not local.socket_path(home).exists()
        with serving(home):
            assert ask(home, "list").code == 0


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_with_a_long_path_has_a_socket_too(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has a way round the short addresses of sockets")
    home = tmp_path / ("x" * 100) / "home"
    home.parent.mkdir()
    with serving(home):
        assert ask(home, "list").code == 0


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # one that others get into, unlike pytest's
        Path(folder).chmod(0o755)
        refuse_others(Path(folder) / "home")


def refuse_others(home: Path) -> None:
    knock = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(bytes.fromhex(sys.argv[2]));"
        "print(len(s.recv(100)))"
    )
    path = local.socket_path(home)
    with serving(home):
        closed = subprocess.run(
            [sys.executable, "-c", knock, path, "00"], check=False, capture_output=True, text=True
        )
        assert "PermissionError" in closed.stderr, "nobody else gets near it"
        for opened in (path, path.parent, home):  # even if somebody opens the way
            opened.chmod(0o777)
        request = encode_request(1, List()).hex()
        refused = subprocess.run(
            [sys.executable, "-c", knock, path, request], check=False, capture_output=True, text=True
        )
        hung_up = {"ConnectionResetError", "BrokenPipeError"}
        assert refused.stdout.strip() == "0" or any(name in refused.stderr for name in hung_up)
        assert ask(home, "list").code == 0
    assert "another user" in log_of(home).read_text()


def test_settings_come_from_file_environment_and_flags_in_rising_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text('up = "1mbit"\ndown = "2mbit"\nlog_level = "debug"\nconnections = 50\n')
    done = subprocess.run(
        command("peer", "config", "--home", home, "--up", "3mbit", "--json"),
        env=environment() | {"MANYHANDS_UP": "5mbit", "MANYHANDS_DOWN": "4mbit", "MANYHANDS_DWN": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["up"] == {"value": "3mbit", "source": "flag"}
    assert found["down"] == {"value": "4mbit", "source": "environment"}
    assert found["connections"] == {"value": 50, "source": "file"}
    assert found["port"] == {"value": 7701, "source": "default"}
    printed = ask(home, "config")
    assert 'up = "1mbit"' in printed.out


def test_a_byte_order_mark_in_the_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('up = "1mbit"\n', encoding="utf-8-sig")
    assert 'up = "1mbit"' in ask(tmp_path, "config").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('upp = "1mbit"', ["config.toml", "upp", "did you mean up?"]),
        ("up = 5", ["config.toml", "up = 5", "quotes"]),
        ("= = =", ["config.toml"]),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text)
    result = run("peer", "serve", "--home", tmp_path, "--port", "0")
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    for word in words:
        assert word in result.err


def test_a_daemon_is_seen_and_stopped_whatever_the_file_says_meanwhile(tmp_path: Path) -> None:
    """Every command refused, so that a daemon could not even be stopped."""
    home = tmp_path / "home"
    with serving(home):
        (home / "config.toml").write_text('upp = "1mbit"\n')
        for words in (["status"], ["list"], ["limits"], ["stop"]):
            done = ask(home, *words)
            assert done.code == 0, done.err
            warning = done.err.splitlines()[0]
            assert "did you mean up?" in warning
            assert "goes on without it" in warning
        assert ask(home, "config").code == 2
        (home / "version").write_text("99\n")
        assert ask(home, "status").code == 5


def test_a_home_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("99\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run("peer", "serve", "--home", tmp_path, "--port", "0")
    assert result.code == 5
    assert "99" in result.err
    assert "update" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def reloads(home: Path) -> int:
    """How often it has said that it read its configuration again, or could not."""
    return log_of(home).read_text().count("reloaded")


def more_reloads(home: Path, seen: int) -> bool:
    return reloads(home) > seen


def test_sighup_reads_the_configuration_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home, "--down", "8mbit") as process:
        for text, up in (
            ('up = "4mbit"\ndown = "1mbit"\n', 500_000),
            ("upp = 1\n", 500_000),
            ('announce = "0.0.0.0"\n', 500_000),
            ("", None),
        ):
            seen = reloads(home)
            (home / "config.toml").write_text(text)
            process.send_signal(signal.SIGHUP)
            wait_until(partial(more_reloads, home, seen), process)
            (home / "config.toml").unlink()
            limits = json.loads(ask(home, "limits", "--json").out)
            assert limits == {"up": up, "down": 1_000_000}, "a flag goes before the file"
    assert "not reloaded" in log_of(home).read_text()


def test_a_get_without_its_daemon_goes_on_in_process(tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(b"data" * 10_000)
    home = tmp_path / "home"
    with sharing(tmp_path / "film.bin", tmp_path / "a") as link:
        with serving(home):
            assert run("peer", "get", link, "-o", tmp_path / "out", "--home", home).code == 0
        again = get(link, tmp_path / "out", home, "--json")
        assert again.code == 0
        assert again.json["resumed_bytes"] == 40_000


def test_a_follower_that_is_interrupted_leaves_the_transfer_running(tmp_path: Path) -> None:
    data = shake_256(b"x").digest(3_000_000)
    (tmp_path / "film.bin").write_bytes(data)
    home = tmp_path / "home"
    with sharing(tmp_path / "film.bin", tmp_path / "a", "--up", "400kB") as link, serving(home):
        follower = subprocess.Popen(
            command("peer", "get", link, "-o", tmp_path / "out", "--home", home, "--progress", "json"),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert follower.stderr is not None
        assert any(json.loads(line).get("done", 0) > 0 for line in follower.stderr)
        stopped = end(follower, signal.SIGINT)
        assert stopped.code == 130
        assert "peer remove" in stopped.err
        assert run("peer", "get", link, "-o", tmp_path / "out", "--home", home).code == 0
    assert (tmp_path / "out" / "film.bin").read_bytes() == data


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    result = run("peer", "completion", shell)
    assert result.code == 0
    assert "_PEER_COMPLETE" in result.out
