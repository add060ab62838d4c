"""A simulated network: hosts, their access links, the connections between them, and what goes wrong.

    async with open_network() as network:
        origin = network.add_host("origin", up=mbit(40), down=mbit(40), latency=0.01)
        transport = origin.transport(node_id)

Hosts have names and addresses (10.0.0.1 and on, more by `add_address`); any can be dialled. How bytes travel:
`sim/pipe.py`.
Everything is in trio's virtual time (`sim/run.py`), and nothing here is random: the same calls at the same
times give the same events. Faults are methods, to be called by a scenario when it wants them.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from peer.errors import DialError, UsageError
from peer.ids import PORT_MAX, Address, NodeId
from peer.sim.agenda import Agenda
from peer.sim.pipe import Downlink, Pipe, Uplink
from peer.sim.stream import BACKLOG_MAX, SimListener, SimStream, SimTransport
from peer.sim.trace import Trace

EPHEMERAL_PORT_MIN = 40000

SYN_AGAIN_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Pauses after a SYN that was dropped, as Linux makes them (tcp_syn_retries = 6): the last one is for the
answer to the last try. TCP says nothing in between."""


def mbit(rate: float) -> float:
    """Megabits a second as bytes a second, as rates are given here."""
    return rate * 1e6 / 8


@dataclass(frozen=True, slots=True)
class HostStatistics:
    """What a host's access link has carried, in bytes; a chunk counts when it begins."""

    sent_bytes: int
    received_bytes: int


class Connection:
    """Two pipes between two hosts. Its methods are the faults that befall a single connection."""

    def __init__(self, network: "SimNetwork", number: int, client: "SimHost", server: "SimHost") -> None:
        self.network = network
        self.number = number
        self.client = client
        self.server = server
        self.vanished = False
        self._orphaned = False  # one host has forgotten it, in a crash
        self._open_ends = 2
        self.forth = Pipe(self, client, server)
        self.back = Pipe(self, server, client)

    def other_way(self, pipe: Pipe) -> Pipe:
        return self.back if pipe is self.forth else self.forth

    def reset(self) -> None:
        """Both sides lose it at once, and are told."""
        self.network.trace.add("reset", self.number)
        self.forth.break_off()
        self.back.break_off()

    def stall(self) -> None:
        """Nothing passes either way until `resume`."""
        self.forth.stalled = self.back.stalled = True

    def resume(self) -> None:
        """The end of a stall: what was held back arrives."""
        self.forth.stalled = self.back.stalled = False
        self.forth.unblock()
        self.back.unblock()

    def vanish(self) -> None:
        """Half-open for ever: whatever either side sends is lost, and neither is told."""
        self.network.trace.add("vanish", self.number)
        self.vanished = True
        self.forth.unblock()
        self.back.unblock()

    def orphan(self) -> None:
        """One host lost its memory of this. Who sends to it when it is up again is told so."""
        self.vanish()
        self._orphaned = True

    def refuse(self, pipe: Pipe) -> None:
        """Something came out of a vanished connection's pipe, or would have been sent again by now."""
        unsettled = pipe.flight or pipe.queued
        if self._orphaned and unsettled and pipe.target.is_up and not pipe.broken:
            latency = pipe.source.latency + pipe.target.latency
            self.network.agenda.after(latency, self.reset)

    def end_closed(self) -> None:
        self._open_ends -= 1
        if self._open_ends == 0:
            self.network.forget_connection(self)


