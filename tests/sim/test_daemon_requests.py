"""Noise, floods and nonsense at a daemon's ear: an error each, and nothing else is harmed."""

import math
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from peer.control import protocol
from peer.control.client import DaemonError
from peer.control.protocol import Get, List, Share, Status
from peer.control.server import ControlServer
from peer.daemon.following import Report
from peer.errors import StorageError
from peer.limits import CONTROL_ANSWERS_BYTES, CONTROL_PENDING_MAX
from peer.magnet import parse
from peer.net.outward import OutwardAddress
from peer.sim.world import PORT, write_file
from tests.sim.machines import DATA, machines


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1\xc1", b"\0\0\0\0", b"\xff" * 100, b"\0\0\0\5\x81\xa2do\xc0", b""],
)
async def test_noise_gets_an_error_and_harms_nothing(noise: bytes, autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            await ours.send_all(noise)
            if noise:
                with trio.fail_after(5):
                    assert b"error" in await ours.receive_some()
            await ours.aclose()
        assert (await a.ask(Status()))["known"] == 0


async def test_after_a_request_that_makes_no_sense_the_next_one_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            await ours.send_all(b"\0\0\0\1\xc1" + protocol.encode_request(9, Status()))
            with trio.fail_after(5):
                answers = bytes(await ours.receive_some())
            assert b"error" in answers
            assert b"done" in answers
            nursery.cancel_scope.cancel()


async def test_a_flood_of_slow_requests_is_refused_beyond_its_limit(autojump_clock: MockClock) -> None:
    async with machines("a") as (_, [a]):
        ours, theirs = trio.testing.memory_stream_pair()
        nobody = "magnet:?xt=urn:blake3:" + "ab" * 32
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(a.daemon).serve, theirs)
            for number in range(CONTROL_PENDING_MAX + 5):
                await ours.send_all(protocol.encode_request(number, Get(nobody, "/in")))
            await trio.sleep(1)
            answers = bytes(await ours.receive_some(1 << 20))
            assert answers.count(b"requests at once") == 5
            nursery.cancel_scope.cancel()


async def test_a_known_shares_limit_goes_when_none_is_asked_for(
    autojump_clock: MockClock,
) -> None:
    """It stayed: in the record, no limit looked like one that was not named."""
    async with machines("a") as (_, [a]):
        write_file(a.files, ("data", "film.bin"), DATA)

        async def limits(up: float | None = None, down: float | None = None) -> tuple[object, object]:
            await a.ask(Share("/data/film.bin", up=up, down=down))
            (row,) = (await a.ask(List()))["shares"]
            return row["up"], row["down"]

        assert await limits(up=1000.0, down=2000.0) == (1000.0, 2000.0)
        assert await limits() == (1000.0, 2000.0)
        assert await limits(up=math.inf) == (None, 2000.0)
        assert await limits(down=math.inf) == (None, None)


async def test_a_share_with_an_address_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    """It was kept, and from then on no list of the shares could be made."""
    async with machines("a") as (_, [a]):
        write_file(a.files, ("data", "film.bin"), DATA)
        for request in (
            Share("/data/film.bin", announce="no address"),
            Share("/data/film.bin", trackers=("no address",)),
            Share("/data/film.bin", up=math.inf),
        ):
            with suppress(DaemonError):
                await a.ask(request)
            assert len((await a.ask(List()))["shares"]) <= 1
        await a.crash()
        assert not (await a.ask(List()))["damaged"]


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("text", "link"), [("files.example", f"files.example:{PORT}"), ("[::7]:9", "[::7]:9")]
)
async def test_a_link_has_the_port_that_the_daemon_listens_on(
    text: str, link: str, configured: bool, autojump_clock: MockClock
) -> None:
    """Without a port it was 7701 whatever the daemon's was; and so it stayed when that changed."""
    async with machines("a") as (_, [a]):
        write_file(a.files, ("data", "film.bin"), DATA)
        if configured:
            a.daemon.context.announce = OutwardAddress.parse(text)
        said = (await a.ask(Share("/data/film.bin", announce=None if configured else text)))["link"]
        assert [str(peer) for peer in parse(said).peers] == [link]
        if configured:
            return
        await a.crash()
        a.peer.node.services.port = 4000
        [row] = (await a.ask(List()))["shares"]
        assert [str(peer) for peer in parse(row["link"]).peers] == [link.replace(str(PORT), "4000")]


@pytest.mark.parametrize("error", [trio.BrokenResourceError(), StorageError("the source has changed")])
async def test_who_hangs_up_while_something_fails_does_not_end_the_daemon(
    error: Exception, autojump_clock: MockClock
) -> None:
    """Ctrl-C at `peer share` while the daemon hashed for it ended the daemon."""

    class Failing:
        def quick(self, request: protocol.Request) -> None:
            return None

        async def perform(self, request: protocol.Request, report: Report) -> protocol.Body:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise error

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ControlServer(Failing()).serve, theirs)
        await ours.send_all(protocol.encode_request(1, List()))
        await trio.sleep(1)
        await ours.aclose()


async def test_a_flood_of_small_requests_with_large_answers_is_answered_bit_by_bit(
    autojump_clock: MockClock,
) -> None:
    """All answers to one chunk were put together first: gigabytes for 64 KiB of requests."""
    body = protocol.pack_body({"large": b"x" * 300_000})

    class Quick:
        def quick(self, request: protocol.Request) -> bytes:
            return body

        async def perform(self, request: protocol.Request, report: Report) -> protocol.Body:
            raise AssertionError

    ours, theirs = trio.testing.memory_stream_pair()
    sizes: list[int] = []
    send = theirs.send_stream.send_all

    async def send_all(data: bytes) -> None:
        sizes.append(len(data))
        await send(data)

    theirs.send_stream.send_all = send_all  # type: ignore[method-assign, assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ControlServer(Quick()).serve, theirs)
        await ours.send_all(b"".join(protocol.encode_request(number, Status()) for number in range(20)))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sum(sizes) > 20 * len(body)
    assert max(sizes) < CONTROL_ANSWERS_BYTES + 2 * len(body)
