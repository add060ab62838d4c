"""What the choker is told of a member's links, and what becomes of what it decides."""

from unittest.mock import Mock

import pytest
import trio
from trio.testing import MockClock

from peer.choking import Choking
from peer.ids import LinkId, NodeId
from peer.link import Link
from peer.swarm.choker import PeerView
from peer.swarm.slots import UplinkView

ROUND_S = 10.0


class Desk:
    """Choking over links and a choker that are stand-ins: it serves whom `served` names."""

    def __init__(self) -> None:
        self.links: dict[LinkId, Link] = {}
        self.choker = Mock(has_free_slot=False)
        self.choker.serves.return_value = False
        self.choker.next_round.side_effect = lambda now: now + ROUND_S
        self.outflow, self.dry = Mock(), set[LinkId]()
        self.outflow.statistics.return_value = Mock(rate=5.0, answers=7, ran_dry=2)
        self.outflow.upload.is_dry.side_effect = lambda link, now: link in self.dry
        self.limit: float | None = None
        self.seeding = False
        self.serve()
        self.choking = Choking(
            self.choker,
            self.links,
            self.outflow,
            seeding=lambda: self.seeding,
            limit=lambda: self.limit,
        )

    def serve(self, *links: int) -> None:
        self.choker.round.return_value = self.choker.refill.return_value = tuple(map(LinkId, links))

    def link(self, number: int, *, choked: bool = True, wants: bool = True, node: int = 0) -> Mock:
        link = Mock(
            id=LinkId(number),
            node=NodeId(bytes([node or number]) * 32),
            choked=choked,
            wants_us=wants,
            since=1.5,
            received_bytes=0,
            sent_bytes=0,
        )
        link.meter_in.rate.return_value = 0.0
        link.snubs.return_value = False
        self.links[link.id] = link
        return link

    def views(self) -> list[PeerView]:
        """What the choker was told of the links when its round began."""
        return list(self.choker.round.call_args.args[1])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_round_begins_when_it_is_due(desk: Desk) -> None:
    for now in (100.0, 101.0, 100.0 + ROUND_S - 0.1):
        desk.choking.tick(now)
    assert desk.choker.round.call_count == 1
    assert not desk.choker.refill.called
    desk.choking.tick(100.0 + ROUND_S)
    assert desk.choker.round.call_count == 2


@pytest.mark.parametrize("seeding", [False, True])
def test_a_round_is_told_of_every_link_and_of_the_uplink(seeding: bool, desk: Desk) -> None:
    desk.seeding, desk.limit = seeding, 1000.0
    wanting, resting = desk.link(1), desk.link(2, wants=False)
    wanting.received_bytes, wanting.sent_bytes = 30, 40
    wanting.meter_in.rate.return_value = 3.5
    wanting.snubs.return_value = True
    nameless = desk.link(3)
    nameless.pieces = None  # it cannot ask for anything yet
    desk.choking.tick(20.0)
    assert desk.choker.round.call_args.args == (
        20.0,
        [PeerView(LinkId(1), True, 3.5, 40, 1.5, True, 30, False), PeerView(resting.id, False)],
        seeding,
        UplinkView(5.0, 1000.0, 7, 2),
    )


def test_who_comes_back_is_no_newcomer(desk: Desk) -> None:
    """What went over its earlier links counts with what goes over this one."""
    before = desk.link(1, node=9)
    before.received_bytes, before.sent_bytes = 100, 200
    del desk.links[before.id]
    desk.choking.left(before)
    again = desk.link(2, node=9)
    again.received_bytes, again.sent_bytes = 5, 6
    desk.choking.tick(20.0)
    assert desk.views() == [
        PeerView(LinkId(2), True, sent_bytes=206, joined_at=1.5, received_bytes=105, snubs=False)
    ]


def test_who_is_chosen_is_served_and_all_others_are_choked(desk: Desk) -> None:
    chosen, resting, served = desk.link(1), desk.link(2), desk.link(3, choked=False)
    desk.serve(1)
    desk.choking.tick(0.0)
    desk.outflow.unchoke.assert_called_once_with(chosen)
    desk.outflow.choke.assert_called_once_with(served)
    assert resting.choked


def test_who_may_send_nothing_serves_nobody(desk: Desk) -> None:
    """Whoever were told otherwise would ask here, and wait for ever."""
    desk.limit = 0.0
    desk.link(1, choked=False)
    desk.serve(1)
    desk.choking.tick(0.0)
    assert not desk.outflow.unchoke.called
    assert desk.outflow.choke.called


@pytest.mark.parametrize(
    ("dry", "waiting", "limit", "refilled"),
    [
        (True, True, None, True),
        (False, True, None, False),
        (True, False, None, False),
        (True, True, 1000.0, False),  # few links share it in turns, and it is busy if any of them asks
    ],
)
async def test_between_rounds_another_is_served_beside_a_dry_slot(
    dry: bool, waiting: bool, limit: float | None, refilled: bool, desk: Desk, autojump_clock: MockClock
) -> None:
    desk.limit = limit
    served = desk.link(1, choked=False)
    desk.link(2, wants=waiting)
    now = trio.current_time()
    desk.choking.tick(now)
    if dry:
        desk.dry.add(served.id)
    desk.choking.tick(now + 1)
    assert desk.choker.refill.called is refilled


async def test_who_waits_and_would_be_dry_is_no_dry_slot(desk: Desk, autojump_clock: MockClock) -> None:
    """Only who is served can leave a slot idle."""
    waiting = desk.link(1)
    desk.link(2, choked=False)
    now = trio.current_time()
    desk.choking.tick(now)
    desk.dry.add(waiting.id)
    desk.choking.tick(now + 1)
    assert not desk.choker.refill.called


async def test_who_is_served_and_wants_nothing_is_no_dry_slot(desk: Desk, autojump_clock: MockClock) -> None:
    """It loses its slot at once, by itself."""
    desk.link(1)
    idle = desk.link(2, choked=False, wants=False)
    now = trio.current_time()
    desk.choking.tick(now)
    desk.dry.add(idle.id)
    desk.choking.tick(now + 1)
    assert not desk.choker.refill.called


async def test_where_all_who_want_are_served_nobody_is_looked_for(
    desk: Desk, autojump_clock: MockClock
) -> None:
    served = desk.link(1, choked=False)
    desk.link(2, wants=False)
    now = trio.current_time()
    desk.choking.tick(now)
    desk.dry.add(served.id)
    desk.choking.tick(now + 1)
    assert not desk.choker.refill.called


@pytest.mark.parametrize(
    ("on", "free", "serves", "refilled"),
    [
        (True, True, False, True),
        (True, False, True, False),
        (False, False, True, True),
        (False, True, False, False),
    ],
)
async def test_a_free_slot_need_not_wait_for_the_round(
    on: bool, free: bool, serves: bool, refilled: bool, desk: Desk, autojump_clock: MockClock
) -> None:
    desk.choker.has_free_slot = free
    desk.choker.serves.return_value = serves
    desk.choking.wants(desk.link(1), on)
    assert desk.choker.refill.called is refilled


@pytest.mark.parametrize("serves", [False, True])
async def test_the_slot_of_who_left_is_given_away_at_once(
    serves: bool, desk: Desk, autojump_clock: MockClock
) -> None:
    desk.choker.serves.return_value = serves
    other = desk.link(2)
    desk.serve(2)
    desk.choking.left(Mock(id=LinkId(1), node=NodeId(bytes(32)), received_bytes=0, sent_bytes=0))
    assert desk.outflow.unchoke.call_args_list == ([((other,),)] if serves else [])
