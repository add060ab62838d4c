"""What a link believes of the other side, what it lets it say, and what it says itself."""

from collections.abc import Callable
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from peer.bitfield import Bitfield
from peer.buffers import BufferPool
from peer.connection import Connection, Ending
from peer.errors import ByeCode, RejectCode, RemoteProtocolError
from peer.ids import Address, LinkId, PieceIndex, RequestId
from peer.limits import HAVES_PER_MESSAGE_MAX, LOST_AGAIN_S, PIECES_MAX, SNUB_S, TALK_BURST
from peer.link import Link, LinkOwner
from peer.wire.events import (
    Answered,
    BitfieldReceived,
    CancelReceived,
    ChokeReceived,
    DataProgress,
    Event,
    HaveReceived,
    InterestedReceived,
    PeersReceived,
    PingReceived,
    Rejected,
    RequestReceived,
)
from peer.wire.messages import Choke, Have, Interested, Message
from peer.wire.session import Session
from tests.pure.wire_helpers import NODE, make_hello

PIECES = 10
HOME = Address("192.0.2.1", 7701)


class Wire:
    """What a link sees of its connection."""

    def __init__(self) -> None:
        self.remote = HOME
        self.session = Session(buffers=BufferPool())
        self.session.greet(make_hello())
        hello = Session(buffers=BufferPool()).greet(make_hello(window=8))
        self.session.get_buffer()[: len(hello)] = hello
        self.session.buffer_updated(len(hello))
        self.is_closing = False
        self.received_at = trio.current_time()
        self.said: list[Message] = []
        self.queued: list[bytes] = []

    def send(self, message: Message) -> None:
        self.said.append(message)

    def queue(self, frame: bytes) -> None:
        self.queued.append(frame)

    def tick(self, now: float) -> None:
        pass


