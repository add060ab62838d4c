"""What `share` and `get` do alike before their work begins: home, identity, transport, node, port."""

import atexit
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random, SystemRandom

from peer.cli.options import PEER_PORT, NetworkOptions
from peer.cli.tracefile import TraceFile
from peer.errors import UsageError
from peer.home import SWARM_KEY_VARIABLE, Home, home_path
from peer.identity import Identity, load_or_create_identity
from peer.ids import NodeId
from peer.limits import CONNECTIONS_MAX, LINKS_MAX
from peer.net.descriptors import claim_descriptors
from peer.net.dnssd import DnsSd
from peer.net.lan import Lan, NoLan
from peer.net.tcp import TcpTransport
from peer.net.transport import Transport
from peer.node import Node
from peer.swarm.door import DoorBounds
from peer.swarm.policies import Policies
from peer.trace import EventTrace, LineTrace
from peer.workers import ThreadWorkers, Workers


@dataclass(slots=True)
class Started:
    """An opened home and a node that listens."""

    home: Home
    node: Node
    workers: Workers
    identity: Identity

    @property
    def node_id(self) -> NodeId:
        return self.node.services.node


def make_transport(options: NetworkOptions, identity: Identity) -> Transport:
    """The transport that the options ask for. Raises UsageError for a swarm key that is none."""
    if options.plain:
        if options.swarm_secret is not None:
            raise UsageError(
                f"--plain and a swarm key (--swarm-key, {SWARM_KEY_VARIABLE}) exclude each other: "
                "a private swarm is encrypted"
            )
        return TcpTransport()
    from peer.net.swarmca import SwarmAuthority
    from peer.net.tls import TlsTransport

    secret = options.swarm_secret
    try:
        authority = SwarmAuthority.public() if secret is None else SwarmAuthority.private(secret)
    except ValueError as error:
        raise UsageError(f"the swarm key cannot be used: {error}") from error
    return TlsTransport(identity, authority)


def make_lan(options: NetworkOptions, identity: Identity) -> Lan:
    """The local network, unless it is not wanted or this node cannot be reached from there."""
    host = options.host
    if not options.lan:
        return NoLan()
    if host is not None:
        try:
            if ip_address(host).version != 4 or ip_address(host).is_loopback:
                return NoLan()
        except ValueError:  # a name: whatever it stands for, other machines may not be able to dial it
            return NoLan()
    return DnsSd(identity.node_id, secret=options.swarm_secret or b"", host=host)


def _open_trace(path: Path, node: NodeId) -> EventTrace:
    """A trace into a file, line by line."""
    file = TraceFile(path)
    atexit.register(file.close)
    return LineTrace(file.write, time.time(), node.hex())


async def start(
    options: NetworkOptions, port: int | None, policies: Policies | None = None, *, as_guest: bool = False
) -> Started:
    """Open the home and listen. port None: the well-known one if it is free, else any.

    as_guest: for a question only, beside whoever has the home; with an identity of the moment, since two
    nodes of one identity would be taken for one.

    Raises StorageError (home) and UsageError (port taken).
    """
    home = Home(home_path(options.home), exclusive=not as_guest)
    identity = Identity.generate() if as_guest else load_or_create_identity(home.path)
    workers = ThreadWorkers()
    node = Node(
        identity.node_id,
        make_transport(options, identity),
        workers,
        Random(SystemRandom().getrandbits(256)),  # a system call for each choice would be dear
        up=options.up,
        down=options.down,
        trace=_open_trace(options.trace, identity.node_id) if options.trace else None,
        bounds=DoorBounds.fitting(claim_descriptors(), options.connections or CONNECTIONS_MAX),
        links_max=options.connections or LINKS_MAX,
        lan=make_lan(options, identity),
        policies=policies,
    )
    if port is not None:
        await node.listen(options.host, port)
    else:
        try:
            await node.listen(options.host, PEER_PORT)
        except UsageError:  # another peer of this machine has it; any free one will do
            await node.listen(options.host, 0)
    return Started(home, node, workers, identity)
