"""A small model of a swarm: many `Download`s against uplinks, without payload, in one event heap.

It answers how close the policy comes to the fluid bound, in seconds of real time for minutes of a swarm.
What is modelled: each uplink is a server that sends one chunk at a time, at its rate; between links it goes
round by chunk or by piece; every message takes `latency`. What is not: TCP, headers, disks, choking.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any

from peer.bitfield import Bitfield
from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import LIMIT_QUANTUM_S, TICK_S
from peer.swarm.choker import Choker, PeerView
from peer.swarm.commands import Announce, Ask, Command, Express, Finished, Probe, Withdraw
from peer.swarm.download import Download, PieceState
from peer.swarm.rates import RateMeter
from peer.swarm.slots import UplinkView
from peer.swarm.telling import told_within
from peer.swarm.upload import Chunk, Deferred, Upload

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


Packet = tuple[int, Callable[..., None], tuple[Any, ...]]
"""Bytes, and what happens when they have been carried."""


class Uplink:
    """The sending side of one node: the real upload policy, and a line that carries one packet at a time.

    kernel_bytes: what each link's socket takes before the line has carried it, and no cancel can call back.
    With 0 a chunk is chosen when the line is free for it, as under our own rate limit.
    """

    def __init__(
        self, node: int, rate: float, upload: Upload, kernel_bytes: int, deliver: Callable[..., None]
    ) -> None:
        self.deliver = deliver
        self.node = node
        self.rate = rate
        self.upload = upload
        self.kernel_bytes = kernel_bytes
        self.quantum = max(2048, min(16 * 1024, int(rate * LIMIT_QUANTUM_S)))
        self.requests: dict[tuple[int, int], RequestId] = {}
        self.turn: deque[int] = deque()  # peers with something to send, whose turn is next first
        self.sockets: dict[int, deque[Packet]] = {}  # what the kernel holds for each peer
        self.filled: dict[int, int] = {}
        self.carries = -1  # the peer whose packet is on the line
        self.carries_until = 0.0
        self.sent_bytes = 0
        self.sent_to: dict[int, int] = {}
        self.wake_at = float("inf")

    def packet(self, now: float) -> tuple[int, Packet] | float | None:
        """The peer and the packet to carry now; or when to ask again; or None."""
        until = float("inf")
        for _ in range(len(self.turn)):
            peer = self.turn.popleft()
            chosen = self._chunk(peer, now)
            if isinstance(chosen, tuple):
                self.turn.append(peer)
                return peer, chosen
            if chosen is not None:
                until = min(until, chosen)
                self.turn.append(peer)
        return None if until == float("inf") else until

    def _chunk(self, peer: int, now: float) -> Packet | float | None:
        upload = self.upload
        link = LinkId(peer)
        socket = self.sockets.get(peer)
        if socket is None:
            socket = self.sockets[peer] = deque()
            self.filled[peer] = 0
        deferred: float | None = None
        while not socket or self.filled[peer] < self.kernel_bytes:
            chosen = upload.next_chunk(link, now, self.quantum)
            if isinstance(chosen, Deferred):
                deferred = chosen.until
                break
            if not isinstance(chosen, Chunk):
                break
            assert chosen.piece is not None
            socket.append(
                (chosen.length, self.deliver, (self.node, peer, chosen.piece, chosen.length, chosen.last))
            )
            self.filled[peer] += chosen.length
            if chosen.last:
                del self.requests[peer, chosen.piece]
        if not socket:
            return deferred
        packet = socket.popleft()
        self.filled[peer] -= packet[0]
        return packet


class SwarmModel:
    """Node 0 is the origin; the others begin empty and want everything. Link j of node i leads to node j."""

    def __init__(
        self,
        ups: list[float],
        *,
        origin: float,
        seed: int = 1,
        pieces: int = 512,
        piece_bytes: int = 64 * 1024,
        latency: float = 0.001,
        kernel_bytes: int = 0,
        choking: bool = True,
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
        self.messages = 0  # of news alone
        self.done: dict[int, float] = {}
        self.ups = ups
        self.origin = origin
        self.rng = rng = Random(seed)
        lengths = [piece_bytes] * pieces
        everything = Bitfield(pieces, full=True)
        nodes = range(len(ups) + 1)
        self.nodes = [
            Download(lengths, Bitfield(pieces, full=not i), everything, Random(rng.random())) for i in nodes
        ]
        self.uplinks = [
            Uplink(i, rate, self._upload(i, lengths), kernel_bytes, self.received)
            for i, rate in enumerate([origin, *ups])
        ]
        self.ticks = [float("inf")] * len(nodes)
        self.news: list[dict[int, tuple[float, list[PieceIndex]]]] = [{} for _ in nodes]
        self.interest: list[dict[int, None]] = [{} for _ in nodes]  # who is interested in node i
        self.meters = [{j: RateMeter(0.0) for j in nodes if j != i} for i in nodes]
        self.chokers = [Choker(Random(rng.random()), piece_bytes) for _ in nodes]
        self.unchoked: list[set[int]] = [set() for _ in nodes]
        self.choking = choking
        for i in nodes:
            for j in nodes:
                if i != j:
                    self.perform(i, self.nodes[i].joined(LinkId(j), window, 0.0))
                    self.uplinks[i].upload.joined(LinkId(j), window, 0.0)
        for i in nodes:
            if i:
                self.perform(i, self.nodes[i].bitfield(LinkId(0), everything, 0.0))
            if choking:
                self.at(TICK_S * rng.random(), self.choke_round, i)
            else:
                self.serve_only(i, [j for j in nodes if j != i])

    def _upload(self, me: int, lengths: list[int]) -> Upload:
        node = self.nodes[me]
        return Upload(lengths.__getitem__, len(lengths), node.bits, available=node.availability)

    def run(self, until: float = 1e9) -> Outcome:
        peers = len(self.nodes) - 1
        while len(self.done) < peers and self.heap:
            time, _, call, args = heappop(self.heap)
            if time > until:
                break
            self.now = time
            call(*args)
        size = self.pieces * self.piece_bytes
        return Outcome(
            bound=fluid_bound(size, self.origin, self.ups),
            done=[self.done.get(i, float("inf")) for i in range(1, peers + 1)],
            wasted=[self.nodes[i].statistics().wasted_bytes / size for i in range(1, peers + 1)],
            origin_bytes=self.uplinks[0].sent_bytes / size,
            idle=1 - sum(u.sent_bytes for u in self.uplinks) / (self.origin + sum(self.ups)) / self.now,
            events=self.count,
        )

    def at(self, time: float, call: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heappush(self.heap, (time, self.count, call, args))

    # --- the downloading side

    def perform(self, me: int, commands: list[Command]) -> None:
        if self.check:
            self.nodes[me].check_invariants()
        for command in commands:
            if isinstance(command, Ask):
                self.tell(me, command.link, self.request, me, command.link, command.piece)
            elif isinstance(command, Withdraw):
                self.tell(me, command.link, self.cancel, me, command.link, command.piece)
            elif isinstance(command, Announce):
                self.gather(me, command.piece)
            elif isinstance(command, Probe):
                self.nodes[me].alive(command.link, self.now)
            elif isinstance(command, Finished):
                self.done[me] = self.now
            elif isinstance(command, Express):
                self.tell(me, command.link, self.interested, me, command.link, command.interested)
            else:
                raise AssertionError(f"{command} among honest peers")
        deadline = self.nodes[me].next_deadline(self.now)
        if deadline is not None and deadline < self.ticks[me]:
            self.ticks[me] = deadline
            self.at(max(deadline, self.now), self.tick, me, deadline)

    def tick(self, me: int, deadline: float) -> None:
        if self.ticks[me] == deadline:
            self.ticks[me] = float("inf")
            self.perform(me, self.nodes[me].tick(self.now))

    def closed(self, me: int, holder: int, piece: int, code: RejectCode) -> None:
        self.perform(me, self.nodes[me].rejected(LinkId(holder), PieceIndex(piece), code, self.now))

    def received(self, holder: int, me: int, piece: int, size: int, last: bool) -> None:
        node = self.nodes[me]
        self.meters[me][holder].add(size, self.now)
        self.perform(me, node.progressed(LinkId(holder), PieceIndex(piece), size, self.now))
        if last:
            index = PieceIndex(piece)
            was = node.state(index)
            self.perform(me, node.arrived(LinkId(holder), index, self.now))
            if was is not PieceState.VERIFYING and node.state(index) is PieceState.VERIFYING:
                self.perform(me, node.verified(LinkId(holder), index, self.now))

    def choked(self, me: int, holder: int, on: bool) -> None:
        self.perform(me, self.nodes[me].choked(LinkId(holder), on, self.now))

    def gather(self, me: int, piece: PieceIndex) -> None:
        """News for everybody, to be told with what is sent next or when it is due."""
        upload = self.uplinks[me].upload
        for other in range(len(self.nodes)):
            if other == me:
                continue
            due = self.now + told_within(
                known=piece in self.nodes[other].bits,
                can_wait=other in self.interest[me]
                and (other not in self.unchoked[me] or upload.has_work(LinkId(other))),
            )
            before, pieces = self.news[me].get(other, (float("inf"), []))
            self.news[me][other] = min(before, due), [*pieces, piece]
            if due < before:
                self.at(due, self.announce, me, other, due)

    def announce(self, me: int, other: int, due: float) -> None:
        if self.news[me].get(other, (0.0,))[0] == due:
            self.messages += 1
            self.tell(me, other, lambda: None)

    def told(self, me: int, other: int, news: list[PieceIndex]) -> None:
        commands = self.nodes[me].have_pieces(LinkId(other), news, self.now)
        if commands:
            self.perform(me, commands)

    # --- the uploading side

    def request(self, asker: int, holder: int, piece: int) -> None:
        uplink = self.uplinks[holder]
        self.count += 1
        request = RequestId(self.count)
        code = uplink.upload.asked(LinkId(asker), request, PieceIndex(piece), self.now)
        if code is not None:
            self.reject(holder, asker, piece, code)
            return
        uplink.requests[asker, piece] = request
        if asker not in uplink.turn:
            uplink.turn.append(asker)
        self.serve(holder)

    def cancel(self, asker: int, holder: int, piece: int) -> None:
        uplink = self.uplinks[holder]
        request = uplink.requests.pop((asker, piece), None)
        if request is not None:
            uplink.upload.cancel(LinkId(asker), request)
            self.reject(holder, asker, piece, RejectCode.CANCELLED)

    def reject(self, holder: int, asker: int, piece: int, code: RejectCode) -> None:
        self.tell(holder, asker, self.closed, asker, holder, piece, code)

    def tell(self, sender: int, to: int, call: Callable[..., None], *args: Any) -> None:
        """Send a small message: it takes no time itself, but stays behind what the link's socket holds."""
        uplink = self.uplinks[sender]
        socket = uplink.sockets.get(to)
        _, news = self.news[sender].pop(to, (0.0, None))
        if news is not None:
            self.tell(sender, to, self.told, to, sender, news)
        if socket:
            socket.append((0, call, args))
            return
        wait = uplink.carries_until - self.now if uplink.carries == to else 0.0
        self.at(self.now + wait + self.latency + 1e-9, call, *args)

    def serve(self, holder: int) -> None:
        uplink = self.uplinks[holder]
        if uplink.carries >= 0:
            return
        packet = uplink.packet(self.now)
        if packet is None:
            return
        if isinstance(packet, float):
            if packet < uplink.wake_at:
                uplink.wake_at = packet
                self.at(packet, self.wake, holder)
            return
        peer, (size, call, args) = packet
        _, news = self.news[holder].pop(peer, (0.0, None))
        if news is not None:
            self.at(self.now + self.latency, self.told, peer, holder, news)
        uplink.carries = peer
        uplink.carries_until = self.now + size / uplink.rate
        uplink.sent_bytes += size
        uplink.sent_to[peer] = uplink.sent_to.get(peer, 0) + size
        self.at(uplink.carries_until, self.sent, holder, call, args)

    def wake(self, holder: int) -> None:
        self.uplinks[holder].wake_at = float("inf")
        self.serve(holder)

    def sent(self, holder: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.uplinks[holder].carries = -1
        self.at(self.now + self.latency, call, *args)
        self.serve(holder)

    # --- choking

    def interested(self, asker: int, holder: int, on: bool) -> None:
        if on:
            self.interest[holder][asker] = None
        else:
            self.interest[holder].pop(asker, None)
        if self.choking:
            self.serve_only(
                holder, self.chokers[holder].refill(self.now, self.views(holder), self.seeds(holder))
            )

    def choke_round(self, me: int) -> None:
        sent = self.uplinks[me].upload.statistics(self.now)
        uplink = UplinkView(sent.rate, self.uplinks[me].rate, sent.answers, sent.ran_dry)
        chosen = self.chokers[me].round(self.now, self.views(me), self.seeds(me), uplink)
        self.serve_only(me, chosen)
        self.at(self.chokers[me].next_round(self.now), self.choke_round, me)

    def seeds(self, me: int) -> bool:
        return self.nodes[me].finished

    def views(self, me: int) -> list[PeerView]:
        sent_to = self.uplinks[me].sent_to
        return [
            PeerView(
                LinkId(j),
                j in self.interest[me],
                meter.rate(self.now),
                sent_to.get(j, 0),
                float(j),
                received_bytes=meter.total_bytes,
            )
            for j, meter in self.meters[me].items()
        ]

    def serve_only(self, me: int, links: Iterable[int]) -> None:
        chosen = set(links)
        uplink = self.uplinks[me]
        for peer in sorted(chosen ^ self.unchoked[me]):
            if peer in chosen:
                uplink.upload.unchoke(LinkId(peer))
                self.tell(me, peer, self.choked, peer, me, False)
                continue
            self.tell(me, peer, self.choked, peer, me, True)
            dropped = set(uplink.upload.choke(LinkId(peer)))
            for (asker, piece), request in list(uplink.requests.items()):
                if asker == peer and request in dropped:
                    del uplink.requests[asker, piece]
                    self.reject(me, asker, piece, RejectCode.CHOKED)
        self.unchoked[me] = chosen


if __name__ == "__main__":
    import argparse
    from time import perf_counter

    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.001)
    parser.add_argument("--kernel", type=int, default=0)
    parser.add_argument("--open", action="store_true", help="choke nobody")
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
                ups, origin=40.0 * MBIT, seed=seed, latency=options.latency,
                kernel_bytes=options.kernel, choking=not options.open, check=options.check,
            )  # fmt: skip
            outcome = model.run()
            spent = perf_counter() - start
            print(f"{name}: {outcome}  {model.messages} messages of news alone  {spent:.1f} s")
