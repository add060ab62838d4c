"""The options of `serve` alone, as parsed; and where each value came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import click
from click.core import ParameterSource

from peer.net.outward import OutwardAddress

SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
    ParameterSource.PROMPT: "flag",
}


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """sources: of each parameter by its name, one of the words of `SOURCES`."""

    port: int
    announce: OutwardAddress | None
    log_level: str
    log_json: bool
    sources: Mapping[str, str]


def sources_of(ctx: click.Context) -> dict[str, str]:
    """Where each parameter of a command came from."""
    found = {}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        found[name] = SOURCES.get(source, "default") if source is not None else "default"
    return found


def flags_of(ctx: click.Context) -> frozenset[str]:
    """The parameters of a command that the command line gave."""
    return frozenset(name for name, source in sources_of(ctx).items() if source == "flag")
