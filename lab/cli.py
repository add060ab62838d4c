"""The command `lab`: a table of experiments, each imported only when it is called, so that `--help` is
instant.

A new experiment is one line in `COMMANDS` and one module that has a click command under that name.
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

import click

from peer import streams
from peer.entry import trouble_line
from peer.errors import ExitCode, ManyhandsError
from peer.version import version_option

COMMANDS: Final = {
    "sockets": ("lab.commands.sockets", "How two processes talk at all: a guided tour in eight stations."),
    "servers": ("lab.commands.servers", "One server, many clients: six architectures under the same load."),
    "protocols": ("lab.commands.protocols", "The grammar: JSON lines, XML and msgpack side by side."),
    "scale": ("lab.commands.scale", "Client-server against peer-to-peer, measured with real processes."),
    "fleet": ("lab.commands.fleet", "A running network of mirrors: how soon does a file reach all of them?"),
    "simulate": (
        "lab.commands.simulate",
        "A swarm from a scenario and a seed: whole nodes, thousands of peers, or processes.",
    ),
    "tournament": (
        "lab.commands.tournament",
        "Policies against each other, also your own: the same scenario, the same seeds.",
    ),
    "animate": ("lab.commands.animate", "Pieces spreading through a swarm: an animation from event traces."),
    "bounds": ("lab.commands.bounds", "What theory says: closed forms, tables and figures."),
}

_stopped_by: Final[list[int]] = []
"""The signals that simulations were interrupted for."""

ARGUMENTS: Final = "lab.arguments"
"""Key in click's meta: the arguments as they were given, for the line that repeats a run."""


class LazyGroup(click.Group):
    """A click group whose help needs none of its commands."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        given = list(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[ARGUMENTS] = given
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each experiment takes --quick, --json and --out DIR.",
)
@version_option
def lab() -> None:
    """Experiments: architectures contrasted by running them, with theory drawn in."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 not here, 2 usage, 5 storage, 130 interrupted."""
    streams.settle()
    signal.signal(signal.SIGTERM, stop)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def stop(number: int, frame: FrameType | None) -> None:
    """For SIGTERM: leave through every `with`, so that neither process nor folder stays behind.

    In a simulation it is trio's loop that decides where, as of Ctrl-C: an exception that came out of the loop
    itself would be an internal error of trio's.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt) and interrupt is not signal.default_int_handler:
        _stopped_by.append(number)
        interrupt(signal.SIGINT, frame)
    else:
        raise SystemExit(128 + number)


def run(arguments: list[str]) -> int:
    """The exit status of `lab` with these arguments; trouble is one line on stderr."""
    try:
        status = lab.main(args=arguments, prog_name="lab", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except click.ClickException as error:
        click.echo(trouble_line(error, "lab"), err=True)
        return error.exit_code
    except ManyhandsError as error:
        click.echo(f"lab: {_one_line(str(error))}", err=True)
        return int(error.exit_code)
    except (KeyboardInterrupt, click.Abort, BaseExceptionGroup) as error:
        return _interrupted(error)
    except OSError as error:  # what nobody closer to it could say better
        return _refused(error)


def _interrupted(error: BaseException) -> int:
    where = str(error.__cause__ or error)
    if isinstance(error, BaseExceptionGroup):  # somewhere among the tasks of a simulation
        if error.subgroup(KeyboardInterrupt) is None:
            raise error
        where = ""
    click.echo(f"lab: interrupted{f' in {_one_line(where)}' if where else ''}", err=True)
    return 128 + _stopped_by.pop() if _stopped_by else ExitCode.INTERRUPTED


def _refused(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):  # `lab bounds | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    hint = "; allow more descriptors (ulimit -n)" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    what = f"{error.filename}: " if error.filename else ""
    click.echo(f"lab: the system refused: {what}{_one_line(error.strerror or str(error))}{hint}", err=True)
    return ExitCode.INTERNAL


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