class SimHost:
    """A machine: an address, an access link, and the ports that it listens on."""

    def __init__(
        self,
        network: "SimNetwork",
        name: str,
        address: str,
        *,
        up: float | None,
        down: float | None,
        latency: float,
    ) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.latency = latency
        self.uplink = Uplink(network.agenda, up)
        self.downlink = Downlink(network.agenda, down)
        self.is_up = True
        self.lives = 1
        """Counts its starts: what a program of an earlier life was about to do never happens."""
        self._listeners: dict[int, SimListener] = {}
        self._port = EPHEMERAL_PORT_MIN

    def transport(self, node: NodeId | None = None) -> SimTransport:
        """The seam's transport on this host; with a node id it authenticates."""
        return SimTransport(self, node)

    def shape(self, *, up: float | None, down: float | None, latency: float) -> None:
        """Give the access link other rates (bytes a second, None: no limit) and latency (seconds)."""
        self.uplink.rate, self.downlink.rate, self.latency = up, down, latency
        self.network.unblock()

    def crash(self) -> None:
        """Power failure: its connections are forgotten without a word, its listeners gone. The caller cancels
        the tasks that ran here."""
        self.network.trace.add("crash", self.name)
        self.is_up = False
        self.network.note_cuts()
        self._listeners.clear()
        for connection in self.network.connections(self):
            connection.orphan()
        self.network.unblock()

    def start(self) -> None:
        """Up again, with nothing listening. Who still waits for an answer on an old connection is told."""
        self.network.trace.add("start", self.name)
        self.is_up = True
        self.network.note_cuts()
        self.lives += 1
        for connection in self.network.connections(self):
            connection.refuse(connection.forth if connection.server is self else connection.back)
        self.network.unblock()

    def statistics(self) -> HostStatistics:
        return HostStatistics(self.uplink.carried_bytes, self.downlink.carried_bytes)

    # --- what its transports use

    def free_port(self) -> int:
        self._port += 1
        while self._port in self._listeners:
            self._port += 1
        if self._port > PORT_MAX:
            raise DialError(f"{self.name} has no free port left")
        return self._port

    def open_listener(self, port: int, node: NodeId | None) -> SimListener:
        if port in self._listeners:
            raise UsageError(f"port {port} is already taken: name another with --port")
        listener = SimListener(self, port or self.free_port(), node)
        self._listeners[listener.address.port] = listener
        return listener

    def forget_listener(self, port: int) -> None:
        self._listeners.pop(port, None)

    def listener(self, port: int) -> SimListener | None:
        return self._listeners.get(port)

    async def connect(self, address: Address, node: NodeId | None) -> SimStream:
        """A handshake: there, and back. Waits while the way is cut, as lost SYNs are sent again; those that
        find the queue full are dropped, and sent again at their times."""
        network = self.network
        target, life = network.find(address.host), self.lives
        await trio.lowlevel.checkpoint()
        if target is None:
            await trio.sleep(self.latency)
            raise DialError(f"cannot reach {address}: no route to host")
        latency = 0.0 if target is self else self.latency + target.latency
        for pause in SYN_AGAIN_S:
            await trio.sleep(latency)
            while network.is_cut(self, target) or network.is_cut(target, self):
                await network.changed.park()
            if life != self.lives:
                raise DialError(f"cannot reach {address}: this machine has crashed")
            listener = target.listener(address.port)
            if listener is None:
                await trio.sleep(latency)
                network.trace.add("refused", self.name, target.name, address.port)
                raise DialError(f"cannot reach {address}: connection refused")
            if not listener.full:
                break
            network.trace.add("dropped", self.name, target.name, address.port)
            await trio.sleep(max(0.0, pause - latency))
        else:
            raise DialError(f"cannot reach {address}: connection timed out")
        connection = network.new_connection(self, target)
        observed = Address(self.address, self.free_port())
        remote = target.address if address.host == target.name else address.host
        near = SimStream(connection.back, connection.forth, Address(remote, address.port), listener.node)
        listener.offer(SimStream(connection.forth, connection.back, observed, node))
        try:
            await trio.sleep(latency)
        except BaseException:
            await trio.aclose_forcefully(near)
            raise
        return near


