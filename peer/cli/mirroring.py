"""The work of `peer mirror`: a node, a mirror on it, and a display that follows both."""

import sys
from functools import partial
from pathlib import Path

import trio

from peer.cli.display import Display, make_display
from peer.cli.fetching import make_folder
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop
from peer.cli.start import start
from peer.errors import ExitCode
from peer.member import Phase
from peer.mirror import Mirror, MirrorStatistics, Wish
from peer.units import format_bytes, format_rate

WATCH_EVERY_S = 0.25


async def mirror(
    network: NetworkOptions, folder: Path, wish: Wish, interval_s: float, port: int | None, stop: Stop
) -> int:
    """Mirror until stopped. Raises ManyhandsError for what ends it early."""
    started = await start(network, port)
    try:
        with make_display(network.progress) as display:
            running = Mirror(
                started.node,
                partial(make_folder, str(folder)),
                network.trackers,
                wish=wish,
                interval_s=interval_s,
                say=display.say,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(started.node.run)
                nursery.start_soon(running.run)
                where = ", ".join(str(address) for address in started.node.addresses)
                display.say(f"mirroring {', '.join(map(str, network.trackers))} into {folder}, on {where}")
                while not stop.requested.is_set():
                    if network.progress != "auto" or sys.stderr.isatty():
                        _show(running.statistics(), display)
                    with trio.move_on_after(WATCH_EVERY_S):
                        await stop.requested.wait()
                with trio.CancelScope(shield=True):
                    await started.node.goodbye()
                nursery.cancel_scope.cancel()
    finally:
        started.home.close()
    return ExitCode.DONE


def _show(statistics: MirrorStatistics, display: Display) -> None:
    """All fetches together as one bar; the rest in words."""
    members = statistics.members
    fetched = [member for member in members if member.phase is not Phase.SEEDING]
    held = sum(member.held_bytes for member in fetched)
    wanted = sum(member.wanted_bytes for member in fetched)
    counts = {
        "fetched now": statistics.fetching,
        "waiting": statistics.waiting,
        "seeded": statistics.seeding,
        "given up": statistics.given_up,
    }
    peers = len({link.node for member in members for link in member.links})
    sent = sum(member.sent_bytes for member in members)
    words = [f"{count} {what}" for what, count in counts.items() if count] or ["nothing yet"]
    words.append(f"{peers} peer{'s' if peers != 1 else ''}")
    if sent:
        rate = sum(member.rate_up for member in members)
        words.append(f"{format_bytes(sent)} sent" + (f" at {format_rate(rate)}" if rate >= 1 else ""))
    display.show(trio.current_time(), "mirroring", held, wanted, ", ".join(words))
