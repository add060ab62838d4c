"""A daemon and its shares in plain maps, as commands show them. Rates in bytes a second, times in seconds."""

from collections.abc import Iterable, Sequence
from typing import Any

from peer.bitfield import Bitfield
from peer.control.protocol import Body
from peer.daemon.context import Context
from peer.daemon.resident import Resident
from peer.daemon.sharing import link_of
from peer.diagnosis import what_limits
from peer.limits import STATUS_CELLS_MAX, STATUS_LINKS_MAX
from peer.link import LinkStatistics
from peer.member import Member
from peer.member_statistics import member_statistics


def brief(resident: Resident, context: Context) -> Body:
    """A share in a list."""
    record = resident.record
    row: Body = {
        "share": record.share.hex(),
        "name": record.name,
        "path": record.shown,
        "role": record.role.value,
        "state": resident.state,
        "complete": record.complete,
        "paused": record.paused,
        "bytes": record.total_bytes,
        "files": record.files,
        "up": record.up,
        "down": record.down,
        "link": str(link_of(record, context)),
        "error": None if resident.error is None else str(resident.error),
        "peers": 0,
    }
    member = resident.member
    if member is not None:
        row["peers"] = len(member.links)
        row["held"] = member_held(member)
        if member.manifest is not None and not record.total_bytes:
            row["bytes"], row["files"] = member.manifest[0].total_bytes, len(member.manifest[0].files)
    return row


def member_held(member: Member) -> int:
    """Bytes of what is wanted that are here and verified."""
    holding, intake = member.holding, member.intake
    if intake is not None:
        return intake.held_bytes
    return holding.layout.total_bytes if holding is not None else 0


def whole(resident: Resident, context: Context) -> Body:
    """A share with its peers, rates and piece map."""
    row = brief(resident, context)
    row["troubles"] = [*resident.troubles]
    member = resident.member
    if member is None:
        return row
    statistics = member_statistics(member)
    row["troubles"] = list(dict.fromkeys((*resident.troubles, *member.unreadable)))
    row["sent_away"] = list(member.partings.sent_away)
    links = sorted(statistics.links, key=lambda link: -(link.rate_down + link.rate_up))
    row |= {
        "held": statistics.held_bytes,
        "wanted": statistics.wanted_bytes,
        "rate_down": statistics.rate_down,
        "rate_up": statistics.rate_up,
        "received": statistics.received_bytes,
        "sent": statistics.sent_bytes,
        "wasted": statistics.wasted_bytes,
        "known_peers": statistics.known_peers,
        "limited_by": what_limits(member).value,
        "waiting": statistics.paused,
        "links": [_link(link) for link in links[:STATUS_LINKS_MAX]],
        "cells": cells(member.holding.have) if member.holding is not None else b"",
        "pieces": len(member.holding.have) if member.holding is not None else 0,
    }
    return row


def _link(link: LinkStatistics) -> Body:
    return {
        "node": link.node.hex(),
        "address": str(link.address),
        "agent": link.agent,
        "pieces": link.pieces,
        "received": link.received_bytes,
        "sent": link.sent_bytes,
        "rate_down": link.rate_down,
        "rate_up": link.rate_up,
        "chokes_us": link.chokes_us,
        "wants_us": link.wants_us,
    }


def node_body(context: Context, residents: Iterable[Resident], **more: Any) -> Body:
    """The node as a whole."""
    node = context.node
    known = list(residents)
    open_ones = [resident.member for resident in known if resident.member is not None]
    links = [link.statistics() for member in open_ones for link in member.links.values()]
    return {
        "node": node.services.node.hex(),
        "addresses": [str(address) for address in node.addresses],
        "known": len(known),
        "open": len(open_ones),
        "failed": sum(resident.error is not None for resident in known),
        "paused": sum(resident.record.paused for resident in known),
        "peers": len(links),
        "rate_down": sum(link.rate_down for link in links),
        "rate_up": sum(link.rate_up for link in links),
        "up": node.services.up.limiter.rate,
        "down": node.services.down.limiter.rate,
        **more,
    }


def at_work(residents: Sequence[Resident]) -> list[Resident]:
    """Those worth describing: open, or in trouble; whoever has peers first, then what is not complete."""
    chosen = [resident for resident in residents if resident.member is not None or resident.error is not None]
    return sorted(chosen, key=lambda resident: (-_peers(resident), resident.record.complete))


def _peers(resident: Resident) -> int:
    return len(resident.member.links) if resident.member is not None else 0


def cells(have: Bitfield, count: int = STATUS_CELLS_MAX) -> bytes:
    """The piece map drawn into so many cells: each 0 for none of its pieces to 255 for all."""
    size = len(have)
    if not size:
        return b""
    count = min(count, size)
    sums = [0] * count
    if have.is_full:
        return b"\xff" * count
    for piece in have.indices():
        sums[piece * count // size] += 1
    # Cell n has the pieces from the first p with p * count // size == n.
    starts = [-(-cell * size // count) for cell in range(count + 1)]
    return bytes(255 * sums[cell] // (starts[cell + 1] - starts[cell]) for cell in range(count))