class Owner:
    """Hears everything, remembers the names of the calls."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.heard.append(name)


def open_link() -> tuple[Link, Wire, Owner]:
    wire, owner = Wire(), Owner()
    connection = cast("Connection", wire)
    link = Link(LinkId(1), cast("LinkOwner", owner), connection, node=NODE, address=HOME, dialled=True)
    return link, wire, owner


def haves(*pieces: int) -> HaveReceived:
    return HaveReceived(tuple(PieceIndex(piece) for piece in pieces))


def knowing(*pieces: int) -> tuple[Link, Wire, Owner]:
    """A link whose other side holds these."""
    link, wire, owner = open_link()
    bits = Bitfield(PIECES)
    for piece in pieces:
        bits.add(piece)
    link.handle(BitfieldReceived(bits.to_bytes()))
    link.learn_size(PIECES)
    return link, wire, owner


async def test_a_bitfield_is_no_longer_than_the_largest_shares() -> None:
    """Until the manifest is known it is kept as it came."""
    link, _, owner = open_link()
    with pytest.raises(RemoteProtocolError, match="longer than any"):
        link.handle(BitfieldReceived(bytes(PIECES_MAX // 8 + 2)))
    assert owner.heard == []
    link.handle(BitfieldReceived(bytes(PIECES_MAX // 8)))
    assert link.has_manifest
    assert owner.heard == ["link_offers"]


async def test_haves_of_no_use_are_charged_before_the_manifest_is_known_too(
    autojump_clock: MockClock,
) -> None:
    link, _, _ = open_link()
    link.handle(BitfieldReceived(bytes(TALK_BURST // 4)))
    for piece in range(TALK_BURST + 100):  # news, if only of one of them, is free
        link.handle(haves(0, piece))
    for piece in range(TALK_BURST):
        link.handle(haves(0, piece))
    with pytest.raises(RemoteProtocolError):
        link.handle(haves(0))


async def test_haves_count_before_the_manifest_is_known() -> None:
    link, _, owner = open_link()
    with pytest.raises(RemoteProtocolError, match="before the bitfield"):
        link.handle(haves(1))
    link.handle(BitfieldReceived(bytes(2)))
    link.handle(haves(0, 9))
    link.handle(haves(7))
    with pytest.raises(RemoteProtocolError, match="beyond the bitfield"):
        link.handle(haves(16))
    link.learn_size(PIECES)
    assert link.pieces is not None
    assert [link.pieces[piece] for piece in range(PIECES)] == [piece in {0, 7, 9} for piece in range(PIECES)]
    assert "link_has" not in owner.heard
    with pytest.raises(RemoteProtocolError, match="the share has not"):
        link.handle(haves(PIECES))
    link.handle(haves(PIECES - 1, 2))
    assert owner.heard[-1] == "link_has"


async def test_a_bitfield_of_another_length_than_the_shares_is_a_fault() -> None:
    link, _, _ = open_link()
    link.handle(BitfieldReceived(bytes(3)))
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        link.learn_size(PIECES)


@pytest.mark.parametrize(
    "event",
    [
        haves(3),
        CancelReceived(RequestId(1)),
        ChokeReceived(True),
        InterestedReceived(False),
        PeersReceived(()),
        PingReceived(1),
    ],
    ids=lambda event: type(event).__name__,
)
@pytest.mark.parametrize("known", [True, False])
async def test_what_brings_nothing_is_charged(known: bool, event: Event, autojump_clock: MockClock) -> None:
    link, _, _ = knowing(3)
    if not known:
        link, _, _ = open_link()
        link.handle(BitfieldReceived(b"\x10\0"))
    for _ in range(TALK_BURST):
        link.handle(event)
    with pytest.raises(RemoteProtocolError, match="talks without end"):
        link.handle(event)


async def test_news_requests_and_data_are_not_charged(autojump_clock: MockClock) -> None:
    link, _, _ = knowing()
    for _ in range(TALK_BURST):
        link.handle(RequestReceived(RequestId(0), PieceIndex(1)))
        link.handle(DataProgress(RequestId(0), PieceIndex(1), 10))
    for piece in range(PIECES):
        link.handle(haves(piece))
    for _ in range(TALK_BURST):
        link.charge()


async def test_frames_of_unknown_kinds_are_charged_once_each(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, _, _ = knowing()
    monkeypatch.setattr(Session, "unknown_frames", TALK_BURST)
    link.room(1)
    link.room(1)
    monkeypatch.setattr(Session, "unknown_frames", TALK_BURST + 1)
    with pytest.raises(RemoteProtocolError, match="talks without end"):
        link.room(1)


async def test_a_piece_that_is_lost_twice_is_not_believed_at_once(autojump_clock: MockClock) -> None:
    link, _, owner = knowing(3, 4)
    piece = PieceIndex(3)
    assert link.pieces is not None
    assert link.lost(PieceIndex(5)) is None, "it never said that it had it"
    assert link.lost(piece) is link.pieces
    assert not link.pieces[3]
    assert link.lost(piece) is None, "known already"
    link.handle(haves(3))
    assert bytes(link.pieces.to_bytes())[0] & 0x10, "believed once more"
    assert owner.heard[-1] == "link_has"
    link.lost(piece)
    link.handle(haves(3, 5))
    assert 3 not in link.pieces.indices()
    assert link.pieces[5], "of others its word is good"
    told = len(owner.heard)
    link.tick(trio.current_time() + LOST_AGAIN_S - 1)
    assert len(owner.heard) == told
    link.tick(trio.current_time() + LOST_AGAIN_S)
    assert 3 in link.pieces.indices(), "it may be the only one that has it"
    assert owner.heard[told:] == ["link_has"]


async def test_to_lose_and_regain_is_charged(autojump_clock: MockClock) -> None:
    """Or a link could have and lose its pieces in turns for ever, each time as news."""
    link, _, _ = knowing(*range(PIECES))
    for _ in range(TALK_BURST - PIECES):
        link.charge()
    for piece in range(PIECES):
        link.lost(PieceIndex(piece))
        link.handle(haves(piece))
    with pytest.raises(RemoteProtocolError, match="talks without end"):
        link.charge()


async def test_who_gives_nothing_of_what_it_was_asked_for_snubs_us(autojump_clock: MockClock) -> None:
    link, wire, _ = knowing(3, 4)

    def later(seconds: float) -> bool:
        return link.snubs(trio.current_time() + seconds)

    link.handle(ChokeReceived(False))
    assert not later(2 * SNUB_S), "nothing is asked of it"
    await trio.sleep(2 * SNUB_S)
    link.ask(PieceIndex(3), 100)
    assert not later(SNUB_S)
    assert later(SNUB_S + 1)
    await trio.sleep(SNUB_S / 2)
    link.ask(PieceIndex(4), 100)
    assert later(SNUB_S / 2 + 1), "to ask for more is no news of it"
    wire.received_at = trio.current_time()
    link.handle(DataProgress(RequestId(0), PieceIndex(3), 10))
    assert not later(SNUB_S)
    assert later(SNUB_S + 1)
    link.handle(ChokeReceived(True))
    assert not later(SNUB_S + 1), "it says why"
    link.handle(ChokeReceived(False))
    link.handle(Rejected(RequestId(0), PieceIndex(3), RejectCode.BUSY))
    link.handle(Answered(RequestId(1), PieceIndex(4), memoryview(b"")))
    assert not later(SNUB_S + 1)


async def test_an_answer_ends_its_own_request_only(autojump_clock: MockClock) -> None:
    """What was withdrawn and asked again is open under another id while the first is acknowledged."""
    link, wire, _ = knowing(3)
    piece = PieceIndex(3)
    link.ask(piece, 100)
    link.withdraw(piece)
    link.ask(piece, 100)
    link.handle(Rejected(RequestId(0), piece, RejectCode.CANCELLED, cancelled=True))
    before = len(wire.queued)
    link.withdraw(piece)
    assert len(wire.queued) == before + 1
    link.withdraw(piece)
    assert len(wire.queued) == before + 1


async def test_nothing_is_asked_or_told_after_a_goodbye() -> None:
    link, wire, _ = knowing(3)
    link.ask(PieceIndex(3), 100)
    asked = len(wire.queued)
    wire.is_closing = True
    link.ask(PieceIndex(4), 100)
    link.ask_manifest()
    link.withdraw(PieceIndex(3))
    link.show(Bitfield(PIECES))
    link.reject(RequestId(0), RejectCode.BUSY)
    assert len(wire.queued) == asked
    assert link.session.requests_open == 1


async def test_what_has_not_changed_is_not_said() -> None:
    link, wire, _ = open_link()
    for wanted in (False, True, True, False):
        link.express(wanted)
    for on in (True, False, False, True):
        link.choke(on)
    assert wire.said == [Interested(True), Interested(False), Choke(False), Choke(True)]


async def test_news_go_once_and_in_messages_that_fit() -> None:
    link, wire, _ = open_link()
    link.gather()
    assert not wire.said
    pieces = [PieceIndex(piece) for piece in range(2 * HAVES_PER_MESSAGE_MAX + 1)]
    link.news, link.news_due = list(pieces), 1.0
    link.gather()
    link.gather()
    batches = [message.pieces for message in wire.said if isinstance(message, Have)]
    assert [len(batch) for batch in batches] == [HAVES_PER_MESSAGE_MAX, HAVES_PER_MESSAGE_MAX, 1]
    assert [piece for batch in batches for piece in batch] == pieces
    assert link.news_due == float("inf")


async def test_who_wants_nothing_more_may_only_not_have_heard_of_our_news() -> None:
    link, wire, _ = knowing(3)
    link.news = [PieceIndex(1)]
    link.handle(InterestedReceived(True))
    assert not wire.said
    link.handle(InterestedReceived(False))
    assert wire.said == [Have((PieceIndex(1),))]


async def test_the_manifest_is_asked_for_where_there_is_room(autojump_clock: MockClock) -> None:
    link, wire, _ = open_link()
    for _ in range(10):
        link.ask_manifest()
    assert len(wire.queued) == link.session.requests_open == 8
    before = len(wire.queued)
    link.withdraw(None)
    link.withdraw(None)
    assert len(wire.queued) == before + 1


@pytest.mark.parametrize(
    ("code", "ours", "received", "sent", "well"),
    [
        (None, False, 1, 1, False),
        (ByeCode.GOODBYE, False, 0, 0, False),
        (ByeCode.GOODBYE, False, 1, 0, True),
        (ByeCode.GOODBYE, False, 0, 1, True),
        (ByeCode.DUPLICATE, True, 0, 0, True),
        (ByeCode.DUPLICATE, False, 0, 0, False),
        (ByeCode.DUPLICATE, False, 1, 0, True),
    ],
)
async def test_who_sends_us_away_with_nothing_moved_has_not_ended_well(
    code: ByeCode | None, ours: bool, received: int, sent: int, well: bool
) -> None:
    link, _, _ = open_link()
    link.received_bytes, link.sent_bytes = received, sent
    assert link.ended_well(Ending("", code, ours=ours)) is well
