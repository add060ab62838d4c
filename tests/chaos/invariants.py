"""What must hold in every run, looked at about once a virtual second and at the end.

- no wrong byte: what is called complete is the share, and nothing else lies in the folders;
- no have-bit without provable bytes: what a member says it holds is on its disk, as the share has it, and
  what a journal calls durable survives a power loss (on a disk that does not lie);
- nothing is lost: what was complete stays so, and what a checkpoint has recorded is still recorded, whatever
  ended the program;
- a peer is told of every piece that another has had for a while;
- no request waits for ever, no honest peer is banned, whoever sent bad bytes is, all books agree;
- nobody sends or takes faster than its limit, and no connection outlives its link;
- each byte that came is counted once, as taken, under way or wasted;
- no dial lasts for ever, and no address has more links than it may;
- a machine that is switched off leaves no connection, file or buffer behind.
"""

import gc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from peer.ids import Address, FileIndex, PieceIndex
from peer.limits import (
    BACKOFF_JITTER_SHARE,
    BACKOFF_MAX_S,
    DIAL_S,
    LIMIT_CATCH_UP_S,
    LIMIT_QUANTUM_BYTES_MIN,
    LIMIT_QUANTUM_S,
    LINKS_PER_HOST_MAX,
    NEWS_LATEST_S,
    OPENING_S,
    REQUEST_TIMEOUT_S,
)
from peer.link import Link
from peer.member import Member, Phase
from peer.member_statistics import member_statistics
from peer.sim.disk import SimDisk
from peer.sim.medium import FileNode
from peer.sim.network import Connection, SimNetwork
from peer.sim.pipe import CHUNK_BYTES, SEND_BYTES, WINDOW_MIN_BYTES
from peer.sim.stream import SimStream
from peer.sim.world import DOWNLOADS, SHARES
from peer.store.filesystem import PathParts
from peer.store.incoming import IncomingStore
from peer.store.records import decode
from tests.chaos.citizen import Citizen
from tests.chaos.diary import Certain, Diary
from tests.chaos.violation import Violation, demand
from tests.store_kit import NAME, Share

LOOK_S: Final = 1.0
TOLD_S: Final = NEWS_LATEST_S + 5.0
"""A piece that somebody has had for so long, and for the time that all may take which is ahead of a `have` in
buffers (`_telling_s`), is known at the other end of a link that was free all the while."""

LIMIT_SLACK_S: Final = 2 * LIMIT_CATCH_UP_S
LIMIT_SLACK_BYTES: Final = 2 * LIMIT_QUANTUM_BYTES_MIN
"""What a limiter may let through beyond its rate at once: what it has saved up, and what was asked last."""

LOOSE_S: Final = 60.0
"""Within this time a greeting has come to its end, and a link that is turned away has."""

TRACKER: Final = "tracker"

SILENCE_S: Final = REQUEST_TIMEOUT_S + 5.0
_ROOTS: Final = (SHARES, DOWNLOADS)


