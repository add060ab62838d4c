"""Known results of the literature beside what the large world and the round model give (minutes).

python -m benchmarks.golden [kraken] [mundinger] [hajek-zhu] [qiu-srikant]
"""

import argparse
from collections.abc import Callable, Sequence
from math import floor, log2
from random import Random
from statistics import mean

from benchmarks.machine import describe
from lab.large.population import population
from lab.large.rounds import regular_graph, spread
from lab.large.run import simulate
from lab.simulate.scenario import parse
from peer.limits import KIB


def line(name: str, measured: float, expected: float, within: float) -> None:
    off = measured / expected - 1
    verdict = "met" if abs(off) <= within else "MISSED"
    print(
        f"{name}: {measured:.4g}, stated {expected:.4g}: {off:+.1%}  bar {within:.0%}: {verdict}", flush=True
    )


def kraken() -> None:
    """Random 5-regular graph, 10 pieces up and down a round."""
    found = spread(regular_graph(5000, 5, Random(1)), 125, 10, Random(1))
    line("Kraken, 5000 peers x 125 pieces, rounds", found.last, 17, 0.05)
    found = spread(regular_graph(1000, 5, Random(1)), 2500, 10, Random(1))
    line("Kraken, 1000 peers x 2500 pieces, median", found.median, 294, 0.05)
    line("Kraken, 1000 peers x 2500 pieces, last", found.last, 298, 0.05)


def mundinger() -> None:
    """N peers and a server, all uplinks equal, M pieces: 1 + floor(log2 N) / M. Means of sixteen seeds."""
    for peers, pieces in ((15, 100), (31, 100), (15, 400), (31, 400), (15, 1000)):
        text = (
            f'[share]\nsize = "{pieces * 64}KiB"\npiece = "64KiB"\n[origin]\nup = "1mbit"\n'
            f'latency = "0.1ms"\n[network]\nneighbours = 40\n'
            f'[[peers]]\ncount = {peers}\nup = "1mbit"\nlatency = "0.1ms"'
        )
        bound = (1 + floor(log2(peers)) / pieces) * pieces * 64 * KIB / 125_000
        lasts = [simulate(parse(text), seed).last for seed in range(1, 17)]
        ratios = [last / bound for last in lasts if last is not None]
        assert len(ratios) == len(lasts), "everybody completes"
        ratio = mean(ratios)
        verdict = "BEATEN" if min(ratios) < 1 else ("met" if ratio <= 1.1 else "MISSED")
        print(
            f"Mundinger, N = {peers}, M = {pieces}: {ratio:.3f} of the bound"
            f" ({min(ratios):.3f} to {max(ratios):.3f})  bar 1 to 1.1: {verdict}",
            flush=True,
        )


def open_swarm(
    arrivals: float,
    up: float,
    seed_up: float,
    size: int,
    stays: float,
    ends: float,
    down: float | None = None,
    seed: int = 1,
) -> tuple[list[int], list[int], list[float]]:
    """Downloaders and seeds over the second half, a look every ten seconds; download times."""
    limit = "" if down is None else f'down = "{8 * down:.0f}bit"\n'
    text = (
        f'ends_at = "{ends}s"\n[share]\nsize = "{size // KIB}KiB"\npiece = "64KiB"\n'
        f'[origin]\nup = "{8 * seed_up:.0f}bit"\n[[peers]]\ncount = {int(1.3 * arrivals * ends)}\n'
        f'every = "{1 / arrivals}s"\narrivals = "poisson"\nup = "{8 * up:.0f}bit"\n{limit}stays = "{stays}s"'
    )
    outcome, seen = population(parse(text), seed, 10.0)
    late = [(x, y) for time, x, y in seen if time > ends / 2]
    times = [
        member.done - member.joined
        for member in outcome.members
        if member.done is not None and ends / 3 < member.joined < 0.8 * ends
    ]
    return [x for x, _ in late], [y for _, y in late], times


def hajek_zhu() -> None:
    """One seed of a piece a second, peers leave at once: stable exactly if fewer than one a second come.

    When the club of those who want for one piece forms is chance, minutes late at times; so the growth is
    that of the last third of half an hour, the mean of three seeds.
    """
    for arrivals in (0.5, 2.0):
        ends = 1800.0
        growths, last = list[float](), list[int]()
        for seed in (1, 2, 3):
            people, _, _ = open_swarm(arrivals, 65536, 65536, 8 * 65536, 0, ends, seed=seed)
            third = 2 * len(people) // 3  # they begin at half time
            growths.append((people[-1] - people[-third]) / (ends / 3))
            last.append(people[-1])
        growth, expected = mean(growths), max(0.0, arrivals - 1)
        verdict = "met" if abs(growth - expected) < 0.1 else "MISSED"
        print(
            f"Hajek-Zhu, {arrivals} arrivals a second: {min(last)} to {max(last)} peers after 30 min, growing"
            f" by {growth:+.3f}/s, theory {expected:+.1f}/s: {verdict}",
            flush=True,
        )


def qiu_srikant() -> None:
    """dx/dt = a - min(c x, u (x + y)), dy/dt = min(...) - g y, in shares a second."""
    size, rate = 100 * 64 * KIB, 0.1
    for gamma in (0.005, 0.001):
        up, down = 0.00125, 0.002
        x, y, times = open_swarm(rate, up * size, up * size, size, 1 / gamma, 8000, down * size)
        time = max(1 / down, 1 / up - 1 / gamma)
        name = f"Qiu-Srikant, seeds stay {1 / gamma:.0f} s"
        line(f"{name}, download time", mean(times), time, 0.1)
        line(f"{name}, downloaders", mean(x), rate * time, 0.1)
        line(f"{name}, seeds", mean(y), rate / gamma, 0.1)


PARTS: dict[str, Callable[[], None]] = {
    "kraken": kraken,
    "mundinger": mundinger,
    "hajek-zhu": hajek_zhu,
    "qiu-srikant": qiu_srikant,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    options = parser.parse_args(arguments)
    print(describe())
    for name in options.parts or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
