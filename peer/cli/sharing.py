"""The work of `peer share`: hash, print the link, seed until stopped."""

import os
import sys
from functools import partial
from pathlib import Path
from unicodedata import normalize

import click
import trio

from peer.bitfield import Bitfield
from peer.cli.display import Display, make_display
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop, unless_stopped
from peer.cli.share import ShareOptions
from peer.cli.start import Started, start
from peer.discovery.publishing import Publisher
from peer.errors import ExitCode, UsageError
from peer.holding import Holding
from peer.ids import KnownPeer
from peer.magnet import MagnetLink
from peer.manifest import Manifest
from peer.member import Member
from peer.member_statistics import MemberStatistics, member_statistics
from peer.net.outward import reachable
from peer.paths import check_component, printable
from peer.serials import serial_for
from peer.store.filesystem import Folder
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.store.scan import Scan, open_source, scan
from peer.units import format_bytes, format_rate
from peer.workers import Lane

WATCH_EVERY_S = 0.25
SKIPPED_SHOWN_MAX = 10


def check_publish(name: str, network: NetworkOptions) -> None:
    """Raise UsageError for a name that cannot be published, or nowhere to publish it."""
    try:
        check_component(name)
    except ValueError as error:
        raise UsageError(f"cannot publish: {error}") from error
    if not network.trackers:
        raise UsageError("--publish needs a tracker that keeps the catalogue: name it with --tracker HOST")


class Sharing:
    """One run of `peer share`."""

    def __init__(self, network: NetworkOptions, options: ShareOptions, stop: Stop) -> None:
        self._network = network
        self._options = options
        self._stop = stop
        self._path = Path(os.path.abspath(options.path))  # not resolved: the name is the one that was given
        self._name = normalize("NFC", self._path.name)  # as names in the share are
        self._root: Folder | None = None
        try:
            check_component(self._name)
        except ValueError as error:
            raise UsageError(f"cannot share {options.path}: {error}") from error
        if options.publish is not None:
            check_publish(options.publish, network)

    async def run(self) -> int:
        """Hash, print, seed. Raises ManyhandsError for what ends it early."""
        started = await start(self._network, self._options.port)
        try:
            with make_display(self._network.progress) as display:
                result = await unless_stopped(self._stop, partial(self._hash, started, display))
                if result is None:  # stopped, and nothing was shared
                    return ExitCode.INTERRUPTED
                await self._seed(started, result, display)
        finally:
            started.home.close()
        return ExitCode.DONE

    async def _hash(self, started: Started, display: Display) -> Scan:
        """Make the manifest, with a bar."""

        def progress(done: int, total: int) -> None:
            display.show(trio.current_time(), "hashing", done, total)

        root, top = await started.workers.run(Lane.DISK, open_source, str(self._path))
        self._root = root
        result = await scan(root, top, started.workers, progress=progress)
        for skipped in result.skipped[:SKIPPED_SHOWN_MAX]:
            display.say(f"left out: {skipped.path} ({skipped.reason})")
        if len(result.skipped) > SKIPPED_SHOWN_MAX:
            display.say(f"left out: {len(result.skipped) - SKIPPED_SHOWN_MAX} more")
        return result

    async def _seed(self, started: Started, result: Scan, display: Display) -> None:
        """Print the link, then serve until stopped."""
        manifest, root = result.manifest, self._root
        if root is None:
            raise UsageError("nothing was hashed")
        layout = Layout(manifest.piece_bytes, [file.size for file in manifest.files])
        holding = Holding(
            manifest,
            manifest.encode(),
            layout,
            SourceStore(root, manifest, result.paths, result.states),
            Bitfield(manifest.piece_count, full=True),
        )
        member = Member(
            manifest.share_id, started.node.services, holding=holding, trackers=self._network.trackers
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(started.node.run)
            nursery.start_soon(started.node.take_part, member)
            click.echo(str(self._link(started, result)))
            sys.stdout.flush()
            files = f"{len(manifest.files)} file{'s' if len(manifest.files) != 1 else ''}"
            where = ", ".join(str(address) for address in started.node.addresses)
            if self._options.publish is not None:
                publisher = await self._publisher(started, manifest, self._options.publish, display)
                nursery.start_soon(publisher.run)
            display.say(f"sharing {self._name}: {files}, {format_bytes(manifest.total_bytes)}, on {where}")
            await self._watch(member, display)
            with trio.CancelScope(shield=True):
                await started.node.goodbye()
            nursery.cancel_scope.cancel()

    async def _publisher(
        self, started: Started, manifest: Manifest, name: str, display: Display
    ) -> Publisher:
        """What keeps the share listed. Raises StorageError."""
        share = manifest.share_id
        serial = await started.workers.run(Lane.DISK, serial_for, started.home.path, name, share)
        services = started.node.services
        entry = started.identity.publish(name, share, manifest.total_bytes, serial)
        return Publisher(services.transport, self._network.trackers, entry, rng=services.rng, say=display.say)

    async def _watch(self, member: Member, display: Display) -> None:
        """Show who is served and tell what goes wrong, until stopped."""
        told: set[str] = set()
        shows = self._network.progress != "auto" or sys.stderr.isatty()
        while not self._stop.requested.is_set():
            for trouble in [text for text in member.unreadable if text not in told]:
                told.add(trouble)
                display.say(f"no longer shared: {trouble}")
            for line in [line for line in member.partings.sent_away if line not in told]:
                told.add(line)
                display.say(line)
            for tracker in () if member.trackers is None else member.trackers.statistics():
                text = f"tracker {tracker.tracker}: {tracker.error}"
                if tracker.error and text not in told:
                    told.add(text)
                    display.say(text)
            if shows and display.is_due(trio.current_time()):
                self._show(member_statistics(member), display)
            with trio.move_on_after(WATCH_EVERY_S):
                await self._stop.requested.wait()

    def _show(self, statistics: MemberStatistics, display: Display) -> None:
        peers = len(statistics.links)
        detail = f"{peers} peer{'s' if peers != 1 else ''}, {format_bytes(statistics.sent_bytes)} sent"
        if statistics.rate_up >= 1:
            detail += f", {format_rate(statistics.rate_up)}"
        display.show(trio.current_time(), f"seeding {printable(self._name)}", 0, 0, detail)

    def _link(self, started: Started, result: Scan) -> MagnetLink:
        manifest = result.manifest
        addresses = reachable(self._options.announce, self._network.host, started.node.services.port)
        return MagnetLink(
            share=manifest.share_id,
            name=self._name,
            total_bytes=manifest.total_bytes,
            trackers=self._network.trackers,
            peers=tuple(KnownPeer(address) for address in addresses),
        )
