"""A busy little world whose trace tells two runs apart: `python -m tests.sim.scenario SEED`."""

import random
import sys

import trio

from peer.ids import Address
from peer.net.transport import Stream
from peer.sim.network import SimHost, SimNetwork, mbit, open_network
from peer.sim.run import run
from peer.sim.trace import Trace

HOSTS = 6
FETCHES = 8


async def world(seed: int) -> Trace:
    """Hosts that fetch from each other at random moments while ways are cut and connections die."""
    trace = Trace()
    rng = random.Random(seed)
    async with open_network(trace) as network:
        hosts = [
            network.add_host(
                f"h{n}", up=mbit(rng.choice([4, 8, 40])), down=mbit(40), latency=rng.random() / 50
            )
            for n in range(HOSTS)
        ]
        async with trio.open_nursery() as nursery:
            for host in hosts:
                (listener,) = await host.transport().listen(None, 7701)
                nursery.start_soon(trio.serve_listeners, serve, [listener])
            for number in range(HOSTS):
                nursery.start_soon(tick, number, trace)
            nursery.start_soon(trouble, network, hosts, random.Random(rng.random()))
            async with trio.open_nursery() as fetchers:
                for host in hosts:
                    fetchers.start_soon(fetch, host, hosts, random.Random(rng.random()), trace)
            nursery.cancel_scope.cancel()
    return trace


async def tick(number: int, trace: Trace) -> None:
    """Many tasks with one deadline: whoever is first, is first in every run."""
    while True:
        await trio.sleep_until(trio.current_time() // 1 + 1)
        trace.add("tick", number)


async def serve(stream: Stream) -> None:
    try:
        while ask := await stream.receive_some(4):
            await stream.send_all(bytes(int.from_bytes(ask.ljust(4, b"\0"), "big") % 300_000 + 1))
    except trio.BrokenResourceError:
        pass


async def fetch(host: SimHost, hosts: list[SimHost], rng: random.Random, trace: Trace) -> None:
    for number in range(FETCHES):
        await trio.sleep(rng.random())
        other = rng.choice(hosts)
        with trio.move_on_after(5) as scope:
            try:
                async with await host.transport().dial(Address(other.name, 7701)) as stream:
                    await stream.send_all(rng.randbytes(4))
                    while len(await stream.receive_some()) > 1000:
                        pass
            except trio.BrokenResourceError:
                trace.add("broken", host.name, number)
        trace.add("fetched", host.name, number, scope.cancelled_caught)


async def trouble(network: SimNetwork, hosts: list[SimHost], rng: random.Random) -> None:
    while True:
        await trio.sleep(rng.random())
        network.cut(rng.choice(hosts), rng.choice(hosts))
        await trio.sleep(rng.random())
        network.heal()
        if connections := network.connections():
            rng.choice(connections).reset()
        network.check_invariants()


def digest(seed: int) -> str:
    return run(seed, world, seed).digest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
