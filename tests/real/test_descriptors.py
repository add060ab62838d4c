"""A process that may open few files, and a crowd at its door: RELIABILITY row 16."""

import resource
import socket
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from peer.limits import DESCRIPTORS_WANTED
from peer.net.descriptors import claim_descriptors
from tests.real.commands import PATIENCE_S, begin, command, end, environment, get, wait_until

LIMIT = 64
CROWD = 200
DATA = Random(1).randbytes(8 << 20)

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@needs_proc
def test_a_crowd_at_a_process_with_few_descriptors(tmp_path: Path) -> None:
    """The transfer under way ends whole, newcomers are served again, and the descriptors come back."""
    source = tmp_path / "file.bin"
    source.write_bytes(DATA)
    share = command("peer", "share", source, "--host", "127.0.0.1", "--port", "0", "--home", tmp_path / "h1")
    sharer = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh", *share],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    crowd: list[socket.socket] = []
    try:
        assert sharer.stdout is not None
        link = sharer.stdout.readline().strip()
        port = int(link.rpartition("%3A" if "%3A" in link else ":")[2])
        assert get(link, tmp_path / "o0", tmp_path / "h0").code == 0
        base = descriptors(sharer.pid)
        getter = begin(
            "peer", "get", link, "-o", tmp_path / "o2", "--host", "127.0.0.1", "--home", tmp_path / "h2",
            "--down", "8MiB", "--progress", "json",
        )  # fmt: skip
        assert getter.stderr is not None
        for line in getter.stderr:
            if '"done": ' in line and '"done": 0,' not in line:
                break
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(CROWD)]
        _, err = getter.communicate(timeout=PATIENCE_S)
        assert getter.returncode == 0, err
        assert (tmp_path / "o2" / "file.bin").read_bytes() == DATA
        assert descriptors(sharer.pid) < LIMIT
        # While the crowd is still there: whoever is silent longest makes room.
        assert get(link, tmp_path / "o3", tmp_path / "h3").code == 0
        for connection in crowd:
            connection.close()
        assert get(link, tmp_path / "o4", tmp_path / "h4").code == 0
        wait_until(lambda: descriptors(sharer.pid) <= base + 2, sharer)
    finally:
        for connection in crowd:
            connection.close()
        result = end(sharer)
    assert result.code == 0, result.err


def test_a_command_takes_what_the_system_lets_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        expected = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
        assert claim_descriptors() == max(expected, 256)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == max(expected, 256)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft >= DESCRIPTORS_WANTED:
        assert claim_descriptors() == soft, "never lowered"
