"""How many are there: the population of an open swarm over time."""

from lab.large.run import Run
from lab.simulate.outcome import Outcome
from lab.simulate.policies import Chosen, by_name
from lab.simulate.scenario import Scenario


def population(
    scenario: Scenario, seed: int, every: float, policies: Chosen | None = None
) -> tuple[Outcome, list[tuple[float, int, int]]]:
    """Run it and look every so many seconds: (time, downloaders, seeds without the origin)."""
    run = Run(scenario, seed, policies or by_name(dict(scenario.policies)))
    swarm, seen = run.swarm, list[tuple[float, int, int]]()

    def look() -> None:
        seeds = sum(peer.finished for peer in swarm.present if peer.number > 1)
        everybody = len(swarm.present) - swarm.peers[0].present
        seen.append((swarm.agenda.now, everybody - seeds, seeds))
        swarm.agenda.at(swarm.agenda.now + every, look)

    swarm.agenda.at(every, look)
    return run.run(), seen
