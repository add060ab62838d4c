"""Two machines on one wire, which no tracker and no address joins: network namespaces, real multicast."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.commands import PATIENCE_S, command, environment, wait_until

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


QUICK = "import peer.net.networks as n; n.LAN_LOOK_S = 0.2; n.LAN_PAUSE_S_MAX = 1.0; "
"""The machine's addresses are looked at more often than people need it."""

WATCH = """
import sys
from zeroconf import IPVersion, ServiceBrowser, ServiceStateChange, Zeroconf

def seen(zeroconf, service_type, name, state_change):
    if state_change is ServiceStateChange.Removed:
        print("gone", flush=True)
    elif (info := zeroconf.get_service_info(service_type, name)) is not None:
        for address in info.parsed_addresses():
            print(address, flush=True)

zeroconf = Zeroconf(ip_version=IPVersion.V4Only)
ServiceBrowser(zeroconf, "_manyhands._tcp.local.", handlers=[seen])
print("watching", flush=True)
sys.stdin.read()
"""
"""Another program that knows DNS-SD, and nothing of us."""


class Inside:
    """A Python program in a namespace, and what it has said. It ends with the block."""

    def __init__(self, namespace: str, out: Path, python: str, *arguments: str) -> None:
        self._out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, sys.executable, "-c", python, *arguments],
                stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, env=environment(), text=True,
            )  # fmt: skip

    def __enter__(self) -> "Inside":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    def until(self, line: str, count: int = 1) -> None:
        """Wait for a line that begins so, or for several."""
        wait_until(lambda: sum(said.startswith(line) for said in self.lines) >= count, self.process)


def peer(*arguments: str | Path) -> tuple[str, ...]:
    return (QUICK + "from peer.cli import main; main()", *map(str, arguments), "--lan", "--progress", "none")


def connect(namespace: str, address: str) -> None:
    ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    ip("-n", namespace, "link", "set", "eth0", "up")


def disconnect(namespace: str) -> None:
    ip("-n", namespace, "link", "set", "eth0", "down")
    ip("-n", namespace, "addr", "flush", "dev", "eth0")


def test_a_node_is_found_where_its_machine_is_now(wire: tuple[str, str], tmp_path: Path) -> None:
    """Its machine is not connected when it starts, then it is, then it moves. The addresses of the start were
    those for ever."""
    ours, theirs = wire
    disconnect(ours)
    source = tmp_path / "letters.bin"
    source.write_bytes(bytes(range(256)) * 2048)
    share = peer("share", source, "--home", tmp_path / "one")
    with (
        Inside(theirs, tmp_path / "theirs.txt", WATCH) as other,
        Inside(ours, tmp_path / "ours.txt", *share) as sharer,
    ):
        sharer.until("magnet:?xt=urn:blake3:")
        other.until("watching")
        connect(ours, "10.77.200.1")
        other.until("10.77.200.1")
        disconnect(ours)
        connect(ours, "10.77.200.9")
        other.until("10.77.200.9")
        sharer.process.send_signal(signal.SIGINT)
        other.until("gone")
    assert "Traceback" not in "".join(sharer.lines)


def test_a_node_finds_others_where_its_machine_is_now(wire: tuple[str, str], tmp_path: Path) -> None:
    """They have announced themselves long before: it has to ask."""
    ours, theirs = wire
    disconnect(ours)
    source = tmp_path / "letters.bin"
    source.write_bytes(bytes(range(256)) * 2048)
    share = peer("share", source, "--home", tmp_path / "one")
    with Inside(theirs, tmp_path / "theirs.txt", *share) as sharer:
        sharer.until("magnet:?xt=urn:blake3:")
        link = sharer.lines[0].partition("&")[0]
        get = peer("get", link, "-o", tmp_path / "out", "--home", tmp_path / "two", "--timeout", "3m", "-v")
        with Inside(ours, tmp_path / "ours.txt", *get) as getter:
            getter.until("limited by", 2)  # it has been there for a while
            connect(ours, "10.77.200.1")
            assert getter.process.wait(PATIENCE_S) == 0, getter.lines
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [source.read_bytes()]
