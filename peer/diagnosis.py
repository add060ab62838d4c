"""What limits a transfer now: the one question that everybody asks of a slow download."""

from enum import StrEnum

import trio

from peer.limits import UNVERIFIED_BYTES_MAX
from peer.member import Member, Phase

FULL_SHARE = 0.9
"""A limit that is used to this share is what limits."""


class Limit(StrEnum):
    """What a download waits for."""

    NO_PEERS = "no peers"
    NO_SOURCE = "nobody connected has what is missing"
    CHOKED = "choked: connected peers do not serve us now"
    DISK_FULL = "disk: no room"
    DISK = "disk and hashing"
    DOWNLINK = "my downlink (--down)"
    ORIGIN = "the origin's uplink"
    PEERS = "the uplinks of the peers"
    CHECKING = "hashing what is here"
    NOTHING = "nothing: all is here"


OWN_WORK = {Phase.SEEDING: Limit.NOTHING, Phase.CHECKING: Limit.CHECKING, Phase.COMPLETING: Limit.DISK}
"""Phases in which nobody else is waited for."""


def what_limits(member: Member) -> Limit:
    """The bottleneck as it can be seen from here."""
    if member.phase in OWN_WORK:
        return OWN_WORK[member.phase]
    if not member.links:
        return Limit.NO_PEERS
    reads_nothing = member.services.down.rate(member.share) == 0  # not even who has what, and serves us
    intake = member.intake
    if reads_nothing or intake is None:
        return Limit.DOWNLINK if reads_nothing else Limit.NO_SOURCE
    statistics = intake.statistics()
    if statistics.paused is not None:
        return Limit.DISK_FULL
    if statistics.unverified_bytes > UNVERIFIED_BYTES_MAX // 2:
        return Limit.DISK
    return _network_limit(member)


def _network_limit(member: Member) -> Limit:
    now = trio.current_time()
    links = [link for link in member.links.values() if link.wanted]
    if not links:
        return Limit.NO_SOURCE
    if all(link.chokes_us for link in links):
        return Limit.CHOKED
    limit = member.services.down.rate(member.share)
    if limit is not None and sum(link.meter_in.rate(now) for link in links) >= FULL_SHARE * limit:
        return Limit.DOWNLINK
    serving = [link for link in links if not link.chokes_us]
    if len(serving) == 1 and serving[0].pieces is not None and serving[0].pieces.is_full:
        return Limit.ORIGIN
    return Limit.PEERS
