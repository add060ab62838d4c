"""What must hold in every run, looked at about once a virtual second and at the end.

- no wrong byte: what is called complete is the share, and nothing else lies in the folders;
- no have-bit without provable bytes: what a member says it holds is on its disk, as the share has it, and
  what a journal calls durable survives a power loss (on a disk that does not lie);
- nothing is lost: what was complete stays so, and what a checkpoint has recorded is still recorded, whatever
  ended the program;
- a peer is told of every piece that another has had for a while;
- no request waits for ever, no honest peer is banned, whoever sent bad bytes is, all books agree;
- nobody sends faster than its limit, and no connection outlives its link;
- a machine that is switched off leaves no connection, file or buffer behind.
"""

import gc
from collections.abc import Mapping, Sequence
from typing import Final

import trio

from peer.ids import PieceIndex
from peer.limits import LIMIT_CATCH_UP_S, LIMIT_QUANTUM_BYTES_MIN, NEWS_LATEST_S, REQUEST_TIMEOUT_S
from peer.link import Link
from peer.member import Member
from peer.sim.disk import SimDisk
from peer.sim.medium import FileNode
from peer.sim.network import Connection, SimNetwork
from peer.sim.pipe import CHUNK_BYTES, SEND_BYTES, WINDOW_MIN_BYTES
from peer.sim.stream import SimStream
from peer.sim.world import DOWNLOADS, SHARES
from peer.store.filesystem import PathParts
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
    ) -> None:
        self._share = share
        self._network = network
        self._citizens = citizens
        self._pieces = {piece: share.piece(piece) for piece in share.pieces()}
        self._segments = {piece: share.layout.segments(piece) for piece in share.pieces()}
        self._seen: dict[str, object] = {}
        self._held_since: dict[tuple[str, int, int], float] = {}
        self._diaries = diaries
        self._lead: dict[tuple[str, int], float] = {}
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
        if certain.complete:
            lost = [path for path, data in self._share.files.items() if not self._landed(files, path, data)]
            demand(not lost, "lost", f"{citizen.name} was complete and has lost {lost}")
        node = files.get((*DOWNLOADS, NAME + ".part", "journal"))
        contents = decode(_content(node)) if node is not None else None
        durable = frozenset(contents.durable.indices()) if contents is not None else frozenset()
        wrong = [piece for piece in sorted(durable) if not self._lies_there(files, piece)]
        demand(not wrong, "durable", f"the journal of {citizen.name} lies about {wrong} after a power loss")
        forgotten = [piece for piece in certain.durable if piece not in durable]
        demand(not forgotten, "forgotten", f"the journal of {citizen.name} has forgotten {forgotten}")

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
                assert served <= member._choking.choker.slots, "more links are served than there are slots"
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
            f"{citizen.name} has banned the honest {banned}: {[*member.expelled, *member.broken_off]}",
        )

    def _liars_are_banned(self, citizen: Citizen, member: Member) -> None:
        diary = self._diaries.get(citizen.name, Diary())
        liars = {node for at, node in diary.bad if at >= member.started_at}
        free = [node.hex()[:8] for node in liars if node not in member.book._banned_nodes]
        demand(not free, "not-banned", f"{citizen.name} has had bad pieces of {free}")
        kept = [
            link for link in member.links.values() if link.node in liars and not link.connection.is_closing
        ]
        demand(not kept, "not-banned", f"{citizen.name} keeps its links with {kept}")

    def _keeps_to_its_limit(self, citizen: Citizen, member: Member) -> None:
        """No span of time since the first look has more bytes in it than the limit lets through."""
        rate = citizen.limit
        if rate is None or member.outflow is None:
            return
        lead = member.outflow.statistics().sent_bytes - rate * trio.current_time()
        key = (citizen.name, id(member))
        least = self._lead[key] = min(lead, self._lead.get(key, lead))
        demand(
            lead - least <= rate * LIMIT_SLACK_S + bool(rate) * LIMIT_SLACK_BYTES,
            "too-fast",
            f"{citizen.name} has sent {lead - least:.0f} bytes more than {rate:.0f} a second",
        )

    def _connections_are_links(self, citizen: Citizen, member: Member) -> None:
        """What a node has not closed for long is a link's, or one with the tracker."""
        host, now = citizen.machine.host, trio.current_time()
        ours = {_number_of(link) for link in member.links.values()}
        since: dict[tuple[str, int], float] = {}
        for connection in self._network.connections(host):
            other = connection.client if connection.server is host else connection.server
            loose = connection.number not in ours and other.name != TRACKER
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
                    if now - held_since.get((other.name, other.boots, piece), now) > patience
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
