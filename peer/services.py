"""What all members of one node share: its identity, the seams, and the limits of the whole node."""

from dataclasses import dataclass
from random import Random

from peer.alarm import Alarm
from peer.buffers import Buffers
from peer.ids import NodeId
from peer.limits import LINKS_MAX
from peer.net.lan import Lan
from peer.net.transport import Transport
from peer.pacing import Pacer
from peer.swarm.policies import Policies
from peer.trace import EventTrace
from peer.workers import Workers

AGENT = "manyhands/0.1"


@dataclass(slots=True)
class Services:
    """Made by the node, handed to its members. port: where the node listens, 0 until it does."""

    node: NodeId
    transport: Transport
    workers: Workers
    buffers: Buffers
    rng: Random
    alarm: Alarm
    up: Pacer
    down: Pacer
    trace: EventTrace
    lan: Lan
    policies: Policies
    links_max: int = LINKS_MAX
    port: int = 0
