"""A scenario with real processes: a tracker, an origin and the peers on loopback, shaped by --up and --down.

Latencies are the loopback's, whatever the scenario says. Only the file's bytes and the moments of joining are
drawn from a seed, and no two runs are alike.
"""

import filecmp
import subprocess
import tempfile
import time
from math import inf
from pathlib import Path
from random import Random

from lab.localswarm import POLL_S, Getter, LocalSwarm, local_swarm, patience, share_link
from lab.simulate.outcome import Member, Outcome
from lab.simulate.scenario import Group, Scenario


def simulate(scenario: Scenario, seed: int, order: str) -> Outcome:
    """Run a scenario. order: of pieces, as `peer get --order` has it. Raises LabError where a process
    fails."""
    with tempfile.TemporaryDirectory(prefix="manyhands-real-") as folder:
        work = Path(folder)
        source = work / "file"
        source.write_bytes(Random(seed).randbytes(scenario.size))
        link = share_link(source, work)
        with local_swarm(work) as swarm:
            return _Run(scenario, seed, swarm, link, order).run(source)


class _Run:
    def __init__(self, scenario: Scenario, seed: int, swarm: LocalSwarm, link: str, order: str) -> None:
        self._scenario = scenario
        self._order = order
        self._swarm = swarm
        self._link = link
        self._members: list[tuple[Member, Getter]] = []
        self._coming = sorted(
            (
                (time, number, index, group)
                for number, group in enumerate(scenario.groups)
                for index, time in enumerate(group.times(Random(seed)))
            ),
            key=lambda entry: entry[:3],
        )

    def run(self, source: Path) -> Outcome:
        up = self._scenario.origin.up
        self._start_due(0.0)
        self._swarm.await_getters()
        origin = self._swarm.share(source, *([] if up is None else ["--up", f"{up:.0f}B"]))
        # Where nobody waits for the origin, nobody's arrival tells when it is up.
        begun = self._swarm.first_connection(origin) if self._members else time.time()
        self._follow(begun, origin)
        return self._outcome(begun, source)

    def _start_due(self, passed: float) -> None:
        """Start those whose time has come."""
        while self._coming and self._coming[0][0] <= passed:
            joined, number, index, group = self._coming.pop(0)
            getter = self._swarm.get(
                f"{number}-{index}", self._link, "--order", self._order, *_options(group)
            )
            self._members.append((Member(number, index, joined), getter))

    def _follow(self, begun: float, origin: "subprocess.Popen[str]") -> None:
        """Until everybody is done or patience ends, with what shall happen on the way."""
        scenario = self._scenario
        dies_at = inf if scenario.origin.dies_at is None else scenario.origin.dies_at
        last = self._coming[-1][0] if self._coming else 0.0
        ends = begun + last + patience(scenario.bound() or 0)
        while time.time() < ends and (self._coming or self._swarm.missing):
            passed = time.time() - begun
            self._start_due(passed)
            if passed >= dies_at:
                origin.kill()
                dies_at = inf
            self._swarm.check_alive()
            time.sleep(POLL_S)

    def _outcome(self, begun: float, source: Path) -> Outcome:
        ended, wrong = time.time() - begun, 0
        origin = self._swarm.origin_id()
        for member, getter in self._members:
            if getter.done_at is not None:
                member.done = getter.done_at - begun
                member.wasted_bytes = int(getter.result["wasted_bytes"])
                member.origin_bytes = int(getter.result["sources"].get(origin, 0))
                wrong += not filecmp.cmp(source, getter.result["path"], shallow=False)
        return Outcome(tuple(member for member, _ in self._members), ended, wrong, "")


def _options(group: Group) -> list[str]:
    """What a peer of that group is told on its command line."""
    options = []
    for option, rate in (("--up", group.given), ("--down", group.down)):
        if rate is not None:
            options += [option, f"{rate:.0f}B"]
    if group.stays == inf:
        options.append("--seed")
    elif group.stays:
        options += ["--seed-for", f"{group.stays:g}s"]
    return options
