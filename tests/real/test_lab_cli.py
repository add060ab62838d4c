"""The command line of the lab: instant help, one line for trouble, reports that stand by themselves."""

import errno
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lab.cli import COMMANDS, run
from lab.report import SCHEMA

HEAVY = ("matplotlib", "rich", "trio", "msgpack", "numpy", "cryptography", "lab.report", "lab.servers")


def test_help_needs_none_of_the_experiments() -> None:
    show = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    code = f"import sys; from lab.cli import run; run(['--help']); {show}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_experiment_has_the_common_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--quick", "--json", "--out FILE" if name == "animate" else "--out DIR"):
        assert option in text
    assert run([name, "-h"]) == 0, "as peer and tracker have it"
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["nothing"], 2),
        (["bounds", "--origin-up", "0mbit"], 2),
        (["bounds", "--origin-up", "-4mbit"], 2),
        (["bounds", "--origin-up", "fast"], 2),
        (["bounds", "--file", "0"], 2),
        (["bounds", "--down", "0bit"], 2),
        (["bounds", "--peers", "-3"], 2),
        (["bounds", "--peers", "0"], 2),
        (["bounds", "--peers", "9999999"], 2),
        (["bounds", "--parts", "0"], 2),
        (["bounds", "--aborts", "-1"], 2),
        (["bounds", "--effectiveness", "2"], 2),
        (["bounds", "--seed-stays", "0"], 2),
        (["bounds", "--seed-stays", "nan"], 2),
        (["bounds", "--no-such-option"], 2),
        (["bounds", "--out", __file__], 2),
        (["bounds", "--out", "/dev/null/reports"], 5),
        (["protocols", "--out", "/dev/null/reports"], 5),
        (["simulate"], 2),
        (["simulate", "no-such-scenario"], 2),
        (["simulate", "textbook", "--seed", "0"], 2),
        (["simulate", "textbook", "--seed", "1-5000"], 2),
        (["simulate", "textbook", "--size", "0"], 2),
        (["simulate", "textbook", "--size", "9TB"], 2),
        (["simulate", "textbook", "--size", "-1MiB"], 2),
        (["simulate", "textbook", "--size", "64KiB", "--trace", "/dev/null/traces"], 5),
        (["simulate", "textbook", "--trace", __file__], 2),
        (["bounds", "--out", "x" * 300], 5),
        (["bounds", "--out", ""], 2),
        (["simulate", "textbook", "--trace", ""], 2),
        (["simulate", ""], 2),
        (["animate", ""], 2),
        (["animate", ".", "--out", ""], 2),
        (["simulate", "x" * 300], 2),
        (["simulate", "/dev/zero"], 2),
        (["animate", "x" * 300], 2),
        (["sockets", "--station", "0"], 2),
    ],
)
def test_trouble_is_one_line(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("lab")


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [(["bounds", "--out", "."], 5, "cannot write to ."), (["animate", "."], 2, "cannot be read")],
)
def test_a_folder_that_is_another_user_s(
    arguments: list[str],
    status: int,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A usage error of click's for a folder that a report is to be written to; "no traces" for the other."""

    def refused(self: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(Path, "iterdir", refused)
    assert run(arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert what in line
    assert "ermission denied" in line


def test_a_trace_that_cannot_be_written_is_found_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said after the run, and the run was lost."""

    def ran(*_: object) -> None:
        raise AssertionError("it ran first")

    monkeypatch.setattr("lab.simulate.worlds.runner", ran)
    assert run(["simulate", "textbook", "--trace", "/dev/null/traces"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "lab: cannot make /dev/null/traces: Not a directory; name another --trace"


class Page(HTMLParser):
    """What a browser would load, and whether all is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def bounds_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bounds") / "deep" / "report"
    assert run(["bounds", "--peers", "1-3", "--parts", "1,10", "--out", str(folder)]) == 0
    return folder


def test_a_report_stands_by_itself(bounds_report: Path) -> None:
    text = (bounds_report / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.loads) == 6  # three figures, light and dark
    assert all(load.startswith("data:image/svg+xml;base64,") for load in page.loads)
    assert "lab bounds --peers 1-3 --parts 1,10" in text
    assert "Machine" in text
    assert "matplotlib" in text


def test_figures_come_light_and_dark_as_svg_and_png(bounds_report: Path) -> None:
    for name in ("kurose-ross", "mundinger", "qiu-srikant"):
        for theme in ("light", "dark"):
            assert (bounds_report / f"{name}.{theme}.png").read_bytes().startswith(b"\x89PNG")
            assert "<svg" in (bounds_report / f"{name}.{theme}.svg").read_text()
    light, dark = (bounds_report / f"kurose-ross.{theme}.png" for theme in ("light", "dark"))
    assert light.read_bytes() != dark.read_bytes()
    assert not list(bounds_report.glob("*.part"))


def test_results_have_the_schema(bounds_report: Path) -> None:
    data = json.loads((bounds_report / "results.json").read_text())
    assert data["schema"] == SCHEMA
    assert data["command"] == "lab bounds"
    assert data["parameters"]["peers"] == [1, 2, 3]
    assert data["machine"]["cores"] >= 1
    assert data["versions"]["python"]
    rows = [row for row in data["rows"] if row["table"] == "kurose-ross"]
    assert [row["client_server_s"] for row in rows] == [360, 720, 1080]
    assert all(isinstance(v, str | int | float | bool | None) for row in data["rows"] for v in row.values())
    for figure in data["figures"].values():
        assert all((bounds_report / name).exists() for name in figure["files"])


def test_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bounds", "--json"]) == 0
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert said.err == ""
    last: dict[str, Any] = [row for row in data["rows"] if row["table"] == "kurose-ross"][-1]
    assert (last["peers"], last["client_server_s"]) == (35, 3.5 * 3600)
    assert last["p2p_s"] == pytest.approx(2800)


def test_without_matplotlib_the_rest_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["bounds", "--json", "--out", str(tmp_path)]) == 0
    complaint, report = capsys.readouterr().err.splitlines()
    assert "matplotlib is not installed" in complaint
    assert report.startswith("report: ")
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html"}
    assert json.loads((tmp_path / "results.json").read_text())["figures"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "beside"),
    [
        (["simulate", "textbook", "--size", "64KiB"], {"swarm.html"}),
        (["sockets", "--station", "8", "--quick"], set()),
        (["protocols", "--quick"], set()),
        (
            ["scale", "--file", "64KiB", "--peers", "1", "--origin-up", "4mbit"],
            {"swarm.html", "points.jsonl", "traces"},
        ),
    ],
    ids=["simulate", "sockets", "protocols", "scale"],
)
def test_each_experiment_runs_without_matplotlib(
    arguments: list[str],
    beside: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run([*arguments, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err.splitlines()
    drawn = arguments[0] != "sockets"
    assert sum("matplotlib is not installed" in line for line in said) == drawn
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html"} | beside


def test_a_refusal_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("lab.bounds_report.result", refuse)
    assert run(["bounds"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "lab: the system refused: Too many open files; allow more descriptors (ulimit -n)"


def test_protocols_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["protocols", "--quick", "--json", "--out", str(tmp_path)]) == 0
    data = json.loads(capsys.readouterr().out)
    cost = {(r["grammar"], r["message"]): r for r in data["rows"] if r["table"] == "cost"}
    piece = {g: cost[g, "piece of 64 KiB"]["wire_bytes"] for g in ("JSON lines", "XML", "msgpack")}
    assert piece["msgpack"] < piece["XML"]
    assert piece["msgpack"] < piece["JSON lines"]
    assert all(row["encode_us"] > 0 and row["decode_us"] > 0 for row in cost.values())
    hostile = [row for row in data["rows"] if row["table"] == "hostile"]
    assert {row["guarded"] for row in hostile} == {"refused"}
    assert {row["naive"] for row in hostile} == {"refused", "waits", "accepted"}
    assert (tmp_path / "protocols.dark.svg").exists()


def test_a_reader_who_turns_away_is_no_trouble(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab", "sockets", "--station", "8", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read()
    assert running.returncode == 0
    assert said.startswith("report: ")
    assert (tmp_path / "report.html").exists()
