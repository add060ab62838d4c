"""A command that follows a transfer: what it is told meanwhile, and how it ends."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from peer.control.protocol import Body
from peer.daemon.resident import Resident
from peer.diagnosis import what_limits
from peer.errors import ConnectionLost, ContentError, NoSourceError, StorageError, UsageError
from peer.limits import CONTROL_FOLLOW_S
from peer.member import Member, Phase
from peer.member_statistics import member_statistics, why_no_progress
from peer.units import format_duration

Report: TypeAlias = Callable[[Body], Awaitable[None]]

SOURCES_TOLD_MAX = 6

GOES_ON = "the daemon goes on looking; `peer remove` ends that"


async def follow(resident: Resident, report: Report, timeout_s: float | None) -> Body:
    """Until the share is complete: what `get --json` prints. Raises what ended it, or NoSourceError when
    nothing came for so long; the transfer goes on then."""
    begun = trio.current_time()
    member: Member | None = resident.member
    while True:
        news = resident.news
        member = resident.member or member
        if resident.error is not None:  # first: one that could not even begin is removed as well
            raise resident.error
        if resident.removed:
            raise UsageError(f"{resident.record.name} was removed meanwhile")
        if resident.record.complete:
            return _result(resident, member, trio.current_time() - begun)
        if resident.record.paused:
            raise UsageError(
                f"{resident.record.name} is paused: `peer resume {resident.record.share.hex()[:12]}`"
            )
        if resident.member is None:  # it was closed, perhaps to begin anew
            await resident.open(again=True)
            if resident.state == "waiting":
                raise ConnectionLost("the daemon is stopping: run the same command again")
            continue
        if member is not None:
            await report(_progress(resident, member))
            if timeout_s is not None:
                _check_progress(member, timeout_s)
        with trio.move_on_after(CONTROL_FOLLOW_S):
            await news.wait()


def _progress(resident: Resident, member: Member) -> Body:
    statistics = member_statistics(member)
    busy = member.phase in (Phase.CHECKING, Phase.COMPLETING)
    if busy:
        member.progressed_at = trio.current_time()  # with what is here; nobody else can be blamed
    done, total = statistics.held_bytes, statistics.wanted_bytes
    if busy and resident.target is not None:
        done, total = resident.target.progress
    rates = {link.node: (str(link.address), link.rate_down) for link in statistics.links}
    ranked = sorted(statistics.sources.items(), key=lambda item: -item[1])[:SOURCES_TOLD_MAX]
    return {
        "phase": statistics.phase.value,
        "busy": busy,
        "looking": statistics.phase is Phase.LOOKING,
        "done": done,
        "total": total,
        "held": statistics.held_bytes,
        "wanted": statistics.wanted_bytes,
        "peers": len(statistics.links),
        "rate_down": statistics.rate_down,
        "rate_up": statistics.rate_up,
        "waiting": statistics.paused,
        "limited_by": what_limits(member).value,
        "sources": [
            [*rates.get(node, (node.hex()[:12], 0.0))[:1], count, rates.get(node, ("", 0.0))[1]]
            for node, count in ranked
        ],
    }


def _check_progress(member: Member, timeout_s: float) -> None:
    if trio.current_time() - member.progressed_at <= timeout_s:
        return
    statistics = member_statistics(member)
    waited = format_duration(timeout_s)
    if statistics.paused:
        raise StorageError(f"no progress for {waited}: {statistics.paused}; {GOES_ON}")
    why = f"no progress for {waited}: {why_no_progress(member)}"
    if member.partings.expelled and not statistics.links:
        raise ContentError(f"{why}. Everybody who answered sent bytes that do not verify; {GOES_ON}")
    raise NoSourceError(
        f"{why}. Check the link, or name a peer with --peer or a tracker with --tracker; {GOES_ON}"
    )


def _result(resident: Resident, member: Member | None, seconds: float) -> Body:
    record = resident.record
    body: Body = {
        "share_id": record.share.hex(),
        "name": record.name,
        "bytes": record.total_bytes,
        "seconds": round(seconds, 3),
        "path": record.shown,
        "sources": {},
        "resumed_bytes": record.total_bytes,
        "wasted_bytes": 0,
    }
    if member is not None and member.intake is not None:
        statistics = member_statistics(member)
        body["sources"] = {node.hex(): count for node, count in sorted(statistics.sources.items())}
        body["resumed_bytes"] = statistics.resumed_bytes
        body["wasted_bytes"] = statistics.wasted_bytes
    return body
