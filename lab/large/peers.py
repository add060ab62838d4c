"""One peer of the large world: the policy objects that users run, and what the model knows of its links."""

from dataclasses import dataclass
from math import inf
from random import Random

from lab.large.fluid import Downlink, Flow, Uplink
from peer.bitfield import Bitfield
from peer.ids import Address, LinkId, NodeId
from peer.swarm.choker import PeerView
from peer.swarm.download import Download
from peer.swarm.peerbook import PeerBook
from peer.swarm.policies import Policies
from peer.swarm.slots import UplinkView
from peer.swarm.telling import Pace
from peer.swarm.uplink import UplinkGauge
from peer.swarm.upload import Upload

PORT = 7701


class FluidGauge(UplinkGauge):
    """A fluid uplink knows whether it is full: it is whenever it sends anything, or somebody waits to."""

    __slots__ = ("_uplink",)

    def __init__(self, uplink: Uplink) -> None:
        super().__init__()
        self._uplink = uplink

    def add(self, nbytes: int, now: float) -> None:
        """Not needed."""

    def rate(self, now: float) -> float:
        return self._uplink.rate if self._uplink.count else 0.0

    def peak(self, now: float) -> float:
        return self._uplink.rate

    def is_full(self, now: float) -> bool:
        return self._uplink.count > 0 or bool(self._uplink.line)


class Link:
    """One side of a connection: the owner's view of the other."""

    __slots__ = (
        "delay", "flow", "id", "inflow", "mirror", "open", "other", "owner", "received_bytes", "round_at",
        "round_bytes", "sent_bytes", "served", "since", "told", "waits", "waking", "wants_us",
    )  # fmt: skip

    mirror: "Link"

    def __init__(self, owner: "Peer", other: "Peer", now: float) -> None:
        self.owner = owner
        self.other = other
        self.id = LinkId(other.number)
        self.delay = owner.access.latency + other.access.latency  # seconds one way
        self.open = True
        self.since = now
        self.wants_us = False
        self.served = False
        self.waits = False  # for room on the other's downlink
        self.waking = False  # a look at what is deferred has been arranged
        self.flow: Flow | None = None  # what we send
        self.inflow: Flow | None = None  # what we are being sent
        self.told = 0  # what the other has been told of, one bit a piece
        self.sent_bytes = 0
        self.received_bytes = 0
        self.round_bytes = 0  # of these, what had come by the last choking round
        self.round_at = now

    def set_alert(self) -> None:
        """Whether it is served, or wants us, has changed."""
        if self.wants_us and not self.served:
            self.owner.alert.pop(self.id, None)
        else:
            self.owner.alert[self.id] = self


@dataclass(frozen=True, slots=True)
class Share:
    """What everybody wants. The last piece may be shorter."""

    size: int
    piece_bytes: int

    @property
    def pieces(self) -> int:
        return -(-self.size // self.piece_bytes)

    def lengths(self) -> list[int]:
        count = self.pieces
        return [self.piece_bytes] * (count - 1) + [self.size - (count - 1) * self.piece_bytes]


@dataclass(frozen=True, slots=True)
class Access:
    """How one peer is connected, in bytes a second and seconds one way. down: None for no limit."""

    up: float
    down: float | None = None
    latency: float = 0.005


class Peer:
    """The policy of one peer, and its links by the other's number."""

    __slots__ = (
        "access",
        "alarm",
        "alert",
        "book",
        "choker",
        "done_at",
        "downlink",
        "download",
        "held",
        "inflows",
        "interest_event",
        "joined_at",
        "links",
        "maintenance",
        "number",
        "offers_at",
        "pace",
        "present",
        "round_sent",
        "round_time",
        "served",
        "telling",
        "telling_known",
        "telling_rest",
        "tick_at",
        "uplink",
        "upload",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        access: Access,
        share: Share,
        lengths: list[int],
        have: Bitfield,
        rng: Random,
        now: float,
        *,
        neighbours: int,
        policies: Policies,
    ) -> None:
        self.number = number
        self.access = access
        self.present = True
        self.joined_at = now
        self.done_at: float | None = now if have.is_full else None
        self.uplink = Uplink(access.up, now, share.piece_bytes)
        self.downlink = Downlink(access.down)
        everything = Bitfield(len(lengths), full=True)
        self.download = Download(lengths, have, everything, Random(rng.getrandbits(64)), policies.make_picker)
        self.upload = Upload(
            lengths.__getitem__,
            len(lengths),
            self.download.bits,
            available=self.download.availability,
            chunk_bytes_min=share.piece_bytes,
            gauge=FluidGauge(self.uplink),
        )
        self.choker = policies.make_choker(Random(rng.getrandbits(64)), share.piece_bytes)
        self.book = PeerBook(
            node_id(number),
            Random(rng.getrandbits(64)),
            lan=True,
            links_dialled_max=neighbours,
            links_max=2 * neighbours + 1,
        )
        self.links: dict[int, Link] = {}
        self.alert: dict[int, Link] = {}
        """The links whose other side does not want us, or is served: the others have to wait anyway."""
        self.inflows: dict[int, Link] = {}
        self.held = sum(1 << piece for piece in have.indices())  # one bit a piece
        self.pace = Pace(now)
        self.telling = self.telling_rest = self.telling_known = False
        self.offers_at = 0.0
        self.alarm = inf  # when the uplink's next flow ends, as the heap knows it
        self.tick_at = inf
        self.interest_event = False
        self.maintenance = False
        self.served = 0  # links that are
        self.round_sent = 0.0  # what the uplink had sent by the last choking round
        self.round_time = now

    @property
    def finished(self) -> bool:
        return self.done_at is not None

    @property
    def address(self) -> Address:
        return address_of(self.number)

    def uplink_view(self, now: float) -> UplinkView:
        """What the uplink did since the last round, and what it could have done."""
        sent = self.uplink.sent(now)
        passed = now - self.round_time
        rate = (sent - self.round_sent) / passed if passed > 0 else 0.0
        self.round_sent, self.round_time = sent, now
        counts = self.upload.statistics(now)
        return UplinkView(rate, self.uplink.rate, counts.answers, counts.ran_dry)

    def views(self, now: float, *, new_round: bool) -> list[PeerView]:
        """What the choker may know. new_round: rates are counted anew from here."""
        found = []
        for link in self.links.values():
            received, rate = link.received_bytes, 0.0
            if new_round and link.inflow is not None and link.inflow.live:
                received += max(0, link.other.uplink.progress(link.inflow, now) - link.inflow.reported)
            if received != link.round_bytes and now > link.round_at:
                rate = (received - link.round_bytes) / (now - link.round_at)
            if new_round:
                link.round_at, link.round_bytes = now, received
            found.append(PeerView(link.id, link.wants_us, rate, link.sent_bytes, link.since, False, received))
        return found


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def address_of(number: int) -> Address:
    """An address of its own for each of sixteen million peers."""
    return Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)


def number_of(address: Address) -> int:
    _, a, b, c = address.host.split(".")
    return int(a) << 16 | int(b) << 8 | int(c)
