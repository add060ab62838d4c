"""`make lab`: one page that links all reports, whatever could not be carried out."""

import json
from pathlib import Path

import pytest

from lab import everything
from lab.cli import COMMANDS, run
from tests.sketches import sketched


def test_every_experiment_is_run_by_make_lab() -> None:
    assert {command[0] for command in everything.EXPERIMENTS.values()} == set(COMMANDS) - everything.NEED_MORE
    assert everything.EXPERIMENTS.keys() == everything.QUICK.keys()


@pytest.mark.slow
def test_the_index_links_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"bounds": ("bounds", "--peers", "1-3"), "sockets": ("sockets", "--station", "99")}
    monkeypatch.setattr(everything, "EXPERIMENTS", broken)
    monkeypatch.setattr(everything, "QUICK", broken)
    with sketched():
        assert run(["simulate", "textbook", "--size", "128KiB", "--out", str(tmp_path / "own")]) == 0
    assert everything.main([str(tmp_path), "--quick"]) == 1
    assert "failed: sockets" in capsys.readouterr().err
    page = (tmp_path / "index.html").read_text()
    for link in ("bounds/report.html", "own/report.html", "own/swarm.html", "bounds/kurose-ross.dark.svg"):
        assert f'"{link}"' in page
        assert (tmp_path / link).is_file()
    assert "Could not be carried out: sockets" in page
    assert page.index("bounds/report.html") < page.index("own/report.html")
    assert json.loads((tmp_path / "own" / "results.json").read_text())["pages"].keys() == {"swarm.html"}


def test_a_folder_that_cannot_be_is_said_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(everything, "run_all", lambda *_: pytest.fail("nothing may be begun"))
    assert everything.main([__file__]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lab: cannot make {__file__}")
