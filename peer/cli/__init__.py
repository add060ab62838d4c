"""The command line: one file per command, imported only when that command runs."""

import sys
from importlib import import_module

import click

COMMANDS = {
    "share": "peer.cli.share",
    "get": "peer.cli.get",
    "search": "peer.cli.search",
    "mirror": "peer.cli.mirror",
    "inspect": "peer.cli.inspect",
    "verify": "peer.cli.verify",
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
    "id": "Print this node's id.",
}


class LazyGroup(click.Group):
    """Knows its commands by name and loads only the one that is used: `--help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SHORT_HELP[name]) for name in COMMANDS])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="manyhands", message="manyhands %(version)s")
def group() -> None:
    """Share files from peer to peer: every peer that joins brings its own uplink.

    \b
    peer share FOLDER            on one machine prints a magnet link
    peer get 'magnet:?xt=...'    on any other fetches it, and serves it while fetching
    """


def main() -> None:
    """Entry point of the console script ``peer``."""
    sys.exit(group(prog_name="peer"))
