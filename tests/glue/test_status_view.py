"""What `peer status` shows: piece maps that tell the truth, lines and views that take anything."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from peer.bitfield import Bitfield
from peer.cli.statusview import LEVELS, as_lines, piece_map, render
from peer.cli.tables import state_of
from peer.daemon.status import cells

ROW: dict[str, Any] = {
    "share": "ab" * 32,
    "name": "film.bin",
    "path": "/in/film.bin",
    "role": "get",
    "state": "fetching",
    "complete": False,
    "paused": False,
    "bytes": 1000,
    "files": 1,
    "up": 500_000.0,
    "down": None,
    "link": "magnet:?",
    "error": None,
    "peers": 12,
    "held": 250,
    "wanted": 1000,
    "troubles": ["a file was changed"],
    "sent_away": ["192.0.2.9:7701 sent us away: piece 3 did not verify"],
    "rate_down": 1e6,
    "rate_up": 0.0,
    "known_peers": 3,
    "limited_by": "the origin's uplink",
    "cells": bytes([0, 1, 128, 255]),
    "pieces": 400,
    "links": [
        {
            "address": f"192.0.2.{number}:7701",
            "node": "cd" * 32,
            "pieces": 7,
            "rate_down": 1e5,
            "rate_up": 0.0,
            "chokes_us": number == 1,
            "wants_us": False,
        }
        for number in range(12)
    ],
}


def test_a_share_without_a_byte_has_a_size() -> None:
    assert "size not known" in as_lines(ROW | {"bytes": 0})[0]
    assert "0 B" in as_lines(ROW | {"bytes": 0, "complete": True})[0]


BODY: dict[str, Any] = {
    "known": 40,
    "open": 30,
    "failed": 1,
    "paused": 0,
    "peers": 12,
    "rate_up": 0.0,
    "rate_down": 1e6,
    "up": None,
    "down": 1e6,
    "seconds": 70.0,
    "addresses": ["127.0.0.1:7701"],
    "shares": [ROW] * 30,
    "trackers": [{"tracker": "t:7700", "shares": 40, "error": "refused"}],
    "damaged": [],
}


@given(st.sets(st.integers(0, 499)), st.integers(1, 500), st.integers(1, 64))
def test_a_piece_map_tells_the_truth(held: set[int], size: int, count: int) -> None:
    have = Bitfield(size)
    for piece in held:
        if piece < size:
            have.add(piece)
    drawn = cells(have, count)
    assert len(drawn) == min(count, size)
    for cell, level in enumerate(drawn):
        pieces = [piece for piece in range(size) if piece * len(drawn) // size == cell]
        there = sum(piece in have for piece in pieces)
        assert level == 255 * there // len(pieces)


def test_a_map_shows_what_is_begun_and_what_is_whole() -> None:
    assert piece_map(bytes([0, 1, 254, 255])) == " ▁▇█"
    assert set(piece_map(bytes(range(256)))) == set(LEVELS)
    assert cells(Bitfield(0)) == b""


def test_lines_name_everything_that_matters() -> None:
    text = "\n".join(as_lines(BODY))
    for word in (
        "40 shares", "30 open", "1 failed", "down 1.0 MB/s", "fetching 25 %", "the origin's uplink",
        "up at most 500.0 kB/s", "192.0.2.1:7701", "[c]", "a file was changed", "t:7700", "refused",
    ):  # fmt: skip
        assert word in text
    assert as_lines(ROW)[0] == as_lines(BODY)[2]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (40, 10), (20, 4)])
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    for body in (BODY, ROW, {**BODY, "shares": []}):
        console.print(render(body, height))
    assert "film.bin"[:4] in out.getvalue()


def test_a_name_cannot_draw_on_the_terminal() -> None:
    evil = {
        **ROW,
        "name": "\x1b[2Jx",
        "error": "\x1b[31m",
        "troubles": ["\x1b[1m"],
        "sent_away": ["\x1b[1m"],
        "cells": b"",
    }
    assert "\x1b" not in "\n".join(as_lines({**BODY, "shares": [evil]}))


def test_what_others_say_of_us_is_shown() -> None:
    assert any("sent us away: piece 3" in line for line in as_lines(ROW))


def test_a_state_says_how_far() -> None:
    assert state_of(ROW) == "fetching 25 %"
    assert state_of({**ROW, "complete": True, "state": "seeding"}) == "seeding"
