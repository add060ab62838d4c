"""Tracker and clients over the simulated network: outages, partitions and crowds, in virtual time."""

from contextlib import suppress
from random import Random

import trio

from peer import limits
from peer.discovery.tracker import TrackerClient
from peer.errors import ManyhandsError
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.sim.network import SimHost, SimNetwork
from peer.wire.messages import Announce, Announced, AnnounceEvent, KnownPeer
from tests.sim.simulated import simulated
from tracker.server import TrackerServer

SHARE = ShareId(b"s" * 32)
PORT = 7700


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


class Peer:
    """A client on a host of its own, if no other is named, and whom it was told of."""

    def __init__(
        self, network: SimNetwork, number: int, tracker: Address, host: SimHost | None = None
    ) -> None:
        self.host = host or network.add_host(f"peer-{number}", latency=0.02)
        self.told: set[NodeId | None] = set()
        self.client = TrackerClient(
            self.host.transport(),
            [tracker],
            share=SHARE,
            node=node_id(number),
            port=7701,
            left=lambda: 1,
            found=self.found,
            rng=Random(number),
        )

    def found(self, peers: list[KnownPeer], informant: Address) -> None:
        self.told.update(peer.node for peer in peers)


class House:
    """A host with a tracker that can be lost and started again."""

    def __init__(self, network: SimNetwork, nursery: trio.Nursery) -> None:
        self.host = network.add_host("tracker", latency=0.02)
        self.address = Address(self.host.address, PORT)
        self.server: TrackerServer
        self._nursery = nursery
        self._scope = trio.CancelScope()

    async def start(self) -> None:
        self.server = TrackerServer(self.host.transport(), Random(0))
        self._scope = trio.CancelScope()
        await self.server.listen(None, PORT)
        self._nursery.start_soon(self._run, self.server, self._scope)

    async def _run(self, server: TrackerServer, scope: trio.CancelScope) -> None:
        with scope:
            await server.run()

    def lose(self) -> None:
        self.host.crash()
        self._scope.cancel()

    @property
    def members(self) -> int:
        self.server.check_invariants()
        return self.server.statistics().registry.members


@simulated
async def test_everybody_is_back_within_the_longest_back_off_of_a_long_outage(network: SimNetwork) -> None:
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        peers = [Peer(network, number, house.address) for number in range(30)]
        for peer in peers:
            nursery.start_soon(peer.client.run)
        await trio.sleep(5)
        assert house.members == 30
        house.lose()
        await trio.sleep(3600)
        assert all(peer.client.statistics()[0].error for peer in peers)
        house.host.start()
        await house.start()
        await trio.sleep(limits.TRACKER_BACKOFF_S_MAX + limits.TRACKER_EXCHANGE_S)
        assert house.members == 30
        for peer in peers:
            peer.told.clear()
        await trio.sleep(limits.ANNOUNCE_INTERVAL_S_MIN)
        assert all(len(peer.told) == 29 for peer in peers), "one interval later everybody knows everybody"
        nursery.cancel_scope.cancel()


@simulated
async def test_those_cut_off_are_forgotten_and_found_again(network: SimNetwork) -> None:
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        peers = [Peer(network, number, house.address) for number in range(10)]
        for peer in peers:
            nursery.start_soon(peer.client.run)
        await trio.sleep(5)
        network.partition([house.host, *(p.host for p in peers[:5])], [p.host for p in peers[5:]])
        await trio.sleep(limits.MEMBER_INTERVALS * limits.ANNOUNCE_INTERVAL_S_MIN + 2 * limits.EXPIRY_GRAIN_S)
        assert house.members == 5
        network.heal()
        await trio.sleep(limits.TRACKER_BACKOFF_S_MAX + limits.TRACKER_EXCHANGE_S)
        assert house.members == 10
        nursery.cancel_scope.cancel()


@simulated
async def test_a_connection_that_dies_without_a_word_costs_one_exchange(network: SimNetwork) -> None:
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        peer = Peer(network, 1, house.address)
        nursery.start_soon(peer.client.run)
        await trio.sleep(0.05)  # half an exchange
        (connection,) = network.connections()
        connection.vanish()
        await trio.sleep(limits.TRACKER_EXCHANGE_S + 2 * limits.TRACKER_BACKOFF_S_MIN)
        assert house.members == 1
        assert peer.client.statistics()[0].error is None
        assert house.server.statistics().connections == 0, "the tracker has let go of it too"
        nursery.cancel_scope.cancel()


@simulated
async def test_fifty_peers_behind_one_address_translation_get_in_at_once(network: SimNetwork) -> None:
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        router = network.add_host("router", latency=0.02)
        peers = [Peer(network, number, house.address, router) for number in range(50)]
        for peer in peers:
            nursery.start_soon(peer.client.run)
        await trio.sleep(1)
        assert house.members == 50
        assert not any(peer.client.statistics()[0].failures for peer in peers)
        assert house.server.statistics().delayed == 0
        nursery.cancel_scope.cancel()


@simulated
async def test_a_crowd_behind_one_address_translation_waits_and_gets_in(network: SimNetwork) -> None:
    """Four hundred that begin together and come back for more peers at once are more than the rate."""
    network.backlog_max = 4096  # as Linux has it today: with a shorter queue their SYNs spread them out
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        router = network.add_host("router", latency=0.02)
        peers = [Peer(network, number, house.address, router) for number in range(400)]
        for peer in peers:
            nursery.start_soon(peer.client.run)
            peer.client.more()
        await trio.sleep(limits.ANNOUNCE_INTERVAL_S_MIN / 2)
        assert house.server.statistics().delayed > 0
        assert all(peer.client.statistics()[0].answered_at is not None for peer in peers)
        await trio.sleep(2 * limits.ANNOUNCE_INTERVAL_S_MIN)
        assert not any(peer.client.statistics()[0].failures for peer in peers)
        nursery.cancel_scope.cancel()


@simulated
async def test_an_honest_peer_is_answered_at_once_in_a_crowd_of_silent_ones(network: SimNetwork) -> None:
    """RELIABILITY row 17, as far as it concerns the tracker."""

    async def crowd(host: SimHost) -> None:
        transport = host.transport()
        while True:
            with suppress(ManyhandsError):
                stream = await transport.dial(house.address)
                kept.append(stream)
            await trio.sleep(0.02)

    kept: list[trio.abc.Stream] = []
    async with trio.open_nursery() as nursery:
        house = House(network, nursery)
        await house.start()
        for number in range(40):
            nursery.start_soon(crowd, network.add_host(f"crowd-{number}", latency=0.02))
        await trio.sleep(2)
        assert len(kept) > limits.TRACKER_CONNECTIONS_MAX
        honest = network.add_host("honest", latency=0.02)
        for number in range(20):
            begun = trio.current_time()
            channel = MessageChannel(await honest.transport().dial(house.address))
            await channel.send(Announce(1, SHARE, node_id(number), 7701, AnnounceEvent.STARTED, 1, 50))
            assert isinstance(await channel.receive(), Announced)
            assert trio.current_time() - begun < 0.5
            await channel.aclose()
        assert house.server.statistics().connections <= limits.TRACKER_CONNECTIONS_MAX
        nursery.cancel_scope.cancel()
