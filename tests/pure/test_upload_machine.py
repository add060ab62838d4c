"""Requests and departures in any order: every answer stays whole."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.swarm.upload import Cancelled, Chunk, Deferred, Upload


@dataclass
class Open:
    """What the test believes of one request."""

    piece: int
    sent: int = 0


class UploadMachine(RuleBasedStateMachine):
    """Requests, cancels, chokes and departures in any order: answers stay whole, in order and unmixed."""

    links = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.counter = 0
        self.upload = Upload(lambda piece: 1000 + 20_000 * (piece % 4), 12, range(10))
        self.open: dict[int, dict[RequestId, Open]] = {}
        self.choked: dict[int, bool] = {}
        self.begun: dict[int, RequestId | None] = {}

    @rule(link=links)
    def join_or_leave(self, link: int) -> None:
        if link in self.open:
            self.upload.left(LinkId(link))
            del self.open[link], self.choked[link], self.begun[link]
        else:
            self.upload.joined(LinkId(link), 5, self.now)
            self.open[link], self.choked[link], self.begun[link] = {}, True, None

    @rule(link=links, on=st.booleans())
    def choke(self, link: int, on: bool) -> None:
        if link in self.open:
            self.choked[link] = on
            if on:
                for request in self.upload.choke(LinkId(link)):
                    assert not self.open[link].pop(request).sent
                assert all(request.sent for request in self.open[link].values())
            else:
                self.upload.unchoke(LinkId(link))

    @rule(link=links, piece=st.integers(0, 11))
    def ask(self, link: int, piece: int) -> None:
        if link in self.open and len(self.open[link]) < 5:
            self.counter += 1
            request = RequestId(self.counter)
            code = self.upload.asked(LinkId(link), request, PieceIndex(piece), self.now)
            if self.choked[link]:
                assert code is RejectCode.CHOKED
            elif piece >= 10:
                assert code is RejectCode.NOT_HELD
            elif piece in {waiting.piece for waiting in self.open[link].values()}:
                assert code is RejectCode.BUSY
            elif code is None:
                self.open[link][request] = Open(piece)

    @rule(link=links, which=st.integers(0, 4))
    def cancel(self, link: int, which: int) -> None:
        requests = list(self.open.get(link, ()))
        if which < len(requests):
            begun = self.begun[link] == requests[which]
            outcome = self.upload.cancel(LinkId(link), requests[which])
            assert outcome is (Cancelled.BEGUN if begun else Cancelled.WAITING)
            del self.open[link][requests[which]]
            if begun:
                self.begun[link] = None

    @rule(link=links, bytes_max=st.none() | st.integers(1, 30_000), seconds=st.floats(0, 2))
    @precondition(lambda self: self.open)
    def send(self, link: int, bytes_max: int | None, seconds: float) -> None:
        if link not in self.open:
            return
        self.now += seconds
        outcome = self.upload.next_chunk(LinkId(link), self.now, bytes_max)
        if not isinstance(outcome, Chunk):
            assert self.begun[link] is None
            assert isinstance(outcome, Deferred) or not self.open[link]
            return
        assert self.begun[link] in {None, outcome.request}
        request = self.open[link][outcome.request]
        assert (outcome.piece, outcome.offset) == (request.piece, request.sent)
        assert 0 < outcome.length <= (bytes_max or outcome.total)
        request.sent += outcome.length
        self.begun[link] = None if outcome.last else outcome.request
        if outcome.last:
            assert request.sent == outcome.total == 1000 + 20_000 * (request.piece % 4)
            del self.open[link][outcome.request]

    @invariant()
    def the_books_agree(self) -> None:
        self.upload.check_invariants()
        for link, requests in self.open.items():
            assert self.upload.has_work(LinkId(link)) == bool(requests)
            statistics = self.upload.link_statistics(LinkId(link), self.now)
            assert statistics.waiting == len(requests)


TestUploadMachine = UploadMachine.TestCase
TestUploadMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
