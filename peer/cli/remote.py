"""Commands that talk to the daemon of their home."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

from peer.cli.run import Stop, run, unless_stopped
from peer.control import local
from peer.control.client import ControlClient
from peer.control.protocol import Body, Request
from peer.errors import ExitCode, UsageError
from peer.home import home_path


def named(text: str) -> str:
    """SHARE as the daemon knows it: a path may be given from where the user is. No name has a slash in it."""
    is_path = text in (".", "..") or ("/" in text and text[:7].lower() != "magnet:")
    return os.path.abspath(text) if is_path else text


async def daemon_of(home: str | None) -> ControlClient | None:
    """A conversation with the daemon of this home; None if none runs. Raises StorageError, UsageError."""
    stream = await local.connect(home_path(home))
    return None if stream is None else ControlClient(stream)


async def need_daemon(home: str | None) -> ControlClient:
    """The same where there must be one. Raises UsageError with the way out."""
    client = await daemon_of(home)
    if client is None:
        raise UsageError(f"no daemon runs with the home {home_path(home)}: `peer serve` starts one")
    return client


def ask(home: str | None, request: Request, show: Callable[[Body], None]) -> NoReturn:
    """Ask the daemon one thing, show the answer, and exit."""

    async def talk(client: ControlClient, stop: Stop) -> int:
        body = await unless_stopped(stop, partial(client.ask, request))
        if body is None:
            return ExitCode.INTERRUPTED
        show(body)
        return ExitCode.DONE

    converse(home, talk)


def converse(home: str | None, talk: Callable[[ControlClient, Stop], Awaitable[int]]) -> NoReturn:
    """Talk to the daemon for as long as it takes, and exit. A daemon may hang: each wait for it ends when a
    stop is requested."""

    async def work(stop: Stop) -> int:
        async with await need_daemon(home) as client:
            return await talk(client, stop)

    run(work)
