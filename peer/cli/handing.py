"""`share` and `get` where a daemon runs: it does the work, they show it and end with the same exit codes."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import click
import trio

from peer.cli.display import Display, Source, make_display
from peer.cli.get import GetOptions
from peer.cli.naming import FROM_IS_FOR_NAMES, check_name, published_as
from peer.cli.options import NetworkOptions
from peer.cli.run import Stop, say, unless_stopped
from peer.cli.share import ShareOptions
from peer.cli.sharing import SKIPPED_SHOWN_MAX
from peer.cli.start import make_transport
from peer.cli.subject import is_link
from peer.cli.tables import ID_DIGITS
from peer.control.client import ControlClient
from peer.control.protocol import Body, Get, Share
from peer.errors import ExitCode, UsageError
from peer.home import Home, home_path
from peer.identity import load_or_create_identity
from peer.magnet import MagnetLink, parse
from peer.paths import landing_name, printable
from peer.units import format_bytes, format_duration, format_rate

NODE_FLAGS = {
    "port": "--port",
    "host": "--host",
    "plain": "--plain",
    "swarm_secret": "--swarm-key",
    "connections": "--connections",
    "lan": "--lan",
    "trace": "--trace",
}
"""What belongs to the node, which runs already."""

EXPLAIN_EVERY_S = 1.0


def _check_flags(given: frozenset[str]) -> None:
    for parameter, flag in NODE_FLAGS.items():
        if parameter in given:
            raise UsageError(
                f"{flag} is for the daemon to decide, which runs with this home: set it there"
                " (`peer config`), or run apart from it with another --home"
            )


def _own(given: frozenset[str], name: str, rate: float | None) -> float | None:
    """A rate that is meant for this share; one from the file or the environment is the node's."""
    return rate if name in given else None


async def hand_share(
    client: ControlClient, network: NetworkOptions, options: ShareOptions, stop: Stop
) -> int:
    """Have the daemon share; print the link."""
    _check_flags(options.given)
    request = Share(
        os.path.abspath(options.path),  # noqa: ASYNC240 - not resolved: the name is the one that was given
        trackers=tuple(map(str, network.trackers)),
        announce=None if options.announce is None else str(options.announce),
        up=_own(options.given, "up", network.up),
        down=_own(options.given, "down", network.down),
        publish=options.publish,
    )
    bodies: list[Body] = []
    with make_display(network.progress) as display:

        def progress(news: Body) -> None:
            if "total" in news:
                display.show(trio.current_time(), "hashing", news["done"], news["total"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_stop, stop, nursery.cancel_scope)
            async with client:
                bodies.append(await client.ask(request, progress))
            nursery.cancel_scope.cancel()
        if not bodies:
            return ExitCode.INTERRUPTED
        body = bodies[0]
        for skipped in body["skipped"][:SKIPPED_SHOWN_MAX]:
            display.say(f"left out: {skipped}")
        if len(body["skipped"]) > SKIPPED_SHOWN_MAX:
            display.say(f"left out: {len(body['skipped']) - SKIPPED_SHOWN_MAX} more")
    click.echo(body["link"])
    sys.stdout.flush()
    files = f"{body['files']} file{'s' if body['files'] != 1 else ''}"
    size = format_bytes(body["bytes"])
    say(f"the daemon shares {body['name']}: {files}, {size}, {body['share'][:ID_DIGITS]}")
    return ExitCode.DONE


async def hand_get(client: ControlClient, network: NetworkOptions, options: GetOptions, stop: Stop) -> int:
    """Have the daemon fetch; follow it to the end."""
    _check_flags(options.given)
    link = await unless_stopped(stop, partial(_link_of, network, options))
    if link is None:
        return ExitCode.INTERRUPTED
    request = Get(
        str(link),
        os.path.abspath(options.folder),  # noqa: ASYNC240 - no disk is touched
        peers=tuple(map(str, options.peers)),
        trackers=tuple(map(str, network.trackers)),
        only=options.only,
        up=_own(options.given, "up", network.up),
        down=_own(options.given, "down", network.down),
        seed_s=options.seed_s,
        timeout_s=options.timeout_s,
        order=options.order if "order" in options.given else None,
    )
    bodies: list[Body] = []
    with make_display(network.progress) as display:
        following = _Following(link, options, display)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_stop, stop, nursery.cancel_scope)
            async with client:
                bodies.append(await client.ask(request, following.show))
            nursery.cancel_scope.cancel()
        if not bodies:
            display.say(f"the daemon goes on with it; `peer remove {link.share.hex()[:ID_DIGITS]}` ends that")
            return ExitCode.INTERRUPTED
        _print_result(bodies[0], options, display)
    return ExitCode.DONE


async def _link_of(network: NetworkOptions, options: GetOptions) -> MagnetLink:
    """What is to be fetched; a name is looked up here, with the identity that the daemon has as well."""
    if is_link(options.link):
        if options.publisher is not None:
            raise UsageError(FROM_IS_FOR_NAMES)
        return parse(options.link)
    check_name(options.link, network)
    home = Home(home_path(network.home), exclusive=False)
    transport = make_transport(network, load_or_create_identity(home.path))
    entry, line = await published_as(transport, network.trackers, options.link, options.publisher)
    say(line)
    return MagnetLink(entry.share, entry.name, entry.size, tuple(network.trackers))


class _Following:
    """What the display shows of the daemon's transfer."""

    def __init__(self, link: MagnetLink, options: GetOptions, display: Display) -> None:
        self._name = printable(landing_name(link.name, link.share))
        self._options = options
        self._display = display
        self._explained_at = -EXPLAIN_EVERY_S

    def show(self, news: Body) -> None:
        now = trio.current_time()
        if "held" not in news:
            return
        self._show(news, now)
        if self._options.verbose and now - self._explained_at >= EXPLAIN_EVERY_S:
            self._explained_at = now
            self._display.say(f"limited by {news['limited_by']}, {format_rate(news['rate_down'])}")

    def _show(self, news: Body, now: float) -> None:
        if news["busy"]:
            self._display.show(now, news["phase"], news["done"], news["total"])
            return
        peers = news["peers"]
        detail = f"{peers} peer{'s' if peers != 1 else ''} connected"
        if news["looking"]:
            self._display.show(now, f"{news['phase']} {self._name}", 0, 0, detail)
        else:
            if news["waiting"]:
                detail += f"; waiting: {news['waiting']}"
            if news["rate_up"] >= 1:
                detail += f", serving others at {format_rate(news['rate_up'])}"
            sources = [Source(name, count, rate) for name, count, rate in news["sources"]]
            self._display.show(now, self._name, news["done"], news["total"], detail, sources)


def _print_result(body: Body, options: GetOptions, display: Display) -> None:
    fetched, seconds = sum(body["sources"].values()), body["seconds"]
    if options.as_json:
        click.echo(json.dumps(body))
        sys.stdout.flush()
    rate = f" at {format_rate(fetched / seconds)}" if fetched and seconds > 0 else ""
    here = f", {format_bytes(body['resumed_bytes'])} were here" if body["resumed_bytes"] else ""
    count = len(body["sources"])
    display.say(
        f"{Path(body['path'])}: complete and verified, {format_bytes(body['bytes'])} in"
        f" {format_duration(seconds)}{rate} from {count} peer{'s' if count != 1 else ''}{here};"
        " the daemon seeds it"
    )


async def _cancel_on_stop(stop: Stop, scope: trio.CancelScope) -> None:
    await stop.requested.wait()
    scope.cancel()
