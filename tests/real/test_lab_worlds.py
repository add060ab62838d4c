"""`lab simulate --world` and `lab tournament`, from the command line; once with real processes."""

import itertools
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab.cli import run
from lab.simulate import real
from lab.simulate.scenario import Group, parse
from peer.sim.clock import VirtualClock

SCENARIO = """
[share]
size = "512KiB"
[origin]
up = "16mbit"
[policies]
piece = "random"
[[peers]]
count = 2
up = "4mbit"
[[peers]]
joins_at = "0.5s"
behaviour = "free-rider"
stays = "0s"
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "three.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("world", ["small", "large", "real"])
def test_the_same_file_in_each_world(scenario: str, world: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", scenario, "--world", world, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["world"] == world
    (seed,) = (row for row in found["rows"] if row["table"] == "seeds")
    assert seed["complete"] == 3
    assert seed["last_s"] >= seed["bound_s"]
    assert (seed["trace"] is None) == (world == "real")


def test_real_copies_are_compared_with_the_file(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = real._Run._follow

    def spoil(run: real._Run, *args: Any) -> None:
        follow(run, *args)
        copy = Path(run._members[0][1].result["path"])
        copy.write_bytes(bytes(copy.stat().st_size))

    monkeypatch.setattr(real._Run, "_follow", spoil)
    assert real.simulate(parse(Path(scenario).read_text(encoding="utf-8")), 1, "rarest").wrong == 1


@pytest.mark.parametrize("world", ["small", "large"])
def test_a_tournament(scenario: str, world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "class Mine:\n    def choose_piece(self, pieces, copies, rng):\n        return pieces[-1]\n",
        encoding="utf-8",
    )
    names = ["rarest", "random+even", f"{mine}:Mine"]
    arguments = [
        "tournament",
        scenario,
        "--policies",
        ",".join(names),
        "--seeds",
        "3",
        "--world",
        world,
        "--json",
    ]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["world"] == world
    rows = [row for row in found["rows"] if row["table"] == "tournament"]
    assert [row["policy"] for row in rows] == names
    runs = [row for row in found["rows"] if row["table"] == "runs"]
    best = {seed: min(row["last_s"] for row in runs if row["seed"] == seed) for seed in (1, 2, 3)}
    won = Counter(row["policy"] for row in runs if row["last_s"] == best[row["seed"]])
    assert {row["policy"]: row["wins"] for row in rows} == {name: won[name] for name in names}
    assert len({row["trace"] for row in runs}) == 9, "no run is like another"
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["simulate", "thousand"], "too many for whole nodes"),
        (["simulate", "open"], "--world large has thousands"),
        (["simulate", "textbook", "--world", "real", "--policy", "even"], "policy even is for the simulated"),
        (["simulate", "textbook", "--policy", "best"], "there is no policy 'best'"),
        (["simulate", "textbook", "--world", "large", "--policy", "best"], "there is no policy 'best'"),
        (["simulate", "textbook", "--world", "large", "--trace", "x"], "--trace is for --world small"),
        (["simulate", "comings-and-goings", "--world", "real"], "crashes_at is for the simulated worlds"),
        (["tournament", "textbook", "--policies", "rarest,nothing.py:Mine"], "no file nothing.py"),
        (["tournament", "textbook", "--policies", ","], "names nobody"),
        (["tournament", "textbook", "--seeds", "0"], "at least 1"),
        (["tournament", "HUGE"], "1000000000 peers are too many"),
        (["simulate", "HUGE", "--world", "large"], "1000000000 peers are too many"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    huge = tmp_path / "huge.toml"
    huge.write_text('[share]\nsize = "1MiB"\n[[peers]]\ncount = 1000000000\n', encoding="utf-8")
    monkeypatch.setattr(Group, "times", lambda self, rng: pytest.fail("nobody needs to know when they come"))
    assert run([str(huge) if word == "HUGE" else word for word in arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("world", ["small", "large"])
@pytest.mark.parametrize("command", ["simulate", "tournament"])
def test_a_wrong_policy_is_one_line(
    scenario: str, command: str, world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "class Mine:\n    def choose_piece(self, pieces, copies, rng):\n        return -1\n", encoding="utf-8"
    )
    option = "--policies" if command == "tournament" else "--policy"
    assert run([command, scenario, option, f"{mine}:Mine", "--world", world]) == 2
    said = capsys.readouterr()
    assert said.err == (
        f"lab: policy {mine}:Mine: choose_piece returned -1: it must return one of the pieces it was given\n"
    )
    assert not said.out


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (KeyboardInterrupt("policy x"), "interrupted in policy x"),
        (BaseExceptionGroup("all", [KeyboardInterrupt()]), "interrupted"),
    ],
)
def test_an_interrupted_world_is_one_line(
    raised: BaseException,
    says: str,
    scenario: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise raised

    monkeypatch.setattr("lab.simulate.small.simulate", interrupted)
    assert run(["simulate", scenario]) == 130
    assert capsys.readouterr().err.strip() == f"lab: {says}"


@pytest.mark.usefixtures("stoppable")
def test_a_stop_in_the_loop_of_a_simulation_is_one_line(
    scenario: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM raised from trio's loop itself: two thousand lines of its internal errors."""
    advance = VirtualClock.deadline_to_sleep_time
    turns = itertools.count()

    def stopped(clock: VirtualClock, deadline: float) -> float:
        if next(turns) == 100:
            signal.raise_signal(signal.SIGTERM)
        return advance(clock, deadline)

    monkeypatch.setattr(VirtualClock, "deadline_to_sleep_time", stopped)
    assert run(["simulate", scenario]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.strip() == "lab: interrupted"
    assert next(turns) > 100


@pytest.mark.usefixtures("stoppable")
def test_a_stop_elsewhere_leaves_through_every_with() -> None:
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
