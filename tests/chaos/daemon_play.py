"""Plays a plan of tests/chaos/daemon_plan.py: a daemon whose machine fails, people who ask it for this and
that, and what must be true of its answers by what it has acknowledged (daemon_model.py)."""

import errno
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Final

import trio
import trio.testing

from peer.control import protocol
from peer.control.protocol import Answer, Done, Failed, Progress, Request
from peer.errors import ExitCode
from peer.ids import ShareId
from peer.magnet import MagnetLink
from peer.sim.disk import Operation
from peer.sim.run import run
from peer.sim.trace import Trace
from peer.sim.workers import SlowWorkers
from peer.sim.world import World, open_world
from peer.store.partial import remove_tree
from tests.chaos.daemon_checks import Checks
from tests.chaos.daemon_contents import CONTENTS, VERSIONS, Files, parts_of, share_id
from tests.chaos.daemon_machine import DaemonMachine, Line, put_file
from tests.chaos.daemon_model import Change, Model
from tests.chaos.daemon_plan import BUSY_S, LOCAL, REMOTE, Action, DaemonPlan, Do
from tests.chaos.daemon_requests import Act, Requests
from tests.chaos.house import TrackerHouse
from tests.chaos.outcome import Outcome, outcome_of
from tests.chaos.violation import Violation, demand

LIVENESS_S: Final = 300.0
"""After the faults every get that can be is complete by then."""

LOOK_S: Final = 0.4
STALL_S: Final = 0.3
CAPACITY: Final = 1 << 40


FAILING: Final = (
    Operation.WRITE,
    Operation.SYNC,
    Operation.CREATE,
    Operation.RENAME,
    Operation.SYNC_FOLDER,
    Operation.REMOVE,
    Operation.MAKE_FOLDER,
    Operation.OPEN,
    Operation.READ,
    Operation.LOOK,
    Operation.CLOSE,
)


def play(plan: DaemonPlan) -> Outcome:
    """Run a plan to its end. Never raises for what the daemon did."""
    game = _Game(plan)

    def go() -> None:
        with game.nothing_caught():
            run(plan.seed, game.main)

    return outcome_of(game, go)


