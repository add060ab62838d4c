"""The daemon's ear on real sockets, which know resets: who hangs up at the wrong moment harms nobody else."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from peer.control.protocol import Body, Get, Request, Status, encode_request, pack_body
from peer.control.server import ControlServer


class Busy:
    """Answers every status at once; a get tells of its progress for ever."""

    def quick(self, request: Request) -> bytes | None:
        return pack_body({"state": "well"}) if isinstance(request, Status) else None

    async def perform(self, request: Request, report: Callable[[Body], Awaitable[None]]) -> Body:
        async with trio.open_nursery() as nursery:  # what it raises comes in a group
            nursery.start_soon(self._tell, report)
        return {}

    async def _tell(self, report: Callable[[Body], Awaitable[None]]) -> None:
        while True:
            await report({"done": 1})


@pytest.mark.parametrize("request_", [Status(), Get("magnet:?", "/")], ids=["status", "progress"])
async def test_who_hangs_up_with_an_answer_unread_harms_nobody_else(
    request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C at `peer status` or `peer get` reset the connection, and that ended the daemon."""
    ours, theirs = trio.socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ControlServer(Busy()).serve, trio.SocketStream(ours))
        await theirs.send(encode_request(1, request_))
        await trio.lowlevel.wait_readable(theirs)  # an answer is here
        theirs.close()
    assert not caplog.records
