"""The six servers for real: each behaves, and `lab servers` says what it saw. No timing is asserted."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.servers.jobs import Caller
from lab.servers.measure import Server
from lab.servers.roster import SERVERS
from tests.real.commands import PATIENCE_S, ask, wait_until

SIZES = {"small": 1024, "large": 3 << 20}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, SIZES) as running:
        yield running


def test_every_server_speaks_the_protocol(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    with Caller(address) as caller:
        small = caller.body("GET small")
        assert small is not None
        assert len(small) == 1024
        large = caller.body("GET large")
        assert large is not None
        assert len(large) == 3 << 20
        assert caller.body("GET nothing") is None
        assert caller.body("COUNT 1000") == b"1000"
        assert caller.body("HIT small") == b"1"
        # Two requests in one segment, then one byte by byte.
        caller.conn.sendall(b"COUNT 1\nCOUNT 2\n")
        assert caller.reader.read(len(b"OK 1\n1OK 1\n2")) == b"OK 1\n1OK 1\n2"
        for byte in b"COUNT 3\n":
            caller.conn.sendall(bytes([byte]))
        assert caller.reader.read(6) == b"OK 1\n3"
        # A thousand at once: nothing may recurse or be lost.
        caller.conn.sendall(b"COUNT 4\n" * 1000)
        assert caller.reader.read(6000) == b"OK 1\n4" * 1000
    with Caller(address) as endless:  # a request that never ends
        endless.conn.sendall(b"x" * 5000)
        assert ended(endless)
    with Caller(address) as failing:
        failing.conn.sendall(b"FAIL\n")
        assert failing.reader.read() == b""
    with socket.create_connection(address) as rude:  # asks for much and leaves
        rude.sendall(b"GET large\n")
    with Caller(address) as last:
        assert last.body("COUNT 5") == b"5"
    usage = server.stop()
    assert usage is not None
    assert usage["cpu_s"] > 0


def ended(caller: Caller) -> bool:
    """Whether the server ended this conversation."""
    try:
        return caller.reader.read() == b""
    except ConnectionResetError:
        return True


def test_nothing_stays_behind_a_server() -> None:
    with Server("process", SIZES) as server:
        callers = [Caller(("127.0.0.1", server.port)) for _ in range(3)]
        assert all(caller.ask("GET small") for caller in callers)
        assert server.footprint().processes in (1, 4)  # 1 where there is no /proc
        session = server.process.pid
    for caller in callers:
        caller.close()
    assert not alive(session)
    with pytest.raises(ProcessLookupError):
        os.killpg(session, 0)


def lab(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lab", "servers", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **more)


def claims_of(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["claim"]: row for row in data["rows"] if row["table"] == "claims"}


def test_a_silent_client_three_times() -> None:
    done = lab("--quick", "--json", "--workload", "silent", "--server", "sequential", "--server", "thread")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    claims = claims_of(data)
    assert claims["silent"]["verdict"] == "confirmed"
    assert claims["deadlock"]["verdict"] == "confirmed"
    assert claims["not-silent"]["verdict"] == "not visible here"
    assert claims["not-silent"]["reason"].startswith("not measured")
    runs = [row for row in data["rows"] if row["table"] == "runs"]
    assert len(runs) == 6
    assert {row["server"]: row["answered"] for row in runs} == {"sequential": 0, "thread": 50}
    assert all(row["silent_heard_bytes"] == 0 for row in runs)
    assert data["parameters"]["repetitions"] == 3
    assert data["machine"]["cores"] >= 1


def test_a_report_of_crashes_hits_and_idle_connections(tmp_path: Path) -> None:
    chosen = [f"--workload={name}" for name in ("crash", "exception", "hits", "idle", "crowd")]
    sizes = ["--idle=20", "--busy=3", "--clients=1,5", "--repetitions=1"]
    servers = [f"--server={name}" for name in ("process", "select")]
    done = lab("--quick", f"--out={tmp_path}", *chosen, *sizes, *servers)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "results.json").read_text())
    runs = {(r["workload"], r["server"], r["clients"]): r for r in data["rows"] if r["table"] == "runs"}
    assert runs["crash", "process", 6]["answered"] == 5
    assert runs["crash", "process", 6]["bystanders_after"] == 5
    assert runs["crash", "select", 6]["answered"] == 0
    assert not runs["crash", "select", 6]["survived"]
    for server in ("process", "select"):
        assert runs["exception", server, 6]["answered"] == 5
        assert runs["crowd", server, 5]["answered"] == runs["crowd", server, 5]["asked"]
    assert runs["hits", "process", 8]["hits_counted"] == 0
    assert runs["hits", "select", 8]["hits_counted"] == runs["hits", "select", 8]["hits_sent"]
    assert runs["idle", "select", 23]["idle_connected"] == 20
    if Path("/proc/self/smaps_rollup").exists():
        assert runs["idle", "select", 23]["threads"] == 1
        assert runs["idle", "process", 23]["processes"] == 21
    # One repetition decides nothing.
    assert {row["verdict"] for row in claims_of(data).values()} == {"not visible here"}
    assert claims_of(data)["isolated"]["reason"] == "1 of 3 repetitions"
    page = (tmp_path / "report.html").read_text()
    assert "lab servers" in page
    assert "data:image/svg+xml;base64," in page
    for name in ("crowd", "cost", "trouble"):
        assert (tmp_path / f"{name}.dark.svg").stat().st_size > 1000
        assert (tmp_path / f"{name}.light.png").stat().st_size > 1000


def test_too_few_descriptors_is_one_line_and_the_rest_runs() -> None:
    def poor() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    arguments = ["--workload=idle", "--workload=exception", "--server=select", "--repetitions=1"]
    done = lab("--quick", "--json", *arguments, preexec_fn=poor)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "descriptors" in line)
    assert "idle with select left out" in line
    assert "ulimit -n" in line
    workloads = {row["workload"] for row in json.loads(done.stdout)["rows"] if row["table"] == "runs"}
    assert workloads == {"exception"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--idle", "-1"],
        ["--idle", "999999"],
        ["--busy", "0"],
        ["--clients", "0"],
        ["--clients", "-5"],
        ["--clients", "9999"],
        ["--repetitions", "0"],
        ["--server", "apache"],
        ["--out", __file__],
    ],
)
def test_impossible_parameters(arguments: list[str]) -> None:
    done = ask("lab", "servers", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for children in /proc")
def test_a_terminated_lab_leaves_no_server_behind() -> None:
    command = [sys.executable, "-m", "lab", "servers", "--workload=silent", "--server=sequential"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        running.stderr.readline()  # the first run has begun
        wait_until(lambda: children(running.pid), running)
        servers = children(running.pid)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not any(map(alive, servers)))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has buried yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return not Path("/proc/self").exists()


def children(parent: int) -> list[int]:
    """Children of a process; empty where there is no /proc."""
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []
