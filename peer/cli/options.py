"""Option types and options that several commands share. Each mistake is one line that says what is meant."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from peer.ids import ID_BYTES, Address, NodeId
from peer.limits import CONNECTIONS_MAX, CONNECTIONS_MIN, LINKS_MAX
from peer.net.outward import OutwardAddress
from peer.swarm.addresses import usable
from peer.units import parse_duration, parse_rate, parse_size

PEER_PORT = 7701
"""The well-known port of a peer."""

TRACKER_PORT = 7700
"""The well-known port of a tracker."""

UNUSABLE = "{}: nobody can be reached there; name a host's own address"

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The options of a command that opens a node, as parsed: `with_network` gathers them."""

    home: str | None
    trackers: tuple[Address, ...]
    host: str | None
    up: float | None
    down: float | None
    plain: bool
    progress: str
    trace: Path | None = None
    swarm_secret: bytes | None = None
    connections: int | None = None
    lan: bool = False


class PathType(click.Path):
    """A path. An empty one, as an unset variable gives, is a mistake and not the working folder."""

    name = "path"

    def __init__(self) -> None:
        # Whoever opens it says why that cannot be, and ends with its exit code, which click does not know.
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("it is empty: name a file or folder, '.' for this one", param, ctx)
        return super().convert(value, param, ctx)


class AddressType(click.ParamType[Address]):
    """``HOST:PORT``; the port may be left out where there is a well-known one."""

    name = "host:port"

    def __init__(self, default_port: int) -> None:
        self._default_port = default_port

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            address = Address.parse(value, self._default_port)
            check_printable(address.host)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return address


def check_printable(host: str) -> None:
    """Raise ValueError for what no host is called: bytes that are no text cannot even be put into a link."""
    if not host.isprintable():
        raise ValueError(f"{host!r} is no host: there are characters in it that cannot be printed")


class PeerAddressType(AddressType):
    """The same where a peer listens, and others are to dial."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        address = super().convert(value, param, ctx)
        if not usable(address):
            self.fail(UNUSABLE.format(address), param, ctx)
        return address


def outward_address(text: str) -> OutwardAddress:
    """Where others reach this machine. Raises ValueError with a sentence for the user."""
    address = OutwardAddress.parse(text)
    check_printable(address.host)
    if not usable(address.at(PEER_PORT)):
        raise ValueError(UNUSABLE.format(address))
    return address


class OutwardAddressType(click.ParamType[OutwardAddress]):
    """``HOST[:PORT]`` by which others reach this machine; without a port, by the one that it listens on."""

    name = "host[:port]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> OutwardAddress:
        if isinstance(value, OutwardAddress):
            return value
        try:
            return outward_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RateType(click.ParamType[float]):
    """A rate as ``tc`` writes it: 4mbit, 500kbit, 1MB. In bytes a second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_rate(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[float]):
    """A time: 90s, 10m, 1h30m. In seconds. positive: no time at all makes no sense there."""

    name = "time"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._positive and seconds <= 0:
            self.fail(f"{value} is no time at all: give some, as in 30s or 2m", param, ctx)
        return seconds


