"""The command line: one file per command, imported only when that command runs."""

import gc
from importlib import import_module

import click

from peer.entry import enter
from peer.version import version_option

COMMANDS = {
    "share": "peer.cli.share",
    "get": "peer.cli.get",
    "search": "peer.cli.search",
    "mirror": "peer.cli.mirror",
    "inspect": "peer.cli.inspect",
    "verify": "peer.cli.verify",
    "serve": "peer.cli.serve",
    "list": "peer.cli.list",
    "status": "peer.cli.status",
    "pause": "peer.cli.pause",
    "resume": "peer.cli.resume",
    "limits": "peer.cli.limits",
    "remove": "peer.cli.remove",
    "stop": "peer.cli.stop",
    "config": "peer.cli.config",
    "completion": "peer.cli.completion",
    "id": "peer.cli.id",
}
"""Name to module; the command is the module's ``command``."""

SHORT_HELP = {
    "share": "Share a file or folder; print its link and seed it until stopped.",
    "get": "Fetch a share by its link or published name, verified, from everybody who has it.",
    "search": "Find published shares by the words of their names.",
    "mirror": "Fetch and seed everything that is published, and what comes later.",
    "inspect": "Show the files, sizes and checksums of a share.",
    "verify": "Tell which pieces and files of a share are good on disk.",
    "serve": "Run the daemon: one node that stays on, with all its shares.",
    "list": "List the shares that the daemon knows.",
    "status": "Show what the daemon does now; --watch keeps showing it.",
    "pause": "Pause a share of the daemon, or all.",
    "resume": "Take paused shares up again.",
    "limits": "Show or change the rate limits of the running daemon, or of one share.",
    "remove": "Have the daemon forget a share; its files stay.",
    "stop": "Stop the daemon.",
    "config": "Print the configuration, and where each value comes from.",
    "completion": "Print the completion script for bash, zsh or fish.",
    "id": "Print this node's id.",
}


UNCONFIGURED = frozenset({"list", "status", "pause", "resume", "limits", "remove", "stop", "completion"})
"""Commands to which the configuration file says nothing: a mistake in it does not keep them from it."""


class LazyGroup(click.Group):
    """Knows its commands by name and loads only the one that is used: `--help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # `list` is a module here, once `peer list` was loaded

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Also reads the configuration file of the home that the command is about to use."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and not ctx.resilient_parsing:
            from peer.cli.configured import default_map
            from peer.errors import ManyhandsError
            from peer.paths import printable

            def warn(text: str) -> None:
                click.echo(f"peer: {printable(text)}", err=True)

            try:
                ctx.default_map = {name: default_map(rest, warn if name in UNCONFIGURED else None)}
            except ManyhandsError as error:
                warn(str(error))
                ctx.exit(error.exit_code)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SHORT_HELP[name]) for name in COMMANDS])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@version_option
def group() -> None:
    """Share files from peer to peer: every peer that joins brings its own uplink.

    \b
    peer share FOLDER            on one machine prints a magnet link
    peer get 'magnet:?xt=...'    on any other fetches it, and serves it while fetching
    """


def main() -> None:
    """Entry point of the console script ``peer``."""
    gc.disable()  # what is loaded stays; to look for garbage in it was a tenth of a command's start
    enter(group, "peer")
