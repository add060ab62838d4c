"""How much faster than real time the small world is: whole nodes in virtual time, on one core.

    python -m benchmarks.simulation [--nodes 50] [--pieces 512] [--mbit 1] [--rounds 1] [--profile]

One origin (ten times the peers' uplink) and nodes behind access links of that many megabits a second fetch a
file; what is measured is the time from the beginning until all have every byte, in both worlds. The work is
that of delivering nodes x pieces, whatever the links, so the ratio falls as links get faster. Also the price
of `buggify` where nothing is armed.
"""

import argparse
import cProfile
import pstats
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from benchmarks.machine import describe
from lab.bounds import kumar_ross
from peer.buggify import Point, buggify
from peer.limits import KIB
from peer.sim.network import mbit
from peer.sim.run import run
from peer.sim.trace import Trace
from peer.sim.world import open_world

BAR = 5.0
CALLS = 1_000_000
INTRODUCED = 20
"""Earlier nodes that a newcomer is told of."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=50, help="with the origin (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--piece-kib", type=int, default=64, help="(%(default)s, as a file of 32 MiB has)")
    parser.add_argument("--mbit", type=float, default=1.0, help="each node's uplink (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="a seed each (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead")
    arguments = parser.parse_args()
    swarm = Swarm(arguments.nodes - 1, arguments.pieces * arguments.piece_kib * KIB, mbit(arguments.mbit))
    print(describe("trio"))
    print(
        f"{arguments.nodes} nodes x {arguments.pieces} pieces of {arguments.piece_kib} KiB,"
        f" peers {arguments.mbit:g} Mbit/s up"
    )
    if arguments.profile:
        profile(lambda: swarm.fetch(1))
        return
    for seed in range(1, arguments.rounds + 1):
        report(swarm, seed)
    seconds = timeit.timeit(lambda: buggify(Point.SHORT_READ), number=CALLS)
    print(f"buggify, nothing armed: {seconds / CALLS * 1e9:.0f} ns a call")


@dataclass(frozen=True, slots=True)
class Swarm:
    """Getters, the size of the file in bytes, each getter's uplink in bytes a second."""

    getters: int
    size: int
    up: float

    @property
    def bound(self) -> float:
        """Nobody has everybody complete sooner, in seconds."""
        return float(kumar_ross(8.0 * self.size, [80 * self.up], [8 * self.up] * self.getters, None).time)

    def fetch(self, seed: int) -> tuple[float, str]:
        """Virtual seconds until all are complete, and the trace hash."""
        return run(seed, self._fetch, seed)

    async def _fetch(self, seed: int) -> tuple[float, str]:
        rng, trace = Random(seed), Trace()
        async with open_world(seed, trace) as world:
            origin = await world.add_peer("origin", up=10 * self.up)
            link = await origin.share("file", {(): rng.randbytes(self.size)})
            peers, fetches = [origin], []
            for number in range(self.getters):
                peer = await world.add_peer(f"peer{number}", up=self.up)
                others = rng.sample(peers, min(INTRODUCED, len(peers)))
                known = dict.fromkeys([origin.address, *(other.address for other in others)])
                fetches.append(peer.fetch(link, peers=known))
                peers.append(peer)
            for fetch in fetches:
                await fetch.wait()
            return trio.current_time(), trace.digest()


def report(swarm: Swarm, seed: int) -> None:
    """One run, one line."""
    begun, worked = time.perf_counter(), time.process_time()
    virtual, digest = swarm.fetch(seed)
    real, worked = time.perf_counter() - begun, time.process_time() - worked
    ratio = virtual / real
    print(
        f"seed {seed}: {virtual:.1f} s of virtual time (bound {swarm.bound:.1f} s) in {real:.1f} s"
        f" ({worked:.1f} s of processor time):"
        f" {ratio:.1f} times real time, bar {BAR:g}: {'met' if ratio >= BAR else 'MISSED'}; trace {digest}"
    )


def profile(work: Callable[[], object]) -> None:
    """The functions that take the most time."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
