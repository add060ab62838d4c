"""Pieces between linked peers: the commands of the policies become events, the fluid uplinks' ends too.

Modelled: each request, answer and small message takes the latencies of both access links; haves are gathered
by about the rule of `peer.swarm.telling`, and those of one gathering arrive together. Not modelled: TCP,
headers, disks, hashing, the manifest. An answer that is cancelled midway is cut; what was sent of it is
wasted.

A receiver learns of an answer when its first segment is here, when it ends, and in between when it looks:
before each tick of its download it is told what has come since, and a choking round counts it. So progress
costs no events.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from math import inf
from struct import Struct
from typing import Final

from lab.large.agenda import Agenda
from lab.large.fluid import Flow
from lab.large.news import News
from lab.large.peers import Link, Peer, Share
from peer.bitfield import Bitfield
from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.limits import DOWNLOAD_TICK_S, WINDOW_DEFAULT
from peer.swarm.download import Announce, Ask, Command, Expel, Express, Finished, PieceState, Probe, Withdraw
from peer.swarm.upload import Cancelled, Chunk, Deferred

PROGRESS_S: Final = 0.2
"""How old a receiver's knowledge of an answer under way may be when it looks: short against the time in which
a node judges how fast an answer comes (`ENDGAME_BEGUN_S`)."""

SEGMENT_BYTES: Final = 1448
"""Payload of a TCP segment on Ethernet, with time stamps: what a receiver sees first of an answer. Twelve
peers fetch eight pieces in 5.42 s, rarest first, and in 8.68 s in order; whole nodes in 5.55 and 9.38 s
(means of eight seeds). With chunks of 16 KiB it is 5.69 and 9.77 s, but then Qiu and Srikant's downloads take
561 s instead of 527 (theory: 500)."""

LAZY_S: Final = 3.0
"""A download's regular ticks, one a second in a node, come so much later here, four times fewer; those that
watch the end of a download do not."""

INTEREST_DELAY_S: Final = 0.02
"""Changes of interest are gathered so long before free slots are given away."""

_RECORD: Final = Struct("<dIII")


class Transfer:
    """All links of a world, and what goes over them."""

    def __init__(self, agenda: Agenda, share: Share, finished: Callable[[Peer], None]) -> None:
        self._agenda = agenda
        self._share = share
        self._finished = finished
        self._news = News(agenda, self.perform)
        self._hash = blake2b(digest_size=16)
        self.flows = 0
        self.delivered_pieces = 0
        self.delivered_bytes = 0
        self.cut_bytes = 0
        """Sent on connections that ended, and never received."""
        self.travelling_bytes = 0
        """Sent, of answers that have ended or were cut, and not received yet."""
        self.copies = [0] * share.pieces
        """Peers that hold each piece; kept up by `opened`, `closed` and deliveries."""

    def digest(self) -> str:
        """Hash of all deliveries: time, sender, receiver and piece of each."""
        return self._hash.hexdigest()

    # --- links

    def connect(self, one: Peer, two: Peer) -> None:
        """Both have said hello."""
        now = self._agenda.now
        first, second = Link(one, two, now), Link(two, one, now)
        first.mirror, second.mirror = second, first
        for link in (first, second):
            me = link.owner
            me.links[link.id] = me.alert[link.id] = link
            link.told = me.held
            me.upload.joined(link.id, WINDOW_DEFAULT, now)
            self.perform(me, me.download.joined(link.id, WINDOW_DEFAULT, now))
        for link in (first, second):
            bits = link.other.download.bits
            if not bits.is_empty:
                self._agenda.at(now + link.delay, self._told_all, link, bits.copy())

    def disconnect(self, link: Link) -> None:
        """The connection is gone, at both ends at once."""
        now = self._agenda.now
        for side in (link, link.mirror):
            side.open = False
            if side.flow is not None:
                self.cut_bytes += side.owner.uplink.cut(side.flow, now) - side.flow.reported
                side.flow = None
        for side in (link, link.mirror):
            me = side.owner
            del me.links[side.id]
            me.inflows.pop(side.id, None)
            me.alert.pop(side.id, None)
            me.upload.left(side.id)
            me.uplink.line.pop(side, None)
            self.perform(me, me.download.left(side.id, now))
            self._serve_next(me)
            if side.served:
                me.served -= 1
                self._refill_soon(me)

    # --- the downloading side

    def perform(self, me: Peer, commands: list[Command]) -> None:
        """Carry out what the download policy wants."""
        agenda, along = self._agenda, self._news.along
        now = agenda.now
        for command in commands:
            if isinstance(command, Ask):
                link = me.links[command.link]
                agenda.at(now + link.delay, self._asked, link.mirror, command.piece, along(link))
            elif isinstance(command, Announce):
                self._news.held(me, command.piece)
            elif isinstance(command, Express):
                link = me.links[command.link]
                agenda.at(now + link.delay, self._interested, link.mirror, command.interested)
            elif isinstance(command, Withdraw):
                link = me.links[command.link]
                agenda.at(now + link.delay, self._cancelled, link.mirror, command.piece)
            elif isinstance(command, Probe):
                me.download.alive(command.link, now)  # who is switched off is gone at once here
            elif isinstance(command, Finished):
                me.done_at = now
                self._finished(me)
            else:
                assert not isinstance(command, Expel), "nobody sends wrong bytes here"
        self._arrange_tick(me)

    def _arrange_tick(self, me: Peer) -> None:
        now = self._agenda.now
        deadline = me.download.next_deadline(now)
        if deadline is not None and deadline < me.tick_at and me.present:
            me.tick_at = deadline
            late = LAZY_S if deadline > now + DOWNLOAD_TICK_S / 2 else 0.0
            self._agenda.at(deadline + late, self._tick, me, deadline)

    def _tick(self, me: Peer, deadline: float) -> None:
        if me.tick_at != deadline or not me.present:
            return
        self.look_at_progress(me)
        me.tick_at = inf
        self.perform(me, me.download.tick(self._agenda.now))

    def look_at_progress(self, me: Peer) -> None:
        """Tell the receiver what has come since it was told last, if that is a while ago."""
        now = self._agenda.now
        for link in list(me.inflows.values()):
            flow = link.inflow
            if flow is None or not flow.live or now - flow.reported_at < PROGRESS_S:
                continue
            count = min(link.other.uplink.progress(flow, now), flow.length - 1) - flow.reported
            if count > 0:
                self._progressed(link, flow, count)

    def _progressed(self, link: Link, flow: Flow, count: int) -> None:
        now = self._agenda.now
        flow.reported += count
        flow.reported_at = now
        if not flow.live:
            self.travelling_bytes -= count
        link.received_bytes += count
        self.delivered_bytes += count
        me = link.owner
        self.perform(me, me.download.progressed(link.id, flow.piece, count, now))

    def _begins(self, link: Link, flow: Flow, news: int) -> None:
        """The first segment of an answer is here. (If it was all of it, it arrives at this moment.)"""
        if link.open:
            if news:
                self._news.heard(link, news)
            if flow.live:
                link.inflow = flow
                link.owner.inflows[link.id] = link
                sent = link.other.uplink.progress(flow, self._agenda.now)
                self._progressed(link, flow, max(1, min(sent, flow.length - 1)))

    def _arrives(self, link: Link, flow: Flow) -> None:
        """The last byte is here: the piece is verified and stored in no time."""
        rest = flow.length - flow.reported
        self.travelling_bytes -= rest
        if not link.open:
            self.cut_bytes += rest
            return
        now = self._agenda.now
        me = link.owner
        self._end_inflow(link, flow)
        link.received_bytes += rest
        self.delivered_bytes += rest
        commands = me.download.arrived(link.id, flow.piece, now)
        if me.download.state(flow.piece) is PieceState.VERIFYING:
            self.delivered_pieces += 1
            self.copies[flow.piece] += 1
            self._hash.update(_RECORD.pack(now, link.id, me.number, flow.piece))
            commands += me.download.verified(link.id, flow.piece, now)
        self.perform(me, commands)

    def _closed(self, link: Link, piece: PieceIndex, code: RejectCode, flow: Flow | None, sent: int) -> None:
        """A request is rejected, or its answer was cut after so many bytes."""
        if flow is not None:
            rest = sent - flow.reported
            if not link.open:
                self.travelling_bytes -= rest
                self.cut_bytes += rest
                return
            self._end_inflow(link, flow)
            if rest > 0:
                self._progressed(link, flow, rest)
        if not link.open:
            return
        me = link.owner
        self.perform(me, me.download.rejected(link.id, piece, code, self._agenda.now))

    def _end_inflow(self, link: Link, flow: Flow) -> None:
        if link.inflow is flow:
            link.inflow = None
            link.owner.inflows.pop(link.id, None)

    def _choked(self, link: Link, on: bool, news: int) -> None:
        if link.open:
            me = link.owner
            if news:
                self._news.heard(link, news)
            self.perform(me, me.download.choked(link.id, on, self._agenda.now))

    def _told_all(self, link: Link, bits: Bitfield) -> None:
        if link.open:
            me = link.owner
            self.perform(me, me.download.bitfield(link.id, bits, self._agenda.now))

    # --- the uploading side

    def _asked(self, link: Link, piece: PieceIndex, news: int) -> None:
        if not link.open:
            return
        if news:
            self._news.heard(link, news)
        code = link.owner.upload.asked(link.id, RequestId(piece), piece, self._agenda.now)
        if code is None:
            self._serve(link)
            self._look_at_uplink(link.owner)
        else:
            self._close(link, piece, code)

    def _cancelled(self, link: Link, piece: PieceIndex) -> None:
        if not link.open:
            return
        met = link.owner.upload.cancel(link.id, RequestId(piece))
        if met is Cancelled.WAITING:
            self._close(link, piece, RejectCode.CANCELLED)
        elif met is Cancelled.BEGUN:
            flow = link.flow
            assert flow is not None
            assert flow.piece == piece
            link.flow = None
            sent = max(link.owner.uplink.cut(flow, self._agenda.now), flow.reported)
            self.travelling_bytes += sent - flow.reported
            self._close(link, piece, RejectCode.CANCELLED, flow, sent)
            self._serve_next(link.owner, link)

    def _close(
        self, link: Link, piece: PieceIndex, code: RejectCode, flow: Flow | None = None, sent: int = 0
    ) -> None:
        self._agenda.at(self._agenda.now + link.delay, self._closed, link.mirror, piece, code, flow, sent)

    def _serve(self, link: Link) -> None:
        """Begin the next answer on this link, unless one is under way, or when it is its turn."""
        if link.flow is not None or link.waits:
            return
        now = self._agenda.now
        me = link.owner
        if not me.uplink.has_room:
            me.uplink.line[link] = None
            return
        downlink = link.other.downlink
        if downlink.rate is not None and me.upload.has_work(link.id):
            free_at = downlink.free_at(now)
            if free_at > now or downlink.waiting:
                link.waits = True
                downlink.waiting.append(link)
                self._look_at_downlink(link.other)
                return
        self._begin(link)

    def _look_at_downlink(self, receiver: Peer) -> None:
        downlink = receiver.downlink
        if downlink.waiting and not downlink.alarm:
            downlink.alarm = True
            self._agenda.at(downlink.free_at(self._agenda.now), self._downlink_free, receiver)

    def _downlink_free(self, receiver: Peer) -> None:
        """There is room: the first that waits and still has something to send begins."""
        downlink, now = receiver.downlink, self._agenda.now
        downlink.alarm = False
        while downlink.waiting and downlink.free_at(now) <= now:
            link = downlink.waiting.popleft()
            link.waits = False
            if link.open:
                self._begin(link)
                self._look_at_uplink(link.owner)
        self._look_at_downlink(receiver)

    def _begin(self, link: Link) -> None:
        now = self._agenda.now
        me = link.owner
        # The last byte is a chunk of its own, so that an answer under way can be cut.
        chosen = me.upload.next_chunk(link.id, now, self._share.piece_bytes - 1)
        if isinstance(chosen, Chunk):
            assert chosen.piece is not None
            self.flows += 1
            flow = link.flow = Flow(link, chosen.piece, chosen.total, now)
            flow.not_before = link.other.downlink.book(chosen.total, now)
            me.uplink.start(flow, chosen.total, now)
            seen = now + self._first_segment_s(me, chosen.total) + link.delay
            self._agenda.at(seen, self._begins, link.mirror, flow, self._news.along(link))
        elif isinstance(chosen, Deferred) and not link.waking:
            link.waking = True
            self._agenda.at(chosen.until, self._wake, link)

    @staticmethod
    def _first_segment_s(me: Peer, length: int) -> float:
        """How long the first segment of a new answer takes."""
        return min(length, SEGMENT_BYTES) * me.uplink.count / me.uplink.rate if me.uplink.rate else inf

    def _wake(self, link: Link) -> None:
        link.waking = False
        if link.open:
            self._serve(link)
            self._look_at_uplink(link.owner)

    def _look_at_uplink(self, me: Peer) -> None:
        """See to it that the next end of a flow is on the agenda. An event too soon does no harm."""
        end = me.uplink.next_end()
        if end < me.alarm:
            me.alarm = end
            self._agenda.at(end, self._flow_ends, me, end)

    def _flow_ends(self, me: Peer, alarm: float) -> None:
        if me.alarm != alarm:
            return
        me.alarm = inf
        now = self._agenda.now
        for flow in me.uplink.take_ended(now):
            link: Link = flow.link
            if me.upload.has_work(link.id) and flow.length >= self._share.piece_bytes:
                me.upload.next_chunk(link.id, now)  # the last byte
            link.flow = None
            link.sent_bytes += flow.length
            self.travelling_bytes += flow.length - flow.reported
            arrival = max(now, flow.not_before) + link.delay
            self._agenda.at(arrival, self._arrives, link.mirror, flow)
            if me.upload.has_work(link.id):
                me.uplink.line[link] = None
        self._serve_next(me)

    def _serve_next(self, me: Peer, *links: Link) -> None:
        """There may be room: the first in line begins, and these come last."""
        line = me.uplink.line
        line.update(dict.fromkeys(links))
        while line and me.uplink.has_room:
            first = next(iter(line))
            del line[first]
            if first.open:
                self._serve(first)
        self._look_at_uplink(me)

    # --- choking

    def _interested(self, link: Link, on: bool) -> None:
        if link.open:
            link.wants_us = on
            link.set_alert()
            if not on:
                self._news.send(link)  # perhaps it only has not heard of them
            me = link.owner
            if link.served or (on and me.served < me.choker.slots):
                self._refill_soon(me)

    def _refill_soon(self, me: Peer) -> None:
        if not me.interest_event and me.access.up:
            me.interest_event = True
            self._agenda.at(self._agenda.now + INTEREST_DELAY_S, self._refill, me)

    def _refill(self, me: Peer) -> None:
        me.interest_event = False
        if me.present:
            now = self._agenda.now
            self._serve_only(me, me.choker.refill(now, me.views(now, new_round=False), me.finished))

    def choke_round(self, me: Peer) -> None:
        """Give all slots of a peer anew, now and whenever its choker says."""
        if not me.present:
            return
        now = self._agenda.now
        views = me.views(now, new_round=True)
        self._serve_only(me, me.choker.round(now, views, me.finished, me.uplink_view(now)))
        self._agenda.at(me.choker.next_round(now), self.choke_round, me)

    def _serve_only(self, me: Peer, chosen: Iterable[LinkId]) -> None:
        served = dict.fromkeys(chosen)
        now = self._agenda.now
        for number, link in me.links.items():
            on = number in served
            if on == link.served:
                continue
            link.served = on
            link.set_alert()
            me.served += 1 if on else -1
            self._agenda.at(now + link.delay, self._choked, link.mirror, not on, self._news.along(link))
            if on:
                me.upload.unchoke(link.id)
            else:
                for request in me.upload.choke(link.id):
                    self._close(link, PieceIndex(request), RejectCode.CHOKED)
