"""Who hears of a new piece, and when: the news of a member, with neighbours that only listen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from peer.alarm import Alarm
from peer.bitfield import Bitfield
from peer.ids import LinkId, PieceIndex
from peer.limits import NEWS_DELAY_S, NEWS_DELAY_SLOW_S, NEWS_OFFERS
from peer.link import Link
from peer.news import News

PIECES = 8
NEIGHBOURS = 3 * NEWS_OFFERS
MOMENT_S = NEWS_DELAY_S / 20


class Neighbour:
    """What `News` sees of a link. heard: the pieces of each message."""

    def __init__(self, number: int) -> None:
        self.id = LinkId(number)
        self.wants_us = False
        self.choked = True
        self.pieces = Bitfield(PIECES)
        self.news: list[PieceIndex] = []
        self.news_due = inf
        self.heard: list[list[PieceIndex]] = []

    def flush_news(self) -> None:
        self.heard.append(self.news)
        self.news, self.news_due = [], inf


@asynccontextmanager
async def telling(
    neighbours: list[Neighbour], waiting: tuple[int, ...] = (), *, idle: bool = True
) -> AsyncIterator[News]:
    """waiting: who has requests open with us. idle: what is said of the uplink."""
    alarm = Alarm()
    links = cast("dict[LinkId, Link]", {neighbour.id: neighbour for neighbour in neighbours})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        yield News(links, alarm, waiting=waiting.__contains__, idle=lambda: idle)
        nursery.cancel_scope.cancel()


def told(neighbours: list[Neighbour]) -> set[int]:
    return {neighbour.id for neighbour in neighbours if neighbour.heard}


async def test_an_idle_uplink_offers_a_piece_to_a_few_and_the_others_hear_soon(
    autojump_clock: MockClock,
) -> None:
    neighbours = [Neighbour(number) for number in range(NEIGHBOURS)]
    async with telling(neighbours) as news:
        news.held(PieceIndex(2))
        await trio.sleep(MOMENT_S)
        first = told(neighbours)
        assert len(first) == NEWS_OFFERS
        news.held(PieceIndex(5))
        await trio.sleep(MOMENT_S)
        assert told(neighbours) == first, "not again within NEWS_DELAY_S"
        await trio.sleep(NEWS_DELAY_SLOW_S)
    for neighbour in neighbours:
        apart = [[2], [5]] if neighbour.id in first else [[2, 5]]
        assert neighbour.heard == apart, "every piece once"


async def test_the_next_offer_goes_to_others(autojump_clock: MockClock) -> None:
    neighbours = [Neighbour(number) for number in range(NEIGHBOURS)]
    async with telling(neighbours) as news:
        news.held(PieceIndex(0))
        await trio.sleep(NEWS_DELAY_SLOW_S + MOMENT_S)
        for neighbour in neighbours:
            neighbour.heard.clear()
        news.held(PieceIndex(7))
        await trio.sleep(MOMENT_S)
        assert told(neighbours) == set(range(7, 7 + NEWS_OFFERS))


async def test_a_busy_uplink_offers_nothing(autojump_clock: MockClock) -> None:
    neighbours = [Neighbour(number) for number in range(NEIGHBOURS)]
    neighbours[0].wants_us, neighbours[0].choked = True, False
    async with telling(neighbours, waiting=(0,), idle=False) as news:
        news.held(PieceIndex(2))
        await trio.sleep(MOMENT_S)
        assert not told(neighbours)
        await trio.sleep(NEWS_DELAY_SLOW_S)
        assert told(neighbours) == set(range(1, NEIGHBOURS)), "who waits anyway is told later"


@pytest.mark.parametrize("use", ["holds it", "wants us, and is choked"])
async def test_nothing_is_offered_to_who_has_no_use_for_it(use: str, autojump_clock: MockClock) -> None:
    neighbours = [Neighbour(number) for number in range(2)]
    if use == "holds it":
        neighbours[0].pieces.add(2)
    else:
        neighbours[0].wants_us = True
    async with telling(neighbours) as news:
        news.held(PieceIndex(2))
        await trio.sleep(NEWS_DELAY_SLOW_S)
        assert told(neighbours) == {1}