class SimNetwork:
    """The whole world of a simulation. Make it with `open_network`, which carries it."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.agenda = Agenda()
        self.trace = trace or Trace()
        self.changed = trio.lowlevel.ParkingLot()
        self._hosts: dict[str, SimHost] = {}
        self._addresses: dict[str, SimHost] = {}
        self._connections: dict[int, Connection] = {}
        self._made = 0
        self._aliases = 0
        self.backlog_max = BACKLOG_MAX
        """Connections that wait to be accepted at a listener; the SYN of one more is dropped."""
        self._cuts: dict[tuple[str, str], None] = {}
        self._groups: dict[str, int] = {}
        self.has_cuts = False
        """Whether it is worth asking `is_cut`: hardly ever, and every chunk would ask thrice."""

    def add_host(
        self, name: str, *, up: float | None = None, down: float | None = None, latency: float = 0.0
    ) -> SimHost:
        """A host with rates in bytes a second (None: no limit) and latency in seconds from it to the core."""
        number = len(self._hosts) + 1
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        if name in self._hosts:
            raise ValueError(f"there is a host named {name} already")
        host = SimHost(self, name, address, up=up, down=down, latency=latency)
        self._hosts[name] = self._addresses[address] = host
        return host

    def add_address(self, host: SimHost) -> str:
        """One more address of a host; whom it dials sees its first one."""
        self._aliases += 1
        address = f"10.255.{self._aliases >> 8 & 255}.{self._aliases & 255}"
        self._addresses[address] = host
        return address

    def move(self, host: SimHost) -> None:
        """The host is at another address from now on, as a laptop that joins another network: what it had is
        half-open, and nobody is at the old address."""
        self._addresses = {address: other for address, other in self._addresses.items() if other is not host}
        host.address = self.add_address(host)
        self.trace.add("move", host.name, host.address)
        for connection in self.connections(host):
            connection.vanish()

    def find(self, name: str) -> SimHost | None:
        """A host by its name or address."""
        return self._hosts.get(name) or self._addresses.get(name)

    @property
    def hosts(self) -> tuple[SimHost, ...]:
        return tuple(self._hosts.values())

    def connections(self, one: SimHost | None = None, other: SimHost | None = None) -> list[Connection]:
        """Those that are open at either end, oldest first; of one host, or between two."""
        return [
            connection
            for connection in self._connections.values()
            if (one is None or one in (connection.client, connection.server))
            and (other is None or other in (connection.client, connection.server))
        ]

    # --- faults

    def cut(self, source: SimHost, target: SimHost) -> None:
        """One way: nothing from source to target, not even what TCP would send to acknowledge."""
        self.trace.add("cut", source.name, target.name)
        self._cuts[source.name, target.name] = None
        self.note_cuts()

    def partition(self, *groups: list[SimHost]) -> None:
        """Hosts of different groups cannot reach each other; hosts in no group reach everybody."""
        self._groups = {host.name: number for number, group in enumerate(groups) for host in group}
        self.trace.add("partition", *sorted(self._groups.items()))
        self.note_cuts()
        self.unblock()

    def heal(self) -> None:
        """The end of all cuts and partitions. Crashed hosts and vanished connections stay as they are."""
        self.trace.add("heal")
        self._cuts.clear()
        self._groups.clear()
        self.note_cuts()
        self.unblock()

    # --- what hosts and pipes use

    def is_cut(self, source: SimHost, target: SimHost) -> bool:
        """Whether nothing passes that way just now."""
        if not (source.is_up and target.is_up):
            return True
        if source is target or not (self._cuts or self._groups):
            return False
        if (source.name, target.name) in self._cuts:
            return True
        here, there = self._groups.get(source.name), self._groups.get(target.name)
        return here is not None and there is not None and here != there

    def note_cuts(self) -> None:
        """A cut, a partition or a host has come or gone."""
        self.has_cuts = bool(self._cuts or self._groups) or not all(host.is_up for host in self)

    def unblock(self) -> None:
        """Some way may be free: let what waits go on."""
        for connection in self._connections.values():
            connection.forth.unblock()
            connection.back.unblock()
        self.changed.unpark_all()

    def new_connection(self, client: SimHost, server: SimHost) -> Connection:
        self._made += 1
        connection = Connection(self, self._made, client, server)
        self._connections[self._made] = connection
        self.trace.add("connect", self._made, client.name, server.name)
        return connection

    def forget_connection(self, connection: Connection) -> None:
        self._connections.pop(connection.number, None)

    def trace_landing(self, pipe: Pipe, count: int) -> None:
        self.trace.note(self.agenda.now(), "land", pipe.connection.number, pipe.target.name, count)

    def check_invariants(self) -> None:
        for connection in self._connections.values():
            connection.forth.check_invariants()
            connection.back.check_invariants()

    def __iter__(self) -> Iterator[SimHost]:
        return iter(self.hosts)


@asynccontextmanager
async def open_network(trace: Trace | None = None) -> AsyncIterator[SimNetwork]:
    """A network that lives as long as the block."""
    network = SimNetwork(trace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.agenda.run)
        yield network
        nursery.cancel_scope.cancel()
