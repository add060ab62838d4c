"""Swarms that peers come to and leave, for comparison with theory."""

from lab.large.population import population as observe
from lab.simulate.scenario import parse


def population(
    *,
    arrivals_per_s: float,
    up: float,
    seed_up: float,
    pieces: int,
    stays: str,
    ends_at: float,
    down: float | None = None,
    seed: int = 1,
) -> list[tuple[float, int, int]]:
    """(time, downloaders, seeds) every second: pieces of 64 KiB, rates in bytes a second."""
    limit = "" if down is None else f'down = "{8 * down:.0f}bit"\n'
    text = (
        f'ends_at = "{ends_at}s"\n[share]\nsize = "{64 * pieces}KiB"\npiece = "64KiB"\n'
        f'[origin]\nup = "{8 * seed_up:.0f}bit"\n[[peers]]\ncount = {int(1.3 * arrivals_per_s * ends_at)}\n'
        f'every = "{1 / arrivals_per_s}s"\narrivals = "poisson"\nup = "{8 * up:.0f}bit"\n{limit}'
        f'stays = "{stays}"'
    )
    return observe(parse(text), seed, 1.0)[1]
