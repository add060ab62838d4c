"""A shaped network on this machine alone: a bridge, a namespace for each member, token buckets between.

Needs root, iproute2 and the tbf qdisc. Nothing leaves the machine. Namespace 0 is the origin; the tracker's
is not shaped. Addresses are 10.77.x.y.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

BRIDGE = "mhbr"
TRACKER = "mhtr"
TRACKER_ADDRESS = "10.77.255.1"
_OURS = re.compile(rf"{BRIDGE}|{TRACKER}|mh\d+")


def available() -> str | None:
    """Why it cannot be done here, or None."""
    if os.geteuid() != 0:
        return "not root: network namespaces cannot be made"
    if not shutil.which("ip") or not shutil.which("tc"):
        return "iproute2 is not installed"
    return None


def address(number: int) -> str:
    """Of a member."""
    return f"10.77.{number // 250}.{number % 250 + 1}"


def name(number: int) -> str:
    """Of a member's namespace."""
    return f"mh{number}"


def inside(namespace: str, command: Sequence[str]) -> list[str]:
    """The command, run in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def tcp_counters(namespace: str) -> dict[str, int]:
    """What the kernel has counted there of TCP (`TcpExt` of /proc/net/netstat), by the counters' names."""
    command = inside(namespace, ["cat", "/proc/net/netstat"])
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("TcpExt:"))
    return dict(zip(names, map(int, values), strict=True))


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, capture_output=not check)


def _join(namespace: str, host: str, number: str) -> None:
    _run("ip", "netns", "add", namespace)
    _run("ip", "-n", namespace, "link", "set", "lo", "up")
    _run("ip", "link", "add", f"e{number}", "netns", namespace, "type", "veth",
         "peer", "name", f"b{number}", "netns", BRIDGE)  # fmt: skip
    _run("ip", "-n", namespace, "addr", "add", f"{host}/16", "dev", f"e{number}")
    _run("ip", "-n", namespace, "link", "set", f"e{number}", "up")
    _run("ip", "-n", BRIDGE, "link", "set", f"b{number}", "master", "br0")
    _run("ip", "-n", BRIDGE, "link", "set", f"b{number}", "up")


@contextmanager
def shaped(ups_kbit: Sequence[int]) -> Iterator[None]:
    """Members with these uplinks (kbit/s, 0: not shaped), and the tracker's namespace; removed at the end.

    So is what a run that was killed has left: one at a time.
    """
    _down()
    try:
        _run("ip", "netns", "add", BRIDGE)
        _run("ip", "-n", BRIDGE, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", BRIDGE, "link", "set", "br0", "up")
        _join(TRACKER, TRACKER_ADDRESS, "t")
        for number, up in enumerate(ups_kbit):
            _join(name(number), address(number), str(number))
            if up:
                _run("ip", "netns", "exec", name(number), "tc", "qdisc", "add", "dev", f"e{number}", "root",
                     "tbf", "rate", f"{up}kbit", "burst", "16kb", "latency", "200ms")  # fmt: skip
        yield
    finally:
        _down()


def _down() -> None:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    for namespace in of_ours(listed):
        _run("ip", "netns", "del", namespace, check=False)


def of_ours(listed: str) -> list[str]:
    """Those that were made here, of what `ip netns list` prints: a name a line, perhaps "(id: 3)"."""
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [found for found in names if _OURS.fullmatch(found)]
