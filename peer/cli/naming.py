"""From a published name to the share that it stands for, as `peer get NAME` says it."""

from collections.abc import Sequence

from peer.cli.options import NetworkOptions
from peer.discovery.catalogue import find_first
from peer.errors import NoSourceError, UsageError
from peer.ids import Address, NodeId
from peer.net.transport import Transport
from peer.paths import check_component, printable, shortened
from peer.published import PublishedShare
from peer.units import format_bytes

FROM_IS_FOR_NAMES = "--from is for published names: a link names its content, whoever published it"


def check_name(name: str, network: NetworkOptions) -> None:
    """Raise UsageError for what is neither a link nor a name that can be asked for."""
    shown = shortened(name, 40)
    if not network.trackers:
        raise UsageError(
            f"{shown!r} is not a link, which begins with magnet:? (a published name needs --tracker HOST)"
        )
    try:
        check_component(name)
    except ValueError as error:
        raise UsageError(f"{shown!r} is neither a link, magnet:?..., nor a published name: {error}") from None


async def published_as(
    transport: Transport, trackers: Sequence[Address], name: str, publisher: NodeId | None
) -> tuple[PublishedShare, str]:
    """The entry of this name, by this publisher if one is insisted on, and a line that says what it is.

    Raises NoSourceError where nothing has that name, ContentError for a tracker that lies.
    """
    found = await find_first(transport, trackers, name, publisher)
    if found is None:
        whose = f" by {publisher.hex()}" if publisher is not None else ""
        raise NoSourceError(
            f"nothing is published as {printable(name)}{whose} at {', '.join(map(str, trackers))}:"
            " `peer search` lists what is"
        )
    listing, tracker = found
    entry = listing.entry
    size = format_bytes(entry.size)
    return entry, f"{printable(entry.name)}: {size}, published by {entry.node.hex()} at {tracker}"
