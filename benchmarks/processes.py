"""Real processes under measurement: our peers, libtorrent's, nginx and curl. Loopback only, all stopped."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.processes import program, running

HOST = "127.0.0.1"
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process. ``reported``: what it said of itself. Times in seconds, memory in MiB."""

    wall_s: float
    cpu_s: float
    rss_mib: float
    reported: dict[str, Any]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def finish(command: list[str], reads_json: bool = True) -> Run:
    """Run to the end and account for it alone."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout.read()
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} ended with {process.returncode}: {errors[-500:]}")
    reported = json.loads(out.splitlines()[-1]) if reads_json else {}
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, reported)


@contextmanager
def our_sharer(path: Path, home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A sharing peer; gives its process and the link."""
    command = [*program("peer"), "share", str(path), "--host", HOST, "--port", "0", "--home", str(home)]
    command += ["--progress", "none", *options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        if not link:
            raise SystemExit("the sharing peer did not start")
        yield process, link


def our_getter(link: str, folder: Path, home: Path, *options: str) -> Run:
    """A getting peer, to its end. The home is new each time."""
    shutil.rmtree(home, ignore_errors=True)
    return finish(
        [*program("peer"), "get", link, "-o", str(folder), "--host", HOST, "--port", "0", "--home", str(home),
         "--progress", "none", "--json", *options]
    )  # fmt: skip


@contextmanager
def libtorrent_seeder(path: Path, piece_bytes: int) -> Iterator[int]:
    """A libtorrent seed; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.libtorrent_peer", "seed", str(path), "-", str(port), "0"]
    with running([*command, str(piece_bytes)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("libtorrent did not start")
        yield port


def libtorrent_getter(path: Path, folder: Path, seed_port: int, piece_bytes: int) -> Run:
    """A libtorrent leech, to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    return finish(
        [sys.executable, "-m", "benchmarks.libtorrent_peer", "get", str(path), str(folder), str(free_port()),
         str(seed_port), str(piece_bytes)]
    )  # fmt: skip


@contextmanager
def nginx(root: Path, work: Path) -> Iterator[int]:
    """nginx that serves a folder by sendfile; gives its port."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; pid {work}/pid; error_log {work}/error;\nuser root;\nevents {{}}\n"
        f"http {{ access_log off; sendfile on; client_body_temp_path {work}/b; proxy_temp_path {work}/p;"
        f" fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;"
        f" server {{ listen {HOST}:{port}; root {root}; }} }}\n"
    )
    with running(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port


def curl(port: int, name: str, target: Path) -> Run:
    """curl into a new file."""
    return finish(["curl", "-sf", "-o", str(target), f"http://{HOST}:{port}/{name}"], reads_json=False)


def peak_mib(process: "subprocess.Popen[str]") -> float:
    """Peak resident memory of a running process."""
    return _status_mib(process, "VmHWM")


def resident_mib(process: "subprocess.Popen[str]") -> float:
    """Resident memory of a running process, now."""
    return _status_mib(process, "VmRSS")


def _status_mib(process: "subprocess.Popen[str]", field: str) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field} in /proc/{process.pid}/status")