class SizeType(click.ParamType[int]):
    """A size: 500GiB, 2TB. In bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NodeIdType(click.ParamType[NodeId]):
    """A node id: 64 hexadecimal digits, as `peer id` and `peer search` print them."""

    name = "nodeid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NodeId:
        if isinstance(value, bytes):
            return NodeId(value)
        try:
            node = bytes.fromhex(value)
        except ValueError:
            node = b""
        if len(node) != ID_BYTES or len(value) != 2 * ID_BYTES:
            self.fail(f"{value!r} is not a node id: {2 * ID_BYTES} hexadecimal digits", param, ctx)
        return NodeId(node)


def publisher_option(command: Command) -> Command:
    """``--from``, where published names are looked up."""
    return click.option(
        "--from",
        "publisher",
        type=NodeIdType(),
        metavar="NODEID",
        help="Only what this node published (`peer id` there prints its id).",
    )(command)


def home_option(command: Command) -> Command:
    """``--home``, on every command."""
    return click.option(
        "--home",
        metavar="DIR",
        help="Folder of this node's key and state (default: MANYHANDS_HOME, else the user's data folder).",
    )(command)


def _read_secret(ctx: click.Context, param: click.Parameter, value: Path | None) -> bytes | None:
    """The secret itself, also from the environment: asked for here, where Ctrl-C still ends the program."""
    from peer.errors import ExitCode, ManyhandsError
    from peer.home import swarm_secret
    from peer.paths import printable

    def warn(text: str) -> None:
        click.echo(printable(f"peer: {text}"), err=True)

    try:
        return swarm_secret(value, warn)
    except ManyhandsError as error:
        warn(str(error))
        ctx.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo(err=True)
        ctx.exit(ExitCode.INTERRUPTED)


def swarm_key_option(command: Command) -> Command:
    """``--swarm-key``, for whoever speaks with peers or trackers."""
    return click.option(
        "--swarm-key",
        "swarm_secret",
        type=PathType(),
        callback=_read_secret,
        metavar="FILE",
        help="File with the secret of a private swarm; '-' asks for it. Or MANYHANDS_SWARM_KEY holds the"
        " secret itself.",
    )(command)


def rate_option(flag: str, variable: str, text: str) -> Callable[[Command], Command]:
    """A limit of the node, or without a daemon of the one share."""
    return click.option(flag, type=RateType(), envvar=variable, metavar="RATE", help=text)


def network_options(command: Command) -> Command:
    """The flags of a command that opens a node, each a parameter."""
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--tracker",
            "trackers",
            type=AddressType(TRACKER_PORT),
            multiple=True,
            envvar="MANYHANDS_TRACKER",
            metavar="HOST[:PORT]",
            help=f"Find peers, and be found, by this tracker (default port {TRACKER_PORT}). May be repeated.",
        ),
        click.option(
            "--host",
            envvar="MANYHANDS_HOST",
            metavar="HOST",
            help="Listen on this address only (default: every address, IPv4 and IPv6).",
        ),
        rate_option("--up", "MANYHANDS_UP", "Send at most this: 4mbit, 500kbit, 1MB."),
        rate_option("--down", "MANYHANDS_DOWN", "Receive at most this."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "bars", "lines", "json", "none"]),
            default="auto",
            envvar="MANYHANDS_PROGRESS",
            help="How to show progress on stderr (default: bars on a terminal, else lines).",
        ),
        click.option(
            "--trace",
            type=PathType(),
            metavar="FILE",
            help="Write an event trace (JSON lines): who sent which piece to whom, when. Into a file, or a"
            " pipe that is read already: >(jq .).",
        ),
        swarm_key_option,
        click.option(
            "--connections",
            type=click.IntRange(min=CONNECTIONS_MIN),
            envvar="MANYHANDS_CONNECTIONS",
            metavar="N",
            help=f"At most this many connected peers (default: {LINKS_MAX} for a share, {CONNECTIONS_MAX} in "
            "all; fewer where the system allows fewer open files).",
        ),
        click.option(
            "--lan/--no-lan",
            default=True,
            envvar="MANYHANDS_LAN",
            help="Find peers on the local network by multicast DNS (default: yes; MANYHANDS_LAN=0 says no).",
        ),
        click.option(
            "--plain",
            is_flag=True,
            envvar="MANYHANDS_PLAIN",
            help="No encryption, for labs and trusted links: only peers with --plain as well are reached.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def with_network(command: Command) -> Command:
    """The flags of a command that opens a node, and ``--home``; it gets one `network: NetworkOptions` for
    them."""

    @functools.wraps(command)
    def gathered(
        *,
        trackers: tuple[Address, ...],
        host: str | None,
        up: float | None,
        down: float | None,
        progress: str,
        trace: Path | None,
        swarm_secret: bytes | None,
        connections: int | None,
        lan: bool,
        plain: bool,
        home: str | None,
        **own: Any,
    ) -> Any:
        network = NetworkOptions(
            home, trackers, host, up, down, plain, progress, trace, swarm_secret, connections, lan
        )
        return command(network=network, **own)

    return network_options(home_option(gathered))  # type: ignore[return-value]  # the options were taken out
