"""A user's policy in both worlds of virtual time: the same class, the same effect, the same line for each
mistake."""

import json
import os
from hashlib import sha256
from math import inf
from pathlib import Path
from statistics import mean
from typing import Protocol

import pytest

from lab.large.run import simulate as large
from lab.simulate.outcome import Outcome
from lab.simulate.policies import Chosen, by_name
from lab.simulate.policies import parse as parse_policy
from lab.simulate.scenario import Scenario, parse
from lab.simulate.small import simulate as small
from peer.errors import UsageError
from tests.documents import DOCS, blocks

SEEDS = range(1, 1 + int(os.environ.get("GOLDEN_SEEDS", "4")))
OWN = by_name({})
EXAMPLES = DOCS / "examples" / "policies.py"
SCENARIO, DOZEN = (
    parse(f'[share]\nsize = "512KiB"\n[origin]\nup = "1mbit"\n[[peers]]\ncount = {count}\nup = "1mbit"')
    for count in (6, 12)
)


class Play(Protocol):
    """A run in one of the worlds."""

    def __call__(self, policies: Chosen | None, seed: int = 1, scenario: Scenario = ...) -> Outcome: ...


def in_the_small_world(policies: Chosen | None, seed: int = 1, scenario: Scenario = SCENARIO) -> Outcome:
    return small(scenario, seed, None, policies)


def in_the_large_world(policies: Chosen | None, seed: int = 1, scenario: Scenario = SCENARIO) -> Outcome:
    return large(scenario, seed, policies)


both_worlds = pytest.mark.parametrize(
    "play", [in_the_small_world, in_the_large_world], ids=["small", "large"]
)


def chosen(text: str) -> Chosen:
    return parse_policy(text, OWN)


def written(folder: Path, text: str) -> Chosen:
    """The policy ``Mine`` of a file with this text."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return chosen(f"{path}:Mine")


def example(name: str) -> Chosen:
    return chosen(f"{EXAMPLES}:{name}")


@both_worlds
@pytest.mark.parametrize(
    "name", ["RandomPieces", "FirstPieces", "CommonestFirst", "GiversOnly", "Loyal", "FewestLinks"]
)
def test_each_example_brings_everything_to_everybody(play: Play, name: str) -> None:
    outcome = play(example(name), 1)
    assert outcome.last is not None
    assert outcome.wrong == 0


@both_worlds
def test_the_page_that_tells_how(play: Play, tmp_path: Path) -> None:
    (page,) = (block.body for block in blocks(DOCS / "scenarios.md") if block.kind == "python")
    outcome = play(written(tmp_path, page), 1)
    assert outcome.last is not None
    assert outcome.trace_hash == play(written(tmp_path, page), 1).trace_hash
    assert outcome.trace_hash != play(None, 1).trace_hash


@both_worlds
def test_what_does_the_same_as_the_nodes_own_is_the_same_run(play: Play) -> None:
    """The strongest that can be said of the way in: nothing but the choice changes, down to the trace."""
    assert play(example("FirstPieces"), 1) == play(chosen("in-order"), 1)


def mean_last(play: Play, name: str | None, scenario: Scenario) -> float:
    """Seconds until the last peer is complete, of four seeds (`make golden`: six)."""
    policy = None if name is None else example(name)
    return mean(play(policy, seed, scenario).last or inf for seed in SEEDS)


@pytest.mark.parametrize("scenario", [SCENARIO, DOZEN], ids=["six", "a dozen"])
def test_the_effects_are_alike_in_both_worlds(scenario: Scenario) -> None:
    """Random pieces cost little; in order, and serving nobody who has not given, cost much.

    In order with six peers, whose idle uplinks offer each new piece at once, costs 1.44 times as much in the
    small world and 1.42 in the large one (means of twelve seeds); with a dozen it is 1.56 and 1.58.
    """
    worlds = (in_the_small_world, in_the_large_world)
    rarest = {play: mean_last(play, None, scenario) for play in worlds}
    in_order = {play: mean_last(play, "FirstPieces", scenario) for play in worlds}
    for play in worlds:
        assert 0.9 * rarest[play] < mean_last(play, "RandomPieces", scenario) < 1.15 * rarest[play]
        assert mean_last(play, "GiversOnly", scenario) > 1.5 * rarest[play]
        assert in_order[play] > (1.5 if scenario is DOZEN else 1.35) * rarest[play]
    if scenario is SCENARIO:
        small, large = (in_order[play] / rarest[play] for play in worlds)
        assert small == pytest.approx(large, rel=0.05)
    for times in (rarest, in_order):
        assert times[in_the_large_world] == pytest.approx(times[in_the_small_world], rel=0.1)


# --- objects

COUNTED = """
class Mine:
    objects = []
    def _note(self):
        if not any(one is self for one in self.objects):
            self.objects.append(self)
    def choose_piece(self, pieces, copies, rng):
        self._note()
        return pieces[0]
    def choose_peers(self, peers, slots, seeding, rng):
        self._note()
        return peers[:slots]
