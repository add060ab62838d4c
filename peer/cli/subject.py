"""LINK|PATH: the share that `inspect` and `verify` are about, found on disk, in the home, or in the swarm."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from peer.cli.display import Display
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop, unless_stopped
from peer.cli.start import start
from peer.errors import ManifestError, NoSourceError, UsageError
from peer.home import Home, home_path
from peer.ids import Address, KnownPeer
from peer.magnet import MagnetLink, parse
from peer.manifest import Manifest
from peer.member import Member
from peer.member_statistics import member_statistics, why_no_progress
from peer.paths import landing_name
from peer.store.scan import open_source, scan
from peer.swarm.known import Source
from peer.units import format_duration
from peer.workers import Lane, ThreadWorkers

WATCH_EVERY_S = 0.1
LINK_PREFIX = "magnet:"


@dataclass(frozen=True, slots=True)
class Subject:
    """A share: its manifest and the name it goes by."""

    manifest: Manifest
    name: str


def is_link(text: str) -> bool:
    """Whether the argument is a link; everything else is a path."""
    return text[: len(LINK_PREFIX)].lower() == LINK_PREFIX


async def subject_of(
    text: str,
    network: NetworkOptions,
    peers: tuple[Address, ...],
    timeout_s: float,
    display: Display,
    stop: Stop,
) -> Subject | None:
    """The share that the argument names; None if the user stopped the search.

    Raises ManyhandsError: a path that cannot be read, a link that is malformed or that nobody answers for.
    """
    if not is_link(text):
        return await unless_stopped(stop, partial(_from_disk, text, display))
    link = parse(text)
    name = landing_name(link.name, link.share)
    home = Home(home_path(network.home), exclusive=False)
    data = home.recall_manifest(link.share)
    if data is not None:
        try:
            return Subject(Manifest.decode(data, link.share), name)
        except ManifestError:  # damaged on disk: ask the swarm
            pass
    data = await _from_swarm(link, network, peers, timeout_s, display, stop)
    if data is None:
        return None
    home.remember_manifest(link.share, data)
    return Subject(Manifest.decode(data, link.share), name)


async def _from_disk(text: str, display: Display) -> Subject:
    if not text:
        raise UsageError("the path is empty: name a file or folder, '.' for this one")
    path = Path(os.path.abspath(text))  # noqa: ASYNC240 - no disk is touched; not resolved: links keep their name
    if not path.name:
        raise UsageError(f"{text} has no name to share it by: name a file or folder in it")

    def progress(done: int, total: int) -> None:
        display.show(trio.current_time(), "hashing", done, total)

    workers = ThreadWorkers()
    root, top = await workers.run(Lane.DISK, open_source, str(path))
    try:
        result = await scan(root, top, workers, progress=progress)
    finally:
        root.close()
    for skipped in result.skipped:
        display.say(f"left out: {skipped.path} ({skipped.reason})")
    return Subject(result.manifest, path.name)


async def _from_swarm(
    link: MagnetLink,
    network: NetworkOptions,
    peers: tuple[Address, ...],
    timeout_s: float,
    display: Display,
    stop: Stop,
) -> bytes | None:
    started = await start(network, 0, as_guest=True)
    trackers = tuple(dict.fromkeys((*link.trackers, *network.trackers)))
    member = Member(link.share, started.node.services, trackers=trackers)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(started.node.run)
            nursery.start_soon(started.node.take_part, member)
            member.learned([KnownPeer(address) for address in peers], Source.OPTION)
            member.learned(link.peers, Source.LINK)
            while member.manifest is None and not stop.requested.is_set():
                statistics = member_statistics(member)
                if statistics.seconds_idle > timeout_s:
                    waited = format_duration(timeout_s)
                    raise NoSourceError(f"no progress for {waited}: {why_no_progress(member)}")
                display.show(trio.current_time(), "asking for the manifest", 0, 0, "")
                with trio.move_on_after(WATCH_EVERY_S):
                    await member.found.wait()
            with trio.CancelScope(shield=True):
                await started.node.goodbye()
            nursery.cancel_scope.cancel()
    finally:
        started.home.close()
    return member.manifest[1] if member.manifest is not None else None
