"""The work of `peer get`: a member that fetches, a display that follows it, and when to give up."""

import os
import sys
from dataclasses import dataclass

import click
import trio

from peer.cli.display import Display, make_display
from peer.cli.display import Source as ShownPeer
from peer.cli.get import WATCH_EVERY_S, GetOptions, result_line
from peer.cli.naming import FROM_IS_FOR_NAMES, check_name, published_as
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop
from peer.cli.start import Started, start
from peer.cli.subject import is_link
from peer.diagnosis import what_limits
from peer.errors import ContentError, ExitCode, NoSourceError, StorageError, UsageError
from peer.ids import KnownPeer
from peer.magnet import MagnetLink, parse
from peer.member import Member, Phase
from peer.member_statistics import MemberStatistics, member_statistics, why_no_progress
from peer.paths import landing_name, printable
from peer.published import PublishedShare
from peer.store.files import open_folder
from peer.store.filesystem import Folder
from peer.store.trouble import trouble
from peer.swarm.known import Source
from peer.swarm.orders import ORDERS
from peer.swarm.policies import Policies
from peer.target import Target
from peer.units import format_bytes, format_duration, format_rate
from peer.workers import Lane

SOURCES_SHOWN_MAX = 6
EXPLAIN_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended."""

    exit_code: int
    interrupted: bool = False
    held_text: str = ""


class Fetching:
    """One run of `peer get`."""

    def __init__(self, network: NetworkOptions, options: GetOptions, stop: Stop) -> None:
        self._network = network
        self._options = options
        self._stop = stop
        self._link: MagnetLink
        self._entry: PublishedShare | None = None
        """Of a share that was asked for by its name."""
        if is_link(options.link):
            if options.publisher is not None:
                raise UsageError(FROM_IS_FOR_NAMES)
            self._link = parse(options.link)
        else:
            check_name(options.link, network)
        self._explained_at = -EXPLAIN_EVERY_S
        self._told_trouble = False

    async def run(self) -> Outcome:
        """Fetch, report, perhaps seed. Raises ManyhandsError for what ends it early."""
        policies = Policies(make_picker=ORDERS[self._options.order])
        started = await start(self._network, self._options.port, policies)
        try:
            with make_display(self._network.progress) as display:
                return await self._run(started, display)
        finally:
            started.home.close()

    async def _find(self, started: Started, display: Display) -> MagnetLink:
        """The share of the name. Raises NoSourceError, ContentError."""
        name, trackers = self._options.link, self._network.trackers
        display.show(trio.current_time(), f"asking for {printable(name)}", 0, 0, "")
        transport = started.node.services.transport
        entry, line = await published_as(transport, trackers, name, self._options.publisher)
        self._entry = entry
        display.say(line)
        return MagnetLink(entry.share, entry.name, entry.size)

    async def _run(self, started: Started, display: Display) -> Outcome:
        if not is_link(self._options.link):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop.cancel, nursery.cancel_scope)
                self._link = await self._find(started, display)
                nursery.cancel_scope.cancel()
            if self._entry is None:
                return Outcome(ExitCode.INTERRUPTED)
        self._name = landing_name(self._link.name, self._link.share)
        if self._link.name is not None and self._name != self._link.name:
            display.say(f"{printable(self._link.name)} would be hidden: it is put into {self._name}")
        folder = await started.workers.run(Lane.DISK, make_folder, str(self._options.folder))
        target = Target(
            folder,
            self._name,
            self._options.only,
            started.workers,
            expected_bytes=self._entry.size if self._entry is not None else None,
        )
        trackers = tuple(dict.fromkeys((*self._link.trackers, *self._network.trackers)))
        member = Member(self._link.share, started.node.services, target=target, trackers=trackers)
        begun = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(started.node.run)
                nursery.start_soon(started.node.take_part, member)
                self._introduce(member)
                complete = await self._watch(member, target, display)
                if complete:
                    self._report(member, target, trio.current_time() - begun, display)
                    await self._seed(member, display)
                with trio.CancelScope(shield=True):
                    await started.node.goodbye()
                nursery.cancel_scope.cancel()
        finally:  # when nobody writes any more: who waits for room on a full disk would find it closed
            with trio.CancelScope(shield=True):
                await target.close()
        if complete:
            return Outcome(ExitCode.DONE)
        held = member_statistics(member)
        text = f"{format_bytes(held.held_bytes)} of {format_bytes(held.wanted_bytes)}"
        return Outcome(ExitCode.INTERRUPTED, True, text)

    def _introduce(self, member: Member) -> None:
        member.learned([KnownPeer(address) for address in self._options.peers], Source.OPTION)
        member.learned(self._link.peers, Source.LINK)

    async def _watch(self, member: Member, target: Target, display: Display) -> bool:
        """Follow the transfer to its end: True when complete, False when stopped. Raises when it is stuck."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop.cancel, nursery.cancel_scope)
            nursery.start_soon(self._look, member, target, display)
            await member.complete.wait()
            nursery.cancel_scope.cancel()
        return member.complete.is_set()

    async def _look(self, member: Member, target: Target, display: Display) -> None:
        """Show how it goes, until cancelled. Raises when it is stuck.

        What nobody will see is not gathered: of thirty links, ten times a second, that was a tenth of the
        processor time of a getter at 4 Mbit/s.
        """
        shown: Phase | None = None
        while True:
            now = trio.current_time()
            is_due = member.phase is not shown or display.is_due(now)
            shown = member.phase
            if shown is Phase.CHECKING or shown is Phase.COMPLETING:
                member.progressed_at = now  # busy with what is here; nobody else can be blamed
                if is_due:
                    display.show(now, shown.value, *target.progress)
            elif now - member.progressed_at > self._options.timeout_s:
                raise self._stuck(member)
            elif is_due:
                self._show(member_statistics(member), display, now)
            if self._options.verbose and now - self._explained_at >= EXPLAIN_EVERY_S:
                self._explained_at = now
                self._explain(member, display)
            await trio.sleep(WATCH_EVERY_S)

    def _explain(self, member: Member, display: Display) -> None:
        """What limits it now, also while the disk is all that is waited for."""
        if (trouble := member.services.lan.trouble) is not None and not self._told_trouble:
            self._told_trouble = True
            display.say(trouble)
        display.say(f"limited by {what_limits(member)}, {format_rate(member_statistics(member).rate_down)}")

    def _stuck(self, member: Member) -> Exception:
        statistics = member_statistics(member)
        waited = format_duration(self._options.timeout_s)
        if statistics.paused:
            return StorageError(f"no progress for {waited}: {statistics.paused}")
        why = f"no progress for {waited}: {why_no_progress(member)}"
        if member.partings.expelled and not statistics.links:
            return ContentError(f"{why}. Everybody who answered sent bytes that do not verify")
        return NoSourceError(f"{why}. Check the link, or name a peer with --peer or a tracker with --tracker")

    def _show(self, statistics: MemberStatistics, display: Display, now: float) -> None:
        peers = len(statistics.links)
        detail = f"{peers} peer{'s' if peers != 1 else ''} connected"
        if statistics.phase is Phase.LOOKING:
            display.show(now, f"{statistics.phase.value} {printable(self._name)}", 0, 0, detail)
            return
        if statistics.paused:
            detail += f"; waiting: {statistics.paused}"
        if statistics.rate_up >= 1:
            detail += f", serving others at {format_rate(statistics.rate_up)}"
        rates = {link.node: (str(link.address), link.rate_down) for link in statistics.links}
        ranked = sorted(statistics.sources.items(), key=lambda item: -item[1])[:SOURCES_SHOWN_MAX]
        sources = [
            ShownPeer(
                rates[node][0] if node in rates else node.hex()[:12], count, rates.get(node, ("", 0.0))[1]
            )
            for node, count in ranked
        ]
        name = printable(self._name)
        display.show(now, name, statistics.held_bytes, statistics.wanted_bytes, detail, sources)

    def _report(self, member: Member, target: Target, seconds: float, display: Display) -> None:
        statistics = member_statistics(member)
        fetched = sum(statistics.sources.values())
        if self._options.as_json:
            line = result_line(
                share=self._link.share,
                name=self._name,
                total_bytes=statistics.wanted_bytes,
                seconds=seconds,
                path=target.path,
                sources={node.hex(): count for node, count in sorted(statistics.sources.items())},
                resumed_bytes=statistics.resumed_bytes,
                wasted_bytes=statistics.wasted_bytes,
                publisher=self._entry.node if self._entry is not None else None,
            )
            click.echo(line)
            sys.stdout.flush()
        rate = f" at {format_rate(fetched / seconds)}" if fetched and seconds > 0 else ""
        here = f", {format_bytes(statistics.resumed_bytes)} were here" if statistics.resumed_bytes else ""
        display.say(
            f"{target.path}: complete and verified, {format_bytes(statistics.wanted_bytes)} in "
            f"{format_duration(seconds)}{rate} from {len(statistics.sources)} "
            f"peer{'s' if len(statistics.sources) != 1 else ''}{here}"
        )

    async def _seed(self, member: Member, display: Display) -> None:
        """Serve others for as long as was asked."""
        if self._options.seed_s is None:
            return
        display.say("seeding; stop with Ctrl-C")
        with trio.move_on_after(self._options.seed_s):
            await self._stop.requested.wait()


def make_folder(path: str) -> Folder:
    """The folder to fetch into, made where it is missing. Raises StorageError."""
    absolute = os.path.abspath(path)
    with trouble(absolute):
        return open_folder(absolute, create=True)
