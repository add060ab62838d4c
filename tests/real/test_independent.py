"""docs/protocol.md is enough to talk to a node: a second implementation, made from it alone, does."""

import ast
import os
import socket
from pathlib import Path

import pytest

from tests.real import independent
from tests.real.commands import begin, end, free_port, sharing, wait_until
from tests.real.independent import PATIENCE_S, Content, Files, Link, Me, cut_up

FILES: Files = {
    ("a",): b"x" * 5000,
    ("big.bin",): os.urandom(100_000),
    ("empty",): b"",
    ("sub", "one piece"): os.urandom(16384),
    ("sub", "nearly"): os.urandom(16383),
    ("sub.", "sorted by component"): b"z",
}


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def lay_out(folder: Path) -> Path:
    for path, data in FILES.items():
        file = folder.joinpath(*path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def test_it_has_nothing_of_ours() -> None:
    tree = ast.parse(Path(independent.__file__).read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in imported} & {"peer", "tracker", "lab", "tests", ""}


@pytest.mark.slow
@pytest.mark.parametrize("plain", [False, True], ids=["encrypted", "plain"])
def test_it_fetches_from_a_node(tmp_path: Path, plain: bool) -> None:
    options = ["--plain"] if plain else []
    with sharing(lay_out(tmp_path / "stuff"), tmp_path / "home", *options) as text:
        link = Link.parse(text)
        assert link.share == Content.of(FILES).share, "the same content is the same share"
        ((_, host, port),) = link.peers
        one, two, three = Me(), Me(), Me()
        with one.dial(host, port, plain=plain) as first:
            first.send(one.hello(link.share, port=7777), cut=1)
            hello, _ = first.wait_for("hello")
            assert first.other == (None if plain else hello["node"])
            with two.dial(host, port, plain=plain) as second:
                second.send(two.hello(link.share))
                assert second.wait_for("peers")[0]["peers"] == [["127.0.0.1", 7777, one.node]]
        with three.dial(host, port, plain=plain) as third:
            content, pieces = third.fetch(three, link.share)
            assert content.files_of(pieces) == FILES


@pytest.mark.slow
def test_a_node_fetches_from_it_what_it_has_published(tmp_path: Path) -> None:
    secret = b"known to members only"
    key = tmp_path / "key"
    key.write_bytes(secret)
    key.chmod(0o600)
    me, content, size = Me(secret), Content.of(FILES), sum(map(len, FILES.values()))
    with free_port() as port, socket.create_server(("127.0.0.1", 0)) as listener:
        swarm: list[str | Path] = ["--host", "127.0.0.1", "--swarm-key", key]
        tracker = begin("tracker", *swarm, "--port", str(port))
        getter = None
        try:
            wait_until(lambda: listening(port), tracker)
            with me.dial("127.0.0.1", port) as asked:
                asked.send(me.announce(content.share, listener.getsockname()[1], "started", 0), cut=1)
                assert asked.wait_for("announced")[0]["seeders"] == 1
                asked.send(me.publish("Stuff of mine", content.share, size))
                assert asked.wait_for("published")[0]["code"] == 0
                asked.send({"kind": "search", "version": 1, "words": ["MI"], "name": ""} | ANYTHING)
                assert asked.wait_for("found")[0]["listings"][0][:3] == ["Stuff of mine", content.share, size]
            swarm += ["--tracker", f"127.0.0.1:{port}", "--home", tmp_path / "home"]
            getter = begin("peer", "get", "stuff OF mine", "-o", tmp_path / "got", *swarm)
            with me.accept(listener) as connection:
                connection.serve(me, content, cut_up(FILES, 16384), part=777)
            out, err = getter.communicate(timeout=PATIENCE_S)
            assert getter.returncode == 0, out + err
        finally:
            if getter is not None:
                getter.kill()
            end(tracker)
    landed = tmp_path / "got" / "Stuff of mine"
    assert {path: landed.joinpath(*path).read_bytes() for path in FILES} == FILES


ANYTHING = {"node": bytes(32), "after": 0, "want": 100}
