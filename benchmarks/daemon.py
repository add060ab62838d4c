"""The daemon's cost: what 1,000 known shares take at rest and at the start, and what being watched costs a
transfer.

    python -m benchmarks.daemon [--shares 1000] [--mib 1024] [--rounds 3] [--only rest|watched]

Real processes on loopback. Each figure stands beside the same without the load: an empty daemon, a transfer
that nobody watches.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from benchmarks.machine import describe, ratio_line
from benchmarks.processes import HOST, our_sharer, resident_mib
from lab.cli import stop
from lab.processes import program, running
from peer.control import local
from peer.control.client import ControlClient
from peer.control.protocol import List, Share, Status, encode_request

START_BAR_S = 2.0
MEMORY_BAR_MIB = 150
WATCHED_BAR = 1.10
"""Time of a watched transfer over that of one alone."""

IDLE_S = 10.0
"""How long an idle daemon's processor time is counted."""
SETTLE_S = 3.0
"""After the start, before anything is counted."""
WATCHER_START_S = 0.5
"""For a watcher to be asking before the transfer begins."""
READY_S = 60
"""More than any start takes; after that the daemon is called stuck."""
SHARE_BYTES = 100_000
"""Of each share at rest: only how many there are is to count."""
CALLS_PER_S = 1000


@contextmanager
def daemon(home: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """A daemon that is ready; gives its process and how long the start took, by sd_notify."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(READY_S)
        begun = time.perf_counter()
        command = [*program("peer"), "serve", "--home", str(home), "--host", HOST, "--port", "0", "--no-lan"]
        with (
            (home.parent / f"{home.name}.log").open("a") as log,
            running(command, env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}, stderr=log) as process,
        ):
            while b"READY=1" not in notify.recv(4096):
                pass
            yield process, time.perf_counter() - begun


def cpu_s(process: subprocess.Popen[str]) -> float:
    """User and system time so far, of all threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _share_all(home: Path, paths: list[Path]) -> None:
    stream = await local.connect(home)
    assert stream is not None
    async with ControlClient(stream) as client:
        for path in paths:
            await client.ask(Share(str(path)))
        assert len((await client.ask(List()))["shares"]) == len(paths)


def idle_share(process: subprocess.Popen[str]) -> float:
    """Part of one core that it takes while nobody wants anything."""
    before = cpu_s(process)
    time.sleep(IDLE_S)
    return (cpu_s(process) - before) / IDLE_S


def rest(work: Path, shares: int) -> None:
    """So many shares at rest beside none."""
    empty, full = work / "empty", work / "full"
    paths = []
    for number in range(shares):
        path = work / "files" / f"{number:05d}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(SHARE_BYTES))
        paths.append(path)
    with daemon(full):
        trio.run(_share_all, full, paths)
    figures = {}
    for name, home in (("none", empty), (f"{shares}", full)):
        starts = []
        for _ in range(3):
            with daemon(home) as (_, seconds):
                starts.append(seconds)
        with daemon(home) as (process, seconds):
            starts.append(seconds)
            time.sleep(SETTLE_S)
            busy = idle_share(process)
            figures[name] = (statistics.median(starts), resident_mib(process), busy)
        start, memory, busy = figures[name]
        print(f"{name:>6} shares: ready after {start:.2f} s, {memory:.0f} MiB, {100 * busy:.2f} % of a core")
    start, memory, busy = figures[str(shares)]
    verdict = "met" if start < START_BAR_S else "MISSED"
    print(f"start with {shares} shares: {start:.2f} s  bar {START_BAR_S:g}: {verdict}")
    verdict = "met" if memory < MEMORY_BAR_MIB else "MISSED"
    print(f"memory with {shares} shares: {memory:.0f} MiB  bar {MEMORY_BAR_MIB}: {verdict}")
    print(
        f"idle with {shares} shares: {100 * (busy - figures['none'][2]):.2f} % of a core more than with none"
    )


def watched(work: Path, mib: int, rounds: int) -> None:
    """A transfer into a daemon while it is asked for its status a thousand times a second, beside one that
    nobody watches."""
    source = work / "film.bin"
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    alone: list[float] = []
    beside: list[float] = []
    calls: list[float] = []
    with our_sharer(source, work / "sharer") as (_, link), daemon(work / "getter") as (_, _):
        for number in range(-1, 2 * rounds):  # the first one warms the caches
            watch = number % 2 == 1
            folder = work / "out"
            seconds, made = _one_transfer(work / "getter", link, folder, watch=watch)
            shutil.rmtree(folder)
            if number >= 0:
                (beside if watch else alone).append(seconds)
            if watch:
                calls.append(made / seconds)
    print(f"{mib} MiB alone: {_rates(mib, alone)}")
    print(f"{mib} MiB beside {statistics.median(calls):.0f} status calls a second: {_rates(mib, beside)}")
    print(ratio_line("time watched / alone", beside, alone, WATCHED_BAR))


def _rates(mib: int, seconds: list[float]) -> str:
    return ", ".join(f"{mib / s:.0f}" for s in seconds) + " MiB/s"


def _one_transfer(home: Path, link: str, folder: Path, *, watch: bool) -> tuple[float, int]:
    """Fetch, by the daemon's own account of the time; then have it forget the share."""
    watcher = None
    if watch:
        watcher = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.daemon", "--ask", str(home)], stdout=subprocess.PIPE, text=True
        )
        time.sleep(WATCHER_START_S)
    done = subprocess.run(
        [*program("peer"), "get", link, "-o", str(folder), "--home", str(home),
         "--json", "--progress", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )  # fmt: skip
    seconds = json.loads(done.stdout)["seconds"]
    made = 0
    if watcher is not None:
        watcher.send_signal(signal.SIGTERM)
        out, _ = watcher.communicate()
        asked, lasted = out.split()
        made = round(int(asked) / float(lasted) * seconds)
    subprocess.run(
        [*program("peer"), "remove", link, "--home", str(home)], check=True, stderr=subprocess.DEVNULL
    )
    return seconds, made


def ask_for_ever(home: Path) -> None:
    """A cheap watcher: asks for the status CALLS_PER_S times a second, one after the other, until stopped."""
    frame = encode_request(1, Status())
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(local.socket_path(home)))
        begun = time.perf_counter()
        asked = 0
        while running:
            sock.sendall(frame)
            left = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")
            while left:
                left -= len(sock.recv(left))
            asked += 1
            ahead = begun + asked / CALLS_PER_S - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
    print(asked, time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shares", type=int, default=1000, help="at rest (default: %(default)s)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the transfer (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="alternated transfers (default: %(default)s)")
    parser.add_argument("--only", choices=["rest", "watched"], help="one of the two parts (default: both)")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask is not None:
        ask_for_ever(options.ask)
        return
    print(describe("trio", "msgpack"))
    with tempfile.TemporaryDirectory(prefix="manyhands-daemon-") as folder:
        work = Path(folder)
        if options.only in (None, "rest"):
            rest(work, options.shares)
        if options.only in (None, "watched"):
            watched(work, options.mib, options.rounds)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()
