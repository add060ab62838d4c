"""A small model of a swarm: many `Download`s against uplinks, without payload, in one event heap.

It answers how close the policy comes to the fluid bound, in seconds of real time for minutes of a swarm.
What is modelled: each uplink is a server that sends one chunk at a time, at its rate; between links it goes
round by chunk or by piece; every message takes `latency`. What is not: TCP, headers, disks, choking.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any

from peer.bitfield import Bitfield
from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex
from peer.swarm.download import (
    Announce,
    Ask,
    Command,
    Download,
    Expel,
    Express,
    Finished,
    Verify,
    Withdraw,
)

MBIT = 125_000
MIB = 1 << 20


def fluid_bound(size: float, origin: float, ups: list[float]) -> float:
    """Kumar and Ross: no schedule ends before, in seconds (downlinks unlimited)."""
    return max(size / origin, len(ups) * size / (origin + sum(ups)))


@dataclass
class Outcome:
    """What a run came to. ratio: time of the last peer over the bound."""

    bound: float
    done: list[float]
    wasted: list[float]
    origin_bytes: float
    idle: float
    events: int

    @property
    def ratio(self) -> float:
        return max(self.done) / self.bound

    def __str__(self) -> str:
        return (
            f"ratio {self.ratio:.4f}  first {min(self.done) / self.bound:.4f}  bound {self.bound:.2f} s  "
            f"wasted max {max(self.wasted):.2%} mean {sum(self.wasted) / len(self.wasted):.2%}  "
            f"origin sent {self.origin_bytes:.2f} F  uplinks idle {self.idle:.2%}  events {self.events}"
        )


class Uplink:
    """Serves the requests of all links of one node, one chunk at a time.

    by_piece: a piece that has begun is finished before the next link's turn, on each of `lanes` lanes.
    """

    def __init__(self, rate: float, chunk: int, *, spread: bool, lanes: int) -> None:
        self.rate = rate
        self.chunk = chunk
        self.spread = spread  # pieces sent least often first (an origin)
        self.lanes = lanes
        self.queues: dict[int, dict[int, int]] = {}  # peer -> piece -> bytes still to send
        self.turn: deque[int] = deque()  # peers waiting for a lane
        self.active: deque[tuple[int, int]] = deque()  # (peer, piece) being sent
        self.sent_count: dict[int, int] = {}
        self.busy = False
        self.busy_until = 0.0
        self.busy_seconds = 0.0
        self.sent_bytes = 0

    def add(self, peer: int, piece: int, length: int) -> None:
        queue = self.queues.setdefault(peer, {})
        if not queue:
            self.turn.append(peer)
        queue[piece] = length

    def cancel(self, peer: int, piece: int) -> None:
        queue = self.queues[peer]
        if piece in queue:
            del queue[piece]
            if (peer, piece) in self.active:
                self.active.remove((peer, piece))
                if queue:
                    self.turn.append(peer)
            elif not queue:
                self.turn.remove(peer)

    def next_chunk(self) -> tuple[int, int, int] | None:
        """(peer, piece, bytes) to send now."""
        while len(self.active) < self.lanes and self.turn:
            self.active.append(self._next_piece())
        if not self.active:
            return None
        peer, piece = self.active.popleft()
        queue = self.queues[peer]
        size = min(self.chunk, queue[piece])
        queue[piece] -= size
        if queue[piece]:
            self.active.append((peer, piece))
        else:
            del queue[piece]
            self.sent_count[piece] = self.sent_count.get(piece, 0) + 1
            if queue:
                self.turn.append(peer)
        return peer, piece, size

    def _next_piece(self) -> tuple[int, int]:
        if not self.spread:
            peer = self.turn.popleft()
            return peer, next(iter(self.queues[peer]))
        sent = self.sent_count
        begun = {piece for _, piece in self.active}
        best = None
        for i, peer in enumerate(self.turn):
            for piece in self.queues[peer]:
                key = sent.get(piece, 0) + (piece in begun)
                if best is None or key < best[0]:
                    best = (key, i, peer, piece)
                if key == 0:
                    break
            if best and best[0] == 0:
                break
        assert best is not None
        _, i, peer, piece = best
        del self.turn[i]
        return peer, piece


class SwarmModel:
    """Node 0 is the origin; the others begin empty and want everything."""

    def __init__(
        self,
        ups: list[float],
        *,
        origin: float,
        seed: int = 1,
        pieces: int = 512,
        piece_bytes: int = 64 * 1024,
        chunk: int = 16 * 1024,
        latency: float = 0.001,
        lanes: int = 4,
        origin_lanes: int = 4,
        window: int = 256,
        check: bool = False,
    ) -> None:
        self.piece_bytes = piece_bytes
        self.pieces = pieces
        self.latency = latency
        self.check = check
        self.now = 0.0
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.done: dict[int, float] = {}
        self.ups = ups
        self.origin = origin
        rng = Random(seed)
        lengths = [piece_bytes] * pieces
        everything = Bitfield(pieces, full=True)
        self.uplinks = [Uplink(origin, chunk, spread=True, lanes=origin_lanes)]
        self.uplinks += [Uplink(up, chunk, spread=False, lanes=lanes) for up in ups]
        self.nodes = [Download(lengths, everything, everything, Random(rng.random()))]
        self.nodes += [Download(lengths, Bitfield(pieces), everything, Random(rng.random())) for _ in ups]
        self.ticks = [float("inf")] * len(self.nodes)
        everyone = range(len(self.nodes))
        for me in everyone[1:]:
            for other in everyone:
                if me != other:
                    self.perform(me, self.nodes[me].joined(LinkId(other), window, 0.0))
        for me in everyone[1:]:
            self.perform(me, self.nodes[me].bitfield(LinkId(0), everything, 0.0))
            for other in everyone:
                if other != me:
                    self.perform(me, self.nodes[me].choked(LinkId(other), False, 0.0))

    def run(self, until: float = 1e9) -> Outcome:
        peers = len(self.nodes) - 1
        while len(self.done) < peers and self.heap:
            time, _, call, args = heappop(self.heap)
            if time > until:
                break
            self.now = time
            call(*args)
        bound = fluid_bound(self.pieces * self.piece_bytes, self.origin, self.ups)
        size = self.pieces * self.piece_bytes
        for me in range(1, peers + 1):
            self.done.setdefault(me, float("inf"))
        return Outcome(
            bound,
            [self.done[me] for me in range(1, peers + 1)],
            [self.nodes[me].statistics().wasted_bytes / size for me in range(1, peers + 1)],
            self.uplinks[0].sent_bytes / size,
            1 - sum(u.sent_bytes for u in self.uplinks) / sum(u.rate for u in self.uplinks) / self.now,
            self.count,
        )

    def at(self, time: float, call: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heappush(self.heap, (time, self.count, call, args))

    def perform(self, me: int, commands: list[Command]) -> None:
        if self.check:
            self.nodes[me].check_invariants()
        soon = self.now + self.latency
        for command in commands:
            if isinstance(command, Ask):
                self.at(soon, self.request, me, command.link, command.piece)
            elif isinstance(command, Withdraw):
                self.at(soon, self.cancel, me, command.link, command.piece)
            elif isinstance(command, Announce):
                self.at(soon, self.announce, me, command.piece)
            elif isinstance(command, Verify):
                self.perform(me, self.nodes[me].verified(command.link, command.piece, self.now))
            elif isinstance(command, Finished):
                self.done[me] = self.now
            else:
                assert isinstance(command, Express | Expel)
        deadline = self.nodes[me].next_deadline(self.now)
        if deadline is not None and deadline < self.ticks[me]:
            self.ticks[me] = deadline
            self.at(max(deadline, self.now), self.tick, me, deadline)

    def tick(self, me: int, deadline: float) -> None:
        if self.ticks[me] == deadline:
            self.ticks[me] = float("inf")
            self.perform(me, self.nodes[me].tick(self.now))

    def request(self, asker: int, holder: int, piece: int) -> None:
        self.uplinks[holder].add(asker, piece, self.piece_bytes)
        self.serve(holder)

    def cancel(self, asker: int, holder: int, piece: int) -> None:
        uplink = self.uplinks[holder]
        if piece in uplink.queues.get(asker, ()):
            uplink.cancel(asker, piece)
            # Messages of one link stay in order: the rejection follows the chunk that is on its way.
            self.at(max(self.now, uplink.busy_until) + self.latency + 1e-9, self.closed, asker, holder, piece)

    def closed(self, asker: int, holder: int, piece: int) -> None:
        commands = self.nodes[asker].rejected(
            LinkId(holder), PieceIndex(piece), RejectCode.CANCELLED, self.now
        )
        self.perform(asker, commands)

    def serve(self, holder: int) -> None:
        uplink = self.uplinks[holder]
        if uplink.busy:
            return
        chunk = uplink.next_chunk()
        if chunk is None:
            return
        peer, piece, size = chunk
        uplink.busy = True
        seconds = size / uplink.rate
        uplink.busy_seconds += seconds
        uplink.busy_until = self.now + seconds
        uplink.sent_bytes += size
        last = piece not in uplink.queues[peer]
        self.at(self.now + seconds, self.sent, holder, peer, piece, size, last)

    def sent(self, holder: int, peer: int, piece: int, size: int, last: bool) -> None:
        self.uplinks[holder].busy = False
        self.at(self.now + self.latency, self.received, holder, peer, piece, size, last)
        self.serve(holder)

    def received(self, holder: int, peer: int, piece: int, size: int, last: bool) -> None:
        node = self.nodes[peer]
        self.perform(peer, node.progressed(LinkId(holder), PieceIndex(piece), size, self.now))
        if last:
            self.perform(peer, node.arrived(LinkId(holder), PieceIndex(piece), self.now))

    def announce(self, me: int, piece: int) -> None:
        for other in range(1, len(self.nodes)):
            if other != me:
                commands = self.nodes[other].have(LinkId(me), (PieceIndex(piece),), self.now)
                if commands:
                    self.perform(other, commands)


if __name__ == "__main__":
    import argparse
    from time import perf_counter

    parser = argparse.ArgumentParser()
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--origin-lanes", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.001)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for name, ups in {
        "10 peers": [4.0 * MBIT] * 10,
        "30 peers": [4.0 * MBIT] * 30,
        "20 mixed": [2.0 * MBIT, 8.0 * MBIT] * 10,
    }.items():
        for seed in range(1, options.seeds + 1):
            start = perf_counter()
            model = SwarmModel(
                ups, origin=40.0 * MBIT, seed=seed, lanes=options.lanes, origin_lanes=options.origin_lanes,
                latency=options.latency, check=options.check,
            )  # fmt: skip
            outcome = model.run()
            print(f"{name}: {outcome}  {perf_counter() - start:.1f} s")
