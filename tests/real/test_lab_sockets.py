"""The guided tour, really walked: every station happens and its lesson rests on what was seen."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.sockets.tour import STATIONS, station
from tests.real.commands import PATIENCE_S

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def lab(*arguments: str, limit: int | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lab", "sockets", "--quick", *arguments]
    if limit:
        command = ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def tour() -> dict[str, Any]:
    done = lab("--json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def facts(tour: dict[str, Any], number: int) -> dict[str, Any]:
    return {r["fact"]: r["value"] for r in tour["rows"] if r["table"] == "facts" and r["station"] == number}


def steps(tour: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return [r for r in tour["rows"] if r["table"] == "steps" and r["station"] == number]


def test_every_station_was_shown(tour: dict[str, Any]) -> None:
    stations = [row for row in tour["rows"] if row["table"] == "stations"]
    assert [row["station"] for row in stations] == list(range(1, 9))
    assert [row["trouble"] for row in stations] == [""] * 8
    assert all(row["shown"] and row["question"] and row["lesson"] for row in stations)


def test_two_processes_do_not_share_an_address(tour: dict[str, Any]) -> None:
    seen = facts(tour, 1)
    assert (seen["value in the parent"], seen["value in the child"]) == (1, 2)
    assert "EBADF" in seen["descriptor in the child"]


def test_two_lives_in_order(tour: dict[str, Any]) -> None:
    calls = [(row["who"], row["call"]) for row in steps(tour, 2)]
    server = [call for who, call in calls if who == "server"]
    client = [call for who, call in calls if who == "client"]
    assert server == [
        "socket()",
        "bind()",
        "listen()",
        "accept()",
        "read()",
        "write()",
        "read()",
        "close(connection)",
        "close(listener)",
    ]
    assert client == ["socket()", "connect()", "write()", "read()", "close()"]
    assert calls.index(("client", "connect()")) < calls.index(("server", "accept()"))


@on_linux
def test_the_kernel_s_states_are_seen(tour: dict[str, Any]) -> None:
    seen = facts(tour, 2)["states seen"].split(", ")
    assert {"LISTEN", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT"} <= set(seen)


def test_listening_and_connected_sockets_differ(tour: dict[str, Any]) -> None:
    seen = facts(tour, 3)
    assert seen["listening descriptor"] != seen["connected descriptor"]
    assert seen["third client refused"]
    assert seen["port taken while connections live"]
    assert seen["port free afterwards"]


@on_linux
def test_the_queue_lets_in_as_many_as_it_holds(tour: dict[str, Any]) -> None:
    rows = {row["backlog"]: row for row in tour["rows"] if row["table"] == "station-4"}
    assert rows[1]["let_in"] < rows[5]["let_in"] < rows[128]["let_in"] == rows[128]["clients"]
    assert rows[128]["served"] == rows[128]["clients"]
    assert all(row["refused"] == 0 for row in rows.values())
    assert any("ECONNREFUSED" in row["saw"] for row in steps(tour, 4))


def test_datagrams_are_lost_and_streams_are_not(tour: dict[str, Any]) -> None:
    seen = facts(tour, 5)
    assert 0 < seen["datagrams lost"] < seen["datagrams sent"]
    assert seen["stream bytes lost"] == 0
    assert seen["stream in order"]
    assert "AF_INET round trip, µs" in seen
    assert "AF_UNIX round trip, µs" in seen


def test_descriptors_run_out_before_the_port_does(tour: dict[str, Any]) -> None:
    seen = facts(tour, 6)
    assert seen["stopped by"] == "EMFILE"
    assert seen["connections at once"] > 50
    if "out of ports" in seen:
        assert seen["out of ports"] == "EADDRNOTAVAIL"
        assert seen["another source address helps"]


def test_ports(tour: dict[str, Any]) -> None:
    seen = facts(tour, 7)
    assert (seen["tracker's port"], seen["peer's port"]) == (7700, 7701)
    assert seen["a port belongs to one"]
    assert seen["client's port, chosen by the kernel"] > 0


def test_a_peer_is_client_and_server_at_once(tour: dict[str, Any]) -> None:
    seen = facts(tour, 8)
    assert seen["ann's roles"] == "client, server"
    assert seen["ann has the whole file"]
    assert seen["bob has the whole file"]
    assert "ann was client and server within, ms" in seen


def test_one_station_told_and_reported(tmp_path: Path) -> None:
    done = lab("--station", "8", "--station", "8", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "8. Both at once" in done.stdout
    assert done.stdout.count("as server") >= 4
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["parameters"]["stations"] == [8]
    assert "Both at once" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("number", ["0", "9", "-1", "x"])
def test_no_such_station(number: str) -> None:
    done = lab("--station", number)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_too_few_descriptors_are_named_and_the_tour_goes_on() -> None:
    done = lab("--station", "4", "--station", "8", limit=18)
    assert done.returncode == 0
    assert "station 4 left out: the system refused: EMFILE" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Both at once" in done.stdout


def test_stations_are_numbered_as_they_are_listed() -> None:
    for number in range(1, len(STATIONS) + 1):
        assert station(number).number == number
