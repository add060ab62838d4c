"""Two machines on one wire, which no tracker and no address joins: network namespaces, real multicast."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.commands import PATIENCE_S, command, environment

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root and iproute2",
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=PATIENCE_S)


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them."""
    own = secrets.token_hex(4)  # a process that was killed may have left its own behind
    names = (f"mhlan{own}a", f"mhlan{own}b")
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.200.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names


@pytest.mark.parametrize("key", [None, "secret"], ids=["public", "private"])
def test_a_bare_hash_is_enough_on_one_wire(wire: tuple[str, str], tmp_path: Path, key: str | None) -> None:
    source = tmp_path / "letters.bin"
    source.write_bytes(bytes(range(256)) * 2048)
    options: list[str | Path] = ["--lan", "--progress", "none"]
    if key is not None:
        (tmp_path / "key").write_text(key * 6)
        options += ["--swarm-key", tmp_path / "key"]
    share = command("peer", "share", source, "--home", tmp_path / "one", *options)
    with subprocess.Popen(
        ["ip", "netns", "exec", wire[0], *share], stdout=subprocess.PIPE, text=True, env=environment()
    ) as sharer:
        try:
            assert sharer.stdout is not None
            link = sharer.stdout.readline().partition("&")[0]
            assert link.startswith("magnet:?xt=urn:blake3:")
            get = command(
                "peer", "get", link, "-o", tmp_path / "out", "--home", tmp_path / "two", "--timeout", "3m",
                *options,
            )  # fmt: skip
            done = subprocess.run(
                ["ip", "netns", "exec", wire[1], *get],
                check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(),
            )  # fmt: skip
        finally:
            sharer.terminate()
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [source.read_bytes()]