class Invariants:
    """Looks at the citizens of one run. Raises Violation."""

    def __init__(
        self,
        share: Share,
        network: SimNetwork,
        citizens: Mapping[int, Citizen],
        diaries: Mapping[str, Diary],
        heard: Mapping[Member, int],
        sure_of: Callable[[Citizen, frozenset[int]], None],
    ) -> None:
        self._share = share
        self._network = network
        self._citizens = citizens
        self._pieces = {piece: share.piece(piece) for piece in share.pieces()}
        self._segments = {piece: share.layout.segments(piece) for piece in share.pieces()}
        self._seen: dict[str, object] = {}
        self._held_since: dict[tuple[str, int, int], float] = {}
        self._diaries = diaries
        self._heard = heard
        self._sure_of = sure_of
        self._landed_files: dict[str, set[FileIndex]] = {}
        self._dialling_since: dict[tuple[str, int, Address, int], float] = {}
        self._heard_lead: dict[tuple[str, int, int], float] = {}
        self._early: dict[tuple[str, int, int], int] = {}
        self._lead: dict[tuple[str, int, int], float] = {}
        self._since: dict[tuple[str, int], float] = {}
        self._honest = frozenset(citizen.machine.node_id for citizen in citizens.values())

    def look(self, troubled_at: float) -> None:
        """All that must hold at any moment."""
        running = [citizen for citizen in self._citizens.values() if citizen.running]
        members = [(citizen, member) for citizen in running if (member := self._member(citizen)) is not None]
        for citizen, member in members:
            self._have_bits_are_true(citizen, member)
            self._books_agree(citizen, member)
            self._nobody_waits_for_ever(citizen, member)
            self._no_honest_banned(citizen, member)
            self._liars_are_banned(citizen, member)
            self._keeps_to_its_limit(citizen, member)
            self._bytes_balance(citizen, member)
            self._dials_end(citizen, member)
            self._networks_have_their_limit(citizen, member)
            self._connections_are_links(citizen, member)
        self._haves_are_told(members, troubled_at)
        self._network.check_invariants()

    def _member(self, citizen: Citizen) -> Member | None:
        return citizen.machine.node.members.get(self._share.manifest.share_id)

    # --- bytes

    def _have_bits_are_true(self, citizen: Citizen, member: Member) -> None:
        if member.holding is None:
            return
        have = member.holding.have
        disk = citizen.machine.disk
        files = disk.tree()
        state = (
            have.to_bytes(),
            id(disk),
            disk.drops,
            [(path, node and (node.number, node.mtime_ns, node.size)) for path, node in files.items()],
        )
        if self._seen.get(citizen.name) == state:
            return
        self._seen[citizen.name] = state
        wrong = [piece for piece in have.indices() if not self._lies_there(files, piece)]
        demand(not wrong, "have-bit", f"{citizen.name} holds pieces {wrong} whose bytes are not on its disk")

    def _lies_there(self, files: Mapping[PathParts, FileNode | None], number: int) -> bool:
        piece = PieceIndex(number)
        data, done = self._pieces[piece], 0
        for part in self._segments[piece]:
            path = self._share.paths[part.file]
            wanted = data[done : done + part.length]
            done += part.length
            places = (
                (*DOWNLOADS, NAME, *path),
                (*DOWNLOADS, NAME + ".part", "data", *path),
                (*SHARES, NAME, *path),
            )
            if not any(_reads(files.get(place), part.offset, wanted) for place in places):
                return False
        return True

    def cut_short(self, citizen: Citizen, disk: SimDisk, certain: Certain) -> None:
        """After a kill or a power loss: what the journal calls durable is there, and what was certain before
        is still so."""
        if citizen.tainted:
            return
        files = disk.tree()
        landed = self._landed_files.setdefault(citizen.name, set())
        landed |= certain.files
        lost = [
            path
            for path in (self._share.paths[file] for file in landed)
            if not self._landed(files, path, self._share.files[path])
        ]
        demand(not lost, "lost", f"{citizen.name} was complete and has lost {lost}")
        node = files.get((*DOWNLOADS, NAME + ".part", "journal"))
        contents = decode(_content(node)) if node is not None else None
        durable = frozenset(contents.durable.indices()) if contents is not None else frozenset()
        forgotten = [piece for piece in certain.durable if piece not in durable]
        demand(not forgotten, "forgotten", f"the journal of {citizen.name} has forgotten {forgotten}")
        durable = durable.difference(self._taken_away(citizen, files))
        wrong = [piece for piece in sorted(durable) if not self._lies_there(files, piece)]
        demand(not wrong, "durable", f"the journal of {citizen.name} lies about {wrong} after a power loss")
        whole = [
            piece
            for piece, segments in self._segments.items()
            if all(part.file in landed for part in segments)
        ]
        self._sure_of(citizen, durable.union(whole))

    def _taken_away(self, citizen: Citizen, files: Mapping[PathParts, FileNode | None]) -> list[int]:
        """Where all files that were asked for are in their place NAME.part goes, with those pieces that
        also have bytes of others: the journal may be the last to go, and the next run looks at the data."""
        chosen = {number for number, path in enumerate(self._share.paths) if "/".join(path) in citizen.only}
        paths = [self._share.paths[number] for number in chosen]
        if not chosen or not all(self._landed(files, path, self._share.files[path]) for path in paths):
            return []
        segments = self._segments.items()
        return [piece for piece, parts in segments if any(part.file not in chosen for part in parts)]

    def _landed(self, files: Mapping[PathParts, FileNode | None], path: PathParts, data: bytes) -> bool:
        node = files.get((*DOWNLOADS, NAME, *path))
        return node is not None and _content(node) == data

    def complete(self, citizen: Citizen) -> None:
        """The share, whole, and nothing else."""
        disk = citizen.machine.disk
        found: dict[PathParts, bytes | None] = {}
        for path, node in disk.tree().items():
            demand(path[:1] in _ROOTS, "outside", f"{citizen.name} has {'/'.join(path)}")
            if path[:1] == DOWNLOADS and not citizen.plan.has_it:
                found[path[1:]] = _content(node) if node is not None else b""
        expected = {(NAME, *path): data for path, data in self._share.files.items()}
        if citizen.must_complete:
            demand(found.keys() == expected.keys(), "names", f"{citizen.name} has {sorted(found)}")
            demand(found == expected, "wrong-byte", f"{citizen.name} is complete and has other bytes")

    # --- policies

    def _books_agree(self, citizen: Citizen, member: Member) -> None:
        try:
            member.book.check_invariants()
            if member._choking is not None:
                member._choking.choker.check_invariants()
                served = sum(link.served for link in member.links.values())
                most = 2 * member._choking.choker.slots  # beside each that asks for nothing one more
                assert served <= most, "more links are served than there are slots"
            if member.intake is not None:
                member.intake.download.check_invariants()
            for link in member.links.values():
                link.session.check_invariants()
            citizen.machine.node.services.buffers.check_invariants()  # type: ignore[attr-defined]
        except AssertionError as error:
            raise Violation("books", f"{citizen.name}: {error}") from error

    def _nobody_waits_for_ever(self, citizen: Citizen, member: Member) -> None:
        if member.intake is None or member.intake.download.finished:
            return
        now = trio.current_time()
        for supplier in member.intake.download._suppliers.values():
            live = [asked for asked in supplier.asks.values() if asked.live]
            if live:
                since = max(supplier.heard_at, min(asked.asked_at for asked in live))
                demand(
                    now - since <= SILENCE_S,
                    "no-timeout",
                    f"{citizen.name} has waited {now - since:.0f} s for link {supplier.link}",
                )

    def _no_honest_banned(self, citizen: Citizen, member: Member) -> None:
        banned = [node.hex()[:8] for node in member.book._banned_nodes if node in self._honest]
        demand(
            not banned,
            "banned",
            f"{citizen.name} has banned the honest {banned}: "
            f"{[*member.partings.expelled, *member.partings.broken_off]}",
        )

    def _liars_are_banned(self, citizen: Citizen, member: Member) -> None:
        diary = self._diaries.get(citizen.name, Diary())
        # What was found bad in the moment of its start is of the run before.
        liars = {node for at, node in diary.bad if at > member.started_at}
        free = [node.hex()[:8] for node in liars if node not in member.book._banned_nodes]
        demand(not free, "not-banned", f"{citizen.name} has had bad pieces of {free}")
        kept = [
            link for link in member.links.values() if link.node in liars and not link.connection.is_closing
        ]
        demand(not kept, "not-banned", f"{citizen.name} keeps its links with {kept}")

    def _keeps_to_its_limit(self, citizen: Citizen, member: Member) -> None:
        """No span of time since the first look under this limit has more bytes in it than it lets through."""
        limits, key = citizen.limits, (citizen.name, id(member), citizen.relimited)
        now = trio.current_time()
        if now - citizen.relimited_at < LOOK_S:
            return  # what the limit before has let through may be under way
        if limits.least_up is not None and member.outflow is not None:
            rate, sent = limits.least_up, member.outflow.statistics().sent_bytes
            lead = sent - rate * now
            least = self._lead[key] = min(lead, self._lead.get(key, lead))
            demand(
                lead - least <= rate * LIMIT_SLACK_S + bool(rate) * LIMIT_SLACK_BYTES,
                "too-fast",
                f"{citizen.name} has sent {lead - least:.0f} bytes more than {rate:.0f} a second",
            )
        if limits.least_down is not None:
            rate = limits.least_down
            lead = self._heard.get(member, 0) - rate * now
            least = self._heard_lead[key] = min(lead, self._heard_lead.get(key, lead))
            reads = len(member.links) * max(LIMIT_QUANTUM_BYTES_MIN, rate * LIMIT_QUANTUM_S)
            if key not in self._early:  # who waited to read when the limit changed takes what it waited for
                waiting = [
                    link.connection
                    for link in member.links.values()
                    if link.connection.received_at <= citizen.relimited_at
                ]
                self._early[key] = sum(connection.session._reader._lent for connection in waiting)
            demand(
                lead - least <= rate * LIMIT_SLACK_S + LIMIT_SLACK_BYTES + reads + self._early[key],
                "too-fast",
                f"{citizen.name} has taken {lead - least:.0f} bytes more than {rate:.0f} a second",
            )

    def _bytes_balance(self, citizen: Citizen, member: Member) -> None:
        """Each byte that came is of a piece taken, or under way, or wasted; once."""
        intake = member.intake
        if intake is None or member.holding is None:
            return
        download, layout = intake.download, self._share.layout
        counts = download.statistics()
        came = self._heard.get(member, 0)
        demand(
            counts.received_bytes == came,
            "balance",
            f"{citizen.name} has counted {counts.received_bytes} of {came} bytes that came",
        )
        asked = [asked for supplier in download._suppliers.values() for asked in supplier.asks.values()]
        coming = sum(ask.received for ask in asked if ask.live) + sum(download._pieces._verifying.values())
        taken = sum(intake.sources.values())
        demand(
            counts.received_bytes == taken + coming + counts.wasted_bytes,
            "balance",
            f"{citizen.name}: {counts.received_bytes} bytes came, {taken} were taken, {coming} are coming,"
            f" {counts.wasted_bytes} were wasted",
        )
        statistics = member_statistics(member)
        held = statistics.wanted_bytes
        at_the_end = member.phase is Phase.COMPLETING and download.finished
        if member.phase is not Phase.SEEDING and not at_the_end:  # what was wanted may be gone
            store = intake._store
            assert isinstance(store, IncomingStore)
            wanted = store.wanted
            held = sum(layout.piece_length(PieceIndex(p)) for p in download.bits.indices() if p in wanted)
        demand(
            statistics.held_bytes == held,
            "balance",
            f"{citizen.name} holds {held} bytes and says {statistics.held_bytes}",
        )

    # --- who is where

    def _dials_end(self, citizen: Citizen, member: Member) -> None:
        """An address of which the book says that it is being dialled is dialled again at some time."""
        now = trio.current_time()
        since: dict[tuple[str, int, Address, int], float] = {}
        for address, known in member.book._known._dialling.items():
            key = (citizen.name, citizen.boots, address, known.failures)
            since[key] = self._dialling_since.get(key, now)
            demand(
                now - since[key] <= DIAL_S + OPENING_S + LOOK_S,
                "dial",
                f"{citizen.name} has been dialling {address} for {now - since[key]:.0f} s",
            )
        others = {key: at for key, at in self._dialling_since.items() if key[0] != citizen.name}
        self._dialling_since = {**others, **since}
        for known in member.book._known._table.values():
            demand(
                known.not_before - now <= BACKOFF_MAX_S * (1 + BACKOFF_JITTER_SHARE),
                "dial",
                f"{citizen.name} will not dial {known.address} for {known.not_before - now:.0f} s",
            )

    def _networks_have_their_limit(self, citizen: Citizen, member: Member) -> None:
        accepted = Counter(link.host for link in member.links.values() if not link.dialled)
        most = max(accepted.values(), default=0)
        demand(most <= LINKS_PER_HOST_MAX, "crowd", f"{citizen.name} has {most} links with one address")

    def _connections_are_links(self, citizen: Citizen, member: Member) -> None:
        """What a node has not closed for long is a link's, or one with the tracker."""
        host, now = citizen.machine.host, trio.current_time()
        ours = {_number_of(link) for link in member.links.values()}
        since: dict[tuple[str, int], float] = {}
        for connection in self._network.connections(host):
            other = connection.client if connection.server is host else connection.server
            loose = connection.number not in ours and not other.name.startswith(TRACKER)
            if loose and not _closed_by(connection, host is connection.server):
                key = (citizen.name, connection.number)
                since[key] = self._since.get(key, now)
                demand(
                    now - since[key] <= LOOSE_S,
                    "leak",
                    f"{citizen.name} has had connection {connection.number} with {other.name} for"
                    f" {now - since[key]:.0f} s, and no link",
                )
        self._since = {**{key: at for key, at in self._since.items() if key[0] != citizen.name}, **since}

    def _haves_are_told(self, members: list[tuple[Citizen, Member]], troubled_at: float) -> None:
        """Both ends of a link that has been free for long know what the other holds."""
        now = trio.current_time()
        held_since: dict[tuple[str, int, int], float] = {}
        by_node = {}
        for citizen, member in members:
            by_node[citizen.machine.node_id] = (citizen, member)
            if member.holding is not None:
                for piece in member.holding.have.indices():
                    key = (citizen.name, citizen.boots, piece)
                    held_since[key] = self._held_since.get(key, now)
        self._held_since = held_since
        for citizen, member in members:
            for link in member.links.values():
                if link.pieces is None or link.node not in by_node:
                    continue
                other, sender = by_node[link.node]
                patience = self._telling_s(citizen, other, len(member.links) + len(sender.links))
                if now - max(link.since, troubled_at) < patience or not self._is_free(citizen, other):
                    continue
                late = [
                    piece
                    for piece in link.pieces.missing()
                    if piece not in link._doubted  # lost for the second time: believed in a while
                    and now - held_since.get((other.name, other.boots, piece), now) > patience
                ]
                demand(not late, "untold", f"{citizen.name} was never told that {other.name} has {late}")

    def _telling_s(self, listener: Citizen, teller: Citizen, links: int) -> float:
        """How long it may take until a `have` is through: what the kernels hold goes first, on all links."""
        size = min(links * (SEND_BYTES + CHUNK_BYTES), links * self._share.layout.total_bytes)
        down = listener.plan.down
        waiting = min(links * WINDOW_MIN_BYTES, links * self._share.layout.total_bytes)
        return TOLD_S + size / teller.plan.up + (waiting / down if down is not None else 0.0)

    def _is_free(self, one: Citizen, other: Citizen) -> bool:
        """Whether the only connection between them is a good one, so that the ends of one link meet."""
        between = self._network.connections(one.machine.host, other.machine.host)
        return len(between) == 1 and not between[0].vanished

    # --- what is left behind

    def let_go(self, citizen: Citizen) -> None:
        """Its tasks have ended: so have its connections."""
        host = citizen.machine.host
        left = [
            connection.number
            for connection in self._network.connections(host)
            if not _closed_by(connection, host is connection.server)
        ]
        demand(not left, "leak", f"{citizen.name} is off and has not closed connections {left}")

    def closed(self, citizens: Sequence[Citizen]) -> None:
        """After an orderly end no file is open and no buffer lent."""
        if any(citizen.machine.disk.open_files for citizen in citizens if not citizen.plan.has_it):
            gc.collect()  # a file closes with the last that refers to it, which may be an error's traceback
        for citizen in citizens:
            disk = citizen.machine.disk
            opened = 0 if citizen.plan.has_it else disk.open_files  # a sharer's close with its process
            demand(not opened, "leak", f"{citizen.name} left {opened} files open")
            lent = citizen.machine.node.services.buffers.statistics().lent_bytes  # type: ignore[attr-defined]
            demand(not lent, "leak", f"{citizen.name} never gave back {lent} bytes of buffers")


def _reads(node: FileNode | None, offset: int, wanted: bytes) -> bool:
    if node is None or node.size < offset + len(wanted):
        return False
    data = bytearray(len(wanted))
    node.read_into(memoryview(data), offset)
    return data == wanted


def _content(node: FileNode) -> bytes:
    data = bytearray(node.size)
    node.read_into(memoryview(data), 0)
    return bytes(data)


def _number_of(link: Link) -> int:
    stream = link.connection._stream
    assert isinstance(stream, SimStream)
    return stream.incoming.connection.number


def _closed_by(connection: Connection, by_server: bool) -> bool:
    incoming = connection.forth if by_server else connection.back
    return incoming.reader_closed