class _Game:
    def __init__(self, plan: DaemonPlan) -> None:
        self.plan = plan
        self.trace = Trace()
        self.seconds = 0.0
        self.model = Model()
        self._home: DaemonMachine
        self._lines: dict[int, Line] = {}
        self._unanswered = 0
        self._node_limit: set[float | None] = {None}
        self._contents: dict[ShareId, Files] = {}
        self._remote: list[ShareId] = []
        self._local: dict[str, list[ShareId]] = {}

    @contextmanager
    def nothing_caught(self) -> Iterator[None]:
        """A traceback in the log of a daemon that lives is a Violation at the end."""
        found: list[str] = []
        game = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.exc_info and record.exc_info[1] is not None and not game._home.dead:
                    found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

        handler, logger = Handler(logging.ERROR), logging.getLogger()
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
        demand(not found, "bug", " ".join(found[:1]))

    async def main(self) -> None:
        async with open_world(self.plan.seed, self.trace) as world:
            self._world = world
            await self._populate(world)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._watch)
                for action in self.plan.actions:
                    nursery.start_soon(self._act, action)
                await trio.sleep_until(BUSY_S + 8)
                await self._heal()
                await self._liveness()
                nursery.cancel_scope.cancel()
            await self._end()

    async def _populate(self, world: World) -> None:
        self._house = TrackerHouse(world)
        await self._house.start()
        self._sources = [world.add_machine(f"source{n}", up=self.plan.rate, latency=0.01) for n in range(2)]
        for source in self._sources:
            await source.boot()
        has = ((0, 1, 3), (2, 3, 1))
        for number, files in enumerate(CONTENTS):
            self._remote.append(await share_id(files))
            self._contents[self._remote[-1]] = files
            for source, numbers in zip(self._sources, has, strict=True):
                if number in numbers:
                    await source.share(f"{number}-{REMOTE[number]}", files, trackers=[self._house.address])
        self._has = has
        self._guest = world.add_machine("guest", latency=0.01)
        await self._guest.boot()
        peer = world.add_machine("home", up=2 * self.plan.rate, latency=0.005)
        if self.plan.slow:
            peer.workers = SlowWorkers(Random(self.plan.seed), STALL_S)
        self._home = DaemonMachine(world, peer)
        for path, versions in VERSIONS.items():
            self._local[path] = []
            for files in versions:
                share = await share_id(files)
                self._contents[share] = files
                self._local[path].append(share)
            self._lay_out(path, 0)
        self._local["/in/one.bin"] = [self._remote[0], self._remote[2]]
        self._checks = Checks(self.plan, self._home, self.model, self._contents, self._remote)
        self._requests = Requests(
            self.model,
            self._remote,
            self._local,
            [source.address for source in self._sources],
            self._has,
            self._house.address,
        )
        await self._home.boot()

    def _lay_out(self, path: str, version: int) -> None:
        if path in VERSIONS:
            versions = VERSIONS[path]
            for below, data in versions[version % len(versions)].items():
                put_file(self._home.files, (*parts_of(path), *below), data)

    # --- commands

    async def _act(self, action: Action) -> None:
        await trio.sleep_until(action.at)
        self.trace.add("act", action.describe())
        match action.do:
            case Do.EDIT:
                self._lay_out(LOCAL[action.what % 4], action.seed)
            case Do.LOSE:
                with suppress(OSError):
                    remove_tree(self._home.files, parts_of(LOCAL[action.what % 4]))
            case Do.KILL | Do.POWER | Do.STOP:
                await self._restart(action)
            case Do.FULL:
                await self._full(action)
            case Do.FAIL:
                self._fail(action)
            case Do.SOURCE:
                await self._source_leaves(action)
            case Do.CUT:
                self._world.network.cut(self._home.peer.host, self._sources[action.where % 2].host)
                await trio.sleep(5 * action.amount)
                self._world.network.heal()
            case Do.GUEST:
                await self._visit(action)
            case _:
                await self._command(action)

    async def _command(self, action: Action) -> None:
        line = self._lines.get(action.line) if action.line is not None else None
        if line is None:
            line = await self._new_line(action.line)
        if line is not None:
            await self._ask(line, *self._requests.draw(action))
            if action.hangs_up is not None:
                await trio.sleep(action.hangs_up)
                await line.hang_up()
            elif action.line is None:
                self._nursery.start_soon(self._close_when_idle, line)

    async def _new_line(self, number: int | None) -> Line | None:
        line = self._home.connect()
        if line is None:
            return None
        if number is not None:
            self._lines[number] = line

        async def live() -> None:
            await line.run()
            if number is not None and self._lines.get(number) is line:
                del self._lines[number]

        self._nursery.start_soon(live)
        return line

    async def _close_when_idle(self, line: Line) -> None:
        while not line.idle:  # noqa: ASYNC110 - virtual time, and no event for this
            await trio.sleep(0.5)
        await line.hang_up()

    async def _ask(self, line: Line, request: Request, act: Act) -> None:
        self._unanswered += 1

        def heard(answer: Answer | None) -> None:
            if not isinstance(answer, Progress):
                self._unanswered -= 1
                said = answer.text if isinstance(answer, Failed) else type(answer).__name__
                self.trace.add("answer", repr(request)[:120], said[:160])
            if isinstance(answer, Failed):
                demand(answer.code != ExitCode.INTERNAL, "internal", f"{request}: {answer.text}")
            act.hear(answer)

        await line.ask(request, heard)

    # --- faults

    async def _restart(self, action: Action) -> None:
        home = self._home
        async with home.busy:
            if home.dead:
                return
            await self._go_down(action.do, action.seed)
            await trio.sleep(2 * action.amount**2)
            home.peer.disk.heal()
            await home.boot()
            self._checks.check()

    async def _go_down(self, how: Do, seed: int) -> None:
        home = self._home
        if how is Do.STOP:
            line = home.connect()
            assert line is not None
            self._nursery.start_soon(line.run)
            heard = trio.Event()

            def hear(answer: Answer | None) -> None:
                demand(isinstance(answer, Done), "stop", f"stop was answered with {answer!r}")
                heard.set()

            await line.ask(protocol.Stop(), hear)
            await heard.wait()
            await home.stopped()
        else:
            await home.kill(seed if how is Do.POWER else None)
        await trio.testing.wait_all_tasks_blocked()  # those who asked have heard that it is gone
        self.trace.add("down")

    async def _full(self, action: Action) -> None:
        disk = self._home.peer.disk
        disk.capacity_bytes = int(disk.used_sectors * 4096 + action.amount * 20_000)
        await trio.sleep(8 * action.amount)
        disk.capacity_bytes = CAPACITY

    def _fail(self, action: Action) -> None:
        rng, disk = Random(action.seed), self._home.peer.disk
        code = rng.choice((errno.EIO, errno.ENOSPC, errno.EIO))
        happens = rng.choice((0.0, 0.0, 1.0))
        disk.fail(
            code, rng.choice(FAILING), nth=rng.randint(1, 6), times=rng.choice((1, 2, 5)), happens=happens
        )

    async def _source_leaves(self, action: Action) -> None:
        number = action.where % 2
        source = self._sources[number]
        if source.off.is_set():
            return
        if action.amount < 0.5:
            await source.crash()
            await source.off.wait()
        else:
            await source.switch_off()
            source.host.crash()
        await trio.sleep(6 * action.amount)
        await self._source_returns(number)

    async def _source_returns(self, number: int) -> None:
        source = self._sources[number]
        if not source.off.is_set():
            return
        await source.restart()
        for share in self._has[number]:
            await source.seed(f"{share}-{REMOTE[share]}", trackers=[self._house.address])

    async def _visit(self, action: Action) -> None:
        """Somebody fetches a share from here, for a while."""
        share = self._requests.subject(action)
        fetch = self._guest.fetch(MagnetLink(share, f"visit{action.number}"), peers=[self._home.peer.address])
        await trio.sleep(6 * action.amount)
        fetch.cancel()
        await fetch.ended.wait()
        await fetch.target.close()

    # --- what must hold

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            if not self._home.dead:
                self._checks.check()

    async def _heal(self) -> None:
        home = self._home
        self._world.network.heal()
        for number in range(2):
            await self._source_returns(number)
        async with home.busy:
            home.peer.disk.heal()
            home.peer.disk.capacity_bytes = CAPACITY
            if home.dead:
                await home.boot()
        self._checks.check()
        self.trace.add("healed")

    async def _liveness(self) -> None:
        """What failed is taken up again, as a person does who has read why."""
        begun = trio.current_time()
        while True:
            behind = self._checks.laggards()
            if not behind and not self._unanswered:
                break
            for row in behind:
                if row["state"] == "failed":
                    self.trace.add("resume", row["name"], str(row["error"])[:100])
                    if "not what the link names" in str(row["error"]):
                        remove_tree(self._home.files, parts_of(row["path"]))
                    await self._answer(protocol.Resume(row["share"]), ShareId(bytes.fromhex(row["share"])))
            await trio.sleep(1)
            self.seconds = trio.current_time() - begun
            if self.seconds > LIVENESS_S:
                what = [f"{row['name']} {row['state']} {row['error'] or ''}" for row in behind]
                raise Violation(
                    "liveness", f"after {LIVENESS_S:.0f} s: {what}, {self._unanswered} unanswered"
                )
        self._checks.check()
        for share, row in self._checks.rows().items():
            if row["role"] == "get" and row["complete"] and not row["paused"]:
                self._checks.is_right(share, row)
        await self._fetched_from_here()

    async def _answer(self, request: Request, share: ShareId) -> Answer | None:
        """Ask, and wait; the model is told."""
        line = await self._new_line(None)
        assert line is not None
        answers: list[Answer | None] = []
        change = Change()
        known = self.model.shares[share]
        match request:
            case protocol.Resume():
                change.write(known.paused, False)
            case protocol.Remove():
                change.forget(known)
        act = Act(change)
        heard = trio.Event()

        def hear(answer: Answer | None) -> None:
            act.hear(answer)
            if not isinstance(answer, Progress):
                answers.append(answer)
                heard.set()

        await line.ask(request, hear)
        with trio.move_on_after(LIVENESS_S):
            await heard.wait()
        demand(bool(answers), "answers", f"{request} was never answered")
        await line.hang_up()
        return answers[0]

    async def _fetched_from_here(self) -> None:
        """Whatever is known, complete and as it was can be had from here."""
        told = {row["share"]: row["troubles"] for row in self._home.daemon._status()["shares"]}
        for share, row in self._checks.rows().items():
            served = row["complete"] and not row["paused"] and not told.get(row["share"])
            if served and self._checks.intact(share, row):
                fetch = self._guest.fetch(
                    MagnetLink(share, f"final-{share.hex()[:8]}"), peers=[self._home.peer.address]
                )
                with trio.move_on_after(LIVENESS_S):
                    await fetch.wait()
                now = self._checks.rows()[share]
                said = f"{row['path']} cannot be fetched from here: {now}, {fetch.error}"
                demand(fetch.member.complete.is_set(), "served", said)
                fetch.cancel()
                await fetch.ended.wait()
                await fetch.target.close()

    async def _end(self) -> None:
        """All is as it was acknowledged after one more restart; what is removed leaves nothing."""
        home = self._home
        rng = Random(self.plan.seed)
        async with trio.open_nursery() as self._nursery:
            before = self._checks.rows()
            await self._go_down(rng.choice((Do.STOP, Do.KILL, Do.POWER)), rng.getrandbits(30))
            await home.boot()
            self._checks.check()
            told = {Do.FAIL, Do.FULL} & {action.do for action in self.plan.actions}  # of an error
            same = self._checks.rows().keys() == before.keys()
            demand(bool(told) or same, "forgotten", "other shares after a restart")
            for share in self._checks.rows():
                answer = await self._answer(protocol.Remove(share.hex()), share)
                demand(isinstance(answer, Done), "remove", f"{answer!r}")
            self._checks.check()
            demand(not home.peer.node.members, "orphan", "open shares when none is known")
            await trio.sleep(1)
            if home.peer.disk.open_files:
                gc.collect()
            opened = home.peer.disk.open_files
            demand(not opened, "leak", f"{opened} files open when no share is known")
            for path in home.peer.disk.tree():
                demand(path[:2] != ("home", "shares"), "leak", "/".join(path) + " of no share")
                demand(path[:1] in {("data",), ("moved",), ("in",), ("out",)}, "outside", "/".join(path))
            await self._go_down(Do.STOP, 0)
            self._nursery.cancel_scope.cancel()