"""


@both_worlds
def test_each_peer_has_an_object_of_its_own(play: Play, tmp_path: Path) -> None:
    policies = written(tmp_path, COUNTED)
    play(policies, 1)
    assert policies.own is not None
    objects = policies.own._class.objects  # type: ignore[attr-defined]
    assert len(objects) == 1 + 6, "one for both methods of the origin and of each peer"
    play(policies, 2)
    assert len(objects) == 2 * (1 + 6), "nothing is remembered from one seed to the next"


TOLD = """
class Mine:
    seen = []
    def introduce(self, peers, count, rng):
        self.seen.append((count, peers))
        return sorted(peers, key=lambda peer: peer.number)[-1:]
"""

LATE = parse(
    '[share]\nsize = "512KiB"\n[origin]\nup = "1mbit"\n[[peers]]\ncount = 5\nup = "1mbit"\nevery = "1s"'
)


def test_the_tracker_tells_of_whom_the_policy_says(tmp_path: Path) -> None:
    policies = written(tmp_path, TOLD)
    assert policies.own is not None
    seen = policies.own._class.seen  # type: ignore[attr-defined]
    lines: dict[str, list[str]] = {}
    assert small(LATE, 1, lines, policies).last is not None
    offered = [{peer.number: peer for peer in peers} for _, peers in seen]
    assert [sorted(peers) for peers in offered] == [list(range(1, came + 2)) for came in range(5)]
    assert all(peers[1].share == 1 for peers in offered), "the origin"
    assert all(0 < peers[2].share < 1 and peers[2].links >= 1 for peers in offered[1:])
    names = {
        sha256(name.encode()).hexdigest(): name for name in ["origin", *map("peer-0-{}".format, range(5))]
    }
    events = [json.loads(line) for line in lines["peer-5"]]
    dialled = [names[one["node"]] for one in events if one["event"] == "link" and one["dialled"]]
    assert sorted(dialled[:2]) == ["origin", "peer-0-3"], (
        "the last that came, and the others later by exchange"
    )


def test_in_the_large_world_too_it_is_never_told_of_itself(tmp_path: Path) -> None:
    policies = written(tmp_path, TOLD)
    assert policies.own is not None
    assert large(LATE, 1, policies).last is not None
    seen = policies.own._class.seen  # type: ignore[attr-defined]
    offered = [sorted(peer.number for peer in peers) for _, peers in seen]
    assert offered[:5] == [list(range(1, came + 2)) for came in range(5)]


# --- mistakes

METHOD = "class Mine:\n    def {}:\n        {}\n"
PIECE = "choose_piece(self, pieces, copies, rng)"
PEERS = "choose_peers(self, peers, slots, seeding, rng)"
INTRODUCE = "introduce(self, peers, count, rng)"

MISTAKES = [
    ("class Mine", "mine.py, line 1: SyntaxError"),
    ("\n1 / 0", "mine.py, line 2: ZeroDivisionError"),
    ("raise SystemExit('enough')", "line 1: SystemExit: enough"),
    ("import nothing_of_that_name", "ModuleNotFoundError"),
    ("class Other: pass", "has no class Mine: it has Other"),
    ("Mine = 3", "has no class Mine: it has none"),
    ("class Mine: pass", "none of the methods choose_piece, choose_peers, introduce"),
    (
        METHOD.format("choose_piece(self)", "return 1"),
        r"it must be def choose_piece\(self, pieces, copies, rng\)",
    ),
    ("class Mine:\n    async def introduce(self, *args): pass", "it must be def introduce"),
    (METHOD.format("__init__(self, x)", "self.introduce = x") + "    introduce = 1\n", "none of the meth"),
    (
        METHOD.format("__init__(self, x)", "pass") + "    def introduce(self, *a): pass\n",
        "__init__: TypeError",
    ),
    (
        METHOD.format(PIECE, "return pieces[0]") + "    takes_hints = property(lambda self: 1 / 0)\n",
        "takes_hints, line 4: ZeroDivisionError",
    ),
    (METHOD.format(PIECE, "raise BaseException('all')"), "choose_piece, line 3: BaseException: all"),
    (METHOD.format(PIECE, "return -1"), "choose_piece returned -1: it must return one of the pieces"),
    (METHOD.format(PIECE, "return None"), "returned None: it must return one of the pieces"),
    (METHOD.format(PIECE, "1 / 0"), "choose_piece, line 3: ZeroDivisionError"),
    (METHOD.format(PIECE, "raise SystemExit"), "choose_piece, line 3: SystemExit"),
    (METHOD.format(PIECE, "return copies(1 << 40)"), "choose_piece, line 3: IndexError"),
    (METHOD.format(PIECE, "pieces.clear(); return 1 << 40"), "must return one of the pieces"),
    (METHOD.format(PEERS, "return 7"), "returned 7: it must return a list of some of the peers"),
    (METHOD.format(PEERS, "return [7]"), r"returned \[7\]: it must return a list of some of the peers"),
    (METHOD.format(PEERS, "yield 1 / 0"), "choose_peers, line 3: ZeroDivisionError"),
    (METHOD.format(PEERS, "return peers if seeding else 1 / 0"), "choose_peers, line 3: ZeroDivisionError"),
    (METHOD.format(INTRODUCE, "return [7]"), r"introduce returned \[7\]: it must return a list"),
]


@both_worlds
@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_mistakes_are_one_line(play: Play, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        play(written(tmp_path, text), 1)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@both_worlds
def test_who_interrupts_a_policy_is_told_where_it_was(play: Play, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="choose_piece, line 3"):
        play(written(tmp_path, METHOD.format(PIECE, "raise KeyboardInterrupt")), 1)


@pytest.mark.parametrize(
    ("reach", "says"),
    [
        ("import time\n" + METHOD.format(PIECE, "time.time(); return pieces[0]"), r"time\.time was called"),
        (
            "from time import time\n" + METHOD.format(PIECE, "return pieces[int(time()) % 1]"),
            r"time\.time was",
        ),
        (
            "from datetime import datetime\n"
            + METHOD.format(PIECE, "return pieces[datetime.now().year % 1]"),
            r"datetime\.now was called",
        ),
        (
            "import random\n" + METHOD.format(PIECE, "return random.Random().choice(pieces)"),
            "was called in a",
        ),
    ],
)
def test_the_small_world_has_nothing_real_for_a_policy_either(tmp_path: Path, reach: str, says: str) -> None:
    with pytest.raises(UsageError, match=rf"choose_piece, line 4: SealedError: .*{says}"):
        in_the_small_world(written(tmp_path, reach))


def test_an_error_of_who_is_complete_is_told_as_well(tmp_path: Path) -> None:
    """Nobody waits any more for a peer that seeds; and one that lost power comes back with a new object."""
    scenario = parse(
        '[share]\nsize = "512KiB"\n[origin]\nup = "1mbit"\ndies_at = "6s"\n[[peers]]\nup = "1mbit"\n'
        '[[peers]]\nup = "1mbit"\njoins_at = "4s"\ncrashes_at = "5s"\nreturns_at = "7s"'
    )
    text = METHOD.format("__init__(self)", "self.fetched = False") + (
        f"    def {PIECE}:\n        self.fetched = True\n        return pieces[0]\n"
        f"    def {PEERS}:\n        return peers[0:1] if not (self.fetched and seeding) else 1 / 0\n"
    )
    policies = written(tmp_path, text)
    with pytest.raises(UsageError, match="choose_peers, line 8: ZeroDivisionError"):
        small(scenario, 1, None, policies)
    with pytest.raises(UsageError, match="choose_peers, line 8: ZeroDivisionError"):
        large(scenario, 1, policies)
