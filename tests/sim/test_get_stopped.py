"""Ctrl-C at `peer get`: it closes its files when nobody is at work on them any more."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from peer.cli import fetching
from peer.cli.get import GetOptions
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop
from peer.errors import ExitCode
from peer.target import Target
from tests.sim.machines import machines

NETWORK = NetworkOptions(None, (), None, None, None, plain=False, progress="none")


async def test_the_files_are_closed_when_nobody_writes_any_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for room on a full disk found its folder closed, and blamed the disk."""
    async with machines("a", "b") as (_, [a, b]):
        link = await a.share("film.bin")
        options = GetOptions(link, Path("/in"), (), None, None, (), 60.0, as_json=False, verbose=False)
        node = b.peer.node
        home = SimpleNamespace(close=lambda: None)
        ours = SimpleNamespace(  # the daemon runs it already
            run=trio.sleep_forever, take_part=node.take_part, goodbye=node.goodbye, services=node.services
        )
        started = SimpleNamespace(home=home, node=ours, workers=b.peer.workers)

        async def start(*_: object) -> SimpleNamespace:
            return started

        at_work: list[int] = []
        close = Target.close

        async def closing(target: Target) -> None:
            at_work.append(len(node.members))
            await close(target)

        monkeypatch.setattr(fetching, "start", start)
        monkeypatch.setattr(
            fetching, "make_folder", lambda path: b.daemon.context.places.folder(path, create=True)
        )
        monkeypatch.setattr(Target, "close", closing)
        stop = Stop()
        outcomes = []

        async def get() -> None:
            outcomes.append(await fetching.Fetching(NETWORK, options, stop).run())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await trio.sleep(0.2)
            assert node.members, "it is under way"
            stop.requested.set()
        assert outcomes[0].exit_code is ExitCode.INTERRUPTED
        assert at_work
        assert not any(at_work)
