"""A simulated machine with a daemon, that is killed, loses power and is started again; and commands' ends of
connections to it."""

import errno
import gc
from collections.abc import Callable
from random import Random

import trio
import trio.testing

from peer.control.protocol import (
    Answer,
    Done,
    Failed,
    FrameReader,
    Progress,
    Request,
    decode_answer,
    encode_request,
)
from peer.control.server import ControlServer
from peer.daemon.daemon import Daemon
from peer.daemon.shelf import Shelf
from peer.limits import CONTROL_REPLY_BYTES_MAX
from peer.node import Node
from peer.sim.alarm import SimAlarm
from peer.sim.files import SimFolder
from peer.sim.places import SimPlaces
from peer.sim.world import PORT, SimPeer, World, write_file
from tests.chaos.violation import demand

LAST_WORDS_S = 0.2
"""A daemon that stops lets commands hear of it for so long, as `peer serve` does."""

STOP_S = 60.0
"""By then it has ended."""


class DaemonMachine:
    """See the module. ``dead``: no process runs on it."""

    def __init__(self, world: World, peer: SimPeer) -> None:
        self.peer = peer
        self.daemon: Daemon
        self.dead = True
        self.busy = trio.Lock()
        """Whoever switches it on or off holds this."""
        self._world = world
        self._server: ControlServer
        self._sessions: trio.Nursery
        self._ended: trio.Event
        write_file(self.files, ("home", "shares", "x"), b"")
        self.files.remove(("home", "shares", "x"))
        self.files.sync_everything()

    @property
    def files(self) -> SimFolder:
        """Its disk, as a person sees it."""
        return SimFolder(self.peer.disk, (), label="")

    async def boot(self) -> None:
        """Switch it on, until the daemon answers."""
        peer = self.peer
        peer.host.start()
        peer.off = trio.Event()
        peer._nursery = await self._world.nursery.start(peer._live, peer.off)
        alarm = SimAlarm(self._world.network.agenda)
        transport = peer.host.transport(peer.node_id)
        peer.node = Node(peer.node_id, transport, peer.workers, peer._rng, alarm=alarm)
        await peer.node.listen(None, PORT)
        shelf = Shelf(SimFolder(peer.disk, ("home", "shares"), label=""))
        self.daemon = Daemon(peer.node, peer.workers, shelf, SimPlaces(peer.disk))
        self.daemon.context.host = peer.host.address
        self._server = ControlServer(self.daemon)
        started, ended = trio.Event(), trio.Event()
        self._ended = ended
        generation = peer.disk.generation

        async def run() -> None:
            try:
                await self._serve(self.daemon, started)
            except* Exception:
                if generation == peer.disk.generation:
                    raise
                # a process that was killed: whatever its tasks meet on their way out, nobody is there to see
            finally:
                ended.set()

        peer.start_soon(run)
        await started.wait()
        self.dead = False

    async def _serve(self, daemon: Daemon, started: trio.Event) -> None:
        """As `cli/serving.py` does."""
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as self._sessions:
                await nursery.start(daemon.run)
                started.set()
                await daemon.stopping.wait()
                await trio.sleep(LAST_WORDS_S)
                self._sessions.cancel_scope.cancel()
            await daemon.ended.wait()
            nursery.cancel_scope.cancel()

    async def kill(self, power_seed: int | None) -> None:
        """kill -9, or with a seed a power loss."""
        self.dead = True
        await self.peer.crash(power_seed=power_seed)
        await self.peer.off.wait()

    async def stopped(self) -> None:
        """The daemon was told to stop: what it leaves behind when it has ended."""
        self.dead = True
        peer = self.peer
        with trio.move_on_after(STOP_S):
            await self._ended.wait()
        demand(self._ended.is_set(), "stop", f"has not ended after {STOP_S:.0f} s")
        await trio.testing.wait_all_tasks_blocked()
        demand(not peer.node.members, "leak", "a stopped daemon has open shares")
        if peer.disk.open_files:
            for resident in self.daemon.residents.values():
                resident.error = None
            gc.collect()  # a file closes with the last that refers to it, which may be an error's traceback
        demand(not peer.disk.open_files, "leak", f"a stopped daemon has {peer.disk.open_files} files open")
        lent = peer.node.services.buffers.statistics().lent_bytes  # type: ignore[attr-defined]
        demand(not lent, "leak", f"a stopped daemon never gave back {lent} bytes of buffers")
        tasks = peer._nursery.child_tasks
        demand(not tasks, "leak", f"a stopped daemon left {[task.name for task in tasks]}")
        peer.host.crash()  # its process is gone
        peer.disk.kill()
        peer.cut_short()
        await peer.off.wait()

    def connect(self) -> "Line | None":
        """A command's connection; None where nobody listens."""
        if self.dead or self.daemon.stopping.is_set():
            return None
        ours, theirs = trio.testing.memory_stream_pair()
        line = Line(ours)

        async def serve() -> None:
            try:
                await self._server.serve(theirs)
            finally:
                line.over.set()

        self._sessions.start_soon(serve)
        return line


class Line:
    """A connection of commands: requests, and what comes to each. `run` ends when the connection does."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.over = trio.Event()
        """The daemon's side has ended, with all that it did for this connection."""
        self._stream = stream
        self._waiting: dict[int, Callable[[Answer | None], None]] = {}
        self._id = 0
        self._sending = trio.Lock()

    async def ask(self, request: Request, heard: Callable[[Answer | None], None]) -> None:
        """``heard`` is told of each answer; the last is Done, Failed, or None where the connection ended."""
        self._id += 1
        self._waiting[self._id] = heard
        frame = encode_request(self._id, request)
        try:
            async with self._sending:
                await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # `run` finds out as well

    async def run(self) -> None:
        reader = FrameReader(CONTROL_REPLY_BYTES_MAX)
        try:
            while data := await self._stream.receive_some(256 * 1024):
                reader.feed(data)
                while (frame := reader.next_frame()) is not None:
                    self._hear(decode_answer(frame))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await self.over.wait()
        waiting, self._waiting = self._waiting, {}
        for heard in waiting.values():
            heard(None)

    def _hear(self, answer: Answer) -> None:
        demand(answer.id in self._waiting, "answers", f"an answer to nothing, or a second one: {answer!r}")
        match answer:
            case Progress():
                self._waiting[answer.id](answer)
            case Done() | Failed():
                self._waiting.pop(answer.id)(answer)

    async def hang_up(self) -> None:
        await trio.aclose_forcefully(self._stream)

    @property
    def idle(self) -> bool:
        return not self._waiting


def put_file(files: SimFolder, path: tuple[str, ...], data: bytes) -> None:
    """As a person's program does, in place of what is there; the disk may refuse."""
    try:
        if files.kind(path) is not None:
            files.remove(path)
        files.make_folder(path[:-1])
        file = files.create(path)
        file.write(data, 0)
        file.sync()
        file.close()
        files.sync_folder(path[:-1])
    except OSError as error:
        demand(error.errno not in (errno.EBADF,), "harness", repr(error))


def random_bytes(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)
