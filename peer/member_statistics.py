"""A member as it stands, in plain numbers: for the display, for tests, for whoever asks why it is slow."""

from dataclasses import dataclass

import trio

from peer.discovery.tracker import TrackerStatistics
from peer.ids import NodeId, ShareId
from peer.link import LinkStatistics
from peer.member import Member, Phase


@dataclass(frozen=True, slots=True)
class MemberStatistics:
    """Bytes are payload; rates bytes a second over all links. sources: verified bytes by who sent them."""

    share: ShareId
    phase: Phase
    wanted_bytes: int
    held_bytes: int
    resumed_bytes: int
    received_bytes: int
    sent_bytes: int
    wasted_bytes: int
    rate_down: float
    rate_up: float
    known_peers: int
    links: tuple[LinkStatistics, ...]
    sources: dict[NodeId, int]
    trackers: tuple[TrackerStatistics, ...]
    paused: str | None
    seconds_idle: float


def member_statistics(member: Member) -> MemberStatistics:
    """As it stands now."""
    now = trio.current_time()
    links = tuple(link.statistics() for link in member.links.values())
    holding, intake = member.holding, member.intake
    wanted = held = resumed = 0
    if holding is not None:
        wanted = held = holding.layout.total_bytes
        if intake is not None:
            wanted, resumed, held = intake.wanted_bytes, intake.resumed_bytes, intake.held_bytes
    return MemberStatistics(
        share=member.share,
        phase=member.phase,
        wanted_bytes=wanted,
        held_bytes=held,
        resumed_bytes=resumed,
        received_bytes=intake.statistics().download.received_bytes if intake is not None else 0,
        sent_bytes=member.outflow.statistics().sent_bytes if member.outflow is not None else 0,
        wasted_bytes=intake.statistics().download.wasted_bytes if intake is not None else 0,
        rate_down=sum(link.rate_down for link in links),
        rate_up=sum(link.rate_up for link in links),
        known_peers=member.book.statistics().known,
        links=links,
        sources=dict(intake.sources) if intake is not None else {},
        trackers=member.trackers.statistics() if member.trackers is not None else (),
        paused=intake.paused if intake is not None else None,
        seconds_idle=now - member.progressed_at,
    )


def why_no_progress(member: Member) -> str:
    """The full account for somebody whose transfer stands still: who is known, who answered, who refused."""
    statistics = member_statistics(member)
    parts = [f"{statistics.known_peers} peers known, {len(statistics.links)} connected"]
    for tracker in statistics.trackers:
        if tracker.error:
            parts.append(f"tracker {tracker.tracker}: {tracker.error}")
        elif tracker.answered_at is not None:
            parts.append(
                f"tracker {tracker.tracker} knows {tracker.seeders} seeders and {tracker.leechers} leechers"
            )
        else:
            parts.append(f"tracker {tracker.tracker} has not answered")
    if member.dialler.last_error:
        parts.append(member.dialler.last_error)
    if statistics.links and all(link.chokes_us for link in statistics.links):
        parts.append("all of them choke us")
    partings = member.partings
    parts += [*list(partings.broken_off)[-2:], *list(partings.expelled)[-2:], *partings.sent_away[-2:]]
    return "; ".join(parts)
