"""Kraken's round model: in each round a peer takes and gives at most so many pieces, each step at random.

This is the model of the simulations in Kraken's repository (tools/bin/simulation, random regular graph), for
which its authors state results; here it serves as a yardstick for the engine on the same graph. Steps of a
round are in random order, and a piece that came in a round may be passed on in the same round. Pure.
"""

from dataclasses import dataclass
from random import Random

from peer.swarm.piecesets import random_bit


@dataclass(frozen=True, slots=True)
class Rounds:
    """done: in which round each peer was complete."""

    done: tuple[int, ...]

    @property
    def last(self) -> int:
        return max(self.done)

    @property
    def median(self) -> int:
        return sorted(self.done)[len(self.done) // 2]


def regular_graph(count: int, degree: int, rng: Random) -> list[list[int]]:
    """Neighbours of each of ``count`` nodes, ``degree`` each: stubs are paired at random, and pairs that may
    not be (a loop, a double edge) are exchanged with others. ValueError where there is no such graph."""
    if degree >= count or count * degree % 2:
        raise ValueError(f"there is no graph of {count} nodes of degree {degree}")
    while True:
        stubs = [node for node in range(count) for _ in range(degree)]
        rng.shuffle(stubs)
        edges = list(zip(stubs[::2], stubs[1::2], strict=True))
        if _repair(edges, rng):
            neighbours: list[list[int]] = [[] for _ in range(count)]
            for one, two in edges:
                neighbours[one].append(two)
                neighbours[two].append(one)
            return neighbours


def _repair(edges: list[tuple[int, int]], rng: Random) -> bool:
    """Exchange ends until there is no loop and no double edge; False if that does not come to an end."""
    for _ in range(100):
        seen: set[tuple[int, int]] = set()
        bad = []
        for at, (one, two) in enumerate(edges):
            edge = (min(one, two), max(one, two))
            if one == two or edge in seen:
                bad.append(at)
            seen.add(edge)
        if not bad:
            return True
        for at in bad:
            other = rng.randrange(len(edges))
            (a, b), (c, d) = edges[at], edges[other]
            edges[at], edges[other] = (a, d), (c, b)
    return False


def spread(neighbours: list[list[int]], pieces: int, per_round: int, rng: Random) -> Rounds:
    """Node 0 holds everything; run until everybody does."""
    everything = (1 << pieces) - 1
    held = [0] * len(neighbours)
    held[0] = everything
    done = [0] * len(neighbours)
    missing = len(neighbours) - 1
    number = 0
    while missing:
        number += 1
        given = [0] * len(neighbours)
        order = [node for node in range(len(neighbours)) if held[node] != everything] * per_round
        rng.shuffle(order)
        for node in order:
            mine = held[node]
            if mine == everything:
                continue
            offers = [
                (offer, other)
                for other in neighbours[node]
                if given[other] < per_round and (offer := held[other] & ~mine)
            ]
            if offers:
                offer, other = _one_of(offers, rng)
                given[other] += 1
                held[node] = mine | 1 << random_bit(offer, rng)
                if held[node] == everything:
                    done[node] = number
                    missing -= 1
    return Rounds(tuple(done[1:]))


def _one_of(offers: list[tuple[int, int]], rng: Random) -> tuple[int, int]:
    """Each (piece, neighbour) is as likely as any other."""
    weights = [offer.bit_count() for offer, _ in offers]
    at = rng.random() * sum(weights)
    for weight, offer in zip(weights, offers, strict=True):
        at -= weight
        if at < 0:
            return offer
    return offers[-1]
