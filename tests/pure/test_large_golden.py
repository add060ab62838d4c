"""Known results of the literature, small enough for every run; `make golden` asks for more seeds,
and has the long ones of benchmarks/golden.py."""

import os
from math import floor, inf, log2
from random import Random
from statistics import mean

import pytest

from lab.large.rounds import regular_graph, spread
from lab.large.run import simulate
from lab.simulate.scenario import parse
from tests.pure.open_swarm import population

SEEDS = range(1, 1 + int(os.environ.get("GOLDEN_SEEDS", "1")))
WHOLE = len(SEEDS) > 1


def test_mundinger_weber_weiss() -> None:
    """N peers and a server of equal uplinks, M pieces: not before 1 + floor(log2 N) / M."""
    for peers, pieces, at_most, seeds in (
        (7, 100, 1.1, 1),
        (15, 100, 1.1, 4 if WHOLE else 1),
        (15, 400, 1.05, 1),
    ):
        text = (
            f'[share]\nsize = "{pieces * 64}KiB"\npiece = "64KiB"\n[origin]\nup = "1mbit"\n'
            f'latency = "0.1ms"\n[[peers]]\ncount = {peers}\nup = "1mbit"\nlatency = "0.1ms"'
        )
        lasts = [simulate(parse(text), seed).last or inf for seed in range(1, 1 + seeds)]
        measured = [last / (pieces * 65536 / 125000) for last in lasts]
        bound = 1 + floor(log2(peers)) / pieces
        assert bound <= min(measured), (peers, pieces)
        assert mean(measured) <= at_most * bound, (peers, pieces)


@pytest.mark.parametrize(("arrivals_per_s", "stable"), [(0.5, True), (2.0, False)])
def test_hajek_zhu(arrivals_per_s: float, stable: bool) -> None:
    """One seed that sends a piece a second, and peers that leave when complete: the population stays small
    if they come more slowly than that, and grows by the difference if not, for want of one piece. When that
    begins is chance, and later the better the pieces are spread."""
    growths = []
    for seed in SEEDS:
        seen = population(
            arrivals_per_s=arrivals_per_s,
            up=65536,
            seed_up=65536,
            pieces=6,
            stays="0s",
            ends_at=300,
            seed=seed,
        )
        people = [leechers for _, leechers, _ in seen]
        growths.append((people[-1] - people[2 * len(people) // 3]) / 100)
        if stable:
            assert max(people) < 40
    if not stable:
        assert mean(growths) == pytest.approx(arrivals_per_s - 1, rel=0.25)


def test_kraken_in_rounds() -> None:
    """Kraken's authors: 5000 peers, random 5-regular graph, 125 pieces, 10 a round: 17 rounds."""
    assert spread(regular_graph(5000, 5, Random(1)), 125, 10, Random(1)).last == pytest.approx(17, rel=0.05)


def test_a_regular_graph_is_one() -> None:
    for seed in range(20):
        graph = regular_graph(30, 5, Random(seed))
        assert all(len(set(others)) == 5 for others in graph)
        assert all(node in graph[other] for node, others in enumerate(graph) for other in others)
        assert all(node not in others for node, others in enumerate(graph))
    with pytest.raises(ValueError, match="no graph"):
        regular_graph(5, 3, Random(1))
