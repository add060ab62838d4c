"""A simulation repeats from its seed, in virtual time, out of reach of the real world."""

import _thread
import copy
import datetime
import logging
import os
import random
import secrets
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime as Datetime  # noqa: N812 - it must have a name of its own here
from pathlib import Path
from random import Random
from time import time as time_by_name

import pytest
import trio
import trio._core._run as trio_run

from peer.sim.run import run
from peer.sim.seal import SealedError, sealed
from peer.sim.trace import Trace
from tests.sim import scenario

ROOT = Path(__file__).parents[2]


def digest_elsewhere(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.sim.scenario", str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_one_seed_gives_one_trace_in_any_process() -> None:
    here = scenario.digest(1)
    assert digest_elsewhere(1, "1") == here
    assert digest_elsewhere(1, "2") == here
    assert scenario.digest(1) == here
    assert scenario.digest(2) != here


def test_the_order_of_tasks_comes_from_the_seed() -> None:
    async def order() -> tuple[int, ...]:
        ran: list[int] = []

        async def task(number: int) -> None:
            for _ in range(10):
                await trio.lowlevel.checkpoint()
                ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(task, number)
        return tuple(ran)

    orders = [run(seed, order) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_time_is_virtual_and_begins_at_zero() -> None:
    async def day() -> tuple[float, float]:
        begin = trio.current_time()
        await trio.sleep(86400)
        return begin, trio.current_time()

    assert run(0, day) == (0, 86400)  # that took no day


def test_a_run_leaves_the_process_as_it_was() -> None:
    async def fail() -> None:
        raise KeyError("inside")

    before = (
        random.getstate(),
        trio_run._r.getstate(),
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        open,
        time.time,
    )
    with pytest.raises(KeyError):
        run(0, fail)
    assert (
        random.getstate(),
        trio_run._r.getstate(),
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        open,
        time.time,
    ) == before


async def in_thread() -> None:
    await trio.to_thread.run_sync(int)


async def resolve() -> None:
    await trio.socket.getaddrinfo("localhost", 1)


async def read_file() -> None:
    await trio.Path(__file__).read_bytes()


def nothing_async(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def run_it() -> object:
        return call()

    return run_it


# Lambdas throughout: what they name must be looked up when the seal is on.
# ruff: noqa: PLW0108
REACHES: dict[str, Callable[[], Awaitable[object]]] = {
    "worker thread": in_thread,
    "thread": nothing_async(lambda: threading.Thread(target=int).start()),
    "socket": nothing_async(lambda: socket.socket()),
    "socket pair": nothing_async(lambda: socket.socketpair()),
    "trio socket": nothing_async(lambda: trio.socket.socket()),
    "name": resolve,
    "open": nothing_async(lambda: open(__file__)),  # noqa: SIM115
    "path open": nothing_async(lambda: Path(__file__).read_text()),
    "async path": read_file,
    "os.open": nothing_async(lambda: os.open(__file__, os.O_RDONLY)),
    "mkdir": nothing_async(lambda: Path("/nonexistent/x").mkdir()),
    "listing": nothing_async(lambda: list(Path("/").iterdir())),
    "process": nothing_async(lambda: subprocess.run(["true"], check=False)),
    "time": nothing_async(lambda: time.time()),
    "monotonic": nothing_async(lambda: time.monotonic()),
    "sleep": nothing_async(lambda: time.sleep(0)),
    "urandom": nothing_async(lambda: os.urandom(1)),
    "secrets": nothing_async(lambda: secrets.token_bytes(1)),
    "look at a file": nothing_async(lambda: Path(__file__).exists()),
    "free space": nothing_async(lambda: os.statvfs("/")),
    "pipe": nothing_async(lambda: os.pipe()),
    "date and time": nothing_async(lambda: datetime.datetime.now()),
    "today": nothing_async(lambda: datetime.date.today()),
    "local time": nothing_async(lambda: time.localtime()),
    "time as text": nothing_async(lambda: time.strftime("%H:%M")),
    "a clock by its number": nothing_async(lambda: time.clock_gettime(0)),
    "time of the processor": nothing_async(lambda: time.process_time()),
    "imported by name": nothing_async(lambda: time_by_name()),
    "class imported by name": nothing_async(lambda: Datetime.now()),
    "generator without a seed": nothing_async(lambda: random.Random()),
    "class of generators by name": nothing_async(lambda: Random()),
    "a new seed for all": nothing_async(lambda: random.seed()),
    "system's generator": nothing_async(lambda: random.SystemRandom()),
    "randomness for keys": nothing_async(lambda: ssl.RAND_bytes(1)),
    "id of machine and time": nothing_async(lambda: uuid.uuid1()),
    "random id": nothing_async(lambda: uuid.uuid4()),
    "low thread": nothing_async(lambda: _thread.start_new_thread(int, ())),
    "what is readable": nothing_async(lambda: select.poll()),
    "waiting for nothing": nothing_async(lambda: select.select([], [], [], 0)),
    "alarm": nothing_async(lambda: signal.setitimer(signal.ITIMER_REAL, 0)),
    "host by name": nothing_async(lambda: socket.gethostbyname("localhost")),
    "process in C": nothing_async(lambda: os.posix_spawnp("true", ["true"], {})),
    "a new seed for one": nothing_async(lambda: Random(1).seed()),
    "waiting for a signal": nothing_async(lambda: signal.sigtimedwait([], 0)),
    "attributes of a file": nothing_async(lambda: os.listxattr("/")),
    "network cards": nothing_async(lambda: socket.if_nameindex()),
    "another program": nothing_async(lambda: os.execv("/nonexistent", ["x"])),
}


@pytest.mark.parametrize("reach", list(REACHES))
def test_the_real_world_is_out_of_reach(reach: str) -> None:
    with pytest.raises(SealedError):
        run(0, REACHES[reach])


def test_a_loop_that_breaks_down_leaves_the_process_as_it_was() -> None:
    """The seal stayed closed: whatever ran next in that process, up to pytest's own report, was refused."""
    # In a process of its own: trio leaves its tasks behind as they stood.
    lines = [
        "import os, trio",
        "from contextlib import suppress",
        "from peer.sim.run import run",
        "with suppress(trio.TrioInternalError): run(1, trio.sleep_forever)",
        "print(os.path.exists(os.devnull), flush=True)",
        "os._exit(0)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout == "True\n", ended.stderr


def test_what_needs_nothing_real_goes_on_working() -> None:
    async def calculate() -> None:
        moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
        assert isinstance(moment, datetime.datetime)
        assert isinstance(moment, Datetime)
        assert issubclass(type(moment), datetime.date)
        assert datetime.datetime.fromtimestamp(0, datetime.UTC) < moment
        assert time.strftime("%Y", time.gmtime(0)) == "1970"
        random.seed(1)
        assert copy.copy(Random(7)).random() == Random(7).random()

    run(0, calculate)
    assert Datetime is datetime.datetime
    assert type(Datetime.now()) is Datetime


def test_an_idle_worker_thread_is_no_way_out() -> None:
    trio.run(in_thread)  # leaves a cached thread that could be used without starting one
    with pytest.raises(SealedError):
        run(0, in_thread)


def test_instruments_see_a_simulation() -> None:
    stepped: list[trio.lowlevel.Task] = []

    class Watcher(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            stepped.append(task)

    async def be_watched() -> int:
        watcher = Watcher()
        trio.lowlevel.add_instrument(watcher)
        await trio.sleep(1)
        trio.lowlevel.remove_instrument(watcher)
        await trio.sleep(1)
        return stepped.count(trio.lowlevel.current_task())

    assert run(1, be_watched) == 1


def test_logging_still_works(caplog: pytest.LogCaptureFixture) -> None:
    async def log() -> None:
        try:
            raise KeyError("for its traceback")
        except KeyError:
            logging.getLogger("x").exception("seen")

    run(0, log)
    assert "seen" in caplog.text


def test_a_seal_within_a_seal_lets_the_same_callers_through(caplog: pytest.LogCaptureFixture) -> None:
    with sealed(), sealed():
        logging.getLogger("x").warning("seen")
        with pytest.raises(SealedError, match="test_run"):
            time.time()
        Random(1).seed(2)
    assert "seen" in caplog.text


def test_other_threads_are_not_sealed() -> None:
    opened: list[bool] = []
    go = threading.Event()

    def elsewhere() -> None:
        go.wait(10)
        with open(__file__) as file:
            opened.append(file.readable())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    with sealed():
        go.set()
        thread.join()
    assert opened == [True]


async def test_a_trace_takes_plain_values_only(autojump_clock: object) -> None:
    trace = Trace()
    trace.add("event", 1, "a", b"\1", None, (2.5, "b"))
    assert trace.lines == 1
    assert trace.recent().endswith("event 1 'a' 01 None (2.5,'b')\n")
    with pytest.raises(TypeError, match="plain values"):
        trace.add("event", object())  # type: ignore[arg-type]
