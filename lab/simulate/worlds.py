"""One scenario, three worlds: which engine runs it, and what each is called."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from lab.simulate.outcome import Outcome
from lab.simulate.scenario import Scenario, World
from peer.manifest import piece_bytes_for

if TYPE_CHECKING:
    from lab.simulate.policies import Chosen

DESCRIBED: Final = {
    World.SMALL: "whole nodes in virtual time",
    World.LARGE: "peers in the large world: the nodes' policy over fluid links, in virtual time",
    World.REAL: "real `peer` processes on loopback, shaped by --up",
}


PIECE_S: Final = {World.SMALL: 1.5e-3, World.LARGE: 150e-6}
"""What a delivered piece costs in virtual time, about."""

THERE_S: Final = {World.SMALL: 200e-6, World.LARGE: 5e-6}
"""What it costs that somebody is there for a second of it: timers, not data."""


def work(scenario: Scenario, world: World) -> float:
    """Seconds that one seed will take in a world of virtual time, about."""
    pieces = -(-scenario.size // (scenario.piece_bytes or piece_bytes_for(scenario.size)))
    ends = scenario.last_comes + (scenario.bound() or 0.0)
    if scenario.ends_at is not None:
        ends = scenario.ends_at
    there = ends + sum(
        min(max(ends - joined, 0.0), group.stays)
        for group in scenario.groups
        for joined in group.times(Random(0))
    )
    return PIECE_S[world] * scenario.peers * pieces + THERE_S[world] * there


Lines = dict[str, list[str]]
"""The lines of each machine's event trace, by its name."""

RunSeed = Callable[[int, "Lines | None"], Outcome]
"""Runs a seed; fills the lines with the event trace of each machine, in the small world."""


def runner(world: World, scenario: Scenario, policies: "Chosen | None" = None) -> RunSeed:
    """What runs the scenario with a seed. Raises UsageError, at once, for what this world has not.

    policies: instead of those that the scenario names.
    """
    from lab.simulate.policies import by_name

    scenario.check(world)
    chosen = policies or by_name(dict(scenario.policies))
    if world is World.LARGE:
        from lab.large.run import simulate as large

        return lambda seed, _: large(scenario, seed, chosen)
    if world is World.REAL:
        from lab.simulate.real import simulate as real

        order = chosen.order_of_pieces()
        return lambda seed, _: real(scenario, seed, order)
    from lab.simulate.small import simulate as small

    return lambda seed, lines: small(scenario, seed, lines, chosen)
