"""Policies by name and from a user's file: what they may do, and one clear line for each mistake."""

from pathlib import Path

import pytest

from lab.large.policies import KINDS, by_name, parse
from lab.large.run import simulate
from lab.simulate.scenario import parse as parse_scenario
from peer.errors import UsageError

SCENARIO = parse_scenario(
    '[share]\nsize = "512KiB"\n[origin]\nup = "8mbit"\n[[peers]]\ncount = 6\nup = "1mbit"'
)

OWN = by_name({})


def test_every_name() -> None:
    for kind, names in KINDS.items():
        for name in names:
            assert parse(name, OWN).parts[kind] == name
    assert parse("random+even", OWN).name == "random+even"
    assert parse("even", parse("random", OWN)).name == "random+even"
    assert OWN.name == "rarest+reciprocation"


GOOD = """
class Mine:
    def choose_piece(self, pieces, copies, rng):
        return min(pieces, key=copies)

    def choose_peers(self, peers, slots, seeding, rng):
        return sorted(peers, key=lambda peer: -peer.received_bytes)[:slots]

    def introduce(self, peers, count, rng):
        return rng.sample(peers, count)
"""


def test_a_users_class(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD, encoding="utf-8")
    policies = parse(f"{path}:Mine", OWN)
    outcome = simulate(SCENARIO, 1, policies)
    assert outcome.last is not None
    assert outcome.trace_hash == simulate(SCENARIO, 1, parse(f"{path}:Mine", OWN)).trace_hash
    assert outcome.trace_hash != simulate(SCENARIO, 1).trace_hash


METHOD = "class Mine:\n    def {}:\n        {}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Mine", "line 1: SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("class Other: pass", "has no class Mine: it has Other"),
        ("Mine = 3", "has no class Mine: it has none"),
        ("class Mine: pass", "none of the methods choose_piece, choose_peers, introduce"),
        (METHOD.format("choose_piece(self, pieces, copies, rng)", "return -1"), "none of the pieces offered"),
        (METHOD.format("choose_piece(self, pieces, copies, rng)", "1 / 0"), "ZeroDivisionError"),
        (METHOD.format("choose_piece(self)", "return 1"), "choose_piece: TypeError"),
        (METHOD.format("choose_peers(self, peers, slots, seeding, rng)", "return 7"), "must return a list"),
        (METHOD.format("choose_peers(self, peers, slots, seeding, rng)", "return [7]"), "returned 7"),
        (METHOD.format("introduce(self, peers, count, rng)", "return [7]"), "introduce returned 7"),
        (
            METHOD.format("__init__(self, x)", "self.introduce = x") + "    introduce = 1\n",
            "none of the meth",
        ),
        (
            METHOD.format("__init__(self, x)", "pass") + "    def introduce(self, *a): pass\n",
            "__init__: TypeError",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        simulate(SCENARIO, 1, parse(f"{path}:Mine", OWN))
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no policy 'rearest'"):
        parse("rearest", OWN)
    with pytest.raises(UsageError, match="no file"):
        parse("nothing.py:Mine", OWN)


def test_policies_of_a_scenario() -> None:
    text = (
        '[share]\nsize = "512KiB"\n[origin]\nup = "8mbit"\n[[peers]]\ncount = 6\nup = "1mbit"\n[policies]\n'
    )
    random = simulate(parse_scenario(text + 'piece = "random"'), 1)
    assert random.trace_hash == simulate(SCENARIO, 1, parse("random", OWN)).trace_hash
    with pytest.raises(UsageError, match="there are rarest, random, in-order"):
        parse_scenario(text + 'piece = "rare"')
