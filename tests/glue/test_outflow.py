"""What is answered to a link that is choked, cancels, or asks for what cannot be read."""

from unittest.mock import Mock

import pytest
import trio
from trio.testing import MockClock

from peer.alarm import Alarm
from peer.bitfield import Bitfield
from peer.errors import RejectCode, RemoteProtocolError, StorageError, StorageLackError
from peer.ids import LinkId, PieceIndex, RequestId, ShareId
from peer.outflow import Outflow
from peer.pacing import Pacer
from peer.store.layout import Layout

SHARE = ShareId(bytes(32))
PIECE = 16 * 1024
PIECES = 4


class Desk:
    """An outflow with one link, which is served."""

    def __init__(self, rate: float | None = None) -> None:
        self.store, self.lost = Mock(), Mock()
        self.store.slices.return_value = ()
        self.link = Mock(id=LinkId(1), choked=True)
        self.pacer = Pacer(rate, Alarm())
        self.outflow = Outflow(
            SHARE,
            b"manifest",
            Layout(PIECE, [PIECE * PIECES]),
            self.store,
            Bitfield(PIECES, full=True),
            links={self.link.id: self.link},
            holders=lambda piece: 0,
            pacer=self.pacer,
            alarm=Alarm(),
            lost=self.lost,
        )
        self.outflow.joined(self.link)
        self.outflow.unchoke(self.link)
        self.link.choked = False

    def ask(self, request: int, piece: int) -> None:
        self.outflow.asked(self.link, RequestId(request), PieceIndex(piece))

    def rejects(self) -> list[tuple[int, RejectCode]]:
        """Since the last look."""
        said = [call.args for call in self.link.reject.call_args_list]
        self.link.reject.reset_mock()
        return said


async def test_whoever_is_choked_is_refused_what_waits(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.ask(1, 0)
    desk.ask(2, 1)
    desk.outflow.choke(desk.link)
    assert desk.rejects() == [(1, RejectCode.CHOKED), (2, RejectCode.CHOKED)]
    desk.link.choke.assert_called_with(True)
    assert desk.outflow.next_outgoing(desk.link) is None
    assert not desk.link.charge.called
    desk.ask(3, 2)
    assert desk.rejects() == [(3, RejectCode.CHOKED)]
    assert desk.link.charge.called, "it was told"


async def test_a_cancel_is_answered_while_the_answer_is_open(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.ask(1, 0)
    desk.outflow.cancelled(desk.link, RequestId(1))
    assert desk.rejects() == [(1, RejectCode.CANCELLED)]
    desk.outflow.cancelled(desk.link, RequestId(1))
    assert desk.rejects() == []


async def test_a_piece_that_the_share_has_not_is_a_fault(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.ask(1, PIECES - 1)
    with pytest.raises(RemoteProtocolError, match="asked for piece 4 of 4"):
        desk.ask(2, PIECES)


@pytest.mark.parametrize(
    ("error", "code", "lost"),
    [(StorageLackError("x"), RejectCode.BUSY, False), (StorageError("x"), RejectCode.UNREADABLE, True)],
)
async def test_what_cannot_be_read_now_is_not_lost(
    error: StorageError, code: RejectCode, lost: bool, autojump_clock: MockClock
) -> None:
    desk = Desk()
    desk.store.slices.side_effect = error
    desk.ask(1, 0)
    assert desk.outflow.next_outgoing(desk.link) is None
    assert desk.rejects() == [(1, code)]
    assert desk.lost.called is lost
    assert not desk.outflow.upload.has_work(desk.link.id)


async def test_what_a_link_was_granted_or_waits_for_is_given_up_when_it_goes(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(rate=0.0)
    desk.ask(1, 0)
    assert desk.outflow.next_outgoing(desk.link) is None
    assert desk.pacer.limiter.statistics().waiting == 1
    desk.outflow.left(desk.link)
    assert desk.pacer.limiter.statistics().waiting == 0
    desk.pacer.set_rate(None)
    assert desk.link.connection.wake.call_count == 1, "when it asked, and no more"


RATE = 100_000.0


async def granted_desk() -> Desk:
    """Its link has waited for a grant, and has not used it yet."""
    desk = Desk(RATE)
    desk.ask(1, 0)
    assert desk.outflow.next_outgoing(desk.link) is None
    desk.link.connection.wake.reset_mock()
    await trio.sleep(1.0)
    desk.pacer.set_rate(RATE)
    assert desk.link.connection.wake.call_count == 1, "it may go now, and is told"
    assert desk.pacer.limiter.statistics().granted_bytes > 0
    return desk


async def test_a_grant_that_a_link_leaves_behind_goes_back(autojump_clock: MockClock) -> None:
    desk = await granted_desk()
    desk.outflow.left(desk.link)
    assert desk.pacer.limiter.statistics().granted_bytes == 0


async def test_a_grant_for_what_was_refused_meanwhile_goes_back(autojump_clock: MockClock) -> None:
    desk = await granted_desk()
    desk.outflow.choke(desk.link)
    assert desk.outflow.next_outgoing(desk.link) is None
    assert desk.pacer.limiter.statistics().granted_bytes == 0


async def test_what_is_not_needed_of_a_grant_goes_back(autojump_clock: MockClock) -> None:
    desk = await granted_desk()
    desk.outflow.cancelled(desk.link, RequestId(1))
    desk.outflow.asked(desk.link, RequestId(2), None)
    outgoing = desk.outflow.next_outgoing(desk.link)
    assert outgoing is not None
    assert outgoing.payload == len(b"manifest")
    assert desk.pacer.limiter.statistics().granted_bytes == len(b"manifest")
