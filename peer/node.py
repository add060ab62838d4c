"""The composition root: makes the parts, listens, greets strangers, and hands each to the member that it asks
for. It decides nothing else.

Lifetimes: `run` owns the listeners and the greetings; whoever calls `take_part` owns the member. So a share
that fails takes nothing else with it.
"""

import logging
from collections.abc import Awaitable, Callable
from random import Random

import trio

from peer.alarm import Alarm
from peer.buffers import BufferPool
from peer.errors import ByeCode, ConnectionLost, LocalProtocolError, RemoteProtocolError
from peer.greeting import Greeted, welcome
from peer.ids import Address, NodeId, ShareId
from peer.limits import LINKS_MAX, OPENING_S
from peer.member import Member
from peer.net.lan import Lan, NoLan
from peer.net.transport import Listener, Stream, Transport
from peer.pacing import Pacer
from peer.services import Services
from peer.swarm.door import Admitted, Door, DoorBounds, Guest
from peer.swarm.policies import Policies
from peer.trace import EventTrace, NoTrace
from peer.wire.messages import Hello
from peer.wire.session import Session
from peer.workers import Workers

logger = logging.getLogger(__name__)


class Node:
    """One node: an identity, a transport, and the swarms that it takes part in.

    up, down: bytes a second for the whole node, None for no limit. links_max: connected peers of one share.
    policies: others than those that users run, for an experiment.
    """

    def __init__(
        self,
        node: NodeId,
        transport: Transport,
        workers: Workers,
        rng: Random,
        *,
        up: float | None = None,
        down: float | None = None,
        trace: EventTrace | None = None,
        lan: Lan | None = None,
        alarm: Alarm | None = None,
        bounds: DoorBounds | None = None,
        links_max: int = LINKS_MAX,
        policies: Policies | None = None,
    ) -> None:
        alarm = alarm or Alarm()
        self.services = Services(
            node=node,
            transport=transport,
            workers=workers,
            buffers=BufferPool(),
            rng=rng,
            alarm=alarm,
            up=Pacer(up, alarm),
            down=Pacer(down, alarm),
            trace=trace or NoTrace(),
            lan=lan or NoLan(),
            policies=policies or Policies(),
            links_max=links_max,
        )
        self.members: dict[ShareId, Member] = {}
        self.absent: Callable[[ShareId], Awaitable[Member | None]] | None = None
        """Asked for the member of a share that nobody asked for lately: None if there is none."""
        self.addresses: tuple[Address, ...] = ()
        self.door = Door(bounds)
        self._greetings: dict[Guest, trio.CancelScope] = {}
        self._listeners: list[Listener] = []

    async def listen(self, host: str | None, port: int) -> tuple[Address, ...]:
        """Listen from now on. Raises UsageError for a port that is taken."""
        self._listeners = await self.services.transport.listen(host, port)
        self.addresses = tuple(listener.address for listener in self._listeners)
        self.services.port = self.addresses[0].port
        return self.addresses

    async def run(self) -> None:
        """Accept and keep time until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.services.alarm.run)
                if not isinstance(self.services.lan, NoLan):  # there is nothing to keep in step
                    nursery.start_soon(self.services.lan.run)
                for listener in self._listeners:
                    nursery.start_soon(self._accept, listener, nursery)
        finally:
            with trio.CancelScope(shield=True):
                for listener in self._listeners:
                    await listener.aclose()

    async def take_part(
        self, member: Member, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run a member until it fails or is cancelled; started when it can be greeted. Raises what
        `Member.run` does."""
        if member.share in self.members:
            raise LocalProtocolError("this node takes part in that swarm already")
        self.members[member.share] = member
        try:
            await member.run(task_status)
        finally:
            del self.members[member.share]

    async def goodbye(self) -> None:
        """Tell all peers that we leave; bounded in time."""
        async with trio.open_nursery() as nursery:
            for member in self.members.values():
                nursery.start_soon(member.goodbye)

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self.door.wait(trio.current_time()))  # the others wait in the kernel's queue
            stream = await listener.accept()
            connected = sum(len(member.links) for member in self.members.values())
            verdict = self.door.knock(stream.remote.host, trio.current_time(), connected)
            if not isinstance(verdict, Admitted):
                logger.debug("turned away %s: %s", stream.remote, verdict.value)
                await trio.aclose_forcefully(stream)
                continue
            if verdict.instead is not None:
                self._greetings[verdict.instead].cancel()
            scope = self._greetings[verdict.guest] = trio.CancelScope(
                deadline=trio.current_time() + OPENING_S
            )
            nursery.start_soon(self._greet, stream, verdict.guest, scope)

    async def _greet(self, stream: Stream, guest: Guest, scope: trio.CancelScope) -> None:
        """Learn what a stranger wants. Nothing that it does may end more than its connection."""
        greeted: Greeted | None = None
        try:
            with scope:
                stream = await self.services.transport.accept(stream)
                session = Session(buffers=self.services.buffers)
                greeted = await welcome(stream, session, self._answer)
        except (ConnectionLost, RemoteProtocolError, trio.BrokenResourceError) as error:
            logger.debug("a stranger did not get in: %s", error)
        except Exception:  # a bug of ours, or of a library that reads what strangers send: theirs to find
            logger.exception("greeting %s failed in a way that it should not", stream.remote)
        finally:
            del self._greetings[guest]
            self.door.left(guest)
            if greeted is None:
                await trio.aclose_forcefully(stream)
        if greeted is not None:
            member = self.members.get(greeted.hello.share)
            if member is None or not member.accept(greeted):
                await trio.aclose_forcefully(stream)

    async def _answer(self, theirs: Hello) -> Hello | tuple[ByeCode, str]:
        member = self.members.get(theirs.share)
        if member is None and self.absent is not None:
            member = await self.absent(theirs.share)
        if member is None:
            return ByeCode.UNKNOWN_SHARE, "this node does not have that share"
        return member.hello()
