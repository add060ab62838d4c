"""Connects a member to the peers that its book names: one task that looks, one short task for each dial."""

import logging
from collections.abc import Awaitable, Callable, Iterable

import trio

from peer.buggify import Point, buggify
from peer.errors import ByeCode, ConnectionLost, RemoteProtocolError
from peer.greeting import Greeted, Refused, greet
from peer.ids import Address
from peer.limits import DIAL_S, OPENING_S
from peer.net.transport import Transport
from peer.swarm.known import Dial, Source
from peer.swarm.peerbook import PeerBook
from peer.wire.messages import Hello, KnownPeer
from peer.wire.session import Session

logger = logging.getLogger(__name__)

NOT_NOW = frozenset({ByeCode.FULL, ByeCode.UNKNOWN_SHARE})
"""Refusals after which dialling again at once would only be a nuisance."""

EARLY_DIAL_S = 0.01


class Dialler:
    """Dials for one member. ``serve`` runs the link of a greeted connection until it ends."""

    def __init__(
        self,
        book: PeerBook,
        transport: Transport,
        *,
        hello: Callable[[], Hello],
        session: Callable[[], Session],
        serve: Callable[[Greeted, Address | None], Awaitable[None]],
    ) -> None:
        self._book = book
        self._transport = transport
        self._hello = hello
        self._session = session
        self._serve = serve
        self._wake = trio.Event()
        self.last_error: str | None = None
        """Why the latest dial came to nothing: for people who wonder."""

    def learned(self, peers: Iterable[KnownPeer], source: Source, informant: str = "") -> None:
        """Somebody names peers."""
        now = trio.current_time()
        for peer in peers:
            self._book.add(peer.address, source, now, node=peer.node, informant=informant)
        self.wake()

    def wake(self) -> None:
        """There may be somebody to dial."""
        self._wake.set()

    async def run(self) -> None:
        """Dial until cancelled; each link lives in this task's nursery."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                for dial in self._book.next_dials(now):
                    nursery.start_soon(self._dial, dial)
                deadline = self._book.next_deadline(now)
                self._wake = trio.Event()
                with trio.move_on_at(float("inf") if deadline is None else max(deadline, now + 0.05)):
                    await self._wake.wait()

    async def _dial(self, dial: Dial) -> None:
        greeted = await self._open(dial)
        self.wake()  # one dial fewer is under way, by the time that the other task runs
        if greeted is not None:
            await self._serve(greeted, dial.address)
            self.wake()

    async def _open(self, dial: Dial) -> Greeted | None:
        stream = None
        try:
            with trio.fail_after(EARLY_DIAL_S if buggify(Point.EARLY_DIAL_TIMEOUT) else DIAL_S):
                stream = await self._transport.dial(dial.address, dial.node)
            with trio.fail_after(OPENING_S):
                return await greet(stream, self._session(), self._hello(), dial.node)
        except Refused as refusal:
            self._refused(dial, refusal)
        except (ConnectionLost, RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError) as error:
            text = str(error) or "no answer in time"
            self.last_error = text if str(dial.address) in text else f"{dial.address}: {text}"
            self._book.failed(dial.address, trio.current_time())
        except Exception:  # a bug of ours, or of a library that reads what strangers send
            logger.exception("dialling %s failed in a way that it should not", dial.address)
            self.last_error = f"{dial.address}: an internal error, see the log"
            self._book.failed(dial.address, trio.current_time())
        except BaseException:  # cancelled in the middle of a greeting: nobody else knows of this stream
            if stream is not None:
                await trio.aclose_forcefully(stream)
            raise
        if stream is not None:
            await trio.aclose_forcefully(stream)
        return None

    def _refused(self, dial: Dial, refusal: Refused) -> None:
        now = trio.current_time()
        self.last_error = f"{dial.address}: {refusal}"
        if refusal.code is ByeCode.SELF:
            self._book.own_address(dial.address)
        elif refusal.code is ByeCode.USELESS or refusal.code in NOT_NOW:
            self._book.rest(dial.address, now, for_now=refusal.code in NOT_NOW)
        else:
            self._book.failed(dial.address, now)
